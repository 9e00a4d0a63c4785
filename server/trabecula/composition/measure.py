"""The composition stage: muscle and fat in the axial slab through the middle of a vertebral body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trabecula.anatomy import Anatomy, Level, Structure
from trabecula.calibration.calibration import Calibration
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.composition.mixture import unmix
from trabecula.composition.morphology import BoolPlane
from trabecula.composition.rules import TissueRules, composition_levels, tissue_rules
from trabecula.composition.tissue import (
    Plane,
    Tissue,
    TissueMap,
    TissuePlane,
    classify_plane,
    slab_plane,
    tissue_map,
)
from trabecula.composition.truncation import find_truncation
from trabecula.imaging.study import CtVolume
from trabecula.patient import PatientContext

__all__ = ["MeasuredLevel", "measure_composition", "measure_levels", "tissue_map"]


@dataclass(frozen=True, eq=False)
class MeasuredLevel:
    """One level's values, and the map that they were counted on."""

    values: CompositionAtLevel
    tissue: TissueMap
    """(J, I) of the whole slice."""


def measure_composition(
    volume: CtVolume,
    anatomy: Anatomy,
    calibration: Calibration,
    patient: PatientContext,
    constants: ClinicalConstants,
) -> tuple[CompositionAtLevel, ...]:
    """The values of :func:`measure_levels`."""
    return tuple(level.values for level in measure_levels(volume, anatomy, calibration, patient, constants))


def measure_levels(
    volume: CtVolume,
    anatomy: Anatomy,
    calibration: Calibration,
    patient: PatientContext,
    constants: ClinicalConstants,
) -> tuple[MeasuredLevel, ...]:
    """Measure muscle and fat at T11, T12 and L1, where they are wholly in view.

    Areas are counts of the tissue map; attenuation is that of the same slab after calibration.

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
        classified = classify_plane(slab_plane(volume, anatomy, index, rules, calibration), rules)
        found.append(MeasuredLevel(_at_level(level, index, classified, patient.height_m, rules), classified.tissue))
    return tuple(found)


def _at_level(
    level: Level, index: int, classified: TissuePlane, height_m: float | None, rules: TissueRules
) -> CompositionAtLevel:
    plane, tissue = classified.plane, classified.tissue
    muscle = tissue == Tissue.MUSCLE
    paraspinal = muscle & (plane.labels == Structure.PARASPINAL_MUSCLE)
    muscle_area, paraspinal_area = _area(muscle, plane), _area(paraspinal, plane)
    sat, vat = _area(tissue == Tissue.SAT, plane), _area(tissue == Tissue.VAT, plane)
    mixture = unmix(plane, tissue, classified.noise_hu, rules)
    truncation = find_truncation(plane, classified.body, rules)
    return CompositionAtLevel(
        level=level,
        slice_index=index,
        muscle_area_cm2=muscle_area,
        muscle_attenuation_hu=_mean_hu(muscle, plane),
        paraspinal_muscle_area_cm2=paraspinal_area,
        paraspinal_muscle_attenuation_hu=_mean_hu(paraspinal, plane),
        imat_area_cm2=None if muscle_area is None else float((tissue == Tissue.IMAT).sum()) * plane.pixel_cm2,
        sat_area_cm2=sat,
        vat_area_cm2=vat,
        vat_sat_ratio=None if sat is None or vat is None else vat / sat,
        muscle_index_cm2_m2=_index(muscle_area, height_m),
        truncated=truncation.truncated,
        missing_area_cm2=truncation.missing_cm2,
        paraspinal_muscle_index_cm2_m2=_index(paraspinal_area, height_m),
        muscle_fat_by_share_cm2=None if mixture is None else mixture.fat_cm2,
        lean_muscle_attenuation_hu=None if mixture is None else mixture.lean_hu,
    )


def _index(area_cm2: float | None, height_m: float | None) -> float | None:
    return None if area_cm2 is None or not height_m else area_cm2 / height_m**2


def _area(mask: BoolPlane, plane: Plane) -> float | None:
    """Area in cm2; None when nothing of the tissue was found, for then it was not measured."""
    count = int(mask.sum())
    return count * plane.pixel_cm2 if count else None


def _mean_hu(mask: BoolPlane, plane: Plane) -> float | None:
    return float(plane.hu[mask].mean()) if mask.any() else None
