"""Which vertebrae bear ribs.

A model may see a rib only from the tip of the transverse process outwards, so ribs are traced: each separate piece of
rib beside the spine is followed along its own slope to where it would meet the vertebral body. On the coarse grid two
neighbours can touch and make one piece; it is taken apart again where its voxels lead to two places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.geometry import FloatArray
from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.predict import Prediction

_LATERAL_MM = (16.0, 85.0)
_ANTERIOR_MM = (-85.0, 12.0)
_ROOT_WITHIN_MM = 62.0
"""A piece that begins further out has lost its root."""
_TRACED_MM = 36.0
_JOINT_MM = 24.0
"""Lateral distance of the joint of rib and vertebral body."""
_SLOPE = (-0.3, 1.2)
"""Millimetres footwards per millimetre outwards; ribs slope down, the lowest most."""
_NECK_MM = 12.0
"""Innermost part of a rib, from which its root is reached."""
_NECK_SLOPE = (-0.3, 0.6)
"""The neck of a rib runs flatter than its shaft, most of all in the steep 11th and 12th."""
_RIB_DISTANCE_MM = 16.0
"""Roots whose means are at least this far apart belong to two ribs."""
_RIB_SHARE = 0.15
"""A rib holds at least this part of the piece it shares with its neighbour."""
_JOINT_SHIFT_MM = 4.0
"""Rib heads 2 to 10 meet the disc above their vertebra."""


def rib_volumes_mm3(prediction: Prediction, column: Column, segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Volume of the ribs (within 85 mm of the midline) rooted at each vertebra, on the patient's right and left."""
    sides = np.zeros((len(segments), 2))
    index = np.argwhere(prediction.of("rib") > 0.5)
    if len(index) == 0:
        return [(0.0, 0.0)] * len(segments)
    points = prediction.grid.to_mm(index)
    row = np.round(column.arc_mm(points)).astype(int)
    offset = points - column.points[row]
    lateral = offset[:, 2]
    anterior = (offset * column.anterior[row]).sum(axis=1)
    near = (np.abs(lateral) >= _LATERAL_MM[0]) & (np.abs(lateral) <= _LATERAL_MM[1])
    near &= (anterior >= _ANTERIOR_MM[0]) & (anterior <= _ANTERIOR_MM[1])
    voxel_mm3 = float(np.prod(prediction.grid.spacing_mm))
    for side, chosen in enumerate((near & (lateral < 0), near & (lateral > 0))):
        arc = column.arc_mm(points[chosen])
        for piece in _pieces(index[chosen], prediction.grid.shape):
            for place, share in _roots_mm(np.abs(lateral[chosen][piece]), arc[piece]):
                for number, segment in enumerate(segments):
                    if segment.head_mm <= place < segment.foot_mm:
                        sides[number, side] += share * len(piece) * voxel_mm3
    return [(float(right), float(left)) for right, left in sides]


def _pieces(index: npt.NDArray[np.intp], shape: tuple[int, ...]) -> list[npt.NDArray[np.intp]]:
    """Rows of the index list that belong to each connected piece."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(index.T)] = True
    labels, count = ndimage.label(mask)
    number = labels[tuple(index.T)]
    return [np.flatnonzero(number == n) for n in range(1, count + 1)]


def _roots_mm(lateral: FloatArray, arc: FloatArray) -> list[tuple[float, float]]:
    """Arc lengths at which a piece, followed inwards, meets the spine, and the share of each rib in it."""
    first = float(lateral.min())
    if first > _ROOT_WITHIN_MM:
        return []
    start = lateral <= first + _TRACED_MM
    x, y = lateral[start], arc[start]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    aim = y + np.clip(slope, *_SLOPE) * (_JOINT_MM - x)
    order = np.argsort(aim, kind="stable")
    neck_slope = float(np.clip(slope, *_NECK_SLOPE))
    roots = []
    for group in _apart(order, aim):
        neck = group[x[group] <= x[group].min() + _NECK_MM]
        root = y[neck].mean() + neck_slope * (_JOINT_MM - x[neck].mean()) + _JOINT_SHIFT_MM
        roots.append((float(root), len(group) / len(order)))
    return roots


def _apart(order: npt.NDArray[np.intp], aim: FloatArray) -> list[npt.NDArray[np.intp]]:
    """Voxels of one piece in the order of where they aim, cut where that leaves the least spread (Otsu) if the parts
    are two ribs."""
    sorted_aim = aim[order]
    count = np.arange(1, len(order))
    if len(count) == 0:
        return [order]
    total = np.cumsum(sorted_aim)
    upper, lower = total[:-1] / count, (total[-1] - total[:-1]) / (len(order) - count)
    cut = int(np.argmax(count * (len(order) - count) * (lower - upper) ** 2))
    smaller = min(cut + 1, len(order) - cut - 1)
    if lower[cut] - upper[cut] < _RIB_DISTANCE_MM or smaller < _RIB_SHARE * len(order):
        return [order]
    return [*_apart(order[: cut + 1], aim), *_apart(order[cut + 1 :], aim)]
