"""The vertebral column as a curve, and the scan seen along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import interpolate, ndimage
from scipy.spatial import cKDTree

from trabecula.geometry import FloatArray
from trabecula.segmentation.bundle import VERTEBRA_BODY
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid
from trabecula.segmentation.session import FloatVolume
from trabecula.segmentation.settings import ColumnSettings

_STEP_MM = 1.0
_MAX_MOVE = 2
_CANAL_BEHIND_MM = (10.0, 34.0)
_SMOOTHING_MM = 15.0
_PRESENT = 0.12
_RECENTRE = 3
_BACK_MM = np.array([0.0, 20.0, 0.0])
"""Towards the canal, where none was found."""


@dataclass(frozen=True, eq=False)
class Column:
    """Centre line of the vertebral bodies, head to foot, one point per millimetre of arc, with a moving frame."""

    points: FloatArray
    """(S, 3) scan mm."""
    superior: FloatArray
    """(S, 3) unit tangent towards the head."""
    anterior: FloatArray
    """(S, 3) unit, from the canal to the body, at right angles to the tangent."""

    @property
    def lateral(self) -> FloatArray:
        """(S, 3) unit, at right angles to both."""
        return np.cross(self.superior, self.anterior)

    @property
    def length_mm(self) -> float:
        return (len(self.points) - 1) * _STEP_MM

    def nearest(self, points: FloatArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Row of the curve point nearest to each of (N, 3) points in scan mm, and the distance to it."""
        distance, row = cKDTree(self.points).query(points)
        return np.asarray(row, dtype=np.intp), np.asarray(distance, dtype=np.float64)

    def arc_mm(self, points: FloatArray) -> FloatArray:
        """Arc length (from the head end) of the curve point nearest to each of (N, 3) points in scan mm."""
        return np.asarray(self.nearest(points)[0] * _STEP_MM, dtype=np.float64)

    def distance_mm(self, points: FloatArray) -> FloatArray:
        """Distance of (N, 3) points in scan mm from the curve."""
        return self.nearest(points)[1]

    def discs(self, along_anterior_mm: FloatArray, along_lateral_mm: FloatArray) -> FloatArray:
        """(S, P, 3) scan mm of P places in the plane at each point of the curve."""
        return (
            self.points[:, None, :]
            + self.anterior[:, None, :] * along_anterior_mm[None, :, None]
            + self.lateral[:, None, :] * along_lateral_mm[None, :, None]
        )


def disc_pattern(radius_mm: float, step_mm: float = 2.0) -> tuple[FloatArray, FloatArray]:
    """Places (anterior, lateral) in mm that fill a disc."""
    axis = np.arange(-radius_mm, radius_mm + step_mm / 2, step_mm)
    a, b = np.meshgrid(axis, axis, indexing="ij")
    inside = a**2 + b**2 <= radius_mm**2
    return a[inside], b[inside]


def sample(array: npt.NDArray[np.generic], grid: Grid, points_mm: FloatArray) -> FloatVolume:
    """Linear interpolation of an array on a grid at (..., 3) points in scan mm; beyond its rim, the rim goes on."""
    index = np.moveaxis(grid.to_index(points_mm), -1, 0)
    found = ndimage.map_coordinates(array, index, order=1, mode="nearest", output=np.float32)
    return np.asarray(found)


def find_column(coarse: Prediction, settings: ColumnSettings) -> Column | None:
    """Follow the chain of vertebral bodies with a canal behind them through the scan.

    The path with the largest sum of evidence over all slices is found by dynamic programming (one place per slice,
    neighbours close to each other); its longest stretch with vertebrae becomes the column.

    Returns:
        None when no stretch is as long as ``settings.min_length_mm``.
    """
    grid = coarse.grid
    body, canal = coarse.of(VERTEBRA_BODY), coarse.of("spinal_canal")
    response = _response(body, canal, grid)
    path = _best_path(response)
    rows = np.arange(len(path))
    strength = response[rows, path[:, 0], path[:, 1]]
    run = _longest_run(strength, max(1, round(settings.bridge_mm / grid.spacing_mm[0])))
    if run is None or (run.stop - run.start) * grid.spacing_mm[0] < settings.min_length_mm:
        return None
    height = grid.start_mm[0] + np.arange(run.start, run.stop) * grid.spacing_mm[0]
    middle = grid.to_mm(np.column_stack((rows[run], path[run])))[:, 1:]
    line = None
    for _ in range(_RECENTRE):
        line = _smooth_line(height, _centres(body, grid, run, middle, settings.body_radius_mm), grid.spacing_mm[0])
        if line is None:
            return None
        middle = line(height)
    behind = _centres(canal, grid, run, middle + _BACK_MM[1:], settings.body_radius_mm)
    canal_line = _smooth_line(height, behind, grid.spacing_mm[0])
    # Half a voxel more at each end: the slices have thickness.
    rim = grid.spacing_mm[0] / 2
    assert line is not None  # noqa: S101  (set in the loop above)
    return _as_column(np.array([height[0] - rim, height[-1] + rim]), line, canal_line)


def _response(body: FloatVolume, canal: FloatVolume, grid: Grid) -> FloatVolume:
    """Evidence for the column's centre: smoothed body probability, doubled where a canal lies behind."""
    sigma = [6.0 / s for s in grid.spacing_mm]
    smooth = ndimage.gaussian_filter(body, sigma, mode="nearest")
    canal_near = ndimage.maximum_filter(
        ndimage.gaussian_filter(canal, [s / 2 for s in sigma]), size=(3, 1, max(1, round(16 / grid.spacing_mm[2])))
    )
    low, high = (round(mm / grid.spacing_mm[1]) for mm in _CANAL_BEHIND_MM)
    behind = np.zeros_like(canal)
    for shift in range(low, high + 1):
        if shift < canal.shape[1]:
            np.maximum(
                behind[:, : canal.shape[1] - shift], canal_near[:, shift:], out=behind[:, : canal.shape[1] - shift]
            )
    return np.asarray(smooth * (0.5 + np.minimum(1.0, 2 * behind)), dtype=np.float32)


def _best_path(response: FloatVolume) -> npt.NDArray[np.intp]:
    """(K, 2): place (j, i) in every slice, by dynamic programming."""
    count, rows, columns = response.shape
    moves = [(a, b) for a in range(-_MAX_MOVE, _MAX_MOVE + 1) for b in range(-_MAX_MOVE, _MAX_MOVE + 1)]
    scale = float(np.quantile(response, 0.999)) or 1.0
    back = np.zeros(response.shape, dtype=np.uint8)
    score = response[0] / scale
    for k in range(1, count):
        padded = np.pad(score, _MAX_MOVE, constant_values=-np.inf)
        options = np.stack(
            [
                padded[_MAX_MOVE + a : _MAX_MOVE + a + rows, _MAX_MOVE + b : _MAX_MOVE + b + columns]
                - 0.05 * (a * a + b * b)
                for a, b in moves
            ]
        )
        back[k] = options.argmax(axis=0)
        score = options.max(axis=0) + response[k] / scale
    path = np.empty((count, 2), dtype=np.intp)
    path[-1] = np.unravel_index(int(score.argmax()), score.shape)
    for k in range(count - 1, 0, -1):
        move = moves[back[k, path[k, 0], path[k, 1]]]
        path[k - 1] = path[k] + move
    return path


def _longest_run(strength: FloatVolume, bridge: int) -> slice | None:
    present = strength > max(_PRESENT * float(np.quantile(strength, 0.95)), 0.02)
    joined = ndimage.binary_closing(np.pad(present, bridge), np.ones(bridge + 1, dtype=bool))[bridge:-bridge]
    labels, count = ndimage.label(joined)
    if count == 0:
        return None
    sums = ndimage.sum_labels(strength, labels, np.arange(1, count + 1))
    inside = np.flatnonzero((labels == int(np.argmax(sums)) + 1) & present)
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _centres(probability: FloatVolume, grid: Grid, run: slice, middle_mm: FloatArray, radius_mm: float) -> FloatArray:
    """(n, 3): weighted centre (j, i) mm near a given place in each slice of the run, and its weight."""
    j_mm = grid.start_mm[1] + np.arange(grid.shape[1]) * grid.spacing_mm[1]
    i_mm = grid.start_mm[2] + np.arange(grid.shape[2]) * grid.spacing_mm[2]
    out = np.zeros((run.stop - run.start, 3))
    for row, k in enumerate(range(run.start, run.stop)):
        j0, i0 = middle_mm[row]
        near = (j_mm[:, None] - j0) ** 2 + (i_mm[None, :] - i0) ** 2 <= radius_mm**2
        weight = np.where(near & (probability[k] > 0.25), probability[k], 0.0)
        total = float(weight.sum())
        if total > 0:
            out[row] = (weight.sum(axis=1) @ j_mm / total, weight.sum(axis=0) @ i_mm / total, total)
    return out


def _smooth_line(height: FloatArray, centres: FloatArray, spacing_mm: float) -> interpolate.BSpline | None:
    """Smoothing spline (j, i) of height through the weighted centres; straight on beyond and across gaps."""
    seen = centres[:, 2] > 0
    if seen.sum() < 6:
        return None
    weight = np.minimum(1.0, centres[seen, 2] / max(float(np.median(centres[seen, 2])), 1e-6))
    stiffness = _SMOOTHING_MM**4 / spacing_mm
    return interpolate.make_smoothing_spline(height[seen], centres[seen, :2], w=weight, lam=stiffness)


def _as_column(span_mm: FloatArray, line: interpolate.BSpline, canal_line: interpolate.BSpline | None) -> Column:
    """Points every millimetre of arc, head first."""
    fine = np.arange(span_mm[1], span_mm[0], -0.25)
    dense = np.column_stack((fine, line(fine)))
    arc = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))))
    stations = np.arange(0.0, arc[-1], _STEP_MM)
    points = np.column_stack([np.interp(stations, arc, dense[:, axis]) for axis in range(3)])
    superior = _unit(-np.gradient(ndimage.gaussian_filter1d(points, 4.0, axis=0, mode="nearest"), axis=0))
    back = np.column_stack((points[:, 0], canal_line(points[:, 0]))) if canal_line else points + _BACK_MM
    forward = points - back
    forward -= superior * (forward * superior).sum(axis=1, keepdims=True)
    return Column(points, superior, _unit(forward))


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))
