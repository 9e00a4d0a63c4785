"""QCT phantoms: certificates, the line through rods, rods found in a picture, and the synchronous method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trabecula.anatomy import Anatomy
from trabecula.calibration.calibrate import calibrate_findings
from trabecula.calibration.calibration import Calibration, CalibrationMethod, CorrectionName, DensityScale
from trabecula.calibration.certificates import (
    CertifiedRod,
    FitForm,
    PhantomCertificate,
    PhantomKind,
    example_certificate,
    example_certificates,
)
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.model import CalibrationModel
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.phantom_fit import RodMeasurement, fit_phantom
from trabecula.calibration.profile import CalibrationProfile
from trabecula.calibration.rods import FoundRods, find_rods
from trabecula.calibration.scale import scale_ratio
from trabecula.calibration.synchronous import SynchronousPhantom
from trabecula.clinical import ClinicalConstants
from trabecula.errors import SiteFileError
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Refusal

MINDWAYS = example_certificate(PhantomKind.MINDWAYS_MODEL_3_CT)
DISPLACEMENT, WATER_HU = 0.2174, 999.6


def rods_of(certificate: PhantomCertificate, slope: float, offset: float) -> tuple[RodMeasurement, ...]:
    """Rods as a scanner with this line shows them."""

    def hu(rod: CertifiedRod) -> float:
        if rod.water_equivalent_mg_cm3 is None:
            return slope * rod.density_mg_cm3 + offset
        # QCT PRO guide 5.0: HU - W = (slope + 0.2174) K + offset - 999.6
        return rod.water_equivalent_mg_cm3 + (slope + DISPLACEMENT) * rod.density_mg_cm3 + offset - WATER_HU

    return tuple(RodMeasurement(rod.name, hu(rod), 0.3) for rod in certificate.rods)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(certificate=st.sampled_from(example_certificates()), slope=st.floats(0.9, 2.2), offset=st.floats(-20.0, 20.0))
def test_the_line_of_a_perfect_phantom_is_found_again(
    constants: ClinicalConstants, certificate: PhantomCertificate, slope: float, offset: float
) -> None:
    fit = fit_phantom(certificate, rods_of(certificate, slope, offset), constants)
    assert fit.slope_hu_per_mg_cm3 == pytest.approx(slope, rel=1e-6)
    assert fit.offset_hu == pytest.approx(offset, abs=1e-5)
    assert fit.r_squared == pytest.approx(1.0)
    assert fit.scale is certificate.scale


def test_the_published_mindways_rods_give_the_published_form(constants: ClinicalConstants) -> None:
    """clinical notes 2.2: sigma_CT = sigma_ref - 0.2174, beta_CT = beta_ref + 999.6."""
    density = np.array([rod.density_mg_cm3 for rod in MINDWAYS.rods])
    water = np.array([rod.water_equivalent_mg_cm3 for rod in MINDWAYS.rods], float)
    shown = water - 998.0 + 1.61 * density + np.array([1.0, -2.0, 0.5, 1.5, -1.0])
    rods = tuple(RodMeasurement(rod.name, hu, 0.0) for rod, hu in zip(MINDWAYS.rods, shown, strict=True))
    sigma, beta = np.polyfit(density, shown - water, 1)
    fit = fit_phantom(MINDWAYS, rods, constants)
    assert fit.slope_hu_per_mg_cm3 == pytest.approx(sigma - 0.2174)
    assert fit.offset_hu == pytest.approx(beta + 999.6)


def test_two_rods_give_the_two_point_form_of_the_review(constants: ClinicalConstants) -> None:
    certificate = example_certificate(PhantomKind.SIEMENS_OSTEO)
    water_hu, bone_hu, trabecular_hu = 2.0, 268.0, 131.0
    rods = (RodMeasurement("water", water_hu, 1.0), RodMeasurement("bone", bone_hu, 1.0))
    expected = (trabecular_hu - water_hu) / (bone_hu - water_hu) * 200.0
    assert fit_phantom(certificate, rods, constants).density_mg_cm3(trabecular_hu) == pytest.approx(expected)


def test_there_are_specimens_of_all_kinds() -> None:
    assert {each.kind for each in example_certificates()} == set(PhantomKind)


@pytest.mark.parametrize(
    "change",
    [
        {"rods": MINDWAYS.rods[:1]},
        {"rods": (CertifiedRod("a", 1.0, 1000.0), CertifiedRod("b", 1.0, 1000.0))},
        {"rods": (CertifiedRod("a", 1.0), CertifiedRod("b", 9.0))},
        {"form": FitForm.TWO_POINT},
    ],
)
def test_a_certificate_that_gives_no_line_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SiteFileError):
        replace(MINDWAYS, **change)


def picture_with_rods(
    patient: Any, certificate: PhantomCertificate, values: dict[str, float], *, mirrored: bool = False
) -> tuple[CtVolume, Anatomy]:
    """The block patient on a finer grid row-wise, with a phantom of discs under the back."""
    volume, anatomy = patient.scan()
    hu = volume.hu.copy()
    j = (np.arange(hu.shape[1]) - (hu.shape[1] - 1) / 2)[:, None] * 2.0
    i = (np.arange(hu.shape[2]) - (hu.shape[2] - 1) / 2)[None, :] * 2.0
    row_mm, pitch, radius = 132.0, 34.0, 9.0
    hu[:, (np.abs(j - row_mm) < 13.0) & (np.abs(i) < 110.0)] = 15
    names = [rod.name for rod in certificate.rods]
    for n, name in enumerate(reversed(names) if mirrored else names):
        centre = (n - (len(names) - 1) / 2) * pitch
        hu[:, np.hypot(j - row_mm, i - centre) < radius] = round(values[name])
    rng = np.random.default_rng(3)
    noisy = np.round(hu + rng.normal(0.0, 8.0, hu.shape)).astype(np.int16)
    return CtVolume(noisy, volume.geometry), anatomy


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", [PhantomKind.MINDWAYS_MODEL_3_CT, PhantomKind.B_MAS_200, PhantomKind.QRM_BDC_3])
def test_rods_are_found_and_named_whichever_way_round_they_lie(
    patient: Any, constants: ClinicalConstants, kind: PhantomKind, mirrored: bool
) -> None:
    known = kind is not PhantomKind.QRM_BDC_3  # that one's size is for the program to find
    certificate = replace(
        example_certificate(kind), rod_radius_mm=9.0 if known else None, pitch_mm=34.0 if known else None
    )
    truth = {rod.name: rod.hu for rod in rods_of(certificate, 1.35, 8.0)}
    scan = picture_with_rods(patient.but(table=False), certificate, truth, mirrored=mirrored)
    found = find_rods(*scan, (certificate,), constants)
    assert found is not None
    assert {rod.name: rod.hu for rod in found.rods} == pytest.approx(truth, abs=2.5)


def test_no_rods_are_found_under_a_patient_without_a_phantom(patient: Any, constants: ClinicalConstants) -> None:
    assert find_rods(*patient.but(noise_hu=10.0).scan(), (MINDWAYS,), constants) is None


def with_rods(rods: FoundRods) -> ScanFindings:
    return ScanFindings({}, PatientSize(28.0, False), rods=rods)


ONLY = CalibrationProfile(methods=(SynchronousPhantom(),))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(slope=st.floats(1.1, 1.6), offset=st.floats(-15.0, 15.0), density=st.floats(20.0, 250.0))
def test_density_by_a_phantom_is_the_density_of_the_rods(
    model: CalibrationModel,
    constants: ClinicalConstants,
    acquired: Any,
    slope: float,
    offset: float,
    density: float,
) -> None:
    findings = with_rods(FoundRods(MINDWAYS, rods_of(MINDWAYS, slope, offset)))
    calibration = calibrate_findings(findings, acquired(), model, constants, ONLY)
    assert isinstance(calibration, Calibration)
    assert calibration.method is CalibrationMethod.SYNCHRONOUS_PHANTOM
    shown = slope * density + offset + calibration.marrow_correction_hu
    assert calibration.density_mg_cm3(shown) == pytest.approx(density, abs=0.01)
    assert "4541A" in calibration.model_name


def test_an_ha_phantom_is_brought_to_k2hpo4_as_a_step_that_says_so(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    certificate = example_certificate(PhantomKind.QRM_BDC_3)
    findings = with_rods(FoundRods(certificate, rods_of(certificate, 1.3, 0.0)))
    calibration = calibrate_findings(findings, acquired(), model, constants, ONLY)
    assert isinstance(calibration, Calibration)
    assert calibration.scale is DensityScale.K2HPO4
    ratio = scale_ratio(120.0, constants)
    shown = 1.3 * 100.0 + calibration.marrow_correction_hu
    assert calibration.density_mg_cm3(shown) == pytest.approx(100.0 * ratio.ratio)
    step = next(s for s in calibration.corrections if s.name is CorrectionName.SCALE)
    assert step.amount == pytest.approx(ratio.ratio)
    by_scale = 100.0 * ratio.standard_uncertainty
    assert calibration.standard_uncertainties_mg_cm3(shown)["slope"] > by_scale


def test_rods_off_the_line_are_no_calibration(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    rods = list(rods_of(MINDWAYS, 1.35, 0.0))

    def outcome(error: float) -> Calibration | Refusal:
        bad = (*rods[:4], replace(rods[4], hu=rods[4].hu - error))
        return calibrate_findings(with_rods(FoundRods(MINDWAYS, bad)), acquired(), model, constants, ONLY)

    poor = outcome(160.0)
    assert isinstance(poor, Calibration)
    assert "phantom-fit-poor" in [n.code for n in poor.notices]
    assert isinstance(outcome(420.0), Refusal)
