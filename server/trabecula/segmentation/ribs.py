"""Which vertebrae bear ribs.

A model may see a rib only from the tip of the transverse process outwards, so ribs are traced: each separate piece of
rib beside the spine is followed along its own slope to where it would meet the vertebral body.
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
            place = _root_mm(np.abs(lateral[chosen][piece]), arc[piece])
            for number, segment in enumerate(segments):
                if place is not None and segment.head_mm <= place < segment.foot_mm:
                    sides[number, side] += len(piece) * voxel_mm3
    return [(float(right), float(left)) for right, left in sides]


def _pieces(index: npt.NDArray[np.intp], shape: tuple[int, ...]) -> list[npt.NDArray[np.intp]]:
    """Rows of the index list that belong to each connected piece."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(index.T)] = True
    labels, count = ndimage.label(mask)
    number = labels[tuple(index.T)]
    return [np.flatnonzero(number == n) for n in range(1, count + 1)]


def _root_mm(lateral: FloatArray, arc: FloatArray) -> float | None:
    """Arc length at which a piece, followed inwards along its own slope, meets the spine."""
    first = float(lateral.min())
    if first > _ROOT_WITHIN_MM:
        return None
    start = lateral <= first + _TRACED_MM
    x, y = lateral[start], arc[start]
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    return float(y.mean() + np.clip(slope, *_SLOPE) * (_JOINT_MM - x.mean()) + _JOINT_SHIFT_MM)
