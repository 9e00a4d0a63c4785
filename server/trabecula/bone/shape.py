"""Where one vertebral body ends: endplates and cortex, from the label's hint and the scan's own ridges.

A segmentation gives the outline to within two or three millimetres. Cortex and endplates are bright
ridges, so each is looked for near where the label ends; where no ridge stands out the label's edge is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.bone.frame import STEP_MM, FloatVolume, axis_mm
from trabecula.bone.rules import ShapeRules
from trabecula.geometry import FloatArray

BoolArray = npt.NDArray[np.bool_]

_ANGLES: Final = np.linspace(-np.pi, np.pi, 72, endpoint=False)
"""Directions of the rays in the mid-body plane: 0 is anterior, a quarter turn is left."""
_RAY_STEP_MM: Final = 0.5


@dataclass(frozen=True, eq=False)
class BodyShape:
    """Extent of one vertebral body in its frame, mm."""

    bottom_mm: float
    top_mm: float
    """The endplates, in the middle of the body."""
    marrow_bottom_mm: float
    marrow_top_mm: float
    """Where attenuation has risen half-way from the marrow to the endplates."""
    centre_mm: tuple[float, float]
    """(a, l) about which the outline is drawn."""
    angles: FloatArray
    """(72,) radians; 0 anterior, +90 degrees left."""
    radii_mm: FloatArray
    """(72,) from the centre to the cortex, in the mid-body slab."""

    @property
    def height_mm(self) -> float:
        return self.top_mm - self.bottom_mm

    def outline_mm(self, inset_mm: float = 0.0) -> FloatArray:
        """(72, 2) points (a, l) of the cortex, or of a line so far inside it."""
        radii = np.maximum(self.radii_mm - inset_mm, 0.0)
        directions = np.stack([np.cos(self.angles), np.sin(self.angles)], axis=1)
        points: FloatArray = np.asarray(self.centre_mm) + radii[:, None] * directions
        return points


@dataclass(frozen=True)
class _Ends:
    """Endplates and marrow edges along one column, mm along ``s``."""

    bottom_mm: float
    top_mm: float
    marrow_bottom_mm: float
    marrow_top_mm: float


def find_shape(hu: FloatVolume, mask: BoolArray, rules: ShapeRules) -> BodyShape | None:
    """Find a body's extent.

    Args:
        hu: (S, A, L) attenuation in the vertebra's frame.
        mask: the same box, True where the segmentation says this body is.
        rules: search distances and ridge heights.

    Returns:
        The shape, or None when the label is too small or too ragged to say where the body is.
    """
    mask = _largest_component(mask)
    if mask.sum() * STEP_MM**3 < rules.min_label_volume_mm3:
        return None
    s, a, b = axis_mm(0), axis_mm(1), axis_mm(2)
    per_slice = mask.sum(axis=(1, 2))
    middle = float(np.average(s, weights=per_slice))
    near_middle = np.abs(s - middle) <= rules.slab_half_mm
    section = mask[near_middle].mean(axis=0) > 0.5
    if not section.any():
        return None
    centre = (float(a[section.any(axis=1)].mean()), float(b[section.any(axis=0)].mean()))
    interior = float(np.median(hu[mask & near_middle[:, None, None]]))
    ends = _endplates(hu, mask, _column(centre, 2 * rules.column_half_mm, 2 * rules.column_half_mm), rules)
    if ends is None or ends.top_mm - ends.bottom_mm < rules.min_height_mm:
        return None
    slab = np.abs(s - (ends.marrow_bottom_mm + ends.marrow_top_mm) / 2) <= rules.slab_half_mm
    radii = _cortex(hu[slab].mean(axis=0), mask[slab].mean(axis=0), centre, interior, rules)
    if radii is None:
        return None
    return BodyShape(ends.bottom_mm, ends.top_mm, ends.marrow_bottom_mm, ends.marrow_top_mm, centre, _ANGLES, radii)


def _column(centre: tuple[float, float], depth_mm: float, width_mm: float) -> BoolArray:
    """Which (a, l) lie in a rectangular column about a centre."""
    in_depth = np.abs(axis_mm(1) - centre[0]) <= depth_mm / 2
    in_width = np.abs(axis_mm(2) - centre[1]) <= width_mm / 2
    return np.asarray(in_depth[:, None] & in_width)


def _endplates(hu: FloatVolume, mask: BoolArray, column: BoolArray, rules: ShapeRules) -> _Ends | None:
    """Both ends of the body within a column of the box; None where the label is absent."""
    s = axis_mm(0)
    inside = np.flatnonzero(mask[:, column].mean(axis=1) >= 0.5)
    if inside.size < 3:
        return None
    profile = hu[:, column].mean(axis=1)
    low, high = int(inside[0]), int(inside[-1])
    middle = (low + high) // 2
    marrow = float(np.median(profile[max(low, middle - 3) : min(high, middle + 3) + 1]))
    middle_mm = float(s[middle])
    up_marrow, up_end = _walk_out(profile[middle:], high - middle, marrow, rules)
    down_marrow, down_end = _walk_out(profile[middle::-1], middle - low, marrow, rules)
    return _Ends(
        bottom_mm=middle_mm - down_end,
        top_mm=middle_mm + up_end,
        marrow_bottom_mm=middle_mm - down_marrow,
        marrow_top_mm=middle_mm + up_marrow,
    )


def _walk_out(
    profile: npt.NDArray[np.floating], label_end: int, marrow: float, rules: ShapeRules
) -> tuple[float, float]:
    """Distances in mm from the middle of the body to the edge of the marrow and to the endplate.

    Going outwards, the first rise to half of the bright ridge is the marrow's edge and the first summit after
    it the endplate. So a label shifted along the column does not matter as long as its middle lies in marrow,
    and across a narrow disc the neighbour's endplate is not taken for the own one. Where no ridge stands out
    near the label's end, the label decides.
    """
    reach = round(rules.search_mm / STEP_MM)
    label_mm = (label_end + 0.5) * STEP_MM
    window = profile[: label_end + reach + 1]
    ridge = float(window[max(0, label_end - reach) :].max())
    half = marrow + 0.5 * (ridge - marrow)
    above = np.flatnonzero(window[max(0, label_end - reach) :] >= half) + max(0, label_end - reach)
    if ridge - marrow < rules.min_ridge_hu or above.size == 0:
        # No ridge to hold to, as in thick slices: keep as far inside as a label may be off.
        return label_mm - rules.height_search_mm, label_mm
    rise = int(above[0])
    edge = float(rise)
    if rise > 0 and window[rise] > window[rise - 1]:
        edge -= float((window[rise] - half) / (window[rise] - window[rise - 1]))
    summit = rise
    while summit + 1 < len(profile) and profile[summit + 1] > profile[summit]:
        summit += 1
    far = label_mm - rules.ridge_depth_mm + rules.height_search_mm
    endplate = min(max(_summit_mm(profile, summit), edge), far) + rules.ridge_depth_mm
    return edge * STEP_MM, endplate


def _summit_mm(profile: npt.NDArray[np.floating], index: int) -> float:
    """Place of a local maximum by the parabola through it and its neighbours, mm from the profile's start."""
    if not 0 < index < len(profile) - 1:
        return index * STEP_MM
    before, here, after = (float(v) for v in profile[index - 1 : index + 2])
    curvature = before - 2 * here + after
    return (index + (0.0 if curvature >= 0 else 0.5 * (before - after) / curvature)) * STEP_MM


def _cortex(
    image: FloatVolume, share: npt.NDArray[np.floating], centre: tuple[float, float], interior: float, rules: ShapeRules
) -> FloatArray | None:
    """Distance to the cortex along each ray, mm, from the slab's mean image and label share (A, L)."""
    reach = np.arange(0.0, rules.max_radius_mm + _RAY_STEP_MM, _RAY_STEP_MM)
    a = centre[0] + np.cos(_ANGLES)[:, None] * reach
    b = centre[1] + np.sin(_ANGLES)[:, None] * reach
    index = np.stack([(a - axis_mm(1)[0]) / STEP_MM, (b - axis_mm(2)[0]) / STEP_MM])
    values = ndi.map_coordinates(image, index, order=1, mode="nearest")
    labelled = ndi.map_coordinates(share.astype(np.float32), index, order=1, mode="constant") >= 0.5
    if labelled.any(axis=1).mean() < 0.9:
        return None
    # The label's edge along a ray is where it is left for good: holes and notches inside do not count.
    edge = np.where(labelled.any(axis=1), reach[labelled.shape[1] - 1 - np.argmax(labelled[:, ::-1], axis=1)], np.nan)
    edge = np.where(np.isnan(edge), np.nanmedian(edge), edge)
    edge = ndi.median_filter(edge, size=7, mode="wrap")
    radii = np.array([_ridge(reach, ray, float(r), interior, rules) for ray, r in zip(values, edge, strict=True)])
    radii = ndi.median_filter(radii, size=9, mode="wrap")
    smooth: FloatArray = ndi.gaussian_filter1d(radii, 1.5, mode="wrap")
    return smooth


def _ridge(
    at_mm: FloatArray, profile: npt.NDArray[np.floating], expected: float, interior: float, rules: ShapeRules
) -> float:
    """Place of the best bright ridge near ``expected``, or ``expected`` itself when none stands out.

    A ridge far from where the label ends scores less, and a very bright one no more than a good one: a rib's
    cortex and a contrast-filled aorta are bright too.
    """
    near = (np.abs(at_mm - expected) <= rules.search_mm)[1:-1]
    here = profile[1:-1]
    near &= (here >= profile[:-2]) & (here >= profile[2:]) & (here - interior >= rules.min_ridge_hu)
    if not near.any():
        return expected
    height = np.minimum(here - interior, rules.max_ridge_hu)
    score = height - rules.distance_penalty_hu * ((at_mm[1:-1] - expected) / rules.search_mm) ** 2
    best = int(np.argmax(np.where(near, score, -np.inf)))
    return float(at_mm[1 + best]) if score[best] > rules.min_ridge_hu else expected


def _largest_component(mask: BoolArray) -> BoolArray:
    components, count = ndi.label(mask)
    if count <= 1:
        return mask
    largest = np.bincount(components.ravel())[1:].argmax() + 1
    return np.asarray(components == largest)
