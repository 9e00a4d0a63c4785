"""Resampling as nnU-Net does it, a few planes at a time.

nnU-Net resizes with ``skimage.transform.resize(mode="edge", anti_aliasing=False)``: an interpolating spline over the
image continued beyond its edge, sampled at ``(n + 1/2) * old / new - 1/2``, clipped to the range of the input. Such a
spline is separable, so each axis is one sparse matrix; and nothing but the result is ever held at full size.
When one spacing is much coarser than the others, planes across it are resized on their own and then picked (order 0)
or interpolated along it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from trabecula.segmentation.nnunet.spec import Resampling

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint16]
Shape = tuple[int, int, int]
Triple = tuple[float, float, float]
Planes = Callable[[int], Floats]
"""Index along an axis to the plane (float32) there."""
_NEGLIGIBLE = 1e-8


def new_shape(shape: Shape, spacing_mm: Triple, target_mm: Triple) -> Shape:
    """Shape of a grid after resampling to another spacing (``compute_new_shape``)."""
    first, second, third = (round(s / t * n) for n, s, t in zip(shape, spacing_mm, target_mm, strict=True))
    return first, second, third


def coarse_axis(how: Resampling, current_mm: Triple, target_mm: Triple) -> int | None:
    """The axis that is treated apart, or None (``determine_do_sep_z_and_axis``)."""
    if how.separate_z is False:
        return None
    if how.separate_z or _anisotropic(current_mm, how.threshold):
        chosen = current_mm
    elif _anisotropic(target_mm, how.threshold):
        chosen = target_mm
    else:
        return None
    coarsest = [axis for axis, spacing in enumerate(chosen) if max(chosen) / spacing == 1]
    return coarsest[0] if len(coarsest) == 1 else None


def _anisotropic(spacing_mm: Triple, threshold: float) -> bool:
    return max(spacing_mm) / min(spacing_mm) > threshold


@lru_cache(maxsize=64)
def axis_matrix(size: int, target: int, order: int) -> sparse.csr_array:
    """(target, size) matrix of the one-dimensional resize; weights under 1e-8 are left out."""
    if size == target:
        return sparse.csr_array(sparse.identity(size, dtype=np.float32))
    if order == 0:
        centres = size / target * (np.arange(target) + 0.5) - 0.5
        chosen = ndimage.map_coordinates(np.arange(size), centres[None], order=0, mode="nearest").astype(np.intp)
        one = np.ones(target, dtype=np.float32)
        return sparse.csr_array((one, (np.arange(target), chosen)), shape=(target, size))
    columns = np.empty((target, size))
    unit = np.zeros(size)
    for n in range(size):
        unit[n] = 1.0
        columns[:, n] = ndimage.zoom(unit, target / size, order=order, mode="nearest", grid_mode=True)
        unit[n] = 0.0
    columns[np.abs(columns) < _NEGLIGIBLE] = 0.0
    return sparse.csr_array(columns.astype(np.float32))


def resample_image(plane: Planes, shape: Shape, target: Shape, how: Resampling, apart: int | None) -> Floats:
    """An image on another grid.

    Args:
        plane: planes of the image across axis ``apart`` (0 if None), in their own axis order.
        shape: of the image.
        target: shape wanted.
        apart: the axis treated apart, if any (:func:`coarse_axis`).
    """
    across = apart or 0
    if shape == target:
        return np.stack([plane(n) for n in range(shape[across])], axis=across)
    rest = [axis for axis in range(3) if axis != across]
    rows, columns = (axis_matrix(shape[axis], target[axis], how.order) for axis in rest)
    stack = np.empty((shape[across], target[rest[0]], target[rest[1]]), dtype=np.float32)
    low, high = np.inf, -np.inf
    for n in range(shape[across]):
        values = plane(n)
        bounds = float(values.min()), float(values.max())
        low, high = min(low, bounds[0]), max(high, bounds[1])
        stack[n] = _resize_plane(values, rows, columns)
        if apart is not None:
            np.clip(stack[n], *bounds, out=stack[n])
    along = axis_matrix(shape[across], target[across], how.order if apart is None else how.order_z)
    out = np.asarray(along @ stack.reshape(len(stack), -1), dtype=np.float32).reshape(-1, *stack.shape[1:])
    if apart is None:
        np.clip(out, low, high, out=out)
    return np.moveaxis(out, 0, across)


def _resize_plane(plane: Floats, rows: sparse.csr_array, columns: sparse.csr_array) -> Floats:
    return np.asarray((columns @ np.ascontiguousarray((rows @ plane).T)).T, dtype=np.float32)


Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class _Reach:
    """Where a channel can come out on top, and the matrices that bring it there."""

    channel: int
    box: Box
    row: slice
    column: slice
    rows: sparse.csr_array
    columns: sparse.csr_array


def top_labels(
    logits: npt.NDArray[np.float16], target: Shape, how: Resampling, apart: int | None
) -> Iterator[tuple[int, int, Labels]]:
    """Label with the highest logit at each voxel of another grid.

    A channel takes part only where it is among the three highest within a voxel of the place; elsewhere it could not
    come out on top but for a tie of four.

    Args:
        logits: (C, K, J, I) on the network's grid.

    Yields:
        Axis and index of a plane of the target grid, and its labels.
    """
    across = apart or 0
    volume = np.moveaxis(logits, 1 + across, 1)
    rest = [axis for axis in range(3) if axis != across]
    rows, columns = (axis_matrix(logits.shape[1 + axis], target[axis], how.order) for axis in rest)
    along = axis_matrix(logits.shape[1 + across], target[across], how.order if apart is None else how.order_z)
    boxes = channel_boxes(volume, highest=3 if max(how.order, how.order_z) <= 1 else len(volume))
    reaches = [_reach(channel, box, rows, columns) for channel, box in boxes]
    for n in range(target[across]):
        weights = along[[n]]
        best = np.full((rows.shape[0], columns.shape[0]), -np.inf, dtype=np.float32)
        label = np.zeros(best.shape, dtype=np.uint16)
        for reach in reaches:
            here = _channel_plane(volume[reach.channel], weights, reach.box)
            if here is None:
                continue
            values, place = _resize_plane(here, reach.rows, reach.columns), (reach.row, reach.column)
            label[place][values > best[place]] = reach.channel
            np.maximum(best[place], values, out=best[place])
        yield across, n, label


def channel_boxes(volume: npt.NDArray[np.float16], highest: int = 3) -> list[tuple[int, Box]]:
    """Channels and the box, a voxel wider, of where each is among the ``highest`` of all channels."""
    channels, size = len(volume), volume.shape[1:]
    if channels <= highest:
        return [(channel, (slice(0, size[0]), slice(0, size[1]), slice(0, size[2]))) for channel in range(channels)]
    low = np.full((channels, 3), np.iinfo(np.int64).max)
    high = np.full((channels, 3), -1)
    for n in range(size[0]):
        top = np.argpartition(volume[:, n].astype(np.float32), channels - highest, axis=0)[-highest:]
        for channel in np.unique(top):
            where = (top == channel).any(axis=0)
            j, i = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
            low[channel] = np.minimum(low[channel], (n, j[0], i[0]))
            high[channel] = np.maximum(high[channel], (n, j[-1], i[-1]))
    found = np.flatnonzero(high[:, 0] >= 0)
    low, high = np.maximum(low - 1, 0), np.minimum(high + 2, size)
    ends = zip(found.tolist(), low[found].tolist(), high[found].tolist(), strict=True)
    return [(c, (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2]))) for c, a, b in ends]


def _reach(channel: int, box: Box, rows: sparse.csr_array, columns: sparse.csr_array) -> _Reach:
    row, column = _reached(rows, box[1]), _reached(columns, box[2])
    return _Reach(channel, box, row, column, rows[row, box[1]], columns[column, box[2]])


def _reached(matrix: sparse.csr_array, source: slice) -> slice:
    """Target rows all of whose weights lie inside a stretch of the source."""
    first = np.minimum.reduceat(matrix.indices, matrix.indptr[:-1])
    last = np.maximum.reduceat(matrix.indices, matrix.indptr[:-1])
    inside = np.flatnonzero((first >= source.start) & (last < source.stop))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _channel_plane(values: npt.NDArray[np.float16], weights: sparse.csr_array, box: Box) -> Floats | None:
    """A channel's plane, in its box, at a place along the first axis; None where that needs values outside the box."""
    if not all(box[0].start <= index < box[0].stop for index in weights.indices):
        return None
    out = np.zeros((box[1].stop - box[1].start, box[2].stop - box[2].start), dtype=np.float32)
    for index, weight in zip(weights.indices, weights.data, strict=True):
        out += values[index, box[1], box[2]] * weight
    return out
