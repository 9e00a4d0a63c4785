"""Why a vertebra does not count towards the means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import ndimage as ndi

from trabecula.anatomy import Level, Structure
from trabecula.bone.frame import STEP_MM, FloatVolume
from trabecula.bone.roi import RoiStatistics
from trabecula.bone.rules import ExclusionRules, RoiRules
from trabecula.bone.shape import BoolArray, Heights
from trabecula.bone.vertebra import ExclusionReason, VertebraMeasurement

_NEIGHBOUR_REACH: Final = 2
_MIN_NEIGHBOURS: Final = 3
"""Of up to four: with fewer the median could be the ill one."""


def foreign_material(
    hu: FloatVolume, labels: FloatVolume, body: BoolArray, vertebra: BoolArray, rules: ExclusionRules, inset_mm: float
) -> tuple[ExclusionReason, ...]:
    """Metal in or near the vertebra, cement inside its body.

    Args:
        hu, labels: resampled box around the body.
        body: the body's own label in the box; ``vertebra``: body and posterior elements.
        rules: attenuation and volume limits.
        inset_mm: how far inside the label cement is looked for, so that cortex is not taken for it.
    """
    found = []
    near = ndi.binary_dilation(vertebra, iterations=round(rules.hardware_reach_mm / STEP_MM))
    metal = near & ((hu >= rules.hardware_hu) | (labels == Structure.METAL))
    if metal.sum() * STEP_MM**3 >= rules.hardware_volume_mm3:
        found.append(ExclusionReason.HARDWARE)
    core = ndi.binary_erosion(body, iterations=round(inset_mm / STEP_MM))
    dense = core & (ndi.gaussian_filter(hu, 1.5 / STEP_MM) >= rules.cement_hu)
    if not found and dense.sum() * STEP_MM**3 >= rules.cement_volume_mm3:
        found.append(ExclusionReason.CEMENT)
    return tuple(found)


def unfit_region(statistics: RoiStatistics, roi_rules: RoiRules, rules: ExclusionRules) -> tuple[ExclusionReason, ...]:
    """What the region's own statistics speak against."""
    found = []
    if statistics.volume_mm3 < roi_rules.min_volume_mm3:
        found.append(ExclusionReason.ROI_TOO_SMALL)
    low, high = rules.plausible_hu
    if not low <= statistics.hu_mean <= high:
        found.append(ExclusionReason.IMPLAUSIBLE)
    too_uncertain = statistics.hu_standard_error > rules.max_standard_error_hu
    if too_uncertain and ExclusionReason.IMPLAUSIBLE not in found:
        found.append(ExclusionReason.IMPLAUSIBLE)
    if statistics.cut_fraction > rules.lesion_cut_fraction:
        found.append(ExclusionReason.LESION)
    return tuple(found)


def fractured(
    index: int, levels: Sequence[Level], heights: Sequence[Heights], slice_mm: float, rules: ExclusionRules
) -> bool:
    """Whether a body's height is lost as in Genant grade 2 or more, judged on its own and its neighbours' heights.

    Wedge and biconcave loss are the lower of anterior and middle against posterior height; beside that each height
    is compared with the mean of the two neighbours' same height. A loss must also be more than thick slices make of
    themselves. ``levels`` and ``heights`` run head to foot.
    """
    own = _triple(heights[index])
    if own is None:
        return False
    pairs = [(min(own[:2]), own[2])]
    beside = [
        triple
        for level, other in zip(levels, heights, strict=True)
        if abs(level.ordinal - levels[index].ordinal) == 1 and (triple := _triple(other)) is not None
    ]
    if len(beside) == 2:
        pairs.extend((here, (above + below) / 2.0) for here, above, below in zip(own, *beside, strict=True))
    least_loss_mm = rules.fracture_slices * slice_mm
    return any(here < min(rules.fracture_ratio * whole, whole - least_loss_mm) for here, whole in pairs)


def _triple(heights: Heights) -> tuple[float, float, float] | None:
    anterior, middle, posterior = heights.anterior_mm, heights.middle_mm, heights.posterior_mm
    if anterior is None or middle is None or posterior is None:
        return None
    return anterior, middle, posterior


def too_high(index: int, levels: Sequence[Level], heights: Sequence[Heights], rules: ExclusionRules) -> bool:
    """Whether a body is so much higher than those around it that its label must have run into the next one."""
    own = heights[index].middle_mm
    others = [
        other.middle_mm
        for level, other in zip(levels, heights, strict=True)
        if 0 < abs(level.ordinal - levels[index].ordinal) <= _NEIGHBOUR_REACH and other.middle_mm is not None
    ]
    return (
        own is not None and len(others) >= _MIN_NEIGHBOURS and own > rules.max_height_ratio * float(np.median(others))
    )


def out_of_line(index: int, column: Sequence[VertebraMeasurement], rules: ExclusionRules) -> bool:
    """Whether attenuation is far from the neighbours': sclerosis, haemangioma, lysis that fills the region."""
    own = column[index]
    others = [
        v.hu_mean
        for v in column
        if v.hu_mean is not None and 0 < abs(v.level.ordinal - own.level.ordinal) <= _NEIGHBOUR_REACH
    ]
    if own.hu_mean is None or len(others) < _MIN_NEIGHBOURS:
        return False
    return abs(own.hu_mean - float(np.median(others))) > rules.lesion_neighbour_difference_hu
