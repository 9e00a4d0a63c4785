"""Which voxel belongs to which vertebra, and how each vertebra stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.geometry import FloatArray
from trabecula.segmentation.bundle import DISC, VERTEBRA_BODY, VERTEBRA_POSTERIOR
from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.ownership import Chain, aimed_numbers, voted_numbers
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid, top_channel
from trabecula.segmentation.session import FloatVolume
from trabecula.segmentation.settings import ColumnSettings

InstanceMap = npt.NDArray[np.uint8]
"""0 no vertebra; n + 1 for the n-th segment, head to foot."""

_CUT_TANGENT_MM = 8


@dataclass(frozen=True, eq=False)
class CutPlanes:
    """Planes through the discs, head to foot, in scan mm."""

    points: FloatArray
    """(n, 3)."""
    normals: FloatArray
    """(n, 3) unit, towards the head."""
    above_first: bool
    """Whether the first plane lies above the first segment, rather than below it."""

    def segment_of(self, points: FloatArray) -> npt.NDArray[np.int16]:
        """Number, from 0 at the head, of the segment that holds each of (N, 3) points in scan mm.

        Points above the first or below the last segment get -1 or the number of segments: they belong to a vertebra
        of which so little is in view that it is not counted.
        """
        below = np.full(len(points), -1 if self.above_first else 0, dtype=np.int16)
        for point, normal in zip(self.points, self.normals, strict=True):
            below += (points @ normal) < float(point @ normal)
        return below

    def heights_mm(self, grid: Grid) -> list[FloatArray]:
        """(J, I) height of each plane over the columns of a grid; the planes lie across the grid's first axis."""
        j, i = (grid.start_mm[axis] + np.arange(grid.shape[axis]) * grid.spacing_mm[axis] for axis in (1, 2))
        return [
            np.asarray((float(point @ normal) - normal[1] * j[:, None] - normal[2] * i[None, :]) / normal[0])
            for point, normal in zip(self.points, self.normals, strict=True)
        ]

    def segments_at(self, height_mm: float, heights: Sequence[FloatArray]) -> npt.NDArray[np.int16]:
        """(J, I) numbers of :meth:`segment_of` in one slice of the grid for which the planes' heights were taken."""
        shape = heights[0].shape if heights else (0, 0)
        out = np.full(shape, -1 if self.above_first else 0, dtype=np.int16)
        for plane in heights:
            if height_mm < plane.min():
                out += 1
            elif height_mm < plane.max():
                out += height_mm < plane
        return out

    def distance_mm(self, points: FloatArray) -> FloatArray:
        """Distance of each of (N, 3) points in scan mm from the nearest plane."""
        nearest = np.full(len(points), np.inf)
        for point, normal in zip(self.points, self.normals, strict=True):
            np.minimum(nearest, np.abs(points @ normal - float(point @ normal)), out=nearest)
        return nearest


def cut_planes(column: Column, segments: Sequence[Segment]) -> CutPlanes:
    """One plane at each disc, at right angles to the centre line there."""
    places = [segments[0].head_mm] if segments[0].cut_head else []
    places += [segment.foot_mm for segment in segments if segment.cut_foot]
    rows = [int(np.clip(round(place), 0, len(column.points) - 1)) for place in places]
    normals = []
    for row in rows:
        around = column.superior[max(0, row - _CUT_TANGENT_MM) : row + _CUT_TANGENT_MM + 1].mean(axis=0)
        normals.append(around / np.linalg.norm(around))
    return CutPlanes(column.points[rows].reshape(-1, 3), np.array(normals).reshape(-1, 3), segments[0].cut_head)


def keep_vertebrae(
    prediction: Prediction, chain: Chain, planes: CutPlanes, settings: ColumnSettings
) -> tuple[Prediction, InstanceMap]:
    """Tell the vertebrae of a chain apart on a model's grid and drop what belongs to none.

    Disc stays near the cut planes only; marrow that a model takes for disc goes back to the next likely structure,
    which is the body. Of each body the largest piece near the centre line stays. Posterior elements count if a body
    is reached from them through bone; each voxel of theirs belongs to the vertebra it votes for
    (:mod:`trabecula.segmentation.ownership`), and crumbs to the one they touch.

    Returns:
        The prediction without the dropped voxels' vertebra probability, and the instance map.
    """
    grid = prediction.grid
    probability = prediction.probability.copy()
    _drop_stray_discs(probability, prediction, planes, settings)
    top = top_channel(probability)
    body = top == prediction.channels.index(VERTEBRA_BODY)
    bodies = _bodies(body, prediction, chain, planes, settings)
    posterior = _channel_mask(top, prediction.channels, VERTEBRA_POSTERIOR)
    reached = _grow(bodies, posterior & _near(posterior, grid, chain.column, settings.posterior_radius_mm))
    instances = _by_vote(bodies, reached, prediction, chain, settings)
    probability[prediction.channels.index(VERTEBRA_BODY)][body & (bodies == 0)] = 0.0
    if VERTEBRA_POSTERIOR in prediction.channels:
        probability[prediction.channels.index(VERTEBRA_POSTERIOR)][posterior & (instances == 0)] = 0.0
    return replace(prediction, probability=probability), instances


def tells_bodies_apart(prediction: Prediction, settings: ColumnSettings) -> bool:
    """Whether a model's offsets are fine enough to draw the border between two bodies."""
    return prediction.offset_mm is not None and max(prediction.grid.spacing_mm) <= settings.vote_spacing_mm


def _by_vote(
    bodies: InstanceMap, reached: InstanceMap, prediction: Prediction, chain: Chain, settings: ColumnSettings
) -> InstanceMap:
    """Posterior elements by their votes; pieces too small to stand for themselves by what they touch."""
    index = np.argwhere((reached > 0) & (bodies == 0))
    number = voted_numbers(prediction, index, chain) + 1
    out = bodies.copy()
    out[tuple(index.T)] = np.where(number <= len(chain.segments), number, 0)
    least = settings.least_piece_mm3 / float(np.prod(prediction.grid.spacing_mm))
    crumbs = np.zeros(out.shape, dtype=bool)
    for label, box in enumerate(ndimage.find_objects(out), start=1):
        if box is None:
            continue
        mine = out[box] == label
        pieces, count = ndimage.label(mine, np.ones((3, 3, 3)))
        if count > 1:
            whole = np.bincount(pieces.ravel(), minlength=count + 1) >= least
            whole[np.unique(pieces[mine & (bodies[box] == label)])] = True
            crumbs[box] |= mine & ~whole[pieces]
    out[crumbs] = 0
    return _grow(out, crumbs)


def spread(instances: InstanceMap, steps: int) -> InstanceMap:
    """Instance numbers carried ``steps`` voxels into the unnumbered neighbourhood, for lookups at borders."""
    out = instances
    for _ in range(steps):
        out = np.where(out == 0, ndimage.maximum_filter(out, size=3), out)
    return out


def _drop_stray_discs(
    probability: FloatVolume, prediction: Prediction, planes: CutPlanes, settings: ColumnSettings
) -> None:
    if DISC not in prediction.channels or len(planes.points) == 0:
        return
    row = prediction.channels.index(DISC)
    index = np.argwhere(probability[row] > 0.2)
    stray = index[planes.distance_mm(prediction.grid.to_mm(index)) > settings.disc_reach_mm]
    probability[row][tuple(stray.T)] = 0.0


def _bodies(
    body: npt.NDArray[np.bool_], prediction: Prediction, chain: Chain, planes: CutPlanes, settings: ColumnSettings
) -> InstanceMap:
    """Bodies by the planes through the discs; close to a plane by the offsets of a fine model that has them, because
    endplates are seldom at right angles to the column."""
    out = np.zeros(prediction.grid.shape, dtype=np.uint8)
    index = np.argwhere(body)
    points = prediction.grid.to_mm(index)
    near = chain.column.distance_mm(points) <= settings.body_radius_mm if len(points) else np.zeros(0, dtype=bool)
    index, points = index[near], points[near]
    segment = planes.segment_of(points).astype(np.intp)
    if tells_bodies_apart(prediction, settings) and len(planes.points):
        close = planes.distance_mm(points) <= settings.vote_reach_mm
        segment[close] = aimed_numbers(prediction, index[close], chain)
    out[tuple(index.T)] = np.where(segment < len(chain.segments), segment + 1, 0)
    for number, box in enumerate(ndimage.find_objects(out), start=1):
        if box is None:
            continue
        part = out[box]
        pieces, count = ndimage.label(part == number)
        if count > 1:
            largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
            part[(pieces > 0) & (pieces != largest)] = 0
    return out


def _near(mask: npt.NDArray[np.bool_], grid: Grid, column: Column, radius_mm: float) -> npt.NDArray[np.bool_]:
    out = np.zeros(grid.shape, dtype=bool)
    index = np.argwhere(mask)
    if len(index):
        out[tuple(index[column.distance_mm(grid.to_mm(index)) <= radius_mm].T)] = True
    return out


def _channel_mask(top: npt.NDArray[np.uint8], channels: tuple[str, ...], name: str) -> npt.NDArray[np.bool_]:
    return top == channels.index(name) if name in channels else np.zeros(top.shape, dtype=bool)


def _grow(seeds: InstanceMap, mask: npt.NDArray[np.bool_]) -> InstanceMap:
    """Numbers spread step by step from the seeds through the mask (all 26 neighbours)."""
    if not mask.any():
        return seeds
    pad = np.pad(seeds, 1)
    index = np.flatnonzero(np.pad(mask & (seeds == 0), 1))
    flat = pad.ravel()
    _, rows, columns = pad.shape
    steps = [
        (k * rows + j) * columns + i
        for k in (-1, 0, 1)
        for j in (-1, 0, 1)
        for i in (-1, 0, 1)
        if (k, j, i) != (0, 0, 0)
    ]
    while len(index):
        reached = np.max([flat[index + step] for step in steps], axis=0)
        if not reached.any():
            break
        flat[index] = reached
        index = index[reached == 0]
    return pad[1:-1, 1:-1, 1:-1].copy()
