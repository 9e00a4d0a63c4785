"""A slab of slices being painted: coordinates, coverage-weighted compositing, signed-distance helpers.

All lengths are mm in patient LPS; arrays are float32 with axes (k, j, i) = (foot to head, anterior to
posterior, right to left). A signed distance is negative inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Box = tuple[slice, slice, slice]
Vec = Sequence[float] | npt.NDArray[np.floating[Any]]
"""A point or three radii."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Sample points of a slab."""

    x_mm: Field
    y_mm: Field
    z_mm: Field
    pixel_mm: float
    slice_mm: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.z_mm), len(self.y_mm), len(self.x_mm)


@dataclass(frozen=True, eq=False)
class View:
    """Part of a canvas: an index box and coordinates that broadcast over it."""

    box: Box
    x: Field
    y: Field
    z: Field

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]


class Canvas:
    """CT numbers and labels of one slab while it is painted. Lives inside one render call."""

    def __init__(self, grid: Grid, background_hu: float) -> None:
        self.grid = grid
        self.hu = np.full(grid.shape, background_hu, dtype=np.float32)
        self.labels = np.zeros(grid.shape, dtype=np.uint8)

    def view(self, low_mm: Vec, high_mm: Vec, margin_mm: float = 2.0) -> View | None:
        """The voxels between two corners, or None when there are none."""
        slices = []
        for axis, low, high in zip(
            (self.grid.z_mm, self.grid.y_mm, self.grid.x_mm), low_mm[::-1], high_mm[::-1], strict=True
        ):
            start = int(np.searchsorted(axis, low - margin_mm))
            stop = int(np.searchsorted(axis, high + margin_mm, side="right"))
            if start >= stop:
                return None
            slices.append(slice(start, stop))
        return self._view((slices[0], slices[1], slices[2]))

    def whole(self) -> View:
        k, j, i = self.grid.shape
        return self._view((slice(0, k), slice(0, j), slice(0, i)))

    def _view(self, box: Box) -> View:
        grid = self.grid
        return View(box, grid.x_mm[None, None, box[2]], grid.y_mm[None, box[1], None], grid.z_mm[box[0], None, None])

    def coverage(self, distance_mm: Field, width_mm: float | None = None) -> Field:
        """Share of each voxel that lies inside, from the distance at its centre."""
        width = self.grid.pixel_mm if width_mm is None else width_mm
        share: Field = np.clip(np.float32(0.5) - distance_mm * np.float32(1.0 / width), 0.0, 1.0)
        return share

    def paint(self, view: View, coverage: Field, hu: float | Field, label: int | None = None) -> None:
        """Lay a tissue over what is there, weighted by coverage."""
        part = self.hu[view.box]
        part += coverage * (hu - part)
        if label is not None:
            self.labels[view.box][coverage > 0.5] = label


def smooth_min(a: Field, b: Field, radius_mm: float) -> Field:
    """Union of two signed distances with a fillet."""
    h = np.maximum(np.float32(radius_mm) - np.abs(a - b), 0.0)
    union: Field = np.minimum(a, b) - h * h * np.float32(0.25 / radius_mm)
    return union


def smooth_max(a: Field, b: Field, radius_mm: float) -> Field:
    """Intersection of two signed distances with a rounded edge."""
    return -smooth_min(-a, -b, radius_mm)


def ellipsoid(view: View, centre: Vec, radii: Vec, yaw_rad: float = 0.0) -> Field:
    """Signed distance (first order) of an ellipsoid, turned about z by ``yaw_rad``."""
    x, y, z = view.x - np.float32(centre[0]), view.y - np.float32(centre[1]), view.z - np.float32(centre[2])
    if yaw_rad:
        cos, sin = np.float32(np.cos(yaw_rad)), np.float32(np.sin(yaw_rad))
        x, y = cos * x + sin * y, cos * y - sin * x
    return scaled_distance(x, y, z, radii)


def scaled_distance(x: Field, y: Field, z: Field, radii: Vec) -> Field:
    """First-order distance to x, y, z scaled by radii: k0 (k0 - 1) / k1."""
    a, b, c = (np.float32(1.0 / r) for r in radii)
    x, y, z = x * a, y * b, z * c
    k0 = np.sqrt(x * x + y * y + z * z)
    x, y, z = x * a, y * b, z * c
    k1 = np.sqrt(x * x + y * y + z * z)
    distance: Field = k0 * (k0 - 1.0) / np.maximum(k1, np.float32(1e-6))
    return distance


def segment_distance(x: Field, y: Field, z: Field, start: Vec, end: Vec, r0: float, r1: float) -> Field:
    """Signed distance of a cone-like capsule from ``start`` (radius r0) to ``end`` (radius r1)."""
    d = np.subtract(end, start).astype(np.float32)
    length2 = np.float32(max(float(d @ d), 1e-6))
    px, py, pz = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    t = np.clip((px * d[0] + py * d[1] + pz * d[2]) / length2, 0.0, 1.0)
    px, py, pz = px - t * d[0], py - t * d[1], pz - t * d[2]
    distance: Field = np.sqrt(px * px + py * py + pz * pz) - (np.float32(r0) + t * np.float32(r1 - r0))
    return distance


def wobble(view: View, size_mm: float, wavelength_mm: float, phase: float) -> Field:
    """A smooth random-looking change of a distance, so that no organ is an exact solid."""
    k = np.float32(2 * np.pi / wavelength_mm)
    a = np.sin(k * view.x + np.float32(phase)) * np.sin(k * 0.83 * view.y + np.float32(2.1 * phase))
    b = np.sin(k * 0.71 * view.z + np.float32(1.3 * phase) + 0.6 * k * view.y) * np.cos(k * 1.31 * view.x)
    change: Field = (np.float32(size_mm) * (a + 0.7 * b)).astype(np.float32)
    return change


@dataclass(frozen=True, eq=False)
class Tube:
    """A swept tube with round or (with normals) flattened section."""

    points: Points
    """(n, 3) mm."""
    radii: Points
    """(n,) mm; across the normal's direction when normals are given."""
    normals: Points | None = None
    """(n, 3) unit; direction of the thin side."""
    flattening: float = 1.0
    """Wide radius over thin radius."""

    @property
    def reach_mm(self) -> float:
        return float(self.radii.max()) * self.flattening


def tube_distance(canvas: Canvas, tube: Tube, margin_mm: float = 2.0) -> tuple[View, Field] | None:
    """Signed distance of the part of a tube within the canvas, over its bounding box."""
    reach = tube.reach_mm + margin_mm
    z_low, z_high = float(canvas.grid.z_mm[0]) - reach, float(canvas.grid.z_mm[-1]) + reach
    z = tube.points[:, 2]
    near = [n for n in range(len(z) - 1) if min(z[n], z[n + 1]) <= z_high and max(z[n], z[n + 1]) >= z_low]
    if not near:
        return None
    used = tube.points[sorted({*near, *(n + 1 for n in near)})]
    whole = canvas.view(used.min(axis=0), used.max(axis=0), reach)
    if whole is None:
        return None
    distance = np.full(whole.shape, 99.0, dtype=np.float32)
    for n in near:
        ends = tube.points[n : n + 2]
        part = canvas.view(ends.min(axis=0), ends.max(axis=0), reach)
        if part is None:
            continue
        inner = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part.box, whole.box, strict=True))
        np.minimum(distance[inner], _segment(part, tube, n), out=distance[inner])
    return whole, distance


def _segment(view: View, tube: Tube, n: int) -> Field:
    start, end = tube.points[n], tube.points[n + 1]
    r0, r1 = float(tube.radii[n]), float(tube.radii[n + 1])
    if tube.normals is None:
        return segment_distance(view.x, view.y, view.z, start, end, r0, r1)
    along = end - start
    length = float(np.linalg.norm(along)) or 1e-6
    along = along / length
    normal = tube.normals[n] + tube.normals[n + 1]
    normal = normal - along * (normal @ along)
    normal = normal / max(float(np.linalg.norm(normal)), 1e-6)
    wide = np.cross(along, normal)
    a, b, c = along.astype(np.float32), normal.astype(np.float32), wide.astype(np.float32)
    px, py, pz = view.x - np.float32(start[0]), view.y - np.float32(start[1]), view.z - np.float32(start[2])
    s = px * a[0] + py * a[1] + pz * a[2]
    s = s - np.clip(s, 0.0, np.float32(length))
    p = px * b[0] + py * b[1] + pz * b[2]
    q = px * c[0] + py * c[1] + pz * c[2]
    thin = 0.5 * (r0 + r1)
    return scaled_distance(s, p, q, (thin, thin, thin * tube.flattening))


def curve(points: Sequence[Vec], step_mm: float = 4.0) -> Points:
    """A smooth curve through points, sampled about every ``step_mm``."""
    from scipy.interpolate import PchipInterpolator

    knots = np.asarray(points, dtype=np.float64)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    count = max(2, int(np.ceil(lengths[-1] / step_mm)) + 1)
    sampled: Points = PchipInterpolator(lengths, knots, axis=0)(np.linspace(0.0, lengths[-1], count))
    return sampled
