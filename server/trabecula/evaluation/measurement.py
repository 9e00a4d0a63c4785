"""The chain after segmentation, run with an anatomy that somebody hands in, and two such runs compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.anatomy import Anatomy, Level
from trabecula.bone.measure import measure_vertebrae
from trabecula.bone.vertebra import TrabecularRoi
from trabecula.calibration.calibrate import CalibrationModel, calibrate
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density import measure_density
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.composition.measure import measure_composition
from trabecula.evaluation.results import AreaPair, CompositionScore, Measured, RoiScore, ScanDifference
from trabecula.evaluation.volumes import LoadedCt
from trabecula.geometry import FloatArray, Geometry
from trabecula.outcome import Refusal
from trabecula.patient import PatientContext

_TISSUES: Final = ("muscle", "paraspinal_muscle", "imat", "sat", "vat")
_ROI_STEP_MM: Final = 0.5


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the chain makes of one anatomy."""

    vertebrae: Mapping[Level, VertebraResult]
    density: DensitySummary | None
    calibration: Calibration | None
    composition: Mapping[Level, CompositionAtLevel]
    refusal: Refusal | None


def measure(ct: LoadedCt, anatomy: Anatomy, model: CalibrationModel, constants: ClinicalConstants) -> Measurement:
    """Bone, calibration, density and composition as :func:`trabecula.screening.screen` runs them."""
    measured = measure_vertebrae(ct.volume, anatomy, constants)
    if isinstance(measured, Refusal):
        return Measurement({}, None, None, {}, measured)
    calibration = calibrate(ct.volume, anatomy, ct.acquisition, model, constants)
    if isinstance(calibration, Refusal):
        return Measurement({}, None, None, {}, calibration)
    vertebrae, density = measure_density(measured, calibration, constants)
    composition = measure_composition(ct.volume, anatomy, calibration, PatientContext(), constants)
    return Measurement(
        {each.level: each for each in vertebrae},
        density,
        calibration,
        {each.level: each for each in composition},
        None,
    )


def compare_vertebra(reference: VertebraResult | None, predicted: VertebraResult | None) -> Measured | None:
    """One vertebra measured twice; None when neither anatomy let it be measured."""
    if reference is None and predicted is None:
        return None
    hu = [None if each is None else each.hu_mean for each in (reference, predicted)]
    vbmd = [None if each is None else each.vbmd_mg_cm3 for each in (reference, predicted)]
    rois = [None if each is None else each.roi for each in (reference, predicted)]
    return Measured(
        hu_reference=hu[0],
        hu_predicted=hu[1],
        hu_difference=_difference(hu[1], hu[0]),
        vbmd_reference_mg_cm3=vbmd[0],
        vbmd_predicted_mg_cm3=vbmd[1],
        vbmd_difference_mg_cm3=_difference(vbmd[1], vbmd[0]),
        excluded_reference=_reasons(reference),
        excluded_predicted=_reasons(predicted),
        roi=None if rois[0] is None or rois[1] is None else compare_rois(rois[1], rois[0]),
    )


def compare_rois(predicted: TrabecularRoi, reference: TrabecularRoi) -> RoiScore:
    """Overlap of two elliptic cylinders, sampled every half millimetre, and how far their centres are apart."""
    centres = np.array([predicted.centre_lps_mm, reference.centre_lps_mm])
    reach = max(max(r.half_height_mm, r.half_depth_mm, r.half_width_mm) for r in (predicted, reference)) * np.sqrt(2)
    low, high = centres.min(axis=0) - reach, centres.max(axis=0) + reach
    axes = [np.arange(a, b, _ROI_STEP_MM) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    ours, theirs = inside_roi(predicted, points), inside_roi(reference, points)
    total = int(ours.sum()) + int(theirs.sum())
    offset = centres[0] - centres[1]
    return RoiScore(
        dice=2.0 * int((ours & theirs).sum()) / total if total else 1.0,
        superior_mm=float(offset @ np.asarray(reference.superior)),
        anterior_mm=float(offset @ np.asarray(reference.anterior)),
        left_mm=float(offset @ np.asarray(reference.left)),
    )


def inside_roi(roi: TrabecularRoi, points_mm: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which of (..., 3) LPS points lie in the region."""
    offset = points_mm - np.asarray(roi.centre_lps_mm)
    across = offset @ np.asarray(roi.left) / roi.half_width_mm
    along = offset @ np.asarray(roi.anterior) / roi.half_depth_mm
    up = offset @ np.asarray(roi.superior) / roi.half_height_mm
    return np.asarray((across**2 + along**2 <= 1) & (np.abs(up) <= 1))


def compare_scan(reference: Measurement, predicted: Measurement) -> ScanDifference:
    """The scan's means and calibration, predicted minus reference."""
    densities, calibrations = (reference.density, predicted.density), (reference.calibration, predicted.calibration)
    mean = [None if d is None else d.vbmd_mean_mg_cm3 for d in densities]
    lumbar = [None if d is None else d.lumbar_equivalent_mg_cm3 for d in densities]
    gain = [None if c is None else c.gain for c in calibrations]
    offset = [None if c is None else c.offset_hu for c in calibrations]
    return ScanDifference(*(_difference(pair[1], pair[0]) for pair in (mean, lumbar, gain, offset)))


def compare_composition(
    reference: Measurement, predicted: Measurement, geometry: Geometry
) -> tuple[CompositionScore, ...]:
    """Areas at every level, by name, that both anatomies let be measured."""
    out = []
    for level in sorted(set(reference.composition) & set(predicted.composition), key=lambda level: level.ordinal):
        theirs, ours = reference.composition[level], predicted.composition[level]
        distance = abs(ours.slice_index - theirs.slice_index) * geometry.spacing_mm[0]
        areas = tuple(_areas(tissue, theirs, ours) for tissue in _TISSUES)
        out.append(CompositionScore(level, distance, areas))
    return tuple(out)


def _areas(tissue: str, reference: CompositionAtLevel, predicted: CompositionAtLevel) -> AreaPair:
    theirs, ours = (getattr(each, f"{tissue}_area_cm2") for each in (reference, predicted))
    return AreaPair(tissue, theirs, ours, _difference(ours, theirs))


def _reasons(result: VertebraResult | None) -> tuple[str, ...]:
    return ("not-found",) if result is None else tuple(reason.value for reason in result.excluded)


def _difference(value: float | None, from_value: float | None) -> float | None:
    return None if value is None or from_value is None else value - from_value
