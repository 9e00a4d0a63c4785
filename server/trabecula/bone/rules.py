"""The bone stage's numbers, taken from the clinical data file by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from trabecula.clinical import ClinicalConstants, Row


@dataclass(frozen=True)
class ShapeRules:
    """How a body's endplates and cortex are looked for."""

    min_label_volume_mm3: float
    min_height_mm: float
    max_radius_mm: float
    slab_half_mm: float
    column_half_mm: float
    height_search_mm: float
    search_mm: float
    ridge_depth_mm: float
    min_ridge_hu: float
    max_ridge_hu: float
    distance_penalty_hu: float


@dataclass(frozen=True)
class EndplateRules:
    """How both endplates are fitted, and what is read from them."""

    margin_mm: float
    """Columns nearer to the outline are not used: there the body's edge is round."""
    min_column_mm: float
    min_area_mm2: float
    lateral_smoothing_mm: float
    window_inner_mm: float
    window_outer_mm: float
    plate_mm: float
    max_strength_hu: float
    min_strength_hu: float
    distance_penalty_hu: float
    search_mm: float
    second_search_mm: float
    unseen_weight: float
    stiffness: float
    iterations: int
    correlated_columns: float
    edge_error_of_blur: float
    label_error_mm: float
    pit_depth_mm: float
    pit_area_mm2: float
    pit_blurs: float


@dataclass(frozen=True)
class HeightRules:
    """Where the three heights are read, and how far they may be off."""

    rim_inset_mm: float
    half_width_mm: float
    rim_floor_mm: float
    rim_error_of_slice: float
    middle_floor_mm: float
    middle_error_of_slice: float
    bow_offset_mm: float
    bow_depth_mm: float


@dataclass(frozen=True)
class DeformityRules:
    """When lost height is a deformity, and when a normal variant."""

    grade_losses: tuple[float, ...]
    growth_per_level: float
    most_of_own_posterior: float
    usual_depression_mm: float
    depression_mm: float
    label_share: float
    stands_out: float
    stands_out_marked: float
    stands_out_grade1: float
    stands_out_at_wedging_levels: float
    wedging_levels: tuple[str, ...]
    possible_probability: float
    suspected_probability: float


@dataclass(frozen=True)
class BlurRules:
    """How the point spread is read from the air-skin edge."""

    slices: int
    min_edges: float
    correlated_edges: float
    relative_error: float
    most_slant: float
    half_hu: float
    air_hu: tuple[float, ...]
    tissue_hu: tuple[float, ...]


@dataclass(frozen=True)
class CortexRules:
    """How the shell is measured, and when the scan cannot show it."""

    max_slice_mm: float
    max_fwhm_mm: float
    widest_angle_deg: float
    sector_deg: float
    min_sectors: float
    slab_half_mm: float
    window_inner_mm: float
    window_outer_mm: float
    slice_blur: float
    nominal_mm: float
    most_mm: float
    layer_mm: float
    model_uncertainty_hu: float
    compact_relative_uncertainty: float


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
    target_standard_error_hu: float
    growth: tuple[tuple[float, float], ...]
    """(half-height fraction, erosion in mm) to try in turn while the standard error is over the target."""


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
    max_height_ratio: float
    max_standard_error_hu: float
    part_volume_mm3: float
    pit_margin_mm: float
    sclerosis_hu: float
    sclerosis_near_mm: float
    sclerosis_far_mm: float
    disc_fraction: float
    sclerosis_alone_hu: float


@dataclass(frozen=True)
class BoneRules:
    shape: ShapeRules
    endplate: EndplateRules
    height: HeightRules
    deformity: DeformityRules
    blur: BlurRules
    cortex: CortexRules
    roi: RoiRules
    exclusion: ExclusionRules


_DEFORMITY = ("genant", "neighbours", "depression", "variants", "certainty")


def bone_rules(constants: ClinicalConstants) -> BoneRules:
    """The rules under ``bone`` in the data file.

    Raises:
        ClinicalDataError: if one is missing.
    """
    number = constants.number
    degeneration = constants.row("bone.exclusion.degeneration").number
    return BoneRules(
        ShapeRules(
            min_label_volume_mm3=number("bone.shape.min_label_volume"),
            min_height_mm=number("bone.shape.min_height"),
            max_radius_mm=number("bone.shape.max_radius"),
            slab_half_mm=number("bone.shape.slab_half"),
            column_half_mm=number("bone.shape.column_half"),
            height_search_mm=number("bone.shape.height_search"),
            search_mm=number("bone.shape.search"),
            ridge_depth_mm=number("bone.shape.ridge_depth"),
            min_ridge_hu=number("bone.shape.min_ridge"),
            max_ridge_hu=number("bone.shape.max_ridge"),
            distance_penalty_hu=number("bone.shape.distance_penalty"),
        ),
        _filled(EndplateRules, *(constants.row(f"bone.endplate.{name}") for name in ("area", "edge", "fit", "pit"))),
        _filled(HeightRules, *(constants.row(f"bone.height.{name}") for name in ("place", "error", "cupids_bow"))),
        _filled(DeformityRules, *(constants.row(f"bone.deformity.{name}") for name in _DEFORMITY)),
        _filled(BlurRules, constants.row("bone.blur")),
        _filled(CortexRules, *(constants.row(f"bone.cortex.{name}") for name in ("limit", "wall", "layer"))),
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
            target_standard_error_hu=number("bone.roi.target_standard_error"),
            growth=tuple(
                (row.number("half_height_fraction"), row.number("erosion_mm"))
                for row in constants.rows("bone.roi.growth")
            ),
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
            max_height_ratio=number("bone.exclusion.max_height_ratio"),
            max_standard_error_hu=number("bone.exclusion.max_standard_error"),
            part_volume_mm3=number("bone.exclusion.part_volume"),
            pit_margin_mm=number("bone.exclusion.pit_margin"),
            sclerosis_hu=degeneration("sclerosis_hu"),
            sclerosis_near_mm=degeneration("near_mm"),
            sclerosis_far_mm=degeneration("far_mm"),
            disc_fraction=degeneration("disc_fraction"),
            sclerosis_alone_hu=degeneration("sclerosis_alone_hu"),
        ),
    )


def compact_hu(constants: ClinicalConstants, kvp: float | None, tin: bool) -> float:
    """Attenuation taken for compact bone at a tube voltage, HU; at 120 kVp where the voltage is not known."""
    wanted = 120.0 if kvp is None else kvp
    rows = [row for row in constants.rows("bone.cortex.compact") if row.flag("tin") == tin]
    return min(rows, key=lambda row: abs(row.number("kvp") - wanted)).number("hu")


_Rules = TypeVar("_Rules")


def _filled(kind: type[_Rules], *rows: Row) -> _Rules:
    """A rule class with every field taken by its name from the first row that has it."""
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        row = next((row for row in rows if row.has(each.name)), rows[-1])
        value = row.fields.get(each.name)
        if isinstance(value, tuple):
            values[each.name] = value
        else:
            values[each.name] = int(row.number(each.name)) if each.type == "int" else row.number(each.name)
    return kind(**values)
