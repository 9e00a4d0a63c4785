"""Calibration of a whole scan: errors of the scanner are found, bad references do no harm, doubts widen the error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trabecula.anatomy import Structure
from trabecula.calibration.calibrate import calibrate, calibrate_samples
from trabecula.calibration.calibration import Calibration, CalibrationMethod, DensityScale, ReferenceTissue
from trabecula.calibration.model import Beam, CalibrationModel
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import ContrastTag, SpectralFilter
from trabecula.outcome import Refusal, RefusalCode

AIR, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, CORTEX = ReferenceTissue
BEAMS = [(80.0, False), (100.0, False), (120.0, False), (140.0, False), (100.0, True), (150.0, True)]


def nominal_samples(
    model: CalibrationModel, constants: ClinicalConstants, beam: Beam, gain: float = 1.0, offset_hu: float = 0.0
) -> dict[ReferenceTissue, Sample]:
    """Tissues exactly at their nominal HU in this beam, as a scanner with this error shows them."""
    shift = model.spectrum(beam, 0.0).tissue_hu
    true = {AIR: -1000.0}
    for tissue in (FAT, MUSCLE, BLOOD):
        row = constants.row(f"calibration.reference.{tissue.value.replace('-', '_')}")
        true[tissue] = row.number("nominal_hu") + shift[tissue] - model.anchor.tissue_hu[tissue]
    return {t: Sample(t, (hu - offset_hu) / gain, 1.0, 5000) for t, hu in true.items()}


def calibrated(outcome: Calibration | Refusal) -> Calibration:
    assert isinstance(outcome, Calibration), outcome
    return outcome


def at(calibration: Calibration, hu: float) -> float:
    return calibration.gain * hu + calibration.offset_hu


def uncertainty_at(calibration: Calibration, hu: float) -> float:
    c = calibration
    return float((c.gain_variance * hu**2 + 2 * c.gain_offset_covariance_hu * hu + c.offset_variance_hu2) ** 0.5)


@settings(deadline=None, max_examples=40)
@given(beam=st.sampled_from(BEAMS), cm=st.floats(18.0, 42.0))
def test_a_perfect_scanner_is_left_alone_in_any_beam_and_size(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, beam: tuple[float, bool], cm: float
) -> None:
    kvp, tin = beam
    spectral_filter = SpectralFilter.TIN if tin else SpectralFilter.NONE
    samples = nominal_samples(model, constants, Beam(kvp, tin, cm))
    acquisition = acquired(kvp=kvp, spectral_filter=spectral_filter)
    c = calibrated(calibrate_samples(samples, PatientSize(cm, False), acquisition, model, constants))
    assert c.gain == pytest.approx(1.0, abs=1e-9)
    assert c.offset_hu == pytest.approx(0.0, abs=1e-6)
    assert all(r.used for r in c.references)
    assert (c.method, c.scale) == (CalibrationMethod.PHANTOMLESS, DensityScale.K2HPO4)


@settings(deadline=None, max_examples=40)
@given(gain=st.floats(0.985, 1.015), offset_hu=st.floats(-8.0, 8.0))
def test_most_of_a_scanner_error_is_taken_out(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, gain: float, offset_hu: float
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 28), gain, offset_hu)
    c = calibrated(calibrate_samples(samples, PatientSize(28.0, False), acquired(), model, constants))
    true_hu = 130.0
    shown = (true_hu - offset_hu) / gain
    left = abs(at(c, shown) - true_hu)
    assert left <= 0.6 * (abs(gain - 1.0) * 130.0 + abs(offset_hu)) + 0.05
    assert left <= 2.0 * uncertainty_at(c, shown)


@pytest.mark.parametrize("water_hu", [-20.0, -12.0, 10.0, 14.0, 20.0])
def test_a_scanner_far_out_of_specification_is_followed_where_tissues_agree(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, water_hu: float
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 25), 1.0, -water_hu)
    samples |= {SPLEEN: Sample(SPLEEN, 49.0 + water_hu, 1.0, 5000), AIR: Sample(AIR, -1000.0, 1.0, 5000)}
    c = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(), model, constants))
    left = at(c, 130.0 + water_hu) - 130.0
    assert abs(left) < 0.4 * abs(water_hu)
    assert abs(left) < 1.96 * uncertainty_at(c, 130.0 + water_hu)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    gain=st.floats(0.99, 1.01), offset_hu=st.floats(-5.0, 5.0), width=st.floats(125.0, 190.0), seed=st.integers(0, 99)
)
def test_scanner_error_is_taken_out_of_a_picture(
    patient: Any,
    model: CalibrationModel,
    constants: ClinicalConstants,
    acquired: Any,
    gain: float,
    offset_hu: float,
    width: float,
    seed: int,
) -> None:
    scan = patient.but(gain=gain, offset_hu=offset_hu, half_width_mm=width, noise_hu=12.0, seed=seed).scan()
    c = calibrated(calibrate(*scan, acquired(), model, constants))
    shown = (140.0 - offset_hu) / gain
    assert abs(at(c, shown) - 140.0) <= 0.6 * (abs(gain - 1.0) * 140.0 + abs(offset_hu)) + 1.5


def test_a_reference_far_off_is_rejected_with_its_reason(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 25))
    samples[MUSCLE] = Sample(MUSCLE, 0.0, 1.0, 900)
    c = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(), model, constants))
    muscle = next(r for r in c.references if r.tissue is MUSCLE)
    assert not muscle.used
    assert "implausible" in str(muscle.rejected_because)
    assert c.offset_hu == pytest.approx(0.0, abs=1e-6)


def test_a_reference_that_the_others_contradict_is_rejected(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 25))
    samples[BLOOD] = Sample(BLOOD, float(samples[BLOOD].hu or 0.0) + 18.5, 1.0, 900)
    c = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(), model, constants))
    because = {r.tissue: r.rejected_because for r in c.references}
    assert because == {AIR: None, FAT: None, MUSCLE: None, BLOOD: "does not agree with the other references"}


@settings(deadline=None, max_examples=40)
@given(error=st.floats(-22.0, 22.0), tissue=st.sampled_from([FAT, MUSCLE, BLOOD]))
def test_one_bad_reference_moves_bone_by_far_less_than_its_own_error(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, error: float, tissue: ReferenceTissue
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 25))
    samples[tissue] = Sample(tissue, float(samples[tissue].hu or 0.0) + error, 1.0, 900)
    c = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(), model, constants))
    assert abs(at(c, 130.0) - 130.0) <= 0.4 * abs(error) + 0.01


def test_with_poor_references_the_scanner_line_holds(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    nothing = {t: Sample(t, None, 1.0, 0, "too little of it in view") for t in ReferenceTissue}
    samples = nothing | {AIR: Sample(AIR, -995.0, 1.0, 9000)}
    c = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(), model, constants))
    assert at(c, 0.0) == pytest.approx(0.0, abs=1.0)
    assert "calibration-on-air-alone" in [n.code for n in c.notices]
    everything = nominal_samples(model, constants, Beam(120, False, 25))
    better = calibrated(calibrate_samples(everything, PatientSize(25.0, False), acquired(), model, constants))
    assert uncertainty_at(c, 130.0) > 1.2 * uncertainty_at(better, 130.0)


def test_with_every_reference_rejected_the_study_is_refused(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    wild = {t: Sample(t, 300.0, 1.0, 900) for t in ReferenceTissue}
    outcome = calibrate_samples(wild, PatientSize(25.0, False), acquired(), model, constants)
    assert isinstance(outcome, Refusal)
    assert outcome.code is RefusalCode.CALIBRATION_REFERENCES_REJECTED


def test_a_scan_without_a_body_is_refused(
    patient: Any, model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    volume, anatomy = patient.scan()
    anatomy.labels[:] = Structure.OUTSIDE
    outcome = calibrate(volume, anatomy, acquired(), model, constants)
    assert isinstance(outcome, Refusal)


def test_enhanced_blood_is_no_reference_and_bone_is_corrected(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    def run(kvp: float) -> Calibration:
        samples = nominal_samples(model, constants, Beam(kvp, False, 25))
        samples[BLOOD] = Sample(BLOOD, 160.0, 1.0, 2000)
        acquisition = acquired(kvp=kvp, contrast=ContrastTag.GIVEN)
        return calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquisition, model, constants))

    c = run(120.0)
    assert c.contrast_enhanced
    assert c.contrast_correction_hu == pytest.approx(22.5)
    assert c.contrast_standard_uncertainty_hu / c.slope_hu_per_mg_cm3 >= 7.5
    blood = next(r for r in c.references if r.tissue is BLOOD)
    muscle = next(r for r in c.references if r.tissue is MUSCLE)
    assert muscle.hu_nominal == pytest.approx(46.0 + 10.0)
    assert not blood.used
    assert "contrast" in str(blood.rejected_because)
    assert run(80.0).contrast_correction_hu == pytest.approx(22.5 * 42.12 / 26.43, rel=0.01)


def test_a_missing_tube_voltage_is_said_and_widens_the_slope(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 25))
    known = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(), model, constants))
    unknown = calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(kvp=None), model, constants))
    assert unknown.slope_hu_per_mg_cm3 == known.slope_hu_per_mg_cm3
    assert unknown.slope_standard_uncertainty > 1.5 * known.slope_standard_uncertainty
    assert uncertainty_at(unknown, 130.0) > uncertainty_at(known, 130.0)
    assert "tube-voltage-unknown" in [n.code for n in unknown.notices]
    assert "tube-voltage-unknown" not in [n.code for n in known.notices]


@pytest.mark.parametrize(
    ("kvp", "spectral_filter", "refused"),
    [
        (None, SpectralFilter.TIN, True),
        (150.0, SpectralFilter.UNKNOWN, True),
        (60.0, SpectralFilter.NONE, True),
        (150.0, SpectralFilter.TIN, False),
        (100.0, SpectralFilter.UNKNOWN, False),
        (None, SpectralFilter.UNKNOWN, False),
    ],
)
def test_a_spectrum_that_cannot_be_told_is_refused(
    model: CalibrationModel,
    constants: ClinicalConstants,
    acquired: Any,
    kvp: float | None,
    spectral_filter: SpectralFilter,
    refused: bool,
) -> None:
    samples = nominal_samples(model, constants, Beam(kvp or 120, spectral_filter is SpectralFilter.TIN, 25))
    acquisition = acquired(kvp=kvp, spectral_filter=spectral_filter)
    outcome = calibrate_samples(samples, PatientSize(25.0, False), acquisition, model, constants)
    assert isinstance(outcome, Refusal) == refused
    if isinstance(outcome, Refusal):
        assert outcome.code is RefusalCode.SPECTRUM_UNKNOWN
    else:
        said = "filter-unknown" in [n.code for n in outcome.notices]
        assert said == (spectral_filter is SpectralFilter.UNKNOWN)


def test_a_cut_body_and_an_odd_size_are_said(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    samples = nominal_samples(model, constants, Beam(120, False, 45))
    c = calibrated(calibrate_samples(samples, PatientSize(50.0, True), acquired(), model, constants))
    assert {"body-truncated", "size-outside-table"} <= {n.code for n in c.notices}


def test_marrow_needs_no_correction_in_the_beam_that_defines_density(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    def run(kvp: float) -> Calibration:
        samples = nominal_samples(model, constants, Beam(kvp, False, 25))
        return calibrated(calibrate_samples(samples, PatientSize(25.0, False), acquired(kvp=kvp), model, constants))

    assert run(120.0).marrow_correction_hu == pytest.approx(0.0, abs=1e-9)
    assert (run(120.0).to_120kvp_gain, run(120.0).to_120kvp_offset_hu) == pytest.approx((1.0, 0.0))
    assert abs(run(80.0).marrow_correction_hu) < 3.0  # two models that bracket zero
    assert run(80.0).marrow_standard_uncertainty_hu > 4.0
    assert run(80.0).to_120kvp_gain == pytest.approx(1.0 / 1.355, rel=0.01)
