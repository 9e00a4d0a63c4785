"""A vertebra labelled in one taken apart into body and posterior elements, and how vertebrae stand.

The cut is ours: a plane along the canal's front wall, as our models are taught it. Seen along the canal's own axis,
the wall is a line through the vertebra's first voxels in front of the canal in the midline; what lies in front of
it is body. Pedicles are posterior elements, and so are the body's rear corners where its back wall is hollow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import Level, Vector
from trabecula.geometry import FloatArray, Geometry

BoolArray = npt.NDArray[np.bool_]

_AXIS_REACH_MM: Final = 12.0
"""How far beyond a vertebra the canal's axis is fitted."""
_MIDLINE_MM: Final = 5.0
_BIN_MM: Final = 2.5
_FEWEST_POINTS: Final = 30
_WALL_NOISE_MM: Final = 2.5
"""Samples of the wall further from its line than this are left out of the second fit."""
_ANTERIOR_LPS: Final = np.array([0.0, -1.0, 0.0])
_SUPERIOR_LPS: Final = np.array([0.0, 0.0, 1.0])
_NEIGHBOURS: Final = 2
_CANAL_STEP_MM: Final = 2.0
_SMALLEST_CANAL_MM2: Final = 40.0
"""The canal's narrowest cross-section in adults is about 150 mm2; tilt and coarse voxels hide part of it."""


@dataclass(frozen=True, eq=False)
class Stance:
    """Where a vertebral body is and how it stands, LPS."""

    centre_mm: FloatArray
    superior: FloatArray
    anterior: FloatArray


def canal_points(canal: BoolArray, geometry: Geometry) -> FloatArray:
    """(N, 3) LPS mm of the canal's centre in every slice that shows it."""
    rows = [
        (k, *np.argwhere(plane).mean(axis=0)) for k, plane in zip(range(len(canal)), canal, strict=True) if plane.any()
    ]
    return geometry.index_to_lps(np.array(rows).reshape(-1, 3))


def foramina(vertebrae_mm: Mapping[Level, FloatArray], voxel_mm: float) -> FloatArray:
    """(N, 3) LPS mm of the canal's centre where nobody labelled it.

    Each whole vertebra's (N, 3) voxels are seen along the column: their shadow is a ring, and the ring's hole is the
    canal. Vertebrae whose ring is open give no points.

    Args:
        vertebrae_mm: LPS mm of the voxels of body and posterior elements.
        voxel_mm: largest voxel side; the shadow is drawn this coarse.
    """
    centres = {level: vertebrae_mm[level].mean(axis=0) for level in sorted(vertebrae_mm, key=lambda n: n.ordinal)}
    found = [np.empty((0, 3))]
    for level, centre in centres.items():
        up = _tangent(level, centres)
        across = np.cross(up, _ANTERIOR_LPS)
        across /= np.linalg.norm(across)
        forward = np.cross(across, up)
        offset = vertebrae_mm[level] - centre
        hole = _hole(offset @ forward, offset @ across, max(1.0, 1.05 * voxel_mm))
        if hole is None:
            continue
        low, high = np.percentile(offset @ up, (5, 95))
        along = np.arange(low, high, _CANAL_STEP_MM)[:, None]
        found.append(centre + hole[0] * forward + hole[1] * across + along * up)
    return np.concatenate(found)


def _hole(a: FloatArray, b: FloatArray, step_mm: float) -> tuple[float, float] | None:
    """Centre of the largest hole in the shadow of points; None when there is none of a canal's size."""
    places = np.floor(np.stack([a - a.min(), b - b.min()], axis=1) / step_mm).astype(int) + 2
    shadow = np.zeros(places.max(axis=0) + 3, dtype=np.bool_)
    shadow[tuple(places.T)] = True
    shadow = ndimage.binary_closing(shadow)
    holes, count = ndimage.label(ndimage.binary_fill_holes(shadow) & ~shadow)
    sizes = np.bincount(holes.ravel())[1:] if count else np.zeros(1)
    if sizes.max() * step_mm**2 < _SMALLEST_CANAL_MM2:
        return None
    row, column = np.argwhere(holes == 1 + int(sizes.argmax())).mean(axis=0)
    return float((row - 1.5) * step_mm + a.min()), float((column - 1.5) * step_mm + b.min())


def split_body(points_mm: FloatArray, canal_mm: FloatArray) -> BoolArray | None:
    """Which of a whole vertebra's (N, 3) voxels are body; None where the canal beside it is not known."""
    low, high = np.percentile(points_mm[:, 2], (1, 99))
    near = canal_mm[(canal_mm[:, 2] > low - _AXIS_REACH_MM) & (canal_mm[:, 2] < high + _AXIS_REACH_MM)]
    if len(near) < 3 or len(points_mm) < _FEWEST_POINTS:
        return None
    origin = near.mean(axis=0)
    up = _axis(near - origin)
    offset = points_mm - origin
    forward = _forward(offset, up)
    across = np.cross(up, forward)
    s, a, b = offset @ up, offset @ forward, offset @ across
    in_front = (a > 0) & (np.abs(b) < _MIDLINE_MM)
    if in_front.sum() < _FEWEST_POINTS:
        return None
    bins = np.round(s[in_front] / _BIN_MM)
    at = np.unique(bins)
    wall = np.array([np.percentile(a[in_front][bins == n], 3) for n in at])
    return np.asarray(a >= _line(at * _BIN_MM, wall)(s) - 0.25)


def stances(
    bodies_mm: Mapping[Level, FloatArray], canal_mm: FloatArray, behind_mm: Mapping[Level, FloatArray]
) -> dict[Level, Stance]:
    """How each vertebral body stands.

    The superior axis is the tangent of a parabola through the centres of the body and its next two neighbours on
    each side; the anterior one runs from the canal beside the body (or else its posterior elements' centre) to its
    own centre.

    Args:
        bodies_mm: (N, 3) LPS mm of each body's voxels.
        canal_mm: as :func:`canal_points` gives; may be empty.
        behind_mm: the same as ``bodies_mm`` for posterior elements; may lack levels.
    """
    ordered = sorted(bodies_mm, key=lambda level: level.ordinal)
    centres = {level: bodies_mm[level].mean(axis=0) for level in ordered}
    out = {}
    for level in ordered:
        superior = _tangent(level, centres)
        back = _behind(centres[level], superior, canal_mm, behind_mm.get(level))
        anterior = _ANTERIOR_LPS if back is None else centres[level] - back
        anterior = anterior - superior * float(anterior @ superior)
        out[level] = Stance(centres[level], superior, anterior / np.linalg.norm(anterior))
    return out


def as_vector(values: FloatArray) -> Vector:
    """Three numbers as the plain tuple that result values hold."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def _axis(offset: FloatArray) -> FloatArray:
    """Unit vector towards the head along points about their mean."""
    z = offset[:, 2]
    slope = np.polyfit(z, offset[:, :2], 1)[0] if np.ptp(z) > 0 else np.zeros(2)
    up = np.array([slope[0], slope[1], 1.0])
    return np.asarray(up / np.linalg.norm(up))


def _forward(offset: FloatArray, up: FloatArray) -> FloatArray:
    """Unit vector at right angles to ``up`` from the canal to the middle of what lies in front of it."""
    forward = _ANTERIOR_LPS - up * float(_ANTERIOR_LPS @ up)
    forward /= np.linalg.norm(forward)
    for _ in range(3):
        across = np.cross(up, forward)
        a, b = offset @ forward, offset @ across
        ahead = (a > 4.0) & (np.abs(b) < 25.0)
        if ahead.sum() < _FEWEST_POINTS:
            break
        middle = offset[ahead].mean(axis=0)
        middle -= up * float(middle @ up)
        forward = middle / np.linalg.norm(middle)
    return np.asarray(forward)


def _line(at: FloatArray, value: FloatArray) -> np.poly1d:
    """Straight line through wall samples, those far off left out."""
    if len(at) < 4:
        return np.poly1d([float(np.median(value))])
    fit = np.poly1d([float(np.median(value))])
    for _ in range(2):
        kept = np.abs(value - fit(at)) <= 2 * _WALL_NOISE_MM
        if kept.sum() < 4:
            break
        fit = np.poly1d(np.polyfit(at[kept], value[kept], 1))
    return fit


def _tangent(level: Level, centres: Mapping[Level, FloatArray]) -> FloatArray:
    near = [n for n in centres if abs(n.ordinal - level.ordinal) <= _NEIGHBOURS]
    if len(near) < 2:
        return _SUPERIOR_LPS
    points = np.array([centres[n] for n in near])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    arc = np.concatenate(([0.0], np.cumsum(steps)))
    here = arc[near.index(level)]
    fit = np.polyfit(arc - here, points, min(2, len(near) - 1))
    upwards = -fit[-2]
    return np.asarray(upwards / np.linalg.norm(upwards))


def _behind(
    centre: FloatArray, superior: FloatArray, canal_mm: FloatArray, posterior_mm: FloatArray | None
) -> FloatArray | None:
    if len(canal_mm):
        beside = canal_mm[np.abs((canal_mm - centre) @ superior) < 12.0]
        if len(beside):
            return np.asarray(beside.mean(axis=0))
    return None if posterior_mm is None or not len(posterior_mm) else np.asarray(posterior_mm.mean(axis=0))
