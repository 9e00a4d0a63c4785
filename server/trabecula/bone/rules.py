"""The bone stage's numbers, taken from the clinical data file by name."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.clinical import ClinicalConstants


@dataclass(frozen=True)
class ShapeRules:
    """How a body's endplates and cortex are looked for."""

    min_label_volume_mm3: float
    min_height_mm: float
    max_radius_mm: float
    slab_half_mm: float
    column_half_mm: float
    height_positions: tuple[float, ...]
    """Fractions of the depth, front to back: anterior, middle, posterior."""
    height_column_depth_mm: float
    height_column_width_mm: float
    height_search_mm: float
    search_mm: float
    ridge_depth_mm: float
    min_ridge_hu: float
    max_ridge_hu: float
    distance_penalty_hu: float


@dataclass(frozen=True)
class RoiRules:
    """How the trabecular region is placed and cleaned."""

    erosion_mm: float
    half_height_fraction: float
    min_slices: float
    endplate_clearance_mm: float
    vein_half_width_mm: float
    vein_half_height_mm: float
    vein_depth_fraction: float
    min_volume_mm3: float
    cut_smoothing_mm: float
    cut_mad: float
    cut_floor_hu: float
    correlation_reach_mm: float


@dataclass(frozen=True)
class ExclusionRules:
    """When a vertebra does not count towards the means."""

    plausible_hu: tuple[float, ...]
    lesion_cut_fraction: float
    lesion_neighbour_difference_hu: float
    hardware_hu: float
    hardware_volume_mm3: float
    hardware_reach_mm: float
    cement_hu: float
    cement_volume_mm3: float
    fracture_ratio: float
    fracture_slices: float
    max_height_ratio: float
    max_standard_error_hu: float


@dataclass(frozen=True)
class BoneRules:
    shape: ShapeRules
    roi: RoiRules
    exclusion: ExclusionRules


def bone_rules(constants: ClinicalConstants) -> BoneRules:
    """The rules under ``bone`` in the data file.

    Raises:
        ClinicalDataError: if one is missing.
    """
    number = constants.number
    return BoneRules(
        ShapeRules(
            min_label_volume_mm3=number("bone.shape.min_label_volume"),
            min_height_mm=number("bone.shape.min_height"),
            max_radius_mm=number("bone.shape.max_radius"),
            slab_half_mm=number("bone.shape.slab_half"),
            column_half_mm=number("bone.shape.column_half"),
            height_positions=constants.numbers("bone.shape.height_positions"),
            height_column_depth_mm=number("bone.shape.height_column_depth"),
            height_column_width_mm=number("bone.shape.height_column_width"),
            height_search_mm=number("bone.shape.height_search"),
            search_mm=number("bone.shape.search"),
            ridge_depth_mm=number("bone.shape.ridge_depth"),
            min_ridge_hu=number("bone.shape.min_ridge"),
            max_ridge_hu=number("bone.shape.max_ridge"),
            distance_penalty_hu=number("bone.shape.distance_penalty"),
        ),
        RoiRules(
            erosion_mm=number("bone.roi.erosion"),
            half_height_fraction=number("bone.roi.half_height_fraction"),
            min_slices=number("bone.roi.min_slices"),
            endplate_clearance_mm=number("bone.roi.endplate_clearance"),
            vein_half_width_mm=number("bone.roi.vein_half_width"),
            vein_half_height_mm=number("bone.roi.vein_half_height"),
            vein_depth_fraction=number("bone.roi.vein_depth_fraction"),
            min_volume_mm3=number("bone.roi.min_volume"),
            cut_smoothing_mm=number("bone.roi.cut_smoothing"),
            cut_mad=number("bone.roi.cut_mad"),
            cut_floor_hu=number("bone.roi.cut_floor"),
            correlation_reach_mm=number("bone.roi.correlation_reach"),
        ),
        ExclusionRules(
            plausible_hu=constants.numbers("bone.exclusion.plausible_hu"),
            lesion_cut_fraction=number("bone.exclusion.lesion_cut_fraction"),
            lesion_neighbour_difference_hu=number("bone.exclusion.lesion_neighbour_difference"),
            hardware_hu=number("bone.exclusion.hardware_hu"),
            hardware_volume_mm3=number("bone.exclusion.hardware_volume"),
            hardware_reach_mm=number("bone.exclusion.hardware_reach"),
            cement_hu=number("bone.exclusion.cement_hu"),
            cement_volume_mm3=number("bone.exclusion.cement_volume"),
            fracture_ratio=number("bone.exclusion.fracture_ratio"),
            fracture_slices=number("bone.exclusion.fracture_slices"),
            max_height_ratio=number("bone.exclusion.max_height_ratio"),
            max_standard_error_hu=number("bone.exclusion.max_standard_error"),
        ),
    )
