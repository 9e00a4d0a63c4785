"""The composition stage: muscle and fat in the axial slab through the middle of a vertebral body."""

from __future__ import annotations

import numpy as np

from trabecula.anatomy import Anatomy, Level, Structure
from trabecula.calibration.calibration import Calibration
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.composition.morphology import BoolPlane
from trabecula.composition.rules import TissueRules, composition_levels, tissue_rules
from trabecula.composition.tissue import Plane, Tissue, body_outline, slab_plane, tissue_map, tissue_of
from trabecula.composition.truncation import is_truncated
from trabecula.imaging.study import CtVolume
from trabecula.patient import PatientContext

__all__ = ["measure_composition", "tissue_map"]


def measure_composition(
    volume: CtVolume,
    anatomy: Anatomy,
    calibration: Calibration,
    patient: PatientContext,
    constants: ClinicalConstants,
) -> tuple[CompositionAtLevel, ...]:
    """Measure muscle and fat at T11, T12 and L1, where they are wholly in view.

    Areas are counts of :func:`tissue_map`; attenuation is that of the same slab after calibration.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    rules = tissue_rules(constants)
    found = []
    for level in composition_levels(constants):
        vertebra = anatomy.vertebra(level)
        if vertebra is None or not vertebra.complete:
            continue
        index = int(np.rint(volume.geometry.lps_to_index(vertebra.centroid_lps_mm)[0]))
        if not 0 <= index < volume.geometry.shape[0]:
            continue
        plane = slab_plane(volume, anatomy, index, rules, calibration)
        found.append(_at_level(level, index, plane, patient.height_m, rules))
    return tuple(found)


def _at_level(level: Level, index: int, plane: Plane, height_m: float | None, rules: TissueRules) -> CompositionAtLevel:
    body = body_outline(plane, rules)
    tissue = tissue_of(plane, rules, body)
    muscle = tissue == Tissue.MUSCLE
    paraspinal = muscle & (plane.labels == Structure.PARASPINAL_MUSCLE)
    muscle_area = _area(muscle, plane)
    sat, vat = _area(tissue == Tissue.SAT, plane), _area(tissue == Tissue.VAT, plane)
    return CompositionAtLevel(
        level=level,
        slice_index=index,
        muscle_area_cm2=muscle_area,
        muscle_attenuation_hu=_mean_hu(muscle, plane),
        paraspinal_muscle_area_cm2=_area(paraspinal, plane),
        paraspinal_muscle_attenuation_hu=_mean_hu(paraspinal, plane),
        imat_area_cm2=None if muscle_area is None else float((tissue == Tissue.IMAT).sum()) * plane.pixel_cm2,
        sat_area_cm2=sat,
        vat_area_cm2=vat,
        vat_sat_ratio=None if sat is None or vat is None else vat / sat,
        muscle_index_cm2_m2=None if muscle_area is None or not height_m else muscle_area / height_m**2,
        truncated=is_truncated(plane, body, rules),
    )


def _area(mask: BoolPlane, plane: Plane) -> float | None:
    """Area in cm2; None when nothing of the tissue was found, for then it was not measured."""
    count = int(mask.sum())
    return count * plane.pixel_cm2 if count else None


def _mean_hu(mask: BoolPlane, plane: Plane) -> float | None:
    return float(plane.hu[mask].mean()) if mask.any() else None
