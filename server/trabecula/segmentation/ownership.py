"""Which vertebra a piece of bone belongs to, told from where it is.

A voxel votes for a place on the centre line: the centre of its own vertebral body. Models with an offset output say
where that is. For others it is told from anatomy: arches and transverse processes lie a little above the middle of
their body, spinous processes below it, by as much as a whole vertebra in the middle of the chest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trabecula.geometry import FloatArray
from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.predict import Prediction

_BEHIND_MM = np.array((15.0, 25.0, 35.0, 45.0, 55.0))
"""Distance behind the centre line for the columns of the tables below."""
_LEVELS = np.array((8.0, 11.0, 13.0, 16.0, 17.0, 18.5, 21.0))
_DROP_MIDLINE = np.array(
    (
        (-0.07, 0.17, 0.46, 0.72, 0.93),
        (-0.08, 0.05, 0.38, 0.72, 0.98),
        (-0.09, -0.13, 0.26, 0.72, 1.06),
        (-0.02, -0.14, 0.25, 0.67, 0.92),
        (-0.10, 0.02, 0.34, 0.55, 0.61),
        (-0.04, 0.01, 0.27, 0.31, 0.34),
        (0.05, 0.00, 0.19, 0.27, 0.27),
    )
)
"""How far below the middle of its body a spinous process is, in lengths of the vertebra, by level and distance behind.
Means of the three label maps named in the model card; they differ by less than 0.1 between the subjects."""
_DROP_LATERAL = np.array(
    (
        (-0.20, -0.11, -0.20, -0.20, -0.20),
        (-0.18, -0.13, -0.17, -0.20, -0.20),
        (-0.13, -0.15, -0.15, -0.20, -0.20),
        (-0.16, -0.18, -0.13, -0.20, -0.20),
        (-0.12, -0.07, -0.05, -0.20, -0.20),
        (-0.07, -0.16, 0.04, 0.05, 0.30),
        (-0.11, -0.15, 0.01, 0.04, 0.30),
    )
)
"""The same for what lies beside the midline: arches, joints, transverse processes."""
_MIDLINE_MM = 7.0
_OFFSET_WEIGHT = 0.6
_STRAY_MM = 25.0
"""An offset that leads further than this from the centre line is not believed."""


@dataclass(frozen=True, eq=False)
class Chain:
    """The vertebrae as stretches of the centre line, with their names as far as they are known."""

    column: Column
    segments: tuple[Segment, ...]
    ordinals: tuple[int, ...]

    def number_at(self, arc_mm: FloatArray) -> npt.NDArray[np.intp]:
        """Number of the vertebra that holds each place of the centre line; -1 above the first, their count below the
        last."""
        borders = [self.segments[0].head_mm, *(segment.foot_mm for segment in self.segments)]
        number = np.searchsorted(borders, arc_mm, side="right") - 1
        # Ends that the scan cuts are open: what lies beyond belongs to the vertebra there.
        if not self.segments[0].cut_head:
            number = np.maximum(number, 0)
        if not self.segments[-1].cut_foot:
            number = np.minimum(number, len(self.segments) - 1)
        return np.asarray(number)

    def level_at(self, arc_mm: FloatArray) -> FloatArray:
        """Ordinal as a continuous function of the place, the middle of a body being a whole number."""
        return np.asarray(np.interp(arc_mm, [s.centre_mm for s in self.segments], self.ordinals))

    def length_at(self, arc_mm: FloatArray) -> FloatArray:
        """Length of a vertebra at each place, from those in view from disc to disc."""
        whole = [s for s in self.segments if s.cut_head and s.cut_foot] or list(self.segments)
        return np.asarray(np.interp(arc_mm, [s.centre_mm for s in whole], [s.length_mm for s in whole]))


def voted_numbers(prediction: Prediction, index: npt.NDArray[np.intp], chain: Chain) -> npt.NDArray[np.intp]:
    """Number of the vertebra that each of (N, 3) bone voxels of a prediction belongs to, as :meth:`Chain.number_at`.

    Where the model gives offsets, the vote is the mean of what they and the anatomy say: each errs by a quarter of a
    vertebra, independently of the other.
    """
    if len(index) == 0:
        return np.zeros(0, dtype=np.intp)
    points = prediction.grid.to_mm(index)
    anatomical = _anatomical_arc_mm(points, chain)
    if prediction.offset_mm is None:
        return chain.number_at(anatomical)
    row, distance = _aims(prediction, index, points, chain)
    weight = np.where(distance <= _STRAY_MM, _OFFSET_WEIGHT, 0.0)
    return chain.number_at(weight * row + (1 - weight) * anatomical)


def aimed_numbers(prediction: Prediction, index: npt.NDArray[np.intp], chain: Chain) -> npt.NDArray[np.intp]:
    """The same by the offsets alone, for voxels of bodies; the prediction must have offsets."""
    row, _ = _aims(prediction, index, prediction.grid.to_mm(index), chain)
    return chain.number_at(row.astype(np.float64))


def _aims(
    prediction: Prediction, index: npt.NDArray[np.intp], points: FloatArray, chain: Chain
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Place on the centre line to which the offsets lead, and the distance from it at which they end."""
    assert prediction.offset_mm is not None  # noqa: S101  (callers have looked)
    return chain.column.nearest(points + prediction.offset_mm[:, index[:, 0], index[:, 1], index[:, 2]].T)


def _anatomical_arc_mm(points: FloatArray, chain: Chain) -> FloatArray:
    """Place of the middle of the body to which posterior bone belongs, by where it lies behind the column."""
    column = chain.column
    row, _ = column.nearest(points)
    here = row.astype(np.float64)
    offset = points - column.points[row]
    behind = -(offset * column.anterior[row]).sum(axis=1)
    midline = np.abs((offset * column.lateral[row]).sum(axis=1)) < _MIDLINE_MM
    arc = here
    for _ in range(2):
        level = chain.level_at(arc)
        drop = np.where(midline, _drop(_DROP_MIDLINE, level, behind), _drop(_DROP_LATERAL, level, behind))
        arc = here - drop * chain.length_at(arc)
    return np.asarray(arc)


def _drop(table: FloatArray, level: FloatArray, behind_mm: FloatArray) -> FloatArray:
    """Bilinear lookup, the rims going on."""
    row = np.interp(level, _LEVELS, np.arange(len(_LEVELS)))
    column = np.interp(behind_mm, _BEHIND_MM, np.arange(len(_BEHIND_MM)))
    r, c = np.minimum(row.astype(np.intp), len(_LEVELS) - 2), np.minimum(column.astype(np.intp), len(_BEHIND_MM) - 2)
    u, v = row - r, column - c
    upper = (1 - v) * table[r, c] + v * table[r, c + 1]
    lower = (1 - v) * table[r + 1, c] + v * table[r + 1, c + 1]
    return np.asarray((1 - u) * upper + u * lower)
