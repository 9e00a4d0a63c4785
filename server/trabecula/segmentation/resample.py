"""From the scan's grid to a model's grid and back.

Everything here lives in *scan millimetres*: voxel index times spacing along (k, j, i). Model grids have the scan's
axes, so that a resampling is three one-dimensional ones; only points and directions that leave the stage are turned
into LPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from trabecula.anatomy import LabelArray
from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.session import FloatVolume

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]
_LOWEST_HU, _HIGHEST_HU = -1024, 3071
_SLAB = 8
_SOFTMAX_ERROR = 0.02
"""Probabilities may sum to a little less than one: half precision, voxels taken from a structure that was dropped."""


@dataclass(frozen=True)
class Grid:
    """An axis-aligned voxel grid in scan millimetres."""

    shape: Shape
    start_mm: Triple
    """Centre of voxel (0, 0, 0)."""
    spacing_mm: Triple

    @classmethod
    def of_scan(cls, geometry: Geometry) -> Grid:
        return cls(geometry.shape, (0.0, 0.0, 0.0), geometry.spacing_mm)

    def covering(self, spacing_mm: Triple) -> Grid:
        """Grid of another spacing over the same box, centred in it."""
        shape, start = [], []
        for n, first, old, new in zip(self.shape, self.start_mm, self.spacing_mm, spacing_mm, strict=True):
            count = max(1, round(n * old / new))
            shape.append(count)
            start.append(first + ((n - 1) * old - (count - 1) * new) / 2)
        return Grid((shape[0], shape[1], shape[2]), (start[0], start[1], start[2]), spacing_mm)

    def crop(self, box: tuple[slice, slice, slice]) -> Grid:
        """Grid of ``array[box]``."""
        bounds = [part.indices(n)[:2] for part, n in zip(box, self.shape, strict=True)]
        start = self.to_mm([low for low, _ in bounds])
        k, j, i = (high - low for low, high in bounds)
        return Grid((k, j, i), (float(start[0]), float(start[1]), float(start[2])), self.spacing_mm)

    def to_mm(self, index: npt.ArrayLike) -> FloatArray:
        """Scan mm of (..., 3) voxel indices."""
        return np.asarray(np.asarray(index, dtype=np.float64) * self.spacing_mm + self.start_mm)

    def to_index(self, point_mm: npt.ArrayLike) -> FloatArray:
        """Fractional voxel indices of (..., 3) points in scan mm."""
        return np.asarray((np.asarray(point_mm, dtype=np.float64) - self.start_mm) / self.spacing_mm)

    def box_around(self, low_mm: npt.ArrayLike, high_mm: npt.ArrayLike) -> tuple[slice, slice, slice]:
        """Slices of the voxels whose centres lie between two corners, clipped to the grid."""
        low = np.clip(np.ceil(self.to_index(low_mm) - 1e-6), 0, self.shape).astype(int)
        high = np.clip(np.floor(self.to_index(high_mm) + 1e-6) + 1, low, self.shape).astype(int)
        return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def scan_directions(geometry: Geometry) -> FloatArray:
    """(3, 3) matrix that turns directions in scan mm into LPS."""
    return np.asarray(geometry.affine[:3, :3] / np.array(geometry.spacing_mm))


def linear_weights(source: Grid, target: Grid, axis: int) -> FloatVolume:
    """(target, source) matrix of a one-dimensional linear resampling that does not alias.

    The kernel is a triangle whose half width is the larger of the two spacings: plain linear interpolation upwards,
    linear low-pass ("anti-aliased bilinear") downwards. Rows sum to one; at the ends the kernel is cut and
    renormalised.
    """
    here = source.start_mm[axis] + np.arange(source.shape[axis]) * source.spacing_mm[axis]
    there = target.start_mm[axis] + np.arange(target.shape[axis]) * target.spacing_mm[axis]
    there = np.clip(there, here[0], here[-1])
    half_width = max(source.spacing_mm[axis], target.spacing_mm[axis])
    weights = np.maximum(0.0, 1.0 - np.abs(there[:, None] - here[None, :]) / half_width)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def resample_hu(volume: CtVolume, target: Grid) -> FloatVolume:
    """CT numbers on a model's grid, float32 HU, clipped to -1024 .. 3071 before filtering.

    Works slab by slab; no floating copy of the scan is made. Sparse products, because dense ones would start the BLAS
    library's threads, which wait for each other when the machine is busy.
    """
    source = Grid.of_scan(volume.geometry)
    along_k, along_j, along_i = (linear_weights(source, target, axis) for axis in range(3))
    j0, j1 = _span(along_j)
    i0, i1 = _span(along_i)
    weights_j, weights_i = sparse.csr_array(along_j[:, j0:j1]), sparse.csr_array(along_i[:, i0:i1])
    out = np.empty(target.shape, dtype=np.float32)
    for first in range(0, target.shape[0], _SLAB):
        rows = along_k[first : first + _SLAB]
        k0, k1 = _span(rows)
        slab = volume.hu[k0:k1, j0:j1, i0:i1].astype(np.float32)
        np.clip(slab, _LOWEST_HU, _HIGHEST_HU, out=slab)
        planes = sparse.csr_array(rows[:, k0:k1]) @ slab.reshape(k1 - k0, -1)
        for row, plane in enumerate(planes.reshape(len(rows), j1 - j0, i1 - i0), start=first):
            out[row] = (weights_i @ np.ascontiguousarray((weights_j @ plane).T)).T
    return out


def interpolate_slabs(
    channels: FloatVolume,
    source: Grid,
    target: Grid,
    rows: npt.NDArray[np.intp] | None = None,
    slab: int = _SLAB,
) -> Iterator[tuple[slice, npt.NDArray[np.intp], FloatVolume]]:
    """(C, K, J, I) probabilities linearly interpolated onto another grid, a few planes at a time.

    Channels that can be the likeliest nowhere in a slab, because they are too small in all of it, are left out: with
    many structures most of them are elsewhere. ``rows`` chooses among the channels beforehand.

    Yields:
        Slice of target planes, the channels that are left (numbers of the input's), and (channels, planes, J', I').
    """
    rows = np.arange(len(channels)) if rows is None else rows
    along_k, along_j, along_i = (_between(source, target, axis) for axis in range(3))
    peaks = channels.max(axis=(2, 3))
    left_out = channels[np.setdiff1d(np.arange(len(channels)), rows)].sum(axis=0).max(axis=(1, 2))
    j, i = _range_of(along_j[0], source.shape[1]), _range_of(along_i[0], source.shape[2])
    for first in range(0, target.shape[0], slab):
        low, share = along_k[0][first : first + slab], along_k[1][first : first + slab]
        high = np.minimum(low + 1, source.shape[0] - 1)
        near = slice(int(low.min()), int(high.max()) + 1)
        # The likeliest of the chosen channels has at least an equal part of what they hold together.
        least = (1.0 - float(left_out[near].max()) - _SOFTMAX_ERROR) / len(rows)
        used = rows[peaks[rows, near].max(axis=1) >= least]
        planes = channels[used[:, None], low, j, i]
        planes += share[:, None, None] * (channels[used[:, None], high, j, i] - planes)
        values = _along(_along(planes, 2, along_j[0] - j.start, along_j[1]), 3, along_i[0] - i.start, along_i[1])
        yield slice(first, first + len(low)), used, values


def _range_of(low: npt.NDArray[np.intp], count: int) -> slice:
    """Source voxels that an axis of the target uses."""
    return slice(int(low.min()), min(count, int(low.max()) + 2))


def top_channel(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """``values.argmax(axis=0)``, several times faster for few channels."""
    best = values[0].copy()
    out = np.zeros(best.shape, dtype=np.uint8)
    for n in range(1, len(values)):
        np.putmask(out, values[n] > best, n)
        np.maximum(best, values[n], out=best)
    return out


def _between(source: Grid, target: Grid, axis: int) -> tuple[npt.NDArray[np.intp], FloatVolume]:
    """For each target voxel the source voxel below it and the share, 0 .. 1, of the next one."""
    there = target.start_mm[axis] + np.arange(target.shape[axis]) * target.spacing_mm[axis]
    place = np.clip((there - source.start_mm[axis]) / source.spacing_mm[axis], 0, source.shape[axis] - 1)
    low = np.minimum(place.astype(np.intp), max(0, source.shape[axis] - 2))
    return low, (place - low).astype(np.float32)


def _along(values: FloatVolume, axis: int, low: npt.NDArray[np.intp], share: FloatVolume) -> FloatVolume:
    out: FloatVolume = values.take(low, axis=axis)
    step = values.take(np.minimum(low + 1, values.shape[axis] - 1), axis=axis)
    step -= out
    step *= share.reshape((-1,) + (1,) * (values.ndim - 1 - axis))
    out += step
    return out


def nearest_index(source: Grid, target: Grid, axis: int) -> npt.NDArray[np.intp]:
    """For each target voxel along an axis the nearest source voxel."""
    there = target.start_mm[axis] + np.arange(target.shape[axis]) * target.spacing_mm[axis]
    index = np.rint((there - source.start_mm[axis]) / source.spacing_mm[axis])
    return np.asarray(np.clip(index, 0, source.shape[axis] - 1), dtype=np.intp)


def nearest_labels(labels: LabelArray, source: Grid, target: Grid) -> LabelArray:
    """Labels of the nearest voxels on another grid; beyond the source's rim its rim goes on."""
    k, j, i = (nearest_index(source, target, axis) for axis in range(3))
    out = np.empty(target.shape, dtype=np.uint8)
    last = -1
    for row, plane in enumerate(k):
        if plane == last:
            out[row] = out[row - 1]
        else:
            np.take(labels[plane].take(j, axis=0), i, axis=1, out=out[row])
        last = plane
    return out


def _span(weights: FloatVolume) -> tuple[int, int]:
    """First and one past the last source voxel that any row of weights uses."""
    used = np.flatnonzero(weights.any(axis=0))
    return int(used[0]), int(used[-1]) + 1
