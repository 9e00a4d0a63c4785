"""Three heights of one body, and the shape of its endplates, read from the fitted surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.bone.endplates import Endplate, Endplates
from trabecula.bone.rules import HeightRules
from trabecula.bone.shape import BodyShape
from trabecula.geometry import FloatArray

_ACROSS: Final = 7
"""Lines beside each other over which a height is averaged."""
_ALONG: Final = 25
"""Points from front to back at which an endplate's depth is read."""


@dataclass(frozen=True)
class Heights:
    """Heights of a body near its front, in the middle and near its back wall, mm, with standard uncertainties."""

    anterior_mm: float
    middle_mm: float
    posterior_mm: float
    rim_uncertainty_mm: float
    middle_uncertainty_mm: float


@dataclass(frozen=True)
class BodyProfile:
    """What the deformity rules look at, for one body."""

    heights: Heights
    label_heights: Heights
    """By the label's own ends: a second opinion."""
    superior_depression_mm: float
    inferior_depression_mm: float
    cupids_bow: bool
    pit_depths_mm: tuple[float, ...]
    support: float
    """Share of the endplates' columns whose edge attenuation shows."""


def read_profile(plates: Endplates, shape: BodyShape, slice_mm: float, rules: HeightRules) -> BodyProfile | None:
    """Heights and depressions.

    Args:
        plates: the fitted surfaces.
        shape: the outline whose front and back margins the rim heights are read at.
        slice_mm: slice spacing along the body's height.
        rules: where heights are read, and their error.

    Returns:
        The profile, or None when the surfaces cross, as on a label that is no body.
    """
    a, b = _sagittal_lines(shape, rules)
    heights = _heights(plates.top, plates.bottom, a, b, slice_mm, rules)
    if min(heights.anterior_mm, heights.middle_mm, heights.posterior_mm) <= 0.0:
        return None
    return BodyProfile(
        heights=heights,
        label_heights=_heights(plates.label_top, plates.label_bottom, a, b, slice_mm, rules),
        superior_depression_mm=_depression(plates.top, a, b, 1.0),
        inferior_depression_mm=_depression(plates.bottom, a, b, -1.0),
        cupids_bow=_cupids_bow(plates.bottom, a, shape, rules),
        pit_depths_mm=tuple(pit.depth_mm for plate in (plates.top, plates.bottom) for pit in plate.pits),
        support=min(plates.top.support, plates.bottom.support),
    )


def _sagittal_lines(shape: BodyShape, rules: HeightRules) -> tuple[FloatArray, FloatArray]:
    """(25,) places from the front margin to the back, (7,) lines beside the middle; frame mm."""
    front = shape.centre_mm[0] + float(shape.radii_mm[np.argmin(np.abs(shape.angles))]) - rules.rim_inset_mm
    back = shape.centre_mm[0] - float(shape.radii_mm[0]) + rules.rim_inset_mm
    return np.linspace(front, back, _ALONG), shape.centre_mm[1] + np.linspace(-1, 1, _ACROSS) * rules.half_width_mm


def _heights(
    top: Endplate, bottom: Endplate, a: FloatArray, b: FloatArray, slice_mm: float, rules: HeightRules
) -> Heights:
    values, variances = [], []
    for place in (a[0], a[_ALONG // 2], a[-1]):
        line = np.full(_ACROSS, place)
        values.append(float((top.height_mm(line, b) - bottom.height_mm(line, b)).mean()))
        variances.append(top.variance_mm2(line, b) + bottom.variance_mm2(line, b))
    rim = np.hypot(rules.rim_floor_mm, rules.rim_error_of_slice * slice_mm)
    middle = np.hypot(rules.middle_floor_mm, rules.middle_error_of_slice * slice_mm)
    return Heights(
        anterior_mm=values[0],
        middle_mm=values[1],
        posterior_mm=values[2],
        rim_uncertainty_mm=float(np.sqrt(rim**2 + max(variances[0], variances[2]))),
        middle_uncertainty_mm=float(np.sqrt(middle**2 + variances[1])),
    )


def _depression(plate: Endplate, a: FloatArray, b: FloatArray, outwards: float) -> float:
    """Deepest point below the line from rim to rim in the mid-sagittal plane, mm; 0 when it bulges."""
    profile = outwards * np.mean([plate.height_mm(a, np.full(_ALONG, line)) for line in b], axis=0)
    chord = np.linspace(profile[0], profile[-1], _ALONG)
    return max(0.0, float((chord - profile).max()))


def _cupids_bow(plate: Endplate, a: FloatArray, shape: BodyShape, rules: HeightRules) -> bool:
    """Two hollows beside the midline in the back half of the inferior endplate (Dietz and Christensen 1976)."""
    behind = a[_ALONG // 2 : -2]
    left, middle, right = (
        -plate.height_mm(behind, np.full(behind.size, shape.centre_mm[1] + side * rules.bow_offset_mm))
        for side in (-1.0, 0.0, 1.0)
    )
    return bool(min((middle - left).max(), (middle - right).max()) >= rules.bow_depth_mm)
