"""What is left out of the density, whole vertebrae and parts of their regions, each with the figure that decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage as ndi

from trabecula.anatomy import Level, Structure
from trabecula.bone.endplates import Endplates
from trabecula.bone.frame import STEP_MM, FloatVolume, axis_mm
from trabecula.bone.roi import RoiStatistics
from trabecula.bone.rules import ExclusionRules, RoiRules
from trabecula.bone.shape import BodyShape, BoolArray
from trabecula.bone.vertebra import Deformity, DeformityStatus, Exclusion, ExclusionReason

_NEIGHBOUR_REACH: Final = 2
_MIN_NEIGHBOURS: Final = 3
"""Of up to four: with fewer the median could be the ill one."""
_CORE_MM: Final = 8.0
"""Half width of the columns under the endplates in which sclerosis is looked for."""


@dataclass(frozen=True)
class Subchondral:
    """Attenuation of the marrow under the endplates over that in the middle of the body, HU."""

    top_hu: float
    bottom_hu: float


def out_of_view() -> Exclusion:
    return Exclusion(ExclusionReason.OUT_OF_VIEW, True, "the vertebra is cut by the edge of the scan", "")


def no_region(rules: RoiRules) -> Exclusion:
    return Exclusion(
        ExclusionReason.ROI_TOO_SMALL, True, "no trabecular region fits inside cortex and endplates",
        "bone.roi.min_volume", None, rules.min_volume_mm3, "mm3",
    )  # fmt: skip


def foreign_material(
    hu: FloatVolume, labels: FloatVolume, body: BoolArray, vertebra: BoolArray, rules: ExclusionRules, inset_mm: float
) -> tuple[Exclusion, ...]:
    """Metal in or near the vertebra, cement inside its body.

    Args:
        hu, labels: resampled box around the body.
        body: the body's own label in the box; ``vertebra``: body and posterior elements.
        rules: attenuation and volume limits.
        inset_mm: how far inside the label cement is looked for, so that cortex is not taken for it.
    """
    metal = (hu >= rules.hardware_hu) | (labels == Structure.METAL)
    if metal.any():
        metal &= ndi.binary_dilation(vertebra, iterations=round(rules.hardware_reach_mm / STEP_MM))
    metal_mm3 = float(metal.sum()) * STEP_MM**3
    if metal_mm3 >= rules.hardware_volume_mm3:
        text = f"metal in or beside the vertebra, {metal_mm3:.0f} mm3 over {rules.hardware_hu:.0f} HU"
        rule = "bone.exclusion.hardware_volume"
        return (Exclusion(ExclusionReason.HARDWARE, True, text, rule, metal_mm3, rules.hardware_volume_mm3, "mm3"),)
    core = ndi.binary_erosion(body, iterations=round(inset_mm / STEP_MM))
    if not (core & (hu >= rules.cement_hu)).any():
        return ()
    dense = core & (ndi.gaussian_filter(hu, 1.5 / STEP_MM) >= rules.cement_hu)
    cement_mm3 = float(dense.sum()) * STEP_MM**3
    if cement_mm3 < rules.cement_volume_mm3:
        return ()
    text = f"bone cement or like material inside the body, {cement_mm3:.0f} mm3 over {rules.cement_hu:.0f} HU"
    rule = "bone.exclusion.cement_volume"
    return (Exclusion(ExclusionReason.CEMENT, True, text, rule, cement_mm3, rules.cement_volume_mm3, "mm3"),)


def unfit_region(statistics: RoiStatistics, roi_rules: RoiRules, rules: ExclusionRules) -> tuple[Exclusion, ...]:
    """What the region's own statistics speak against."""
    found = []
    volume, mean, error = statistics.volume_mm3, statistics.hu_mean, statistics.hu_standard_error
    if volume < roi_rules.min_volume_mm3:
        text = f"only {volume:.0f} mm3 of trabecular bone left to measure"
        limit = roi_rules.min_volume_mm3
        found.append(Exclusion(ExclusionReason.ROI_TOO_SMALL, True, text, "bone.roi.min_volume", volume, limit, "mm3"))
    low, high = rules.plausible_hu
    if not low <= mean <= high:
        text = f"{mean:.0f} HU is no attenuation of trabecular bone"
        limit = low if mean < low else high
        found.append(
            Exclusion(ExclusionReason.IMPLAUSIBLE, True, text, "bone.exclusion.plausible_hu", mean, limit, "HU")
        )
    elif error > rules.max_standard_error_hu:
        text = f"the region's mean is uncertain by {error:.0f} HU"
        limit = rules.max_standard_error_hu
        found.append(
            Exclusion(ExclusionReason.IMPLAUSIBLE, True, text, "bone.exclusion.max_standard_error", error, limit, "HU")
        )
    if statistics.cut_fraction > rules.lesion_cut_fraction:
        share, limit = statistics.cut_fraction, rules.lesion_cut_fraction
        text = f"{100 * share:.0f} % of the region is far brighter or darker than the rest"
        found.append(
            Exclusion(ExclusionReason.LESION, True, text, "bone.exclusion.lesion_cut_fraction", share, limit, "1")
        )
    return tuple(found)


def cut_parts(statistics: RoiStatistics, rules: ExclusionRules) -> tuple[Exclusion, ...]:
    """What was cut out of the region while the rest counts: islands, lytic areas, surroundings of Schmorl nodes."""
    found = []
    for spot, reason, words in (
        (statistics.dense, ExclusionReason.BONE_ISLAND, "dense spots (bone island, calcification)"),
        (statistics.lytic, ExclusionReason.LYTIC_AREA, "dark spots (lytic area, vessel, fat)"),
    ):
        if spot is not None and spot.volume_mm3 >= rules.part_volume_mm3:
            difference = spot.hu_mean - statistics.hu_mean
            text = f"{words} cut out of the region: {spot.volume_mm3:.0f} mm3, {difference:+.0f} HU beside the rest"
            found.append(
                Exclusion(
                    reason, False, text, "bone.roi.cut_mad", abs(difference), spot.limit_hu, "HU", spot.volume_mm3
                )
            )
    if statistics.holes_mm3 > 0:
        text = f"surroundings of a Schmorl node kept out of the region: {statistics.holes_mm3:.0f} mm3"
        rule = "bone.exclusion.pit_margin"
        found.append(Exclusion(ExclusionReason.SCHMORL_NODE, False, text, rule, volume_mm3=statistics.holes_mm3))
    return tuple(found)


def fractured(deformity: Deformity) -> Exclusion | None:
    """A suspected fracture: compressed bone reads too dense, and the level must not hide in a mean."""
    if deformity.status is not DeformityStatus.SUSPECTED or deformity.kind is None:
        return None
    text = f"suspected fracture, {deformity.kind.value}, Genant grade {deformity.grade}; for confirmation"
    loss = deformity.height_loss
    return Exclusion(ExclusionReason.FRACTURE, True, text, "bone.deformity.genant", loss, 0.25, "fraction of height")


def too_high(
    index: int, levels: Sequence[Level], heights_mm: Sequence[float | None], rules: ExclusionRules
) -> Exclusion | None:
    """A body so much higher than those around it that its label must have run into the next one."""
    own = heights_mm[index]
    others = [
        other
        for level, other in zip(levels, heights_mm, strict=True)
        if 0 < abs(level.ordinal - levels[index].ordinal) <= _NEIGHBOUR_REACH and other is not None
    ]
    if own is None or len(others) < _MIN_NEIGHBOURS:
        return None
    ratio = own / float(np.median(others))
    if ratio <= rules.max_height_ratio:
        return None
    text = f"{ratio:.2f} times as high as its neighbours: the segmentation has run into the next vertebra"
    rule = "bone.exclusion.max_height_ratio"
    return Exclusion(ExclusionReason.IMPLAUSIBLE, True, text, rule, ratio, rules.max_height_ratio, "1")


def out_of_line(
    index: int, levels: Sequence[Level], means_hu: Sequence[float | None], rules: ExclusionRules
) -> Exclusion | None:
    """Attenuation far from the neighbours': sclerosis, haemangioma, lysis that fills the region."""
    own = means_hu[index]
    others = [
        mean
        for level, mean in zip(levels, means_hu, strict=True)
        if mean is not None and 0 < abs(level.ordinal - levels[index].ordinal) <= _NEIGHBOUR_REACH
    ]
    if own is None or len(others) < _MIN_NEIGHBOURS:
        return None
    difference, limit = own - float(np.median(others)), rules.lesion_neighbour_difference_hu
    if abs(difference) <= limit:
        return None
    text = f"{difference:+.0f} HU beside its neighbours (sclerosis, haemangioma, lysis)"
    rule = "bone.exclusion.lesion_neighbour_difference"
    return Exclusion(ExclusionReason.LESION, True, text, rule, abs(difference), limit, "HU")


def subchondral_excess(hu: FloatVolume, plates: Endplates, shape: BodyShape, rules: ExclusionRules) -> Subchondral:
    """How much brighter the marrow is under each endplate than in the middle of the body.

    Args:
        hu: (S, A, L) box in the vertebra's frame.
    """
    a, b = axis_mm(1), axis_mm(2)
    near_a, near_b = np.abs(a - shape.centre_mm[0]) <= _CORE_MM, np.abs(b - shape.centre_mm[1]) <= _CORE_MM
    part = hu[:, near_a][:, :, near_b]
    grid_a, grid_b = np.meshgrid(a[near_a], b[near_b], indexing="ij")
    top, bottom = plates.top.height_mm(grid_a, grid_b), plates.bottom.height_mm(grid_a, grid_b)
    s = axis_mm(0)[:, None, None]
    middle, half = (top + bottom) / 2, (top - bottom) / 2
    core = part[np.abs(s - middle) <= 0.25 * half]
    if core.size == 0:
        return Subchondral(0.0, 0.0)
    marrow = float(np.median(core))
    layers = []
    for depth in (top - s, s - bottom):
        layer = part[(depth >= rules.sclerosis_near_mm) & (depth <= rules.sclerosis_far_mm) & (depth < half)]
        layers.append(float(np.median(layer)) - marrow if layer.size else 0.0)
    return Subchondral(*layers)


def degenerated(
    excess: Subchondral, disc_above: float | None, disc_below: float | None, rules: ExclusionRules
) -> Exclusion | None:
    """Severe degeneration: sclerosis under an endplate whose disc is narrow, or marked sclerosis under both.

    Args:
        disc_above, disc_below: height of the disc over the column's median, None where it is not known.
    """
    rule = "bone.exclusion.degeneration"
    for hu, disc, where in ((excess.top_hu, disc_above, "superior"), (excess.bottom_hu, disc_below, "inferior")):
        if hu >= rules.sclerosis_hu and disc is not None and disc <= rules.disc_fraction:
            text = (
                f"severe degeneration: {hu:.0f} HU of sclerosis under the {where} endplate,"
                f" disc at {100 * disc:.0f} % of the median height"
            )
            return Exclusion(ExclusionReason.DEGENERATION, True, text, rule, hu, rules.sclerosis_hu, "HU")
    least = min(excess.top_hu, excess.bottom_hu)
    if least >= rules.sclerosis_alone_hu:
        text = f"severe degeneration: {least:.0f} HU of sclerosis under both endplates"
        return Exclusion(ExclusionReason.DEGENERATION, True, text, rule, least, rules.sclerosis_alone_hu, "HU")
    return None
