"""Which voxel belongs to which vertebra, and how each vertebra stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.geometry import FloatArray
from trabecula.segmentation.bundle import DISC, VERTEBRA_BODY, VERTEBRA_POSTERIOR
from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid
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
    prediction: Prediction, column: Column, planes: CutPlanes, count: int, settings: ColumnSettings
) -> tuple[Prediction, InstanceMap]:
    """Tell the ``count`` vertebrae apart on a model's grid and drop what belongs to none.

    Disc stays near the cut planes only; marrow that a model takes for disc goes back to the next likely structure,
    which is the body. Of each body the largest piece near the centre line stays. Posterior elements belong to the
    body from which they are reached first through bone; those not reached go.

    Returns:
        The prediction without the dropped voxels' vertebra probability, and the instance map.
    """
    grid = prediction.grid
    probability = prediction.probability.copy()
    _drop_stray_discs(probability, prediction, planes, settings)
    top = probability.argmax(axis=0)
    body = top == prediction.channels.index(VERTEBRA_BODY)
    bodies = _bodies(body, grid, column, planes, count, settings)
    posterior = _channel_mask(top, prediction.channels, VERTEBRA_POSTERIOR)
    instances = _grow(bodies, posterior & _near(posterior, grid, column, settings.posterior_radius_mm))
    probability[prediction.channels.index(VERTEBRA_BODY)][body & (bodies == 0)] = 0.0
    if VERTEBRA_POSTERIOR in prediction.channels:
        probability[prediction.channels.index(VERTEBRA_POSTERIOR)][posterior & (instances == 0)] = 0.0
    return Prediction(grid, prediction.channels, probability, prediction.coordinate), instances


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
    body: npt.NDArray[np.bool_], grid: Grid, column: Column, planes: CutPlanes, count: int, settings: ColumnSettings
) -> InstanceMap:
    out = np.zeros(grid.shape, dtype=np.uint8)
    index = np.argwhere(body)
    points = grid.to_mm(index)
    near = column.distance_mm(points) <= settings.body_radius_mm if len(points) else np.zeros(0, dtype=bool)
    segment = planes.segment_of(points[near]) + 1
    out[tuple(index[near].T)] = np.where(segment <= count, segment, 0)
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


def _channel_mask(top: npt.NDArray[np.intp], channels: tuple[str, ...], name: str) -> npt.NDArray[np.bool_]:
    return top == channels.index(name) if name in channels else np.zeros(top.shape, dtype=bool)


def _grow(seeds: InstanceMap, mask: npt.NDArray[np.bool_]) -> InstanceMap:
    """Numbers spread step by step from the seeds through the mask (all 26 neighbours)."""
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
