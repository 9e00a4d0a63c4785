"""Each correction is a named step that moves what it claims to move and widens the error by what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trabecula.calibration.calibrate import calibrate, calibrate_findings
from trabecula.calibration.calibration import (
    Calibration,
    CalibrationMethod,
    CorrectionName,
    CorrectionStep,
    ReferenceTissue,
)
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.model import Beam, CalibrationModel
from trabecula.calibration.organs import Organ, OrganSample
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.phantomless import Phantomless
from trabecula.calibration.profile import DEFAULT_PROFILE, CalibrationProfile
from trabecula.calibration.reference_sets import REFERENCE_SETS, ReferenceSet
from trabecula.calibration.samples import Sample, averaging_mm
from trabecula.calibration.site import (
    ContrastRegression,
    KernelShift,
    SiteCorrections,
    Vessel,
    VirtualUnenhancedMap,
)
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition, ContrastTag, KernelClass, SpectralFilter
from trabecula.outcome import Refusal, RefusalCode

AIR, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, CORTEX = ReferenceTissue
MAP = VirtualUnenhancedMap(1.8, 15.0, 9.0, 120.0, (), "own map")


def findings(
    model: CalibrationModel, constants: ClinicalConstants, beam: Beam, blood_hu: float | None = None
) -> ScanFindings:
    """Every tissue at its nominal HU in this beam."""
    here = model.spectrum(beam, 0.0).tissue_hu
    samples = {AIR: Sample(AIR, -1000.0, 1.0, 9000)}
    for tissue in (FAT, MUSCLE, BLOOD, SPLEEN, CORTEX):
        nominal = constants.row(f"calibration.reference.{tissue.value.replace('-', '_')}").number("nominal_hu")
        if tissue is CORTEX:
            hu = nominal * here[tissue] / model.anchor.tissue_hu[tissue]
        else:
            hu = nominal + here[tissue] - model.anchor.tissue_hu[tissue]
        samples[tissue] = Sample(tissue, hu, 1.0, 5000)
    if blood_hu is not None:
        samples[BLOOD] = Sample(BLOOD, blood_hu, 1.0, 5000)
    size = PatientSize(beam.diameter_cm, False, standard_uncertainty_cm=0.5)
    return ScanFindings(samples, size, noise_hu=12.0, averaging_mm=3.0)


def run(
    model: CalibrationModel,
    constants: ClinicalConstants,
    acquisition: Acquisition,
    site: SiteCorrections = DEFAULT_PROFILE.site,
    cm: float = 33.0,
    blood_hu: float | None = None,
    organs: dict[Organ, OrganSample] | None = None,
) -> Calibration:
    tin = acquisition.spectral_filter is SpectralFilter.TIN
    found = findings(model, constants, Beam(acquisition.kvp or 120.0, tin, cm), blood_hu)
    profile = replace(DEFAULT_PROFILE, site=site)
    outcome = calibrate_findings(replace(found, organs=organs or {}), acquisition, model, constants, profile)
    assert isinstance(outcome, Calibration), outcome
    return outcome


def step(calibration: Calibration, name: CorrectionName) -> CorrectionStep:
    return next(s for s in calibration.corrections if s.name is name)


CASES: dict[CorrectionName, dict[str, Any]] = {
    CorrectionName.PATIENT_SIZE: {},
    CorrectionName.TUBE_VOLTAGE: {"kvp": 80.0},
    CorrectionName.TIN_FILTER: {"kvp": 100.0, "spectral_filter": SpectralFilter.TIN},
    CorrectionName.BEAM_PATH: {},
    CorrectionName.MARROW: {"kvp": 80.0},
    CorrectionName.CONTRAST: {"contrast": ContrastTag.GIVEN},
    CorrectionName.KERNEL: {"kernel_class": KernelClass.SHARP},
    CorrectionName.SLICE_THICKNESS: {"slice_thickness_mm": 5.0},
}


@pytest.mark.parametrize("name", CASES)
def test_taking_a_correction_away_moves_density_or_its_error_and_says_so(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, name: CorrectionName
) -> None:
    blood = 150.0 if name is CorrectionName.CONTRAST else None
    acquisition = acquired(**CASES[name])
    usual = run(model, constants, acquisition, blood_hu=blood)
    bare = run(model, constants, acquisition, SiteCorrections(without=frozenset({name})), blood_hu=blood)
    assert step(usual, name).applied
    assert not step(bare, name).applied
    assert step(usual, name).source
    moved = abs(usual.density_mg_cm3(150.0) - bare.density_mg_cm3(150.0))
    errors = [c.density_standard_uncertainty_mg_cm3(150.0) for c in (usual, bare)]
    if step(usual, name).amount not in (0.0, 1.0):
        assert moved > 0.3
    else:
        assert errors[0] > errors[1]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(kvp=st.sampled_from([80.0, 100.0, 120.0, 140.0]), cm=st.floats(18.0, 42.0), tin=st.booleans())
def test_the_ratios_of_the_steps_make_the_slope(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, kvp: float, cm: float, tin: bool
) -> None:
    spectral_filter = SpectralFilter.TIN if tin else SpectralFilter.NONE
    c = run(model, constants, acquired(kvp=kvp, spectral_filter=spectral_filter), cm=cm)
    ratios = [s.amount for s in c.corrections if s.unit == "1"]
    assert model.anchor.slope_hu_per_mg_cm3 * math.prod(ratios) == pytest.approx(c.slope_hu_per_mg_cm3)


def test_less_voltage_more_slope(model: CalibrationModel, constants: ClinicalConstants, acquired: Any) -> None:
    slopes = [run(model, constants, acquired(kvp=kvp)).slope_hu_per_mg_cm3 for kvp in (80.0, 100.0, 120.0, 140.0)]
    assert slopes == sorted(slopes, reverse=True)
    sizes = [run(model, constants, acquired(), cm=cm).slope_hu_per_mg_cm3 for cm in (20.0, 28.0, 36.0)]
    assert sizes == sorted(sizes, reverse=True)


def test_published_ratios_between_voltages(model: CalibrationModel) -> None:
    """clinical notes 5.1: K2HPO4 slope 100/140 1.24 to 1.25, 80/140 1.49 to 1.50, 80/120 1.36, 100/120 1.13."""
    slope = {
        kvp: model.spectrum(Beam(kvp, False, 25.0), 0.0).slope_hu_per_mg_cm3 for kvp in (80.0, 100.0, 120.0, 140.0)
    }
    assert slope[100.0] / slope[140.0] == pytest.approx(1.245, abs=0.01)
    assert slope[80.0] / slope[140.0] == pytest.approx(1.495, abs=0.01)
    assert slope[80.0] / slope[120.0] == pytest.approx(1.36, abs=0.01)
    assert slope[100.0] / slope[120.0] == pytest.approx(1.13, abs=0.01)


REGRESSION = ContrastRegression(Vessel.AORTA, 0.05, 4.0, 5.0, (80.0, 400.0), 120.0, "own fit")


def test_a_sites_regression_takes_the_place_of_the_mean(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    acquisition = acquired(contrast=ContrastTag.GIVEN)
    c = run(model, constants, acquisition, SiteCorrections(contrast=REGRESSION), blood_hu=150.0, cm=25.0)
    assert c.contrast_correction_hu == pytest.approx(4.0 + 0.05 * 150.0)
    assert c.contrast_standard_uncertainty_hu == pytest.approx(5.0)
    assert step(c, CorrectionName.CONTRAST).source == "own fit"
    outside = run(
        model, constants, acquisition, SiteCorrections(contrast=replace(REGRESSION, vessel_range_hu=(80, 120))),
        blood_hu=150.0, cm=25.0,
    )  # fmt: skip
    assert outside.contrast_correction_hu == pytest.approx(22.5)


def test_a_portal_regression_needs_the_portal_vein(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    site = SiteCorrections(contrast=replace(REGRESSION, vessel=Vessel.PORTAL_VEIN))
    acquisition = acquired(contrast=ContrastTag.GIVEN)
    vein = {Organ.PORTAL_VEIN: OrganSample(Organ.PORTAL_VEIN, 180.0, 400)}
    assert run(model, constants, acquisition, site, cm=25.0, blood_hu=150.0, organs=vein).contrast_correction_hu == 13.0
    assert run(model, constants, acquisition, site, cm=25.0, blood_hu=150.0).contrast_correction_hu == 22.5


def test_a_sites_kernel_shift_is_taken_off(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    site = SiteCorrections(kernels={KernelClass.SHARP: KernelShift(4.0, 1.0, "own")})
    sharp = acquired(kernel_class=KernelClass.SHARP)
    plain, shifted = run(model, constants, sharp), run(model, constants, sharp, site)
    assert plain.density_mg_cm3(150.0) - shifted.density_mg_cm3(150.0) == pytest.approx(4.0)
    assert shifted.kernel_standard_uncertainty_mg_cm3 == 1.0


def test_virtual_unenhanced_is_refused_without_a_map_of_this_scanner(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    found = findings(model, constants, Beam(120.0, False, 28.0))
    virtual = acquired(virtual_unenhanced=True, station_hash="here")
    for maps in ((), (replace(MAP, station_hashes=("elsewhere",)),)):
        profile = CalibrationProfile(site=SiteCorrections(virtual_unenhanced=maps))
        outcome = calibrate_findings(found, virtual, model, constants, profile)
        assert isinstance(outcome, Refusal)
        assert outcome.code is RefusalCode.DERIVED_ONLY


def test_virtual_unenhanced_is_mapped_by_the_sites_line_with_its_error(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    site = SiteCorrections(virtual_unenhanced=(MAP,))
    true = run(model, constants, acquired())
    virtual = run(model, constants, acquired(virtual_unenhanced=True, kvp=None), site)
    assert virtual.density_mg_cm3(60.0) == pytest.approx(true.density_mg_cm3(1.8 * 60.0 + 15.0), abs=0.01)
    assert virtual.density_standard_uncertainty_mg_cm3(60.0) >= 9.0 / virtual.slope_hu_per_mg_cm3
    assert {r.tissue for r in virtual.references if r.used} == {AIR}
    assert step(virtual, CorrectionName.VIRTUAL_UNENHANCED).source == "own map"


def test_averaging_grows_as_dose_falls_and_stops(constants: ClinicalConstants) -> None:
    thickness = [averaging_mm(noise, constants) for noise in (None, 8.0, 25.0, 32.0, 40.0, 90.0)]
    assert thickness[:3] == [3.0, 3.0, 3.0]
    assert thickness[3] == pytest.approx(3.0 * (32.0 / 25.0) ** 2)
    assert thickness == sorted(thickness)
    assert thickness[-1] == 9.0


def test_a_cut_body_is_completed_and_the_size_less_certain(
    patient: Any, model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    whole = patient.but(half_width_mm=185.0, half_depth_mm=130.0)
    true = calibrate(*whole.scan(), acquired(), model, constants)
    cut = whole.but(padding_hu=-1024, half_width_mm=215.0)
    completed = calibrate(*cut.scan(), acquired(), model, constants)
    bare = calibrate(
        *cut.scan(),
        acquired(),
        model,
        constants,
        CalibrationProfile(site=SiteCorrections(without=frozenset({CorrectionName.FIELD_OF_VIEW}))),
    )
    assert isinstance(true, Calibration)
    assert isinstance(completed, Calibration)
    assert isinstance(bare, Calibration)
    uncut_cm = true.water_equivalent_diameter_cm * math.sqrt(215.0 / 185.0)
    assert completed.water_equivalent_diameter_cm == pytest.approx(uncut_cm, abs=0.6)
    assert bare.water_equivalent_diameter_cm < uncut_cm - 0.5
    assert step(completed, CorrectionName.FIELD_OF_VIEW).amount > 0.5
    assert completed.slope_size_standard_uncertainty > true.slope_size_standard_uncertainty


@pytest.mark.parametrize("form", REFERENCE_SETS, ids=lambda form: form.method.value)
def test_every_phantomless_form_leaves_a_perfect_scan_alone(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, form: ReferenceSet
) -> None:
    found = findings(model, constants, Beam(100.0, False, 30.0))
    outcome = calibrate_findings(
        found, acquired(kvp=100.0), model, constants, CalibrationProfile(methods=(Phantomless(form),))
    )
    assert isinstance(outcome, Calibration)
    assert outcome.method is form.method
    assert (outcome.gain, outcome.offset_hu) == pytest.approx((1.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("form", REFERENCE_SETS[1:], ids=lambda form: form.method.value)
def test_a_published_form_is_not_offered_without_one_of_its_tissues(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, form: ReferenceSet
) -> None:
    found = findings(model, constants, Beam(120.0, False, 30.0))
    lacking = sorted(form.tissues, key=str)[0]
    samples = {t: s for t, s in found.samples.items() if t is not lacking}
    profile = CalibrationProfile(methods=(Phantomless(form),))
    outcome = calibrate_findings(replace(found, samples=samples), acquired(), model, constants, profile)
    assert isinstance(outcome, Refusal)
    assert lacking.value in outcome.message


def test_two_point_forms_take_the_whole_of_what_their_tissues_say(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    """clinical notes 1.7: a fat reference 10 HU wrong moves 120 HU by -10 (1000 + 120) / (1000 + HU of fat)."""
    found = findings(model, constants, Beam(120.0, False, 25.0))
    fat_hu = float(found.samples[FAT].hu or 0.0)
    wrong = {**found.samples, FAT: Sample(FAT, fat_hu + 10.0, 1.0, 5000)}
    form = next(s for s in REFERENCE_SETS if s.method is CalibrationMethod.FAT_AIR)
    profile = CalibrationProfile(methods=(Phantomless(form),))
    c = calibrate_findings(replace(found, samples=wrong), acquired(), model, constants, profile)
    assert isinstance(c, Calibration)
    shift = c.gain * 120.0 + c.offset_hu - 120.0
    assert shift == pytest.approx(-10.0 * 1120.0 / (1000.0 + fat_hu + 10.0), rel=0.01)


def test_hu_alone_is_left_when_nothing_can_be_measured(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    nothing = ScanFindings(
        {t: Sample(t, None, 1.0, 0, "too little of it in view") for t in ReferenceTissue}, PatientSize(28.0, True)
    )
    outcome = calibrate_findings(nothing, acquired(), model, constants)
    assert isinstance(outcome, Calibration)
    assert outcome.method is CalibrationMethod.HU_ONLY
    assert not outcome.gives_density
    assert "attenuation-only" in [n.code for n in outcome.notices]
    assert [v.method for v in outcome.alternatives] == [CalibrationMethod.PHANTOMLESS]
