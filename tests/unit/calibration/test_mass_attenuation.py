"""The mass-attenuation comparator: as published, labelled, and never taken unless asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trabecula.calibration.calibrate import calibrate_findings
from trabecula.calibration.calibration import Calibration, CalibrationMethod, ReferenceTissue
from trabecula.calibration.comparator import MassAttenuationModel, load_mass_attenuation
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.mass_attenuation import MassAttenuation
from trabecula.calibration.model import CalibrationModel
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.profile import CalibrationProfile
from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants
from trabecula.errors import ModelError
from trabecula.imaging.study import ContrastTag
from trabecula.outcome import Refusal
from trabecula.segmentation.settings import RuntimeSettings

AIR, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, CORTEX = ReferenceTissue
TYPICAL = {FAT: -100.0, AIR: -1000.0, BLOOD: 40.0, MUSCLE: 50.0, CORTEX: 1200.0}
ONLY = CalibrationProfile(methods=(MassAttenuation(),))


@pytest.fixture(scope="module")
def comparator(repository: Path) -> MassAttenuationModel:
    loaded = load_mass_attenuation(repository / "models", RuntimeSettings())
    assert loaded is not None
    return loaded


def found(**changes: float | None) -> ScanFindings:
    values = {**TYPICAL, **{ReferenceTissue(name.replace("_", "-")): hu for name, hu in changes.items()}}
    samples = {t: Sample(t, hu, 1.0, 5000) for t, hu in values.items() if hu is not None}
    return ScanFindings(samples, PatientSize(28.0, False))


def test_it_reads_as_the_published_program_does(comparator: MassAttenuationModel) -> None:
    """clinical notes 1.3: 98 keV, and 36, 61, 88, 118, 149 mg/cm3 at 0 to 200 HU (tables interpolated linearly)."""
    curve = comparator.curve(TYPICAL)
    assert curve.energy_kev == pytest.approx(98.0, abs=1.0)
    for hu, published in ((0.0, 36.0), (50.0, 61.0), (100.0, 88.0), (150.0, 118.0), (200.0, 149.0)):
        read = curve.constant_mg_cm3 + curve.linear_mg_cm3_per_hu * hu + curve.quadratic_mg_cm3_per_hu2 * hu**2
        assert read == pytest.approx(published, abs=2.5)


def test_the_cortical_sample_moves_it_as_published(comparator: MassAttenuationModel) -> None:
    """clinical notes 1.3: bone at 1450 instead of 1200 HU moves 100 HU by 8 mg/cm3."""

    def at_100(bone_hu: float) -> float:
        curve = comparator.curve({**TYPICAL, CORTEX: bone_hu})
        return curve.constant_mg_cm3 + curve.linear_mg_cm3_per_hu * 100 + curve.quadratic_mg_cm3_per_hu2 * 100**2

    assert abs(at_100(1450.0) - at_100(1200.0)) == pytest.approx(8.0, abs=3.0)


def test_two_tissues_are_too_few(comparator: MassAttenuationModel) -> None:
    with pytest.raises(ModelError):
        comparator.curve({FAT: -100.0, AIR: -1000.0})


def test_its_density_is_its_curve_and_its_label_says_what_it_is(
    model: CalibrationModel, comparator: MassAttenuationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    calibration = calibrate_findings(found(), acquired(), model, constants, ONLY)
    assert isinstance(calibration, Calibration)
    assert calibration.method is CalibrationMethod.MASS_ATTENUATION
    curve = comparator.curve(TYPICAL)
    for hu in (0.0, 100.0, 240.0):
        expected = curve.constant_mg_cm3 + curve.linear_mg_cm3_per_hu * hu + curve.quadratic_mg_cm3_per_hu2 * hu**2
        assert calibration.density_mg_cm3(hu) == pytest.approx(expected)
    assert "comparator-not-on-phantom-scale" in [n.code for n in calibration.notices]
    assert calibration.density_standard_uncertainty_mg_cm3(100.0) >= 13.0


def test_enhanced_blood_is_left_out_and_too_few_tissues_are_refused(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    enhanced = acquired(contrast=ContrastTag.GIVEN)
    calibration = calibrate_findings(found(aortic_blood=160.0), enhanced, model, constants, ONLY)
    assert isinstance(calibration, Calibration)
    assert BLOOD not in {r.tissue for r in calibration.references}
    few = found(aortic_blood=160.0, cortical_bone=None, paraspinal_muscle=None)
    assert isinstance(calibrate_findings(few, enhanced, model, constants, ONLY), Refusal)
