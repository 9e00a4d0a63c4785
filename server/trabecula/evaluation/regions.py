"""How alike two regions are: overlap and distance between surfaces."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from trabecula.evaluation.results import Overlap

BoolArray = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]

_FACES: Final = ndimage.generate_binary_structure(3, 1)
_MARGIN: Final = 1


def compare_regions(predicted: BoolArray, reference: BoolArray, spacing_mm: Spacing) -> Overlap:
    """Dice and surface distances of two masks of one shape (K, J, I).

    The masks may be crops; a crop must leave a voxel of margin around both unless the scan itself ends there.
    """
    both = predicted | reference
    if not both.any():
        return Overlap(1.0, None, None, 0.0, 0.0)
    box = tight_box(both)
    predicted, reference = predicted[box], reference[box]
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    mean_mm, far_mm = surface_distances(predicted, reference, spacing_mm)
    reference_ml, predicted_ml = (float(mask.sum()) * voxel_ml for mask in (reference, predicted))
    return Overlap(dice(predicted, reference), mean_mm, far_mm, reference_ml, predicted_ml)


def dice(one: BoolArray, other: BoolArray) -> float:
    """2 |A and B| / (|A| + |B|); 1 when both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0


def surface_distances(one: BoolArray, other: BoolArray, spacing_mm: Spacing) -> tuple[float | None, float | None]:
    """Mean symmetric surface distance and 95 % Hausdorff distance in mm; None where there is no surface.

    A mask's surface is the centres of its voxels that have a neighbour by a face outside it. The edge of the array
    is not a surface: a structure that leaves the images has no end there. The mean is over all distances of both
    directions; the other figure is the larger of the two directions' 95th percentiles.
    """
    points = [np.argwhere(_surface(mask)) * np.array(spacing_mm) for mask in (one, other)]
    if not all(len(each) for each in points):
        return None, None
    there = cKDTree(points[1]).query(points[0])[0]
    back = cKDTree(points[0]).query(points[1])[0]
    far = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return float((there.sum() + back.sum()) / (len(there) + len(back))), far


def tight_box(mask: BoolArray) -> Box:
    """The mask's bounding box with a voxel of margin, inside the array; the mask must not be empty."""
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        slices.append(slice(max(0, int(hit[0]) - _MARGIN), int(hit[-1]) + 1 + _MARGIN))
    return slices[0], slices[1], slices[2]


def joined_box(boxes: list[Box | None], shape: tuple[int, ...]) -> Box | None:
    """The smallest box around all that are not None, with a voxel of margin inside the array."""
    some = [box for box in boxes if box is not None]
    if not some:
        return None
    low = [max(0, min(box[axis].start for box in some) - _MARGIN) for axis in range(3)]
    high = [min(shape[axis], max(box[axis].stop for box in some) + _MARGIN) for axis in range(3)]
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _surface(mask: BoolArray) -> BoolArray:
    inner = ndimage.binary_erosion(mask, _FACES, border_value=1)
    return np.asarray(mask & ~inner)
