"""How far an assessment can be trusted, and why not further."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import Confidence
from trabecula.calibration.calibration import Calibration, CalibrationMethod
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import Acquisition, KernelClass

_Reasons = list[tuple[Confidence, str]]


def confidence(
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    composition: Sequence[CompositionAtLevel],
    calibration: Calibration,
    acquisition: Acquisition,
    constants: ClinicalConstants,
) -> tuple[Confidence, tuple[str, ...]]:
    """The lowest confidence that any fact asks for, with every fact that lowers it.

    Raises:
        ClinicalDataError: if a limit is missing in the data file.
    """
    reasons = [
        *_of_levels(density, vertebrae, constants),
        *_of_calibration(density, calibration, constants),
        *_of_acquisition(acquisition, composition, constants),
    ]
    order = (Confidence.LOW, Confidence.MODERATE, Confidence.HIGH)
    lowest = min((grade for grade, _ in reasons), key=order.index, default=Confidence.HIGH)
    return lowest, tuple(text for _, text in reasons)


def _of_levels(density: DensitySummary, vertebrae: Sequence[VertebraResult], constants: ClinicalConstants) -> _Reasons:
    if not density.levels_used:
        return [(Confidence.LOW, "no vertebra could be used")]
    reasons: _Reasons = []
    surest = min(v.level_confidence for v in vertebrae if v.level in density.levels_used)
    if surest < constants.number("assessment.confidence.level_low"):
        reasons.append((Confidence.LOW, f"the naming of vertebral levels is not sure ({surest:.0%})"))
    elif surest < constants.number("assessment.confidence.level_high"):
        reasons.append((Confidence.MODERATE, f"the naming of vertebral levels is fairly sure ({surest:.0%})"))
    if len(density.levels_used) == 1:
        reasons.append((Confidence.MODERATE, "only one vertebra could be used"))
    return reasons


def _of_calibration(density: DensitySummary, calibration: Calibration, constants: ClinicalConstants) -> _Reasons:
    reasons: _Reasons = []
    if calibration.method is CalibrationMethod.HU_ONLY:
        reasons.append((Confidence.LOW, "attenuation could not be calibrated"))
    used = sum(reference.used for reference in calibration.references)
    if calibration.method is CalibrationMethod.PHANTOMLESS and used < constants.number(
        "assessment.confidence.min_references"
    ):
        reasons.append((Confidence.LOW, f"only {used} reference tissues could be used"))
    uncertainty = density.lumbar_equivalent_standard_uncertainty_mg_cm3
    if uncertainty is not None and uncertainty > constants.number("assessment.confidence.max_uncertainty"):
        reasons.append((Confidence.LOW, f"the density's standard uncertainty is {uncertainty:.0f} mg/cm3"))
    if calibration.contrast_enhanced:
        reasons.append((Confidence.MODERATE, "contrast medium was given; the correction is a mean over patients"))
    return reasons


def _of_acquisition(
    acquisition: Acquisition, composition: Sequence[CompositionAtLevel], constants: ClinicalConstants
) -> _Reasons:
    reasons: _Reasons = []
    if acquisition.kernel_class is KernelClass.SHARP:
        reasons.append((Confidence.MODERATE, "the series was made with a sharp kernel"))
    thickness = acquisition.slice_thickness_mm
    if thickness is not None and thickness > constants.number("assessment.confidence.max_slice"):
        reasons.append((Confidence.MODERATE, f"slices are {thickness:g} mm thick"))
    if any(level.truncated for level in composition):
        reasons.append((Confidence.MODERATE, "the body reaches past the field of view"))
    return reasons
