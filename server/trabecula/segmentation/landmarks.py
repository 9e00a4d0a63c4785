"""What else lies beside the column at a known height: lung apices and bases, and the sacrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from trabecula.geometry import FloatArray
from trabecula.segmentation.bundle import VERTEBRA_BODY
from trabecula.segmentation.column import Column, disc_pattern, sample
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.predict import Prediction

LUNG, RIB, OTHER_BONE = "lung", "rib", "other_bone"
_LUNG_AREA_MM2 = 200.0
"""Area of one lung in a slice from which on it counts as reached: nearer the tip the answer is a matter of voxels."""
_LEAST_LUNG_SHARE = 0.05
"""Smaller separate pieces of lung, of the largest one (gas elsewhere), do not count."""
_CLEAR_MM = 10.0
"""A lung that ends so close to the end of the scan may be cut by it."""
_ONE_LUNG = 0.2
"""The smaller side below this share of the larger one: collapsed, removed or out of the field of view."""
_SACRUM_BELOW_MM = (8.0, 28.0)
_SACRUM_SHARE = 0.4
_SACRUM_RADIUS_MM = 12.0


@dataclass(frozen=True)
class Landmarks:
    """Heights as places in the list of vertebrae: 2.0 is the middle of the third one from the head."""

    lung_apex: float | None = None
    """Mean of both sides; None when out of view, or not to be told."""
    lung_base: float | None = None
    sacrum_below: bool = False
    """The sacrum was seen below the last vertebra."""
    ribs_looked_for: bool = True
    """False for models that do not know ribs: that none is seen says nothing then."""


def find_landmarks(coarse: Prediction, column: Column, segments: Sequence[Segment]) -> Landmarks:
    """Landmarks of the coarse model's answer, at the height of the vertebrae.

    The height of a vertebra is that of the middle of its body in the scan's own axis.
    """
    rows = [int(np.clip(round(segment.centre_mm), 0, len(column.points) - 1)) for segment in segments]
    heights = column.points[rows, 0]
    apex, base = _lung_ends_mm(coarse, float(np.median(column.points[:, 2])))
    return Landmarks(
        _place(apex, heights),
        _place(base, heights),
        segments[-1].cut_foot and _sacrum_below(coarse, column, segments[-1]),
        RIB in coarse.channels,
    )


def _place(height_mm: float | None, heights: FloatArray) -> float | None:
    """Place in the list of vertebrae, up to one beyond its ends."""
    if height_mm is None or len(heights) < 2:
        return None
    numbers = np.arange(len(heights), dtype=np.float64)
    if heights[-1] <= height_mm <= heights[0]:
        return float(np.interp(-height_mm, -heights, numbers))
    first, last = heights[0] - heights[1], heights[-2] - heights[-1]
    place = (
        (heights[0] - height_mm) / first if height_mm > heights[0] else numbers[-1] + (heights[-1] - height_mm) / last
    )
    return float(place) if -1.0 <= place <= numbers[-1] + 1.0 else None


def _lung_ends_mm(coarse: Prediction, middle_mm: float) -> tuple[float | None, float | None]:
    """Height of the apices and bases, each the mean of both lungs; None where one is not seen to end."""
    if LUNG not in coarse.channels:
        return None, None
    lung = _large_pieces(coarse.of(LUNG) > 0.5)
    middle = int(np.clip(round(float(coarse.grid.to_index((0.0, 0.0, middle_mm))[2])), 1, lung.shape[2] - 1))
    voxel_mm2 = coarse.grid.spacing_mm[1] * coarse.grid.spacing_mm[2]
    areas = [side.sum(axis=(1, 2)) * voxel_mm2 for side in (lung[:, :, :middle], lung[:, :, middle:])]
    if min(a.sum() for a in areas) < _ONE_LUNG * max(a.sum() for a in areas):
        return None, None
    reached = [np.flatnonzero(area > _LUNG_AREA_MM2) for area in areas]
    if not all(len(rows) for rows in reached):
        return None, None
    clear = _CLEAR_MM / coarse.grid.spacing_mm[0]
    tops, bottoms = [rows[-1] for rows in reached], [rows[0] for rows in reached]
    to_mm = coarse.grid.start_mm[0], coarse.grid.spacing_mm[0]
    apex = to_mm[0] + to_mm[1] * float(np.mean(tops)) if max(tops) < lung.shape[0] - 1 - clear else None
    base = to_mm[0] + to_mm[1] * float(np.mean(bottoms)) if min(bottoms) > clear else None
    return apex, base


def _large_pieces(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    pieces, count = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = sizes >= max(1.0, _LEAST_LUNG_SHARE * float(sizes.max()))
    return np.asarray(kept[pieces])


def _sacrum_below(coarse: Prediction, column: Column, last: Segment) -> bool:
    """Whether bone that is no vertebra goes on where the next body would be."""
    if OTHER_BONE not in coarse.channels:
        return False
    row = int(np.clip(round(last.foot_mm), 0, len(column.points) - 1))
    down = np.arange(_SACRUM_BELOW_MM[0], _SACRUM_BELOW_MM[1], 4.0)
    a, b = disc_pattern(_SACRUM_RADIUS_MM, 4.0)
    line = column.points[row] - down[:, None] * column.superior[row]
    # The sacrum leans back: the curve goes on as a bend, not as a line.
    line -= column.anterior[row] * (0.4 * down)[:, None]
    places = line[:, None, :] + column.anterior[row] * a[None, :, None] + column.lateral[row] * b[None, :, None]
    index = coarse.grid.to_index(places)
    if (index[..., 0] < 0).mean() > 0.3:
        return False
    bone = float(sample(coarse.of(OTHER_BONE), coarse.grid, places).mean())
    return bone > _SACRUM_SHARE and bone > float(sample(coarse.of(VERTEBRA_BODY), coarse.grid, places).mean())
