"""Where each drawn voxel is read from in the seed: size, posture, deformation, fractures, spurs.

Every change of shape is a change of the mapping output -> seed, so labels, centres and the spine coordinate follow
by themselves. Positions are three float32 arrays (k, j, i) of seed voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.fields import Fields

Positions = list[np.ndarray]


@dataclass(frozen=True)
class Grid:
    """The output grid in the seed, and how finely it is drawn."""

    centre: np.ndarray
    """(k, j, i) in voxels of the seed."""
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    """mm of the output voxels."""
    factor: tuple[int, int, int] = (2, 2, 2)
    """Drawn voxels per output voxel, per axis."""

    @property
    def drawn_shape(self) -> tuple[int, int, int]:
        k, j, i = (n * f for n, f in zip(self.shape, self.factor, strict=True))
        return k, j, i

    @property
    def drawn_spacing(self) -> tuple[float, float, float]:
        k, j, i = (a / f for a, f in zip(self.spacing, self.factor, strict=True))
        return k, j, i


@dataclass(frozen=True)
class Fracture:
    """One broken body."""

    ordinal: int
    kind: str
    """``wedge`` (front lower), ``crush`` (all of it lower), ``biconcave`` (endplates sunken), ``node`` (Schmorl)."""
    loss: float
    """Share of the height lost, 0 .. 1."""
    compaction: float
    """How much denser the marrow became, as a share."""


@dataclass(frozen=True)
class Spur:
    """Osteophytes round one disc."""

    ordinal: int
    """The vertebra above the disc."""
    angle: float
    """Direction, radians from straight ahead towards the patient's left."""
    width: float
    reach_mm: float
    bridging: bool


def draw_fractures(seed: s.Seed, rng: np.random.Generator) -> tuple[Fracture, ...]:
    """None in two scans of three, else one to three bodies, more often where they break: T7-T8 and T11-L2."""
    if rng.random() > 0.34:
        return ()
    ordinals = seed.centreline[:, 0].astype(int)
    likely = np.array([{14: 1.5, 15: 1.5, 18: 1.5, 19: 2.5, 20: 2.5, 21: 1.8}.get(int(n), 1.0) for n in ordinals])
    count = min(len(ordinals), int(rng.integers(1, 4)))
    chosen = rng.choice(ordinals, count, replace=False, p=likely / likely.sum())
    out = []
    for n in chosen:
        kind = str(rng.choice(["wedge", "crush", "biconcave", "node"], p=[0.42, 0.16, 0.27, 0.15]))
        most = {"wedge": 0.55, "crush": 0.5, "biconcave": 0.38, "node": 0.4}[kind]
        out.append(Fracture(int(n), kind, rng.uniform(0.12, most), rng.uniform(0, 0.9) if kind != "node" else 0.0))
    return tuple(out)


def draw_spurs(seed: s.Seed, rng: np.random.Generator) -> tuple[Spur, ...]:
    """None in half of the scans, else at a random share of the discs."""
    if rng.random() < 0.5:
        return ()
    share = rng.uniform(0.1, 0.8)
    most = rng.uniform(2, 7)
    out = []
    for n in seed.centreline[:-1, 0]:
        if rng.random() < share:
            for _ in range(rng.integers(1, 4)):
                angle = rng.uniform(-1.75, 1.75)
                bridging = bool(rng.random() < 0.15)
                out.append(Spur(int(n), angle, rng.uniform(0.3, 0.9), rng.uniform(1, most), bridging))
    return tuple(out)


def _rotation(rng: np.random.Generator, degrees: float) -> np.ndarray:
    x, y, z = np.deg2rad(np.clip(rng.normal(0, degrees / 2, 3), -degrees, degrees))
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rx @ ry @ rz


def positions(
    seed: s.Seed, grid: Grid, rng: np.random.Generator, scale: np.ndarray, fractures: tuple[Fracture, ...],
    spurs: tuple[Spur, ...],
) -> Positions:  # fmt: skip
    """Seed voxel coordinates of every drawn voxel.

    Args:
        scale: size of the output relative to the seed, per axis (k, j, i).
    """
    field = Fields(rng, grid.drawn_shape, grid.drawn_spacing)
    axes = [
        (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(a)
        for n, a in zip(grid.drawn_shape, grid.drawn_spacing, strict=True)
    ]
    matrix = (_rotation(rng, 12) / scale[None, :]).astype(np.float32)
    p = [
        matrix[a, 0] * axes[0][:, None, None] + matrix[a, 1] * axes[1][None, :, None] + matrix[a, 2] * axes[2]
        for a in range(3)
    ]
    amplitude = rng.uniform(0, 5)
    for a, weight in enumerate((0.7, 1.0, 1.0)):
        p[a] += field(rng.uniform(60, 100)) * np.float32(amplitude * weight)
    if rng.random() < 0.5:
        fine = np.float32(rng.uniform(0, 1.4))
        for a in range(3):
            p[a] += field(rng.uniform(22, 34)) * fine
    _bend(p, axes, field)
    for a in range(3):
        p[a] *= np.float32(1 / s.SPACING_MM)
        p[a] += np.float32(grid.centre[a])
    if rng.random() < 0.7:
        _slide_organs(seed, p, rng)
    for fracture in fractures:
        _break(seed, p, fracture, rng)
    for spur in spurs:
        _flare(seed, p, spur)
    return p


def _bend(p: Positions, axes: list[np.ndarray], field: Fields) -> None:
    """Kyphosis and lordosis, scoliosis with axial rotation, stretch along the height; in place, mm.

    A bend moves whole slices and tilts them by its slope, so that endplates stay at right angles to the column. The
    tilt fades beyond some 45 mm of the axis: farther out a strong curve would fold the body over.
    """
    rng, z = field.rng, axes[0]
    bend = rng.uniform(0, 28) if rng.random() < 0.35 else rng.uniform(0, 14)
    f = field.curve(160, bend)
    if rng.random() < 0.3:
        f -= (rng.uniform(-8, 26) * np.exp(-(((z - rng.uniform(-80, 120)) / rng.uniform(55, 100)) ** 2))).astype("f4")
    g = field.curve(160, rng.uniform(6, 26) if rng.random() < 0.2 else rng.uniform(0, 6))
    turn = field.curve(200, np.deg2rad(rng.uniform(0, 9) if rng.random() < 0.3 else rng.uniform(0, 3)))
    p[0] -= np.gradient(f, z)[:, None, None] * (45 * np.tanh(axes[1] / 45))[None, :, None]
    p[0] -= np.gradient(g, z)[:, None, None] * (45 * np.tanh(axes[2] / 45))[None, None, :]
    p[0] += field.curve(120, rng.uniform(0, 9))[:, None, None]
    p[1] += f[:, None, None] - turn[:, None, None] * axes[2][None, None, :]
    p[2] += g[:, None, None] + turn[:, None, None] * axes[1][None, :, None]


def _slide_organs(seed: s.Seed, p: Positions, rng: np.random.Generator) -> None:
    """Move what lies in front of the column up or down, in place: a level must not be read off the diaphragm alone."""
    middle = p[0].shape[1] // 2, p[0].shape[2] // 2
    line = seed.centreline[::-1]
    column = np.interp(p[0][:, middle[0], middle[1]], line[:, 1], line[:, 2]).astype(np.float32)
    weight = np.subtract(column[:, None, None], p[1])
    weight *= np.float32(s.SPACING_MM / 70)
    weight -= np.float32(0.3)
    np.clip(weight, 0, 1, out=weight)
    weight *= np.float32(np.clip(rng.normal(0, 22), -50, 50) / s.SPACING_MM)
    p[0] += weight


def _frame(seed: s.Seed, ordinal: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Centre (seed voxels), unit axis towards the head, and mm to the neighbours, of a body."""
    line = seed.centreline
    found = np.flatnonzero(line[:, 0] == ordinal)
    if len(found) == 0 or len(line) < 2:
        return None
    n = int(found[0])
    above, below = line[max(0, n - 1)], line[min(len(line) - 1, n + 1)]
    axis = above[1:] - below[1:]
    length = float(np.linalg.norm(axis))
    return line[n, 1:], axis / length, length * s.SPACING_MM / (below[0] - above[0])


def _break(seed: s.Seed, p: Positions, fracture: Fracture, rng: np.random.Generator) -> None:
    """Lower one body, in place. Wedge and crush bring down what is above them; sunken endplates fill with disc."""
    frame = _frame(seed, fracture.ordinal)
    if frame is None:
        return
    centre, axis, pitch = frame
    half = 0.4 * pitch
    mm = np.float32(s.SPACING_MM)
    if fracture.kind in ("biconcave", "node"):
        _dent(p, centre, half, fracture, rng)
        return
    low = np.flatnonzero(p[0].max((1, 2)) > centre[0] - 1.5 * half / mm)
    if len(low) == 0:
        return
    rows = slice(int(low[0]), None)
    y = (np.float32(centre[1]) - p[1][rows]) * mm
    z = (p[0][rows] - np.float32(centre[0])) * mm
    rise = np.clip((z * np.float32(axis[0]) - y * np.float32(axis[1]) + half) / np.float32(2 * half), 0, 1)
    even = 0.0 if fracture.kind == "wedge" else rng.uniform(0.6, 1.0)
    front = np.clip(0.5 + y / 30, 0, 1) * np.float32(1 - even) + np.float32(even)
    rise *= front
    rise *= np.float32(fracture.loss * 2 * half / mm)
    p[0][rows] += rise


def _dent(p: Positions, centre: np.ndarray, half: float, fracture: Fracture, rng: np.random.Generator) -> None:
    wide = rng.uniform(10, 15) if fracture.kind == "biconcave" else rng.uniform(3, 6)
    shift = rng.normal(0, 2.0 if fracture.kind == "biconcave" else 5.0, 2) / s.SPACING_MM
    box = box_around(p, centre, 30)
    if box is None:
        return
    z, y, x = (
        (q[box] - np.float32(c)) * np.float32(s.SPACING_MM)
        for q, c in zip(p, centre + np.array([0, *shift]), strict=True)
    )
    weight = np.exp(-(np.square(y) + np.square(x)) / np.float32(wide**2))
    weight *= np.clip(1 - (np.abs(z) - half) / 7, 0, 1)
    if fracture.kind == "node" or rng.random() < 0.3:
        weight *= z * rng.choice([-1, 1]) > 0
    p[0][box] += weight * np.clip(z, -half, half) * np.float32(fracture.loss / s.SPACING_MM)


def box_around(p: Positions, centre: np.ndarray, radius_mm: float) -> tuple[slice, slice, slice] | None:
    """Slices of the drawn grid that hold all voxels read from within ``radius_mm`` of ``centre``."""
    sparse = [q[::4, ::4, ::4] for q in p]
    near = sum((q - np.float32(c)) ** 2 for q, c in zip(sparse, centre, strict=True))
    at = np.argwhere(near < (radius_mm * 1.25 / s.SPACING_MM) ** 2)
    if len(at) == 0:
        return None
    low, high = at.min(0) * 4, (at.max(0) + 1) * 4
    k, j, i = (slice(max(0, int(a) - 3), int(b) + 3) for a, b in zip(low, high, strict=True))
    return k, j, i


def disc_frame(seed: s.Seed, ordinal: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Centre, unit axis towards the head, and mm between the bodies, of the disc below a vertebra."""
    line = seed.centreline
    found = np.flatnonzero(line[:, 0] == ordinal)
    if len(found) == 0 or found[0] + 1 >= len(line):
        return None
    upper, lower = line[found[0], 1:], line[found[0] + 1, 1:]
    axis = upper - lower
    length = float(np.linalg.norm(axis))
    return (upper + lower) / 2, axis / length, length * s.SPACING_MM


def around_disc(
    p: Positions, box: tuple[slice, slice, slice], centre: np.ndarray, axis: np.ndarray, spur: Spur
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Height, radius (mm), weight of the spur's direction, and the radial vector (mm) of voxels of ``box``."""
    rel = [(q[box] - np.float32(c)) * np.float32(s.SPACING_MM) for q, c in zip(p, centre, strict=True)]
    z = rel[0] * np.float32(axis[0]) + rel[1] * np.float32(axis[1]) + rel[2] * np.float32(axis[2])
    radial = [r - z * np.float32(a) for r, a in zip(rel, axis, strict=True)]
    r = np.sqrt(np.square(radial[0]) + np.square(radial[1]) + np.square(radial[2])) + np.float32(0.1)
    along = (-np.cos(spur.angle) * radial[1] + np.sin(spur.angle) * radial[2]) / r
    window = np.exp((along - 1) * np.float32(1 / (1 - np.cos(spur.width))))
    return z, r, window, radial


def _flare(seed: s.Seed, p: Positions, spur: Spur) -> None:
    """Pull the rims of two endplates outward over part of their circumference, in place."""
    frame = disc_frame(seed, spur.ordinal)
    if frame is None:
        return
    centre, axis, pitch = frame
    box = box_around(p, centre, 42)
    if box is None:
        return
    z, r, window, radial = around_disc(p, box, centre, axis, spur)
    rim = 0.11 * pitch + 1.5
    amount = window * np.exp(-np.square((np.abs(z) - np.float32(rim)) / np.float32(3.2)))
    amount *= np.clip((r - 9) / 9, 0, 1) * np.exp(-np.square(np.maximum(r - 21, 0) / 13))
    amount *= np.float32(spur.reach_mm / s.SPACING_MM) / r
    for q, direction in zip(p, radial, strict=True):
        q[box] -= amount * direction
