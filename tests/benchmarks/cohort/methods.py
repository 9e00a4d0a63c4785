"""Calibration methods as the server offers them, each run on the simulated patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cohort.simulate import Exam

from trabecula.anatomy import Level
from trabecula.bone.vertebra import VertebraMeasurement
from trabecula.calibration.calibrate import CalibrationModel, calibrate_findings, load_calibration
from trabecula.calibration.calibration import Calibration, CorrectionName, ReferenceTissue
from trabecula.calibration.density import measure_density
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.organs import Organ, OrganSample
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.phantomless import Phantomless
from trabecula.calibration.profile import DEFAULT_PROFILE, CalibrationProfile
from trabecula.calibration.reference_sets import AIR_BLOOD, FAT_AIR, FAT_BLOOD_BONE, MUSCLE_ONLY
from trabecula.calibration.samples import Sample
from trabecula.calibration.site import SiteCorrections
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.imaging.study import Acquisition, ContrastTag, KernelClass, SpectralFilter
from trabecula.segmentation.settings import RuntimeSettings

_SAMPLES: Final[Mapping[str, ReferenceTissue]] = {
    "air": ReferenceTissue.OUTSIDE_AIR,
    "fat": ReferenceTissue.SUBCUTANEOUS_FAT,
    "muscle": ReferenceTissue.PARASPINAL_MUSCLE,
    "blood": ReferenceTissue.AORTIC_BLOOD,
    "liver": ReferenceTissue.LIVER,
    "spleen": ReferenceTissue.SPLEEN,
    "cortex": ReferenceTissue.CORTICAL_BONE,
}
_ORGANS: Final = {"cava": Organ.CAVA, "liver": Organ.LIVER, "spleen": Organ.SPLEEN, "kidney": Organ.KIDNEY}
_SMALLEST_ERROR_HU: Final = 1.0
_VOXELS: Final = 5000


@dataclass(frozen=True)
class Estimate:
    """One density. ``standard_uncertainty`` is None for methods that state none."""

    vbmd_mg_cm3: float
    standard_uncertainty: float | None


@dataclass(frozen=True)
class Refused:
    because: str


Answer = Estimate | Refused


@dataclass(frozen=True)
class Tools:
    """What the calibration stage needs besides the scan."""

    model: CalibrationModel
    constants: ClinicalConstants


def load_tools(repository: Path) -> Tools:
    return Tools(load_calibration(repository / "models", RuntimeSettings()), load_constants())


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    name: str
    title: str
    source: str
    published: bool
    """A phantomless method from the literature that the default is held against."""
    estimate: Callable[[Exam, Tools], Answer]


def findings_of(exam: Exam) -> ScanFindings:
    """What the calibration stage would have measured in this scan."""
    hu, errors = exam.tissue_hu, exam.tissue_standard_error_hu
    samples = {
        tissue: Sample(tissue, hu[name], math.hypot(_SMALLEST_ERROR_HU, errors[name]), _VOXELS)
        for name, tissue in _SAMPLES.items()
    }
    technique = exam.patient.technique
    return ScanFindings(
        samples=samples,
        size=PatientSize(exam.diameter_cm, technique.cut_field),
        organs={organ: OrganSample(organ, hu[name], _VOXELS) for name, organ in _ORGANS.items()},
        noise_hu=technique.noise_hu,
    )


def acquisition_of(exam: Exam) -> Acquisition:
    """The header of this scan."""
    t = exam.patient.technique
    return Acquisition(
        kvp=t.beam.kvp if t.header_has_kvp else None,
        spectral_filter=SpectralFilter.TIN if t.beam.tin else SpectralFilter.NONE,
        kernel=None,
        kernel_class=KernelClass(t.kernel),
        slice_thickness_mm=t.slice_mm,
        slice_spacing_mm=t.slice_mm,
        pixel_spacing_mm=(0.7, 0.7),
        reconstruction_diameter_mm=360.0,
        contrast=ContrastTag(t.header_on_contrast),
        exposure_mas=None,
        ctdi_vol_mgy=None,
        manufacturer=None,
        model=None,
        station_hash=f"scanner-{t.beam.tube.name}-{exam.patient.number}",
        acquired_at="2026-06-15T10:00:00",
    )


def bone_of(exam: Exam, hu: float | None = None) -> VertebraMeasurement:
    """The vertebra as the bone stage would have measured it."""
    return VertebraMeasurement(
        level=Level.L1,
        level_confidence=0.99,
        hu_mean=exam.bone_hu if hu is None else hu,
        hu_sd=30.0,
        hu_standard_error=exam.bone_standard_error_hu,
        roi_voxels=4000,
        roi=None,
        height_anterior_mm=24.0,
        height_middle_mm=24.0,
        height_posterior_mm=25.0,
        excluded=(),
    )


def by_profile(profile: CalibrationProfile) -> Callable[[Exam, Tools], Answer]:
    """A method of the server through its own calibration and density stages."""

    def estimate(exam: Exam, tools: Tools) -> Answer:
        calibration = calibrate_findings(findings_of(exam), acquisition_of(exam), tools.model, tools.constants, profile)
        return density_of(calibration, bone_of(exam), tools)

    return estimate


def density_of(calibration: object, bone: VertebraMeasurement, tools: Tools) -> Answer:
    if not isinstance(calibration, Calibration):
        return Refused(str(getattr(calibration, "message", calibration)))
    (result,), _ = measure_density([bone], calibration, tools.constants)
    if result.vbmd_mg_cm3 is None:
        return Refused("no density by this method")
    return Estimate(result.vbmd_mg_cm3, result.vbmd_standard_uncertainty_mg_cm3)


def without(*names: CorrectionName) -> CalibrationProfile:
    """The default with some corrections switched off."""
    return replace(DEFAULT_PROFILE, site=SiteCorrections(without=frozenset(names)))


def _fixed_line(exam: Exam, tools: Tools) -> Answer:
    return Estimate(exam.bone_hu / tools.model.anchor.slope_hu_per_mg_cm3, None)


def _only(references: Phantomless) -> CalibrationProfile:
    return CalibrationProfile(methods=(references,))


METHODS: Final = (
    Method("phantomless", "phantomless, all references (default)", "this project", False, by_profile(DEFAULT_PROFILE)),
    Method(
        "fat-air", "fat and air", "Bunkerhill BMD (K242295), VirtuOst (K220402), Lee 2017", True,
        by_profile(_only(Phantomless(FAT_AIR))),
    ),
    Method(
        "air-blood", "air and blood", "Bartenschlager 2023, Lee 2017", True, by_profile(_only(Phantomless(AIR_BLOOD)))
    ),
    Method(
        "fat-blood-bone", "fat, blood and cortical bone", "Bartenschlager 2023", True,
        by_profile(_only(Phantomless(FAT_BLOOD_BONE))),
    ),
    Method("muscle-only", "muscle only", "the review", True, by_profile(_only(Phantomless(MUSCLE_ONLY)))),
    Method("fixed-line", "one line for all scans (120 kVp)", "AAPM 2026 abstract 2954", True, _fixed_line),
)  # fmt: skip
DEFAULT: Final = METHODS[0]
