"""Calibration methods as the server offers them, each run on the simulated scans."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from cohort.exams import Exam
from cohort.phantom_scans import CERTIFICATE, WATER_BODY_CM

from trabecula.anatomy import Level
from trabecula.bone.vertebra import VertebraMeasurement
from trabecula.calibration.asynchronous import Asynchronous
from trabecula.calibration.calibrate import CalibrationModel, calibrate_findings, load_calibration
from trabecula.calibration.calibration import Calibration, CorrectionName, ReferenceTissue
from trabecula.calibration.certificates import PhantomCertificate, example_certificates
from trabecula.calibration.density import measure_density
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.hu_only import HuOnly
from trabecula.calibration.mass_attenuation import MassAttenuation
from trabecula.calibration.organs import Organ, OrganSample
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.phantom_fit import RodMeasurement, fit_phantom
from trabecula.calibration.phantomless import Phantomless
from trabecula.calibration.profile import DEFAULT_PROFILE, CalibrationProfile
from trabecula.calibration.reference_sets import AIR_BLOOD, FAT_AIR, FAT_BLOOD_BONE, MUSCLE_ONLY
from trabecula.calibration.rods import FoundRods
from trabecula.calibration.samples import Sample
from trabecula.calibration.scanner_history import PhantomScan, ScannerHistory, ScannerKey
from trabecula.calibration.site import SiteCorrections
from trabecula.calibration.synchronous import SynchronousPhantom
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.imaging.study import Acquisition, ContrastTag, KernelClass, SpectralFilter
from trabecula.outcome import Refusal
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
_DAY: Final = date(2026, 6, 15)
_CUT_UNCERTAINTY_CM: Final = 1.0


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


def findings_of(exam: Exam) -> ScanFindings:
    """What the calibration stage would have measured in this scan."""
    hu, errors = exam.tissue_hu, exam.tissue_standard_error_hu
    samples = {
        tissue: Sample(tissue, hu[name], math.hypot(_SMALLEST_ERROR_HU, errors[name]), _VOXELS)
        for name, tissue in _SAMPLES.items()
    }
    spread_cm = _CUT_UNCERTAINTY_CM if exam.cut_field else 0.0
    return ScanFindings(
        samples=samples,
        size=PatientSize(exam.diameter_cm, exam.cut_field, standard_uncertainty_cm=spread_cm),
        organs={organ: OrganSample(organ, hu[name], _VOXELS) for name, organ in _ORGANS.items()},
        noise_hu=exam.noise_hu,
    )


def acquisition_of(exam: Exam) -> Acquisition:
    """The header of this scan."""
    return Acquisition(
        kvp=exam.kvp if exam.header_has_kvp else None,
        spectral_filter=SpectralFilter.TIN if exam.tin else SpectralFilter.NONE,
        kernel=None,
        kernel_class=KernelClass(exam.kernel),
        slice_thickness_mm=exam.slice_mm,
        slice_spacing_mm=exam.slice_mm,
        pixel_spacing_mm=(0.7, 0.7),
        reconstruction_diameter_mm=360.0,
        contrast=ContrastTag(exam.header_on_contrast),
        exposure_mas=None,
        ctdi_vol_mgy=None,
        manufacturer=None,
        model=None,
        station_hash="simulated",
        acquired_at=_DAY.isoformat(),
    )


def bone_of(exam: Exam, hu: float) -> VertebraMeasurement:
    """The vertebra as the bone stage would have measured it."""
    return VertebraMeasurement(
        level=Level.L1,
        level_confidence=0.99,
        hu_mean=hu,
        hu_sd=30.0,
        hu_standard_error=exam.bone_standard_error_hu,
        roi_voxels=4000,
        roi=None,
        height_anterior_mm=24.0,
        height_middle_mm=24.0,
        height_posterior_mm=25.0,
        excluded=(),
    )


def calibration_of(
    exam: Exam, tools: Tools, profile: CalibrationProfile, findings: ScanFindings | None = None
) -> Calibration | Refusal:
    return calibrate_findings(
        findings or findings_of(exam), acquisition_of(exam), tools.model, tools.constants, profile
    )


def density_of(calibration: Calibration | Refusal, bone: VertebraMeasurement, tools: Tools) -> Answer:
    """The answer of calibration and density stage together."""
    if isinstance(calibration, Refusal):
        return Refused(calibration.message)
    (result,), _ = measure_density([bone], calibration, tools.constants)
    if result.vbmd_mg_cm3 is None:
        return Refused("no density by this method")
    return Estimate(result.vbmd_mg_cm3, result.vbmd_standard_uncertainty_mg_cm3)


def by_profile(profile: CalibrationProfile) -> Callable[[Exam, Tools], Answer]:
    """A phantomless method of the server."""

    def estimate(exam: Exam, tools: Tools) -> Answer:
        return density_of(calibration_of(exam, tools, profile), bone_of(exam, exam.bone_hu), tools)

    return estimate


def without(*names: CorrectionName) -> CalibrationProfile:
    """The default with some corrections switched off."""
    return replace(DEFAULT_PROFILE, site=SiteCorrections(without=frozenset(names)))


def _only(references: Phantomless) -> Callable[[Exam, Tools], Answer]:
    return by_profile(CalibrationProfile(methods=(references,)))


def _certificate() -> PhantomCertificate:
    return next(c for c in example_certificates() if c.serial == CERTIFICATE)


def _rods(hu: Mapping[str, float], exam: Exam) -> tuple[RodMeasurement, ...]:
    certificate = _certificate()
    return tuple(RodMeasurement(rod.name, hu[rod.name], exam.rod_standard_error_hu) for rod in certificate.rods)


def _synchronous(exam: Exam, tools: Tools) -> Answer:
    if exam.with_rods is None:
        return Refused("no phantom in the scan")
    certificate = _certificate()
    findings = replace(findings_of(exam), rods=FoundRods(certificate, _rods(exam.with_rods, exam)))
    profile = CalibrationProfile(methods=(SynchronousPhantom(),))
    calibration = calibration_of(exam, tools, profile, findings)
    return density_of(calibration, bone_of(exam, exam.with_rods["bone"]), tools)


def _asynchronous(exam: Exam, tools: Tools) -> Answer:
    key = ScannerKey.of(acquisition_of(exam))
    if exam.phantom_alone is None or key is None:
        return Refused("the header does not name the tube voltage")
    fit = fit_phantom(_certificate(), _rods(exam.phantom_alone, exam), tools.constants)
    day = _DAY - timedelta(days=exam.days_since_phantom_scan)
    history = ScannerHistory(scans=(PhantomScan(key, day, fit, WATER_BODY_CM),))
    profile = CalibrationProfile(methods=(Asynchronous(history),))
    return density_of(calibration_of(exam, tools, profile), bone_of(exam, exam.bone_hu), tools)


def _fixed_line(exam: Exam, tools: Tools) -> Answer:
    """Not in the server: what is done where nothing is calibrated."""
    return Estimate(exam.bone_hu / tools.model.anchor.slope_hu_per_mg_cm3, None)


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    name: str
    title: str
    source: str
    estimate: Callable[[Exam, Tools], Answer]
    published_phantomless: bool = False
    """From the literature; the default is held against it."""


METHODS: Final[Sequence[Method]] = (
    Method("phantomless", "phantomless, all references (the default)", "this project", by_profile(DEFAULT_PROFILE)),
    Method("fat-air", "fat and air", "Lee 2017, K220402, K242295", _only(Phantomless(FAT_AIR)), True),
    Method("air-blood", "air and blood", "Bartenschlager 2023, Lee 2017", _only(Phantomless(AIR_BLOOD)), True),
    Method(
        "fat-blood-bone", "fat, blood, cortical bone", "Bartenschlager 2023", _only(Phantomless(FAT_BLOOD_BONE)), True
    ),
    Method("muscle-only", "muscle only", "He 2026 (review)", _only(Phantomless(MUSCLE_ONLY)), True),
    Method(
        "mass-attenuation",
        "mass attenuation, as published",
        "Michalski 2020",
        by_profile(CalibrationProfile(methods=(MassAttenuation(),))),
        True,
    ),
    Method("fixed-line", "one 120 kVp line for every scan", "AAPM 2026, 2954", _fixed_line, True),
    Method("synchronous", "synchronous phantom", "Mindways Model 3", _synchronous),
    Method("asynchronous", "asynchronous phantom", "Wang 2017", _asynchronous),
)
DEFAULT: Final = METHODS[0]


def answers(method: Method, exams: Sequence[Exam], tools: Tools) -> list[Answer]:
    return [method.estimate(exam, tools) for exam in exams]


def hu_only(exam: Exam, tools: Tools) -> float | None:
    """Attenuation brought to 120 kVp: what the pre-screen reads."""
    calibration = calibration_of(exam, tools, CalibrationProfile(methods=(HuOnly(),)))
    if isinstance(calibration, Refusal):
        return None
    _, summary = measure_density([bone_of(exam, exam.bone_hu)], calibration, tools.constants)
    return summary.hu_mean_120kvp
