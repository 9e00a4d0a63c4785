"""The wall of the trunk as contours in polar coordinates around a vertical axis: rib cage, muscle layers, skin.

The angle is 0 at the back and pi at the front, the left side is positive. Every table below is given at
knots of level and angle and is interpolated smoothly; a few low waves, drawn from the seed, make sides and
persons differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from trabecula.anatomy import Level
from trabecula.phantom.canvas import Field, Grid
from trabecula.phantom.spine import VertebraFrame

Array = npt.NDArray[np.float64]

ANGLES: Final = 4096
AXIS_Y_MM: Final = -45.0
"""Where the polar axis stands, relative to the centre of T8's body."""
PLEURA_DEPTH_MM: Final = 5.0
"""From the middle of the rib cage to the lung."""
INTERCOSTAL_MM: Final = 3.2
SKIN_MM: Final = 1.7

# level: half width, front and back (relative to T8 and to the level's own body), dent at the midline
_CAGE: Final[Mapping[Level, tuple[float, float, float, float]]] = {
    Level.C6: (34.0, -98.0, 26.0, 8.0),
    Level.C7: (40.0, -95.0, 28.0, 14.0),
    Level.T1: (52.0, -90.0, 32.0, 22.0),
    Level.T2: (69.0, -95.0, 34.0, 28.0),
    Level.T3: (87.0, -104.0, 36.0, 32.0),
    Level.T5: (111.0, -119.0, 39.0, 36.0),
    Level.T7: (123.0, -134.0, 40.0, 38.0),
    Level.T9: (130.0, -142.0, 38.0, 38.0),
    Level.T11: (130.0, -143.0, 35.0, 40.0),
    Level.L1: (125.0, -138.0, 29.0, 40.0),
    Level.L3: (120.0, -130.0, 24.0, 40.0),
    Level.L4: (120.0, -126.0, 22.0, 40.0),
}
_KNOT_DEG: Final = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 180.0)
_OUTER_MUSCLE_MM: Final[Mapping[Level, tuple[float, ...]]] = {
    Level.C7: (8, 10, 14, 52, 105, 95, 36, 8, 4, 2),
    Level.T1: (7, 9, 15, 48, 90, 84, 42, 13, 6, 3),
    Level.T2: (5.5, 7, 12, 32, 58, 56, 36, 17, 9, 3),
    Level.T3: (4.5, 5, 10, 20, 36, 34, 27, 20, 12, 2),
    Level.T4: (3.5, 3.5, 7, 16, 24, 18, 15, 17, 11, 1.5),
    Level.T5: (2.5, 3, 5, 14, 19, 8, 7, 14, 9, 1.2),
    Level.T7: (2, 2, 5, 13, 13, 4, 1, 5, 3, 1.2),
    Level.T9: (1.5, 1.5, 5, 11, 6, 1, 0.5, 1.5, 2.5, 1.5),
    Level.T11: (1, 1, 5, 8, 2, 0.5, 0.5, 1.5, 6, 2),
    Level.L1: (1, 1, 3, 3, 1, 1, 2, 2, 7.5, 2),
    Level.L3: (1, 1, 2, 2, 2, 3, 3, 2, 8.5, 2.5),
}
_INNER_MUSCLE_MM: Final[Mapping[Level, tuple[float, ...]]] = {
    Level.C7: (0, 0, 10, 15, 15, 10, 5, 2, 0, 0),
    Level.T1: (0, 2, 14, 24, 20, 8, 4, 2, 0, 0),
    Level.T2: (0, 3, 18, 29, 22, 6, 5, 4, 2, 0),
    Level.T3: (0, 3, 20, 29, 18, 6, 5, 5, 3, 0),
    Level.T4: (0, 3, 18, 25, 12, 7, 5, 4, 2, 0),
    Level.T5: (0, 2, 14, 18, 7, 7, 5, 3, 1, 0),
    Level.T7: (0, 1, 3, 5, 6, 8, 6, 2, 0, 0),
    Level.T9: (0, 0, 1, 3, 4, 6, 5, 3, 1, 0),
    Level.T11: (0, 0, 1, 2, 3, 5, 5, 4, 1, 0),
    Level.L1: (0, 0, 1, 3, 5, 6, 6, 5, 1, 0),
    Level.L3: (0, 0, 2, 7, 9, 9, 8, 6, 1, 0),
}
_FAT_SHARE: Final[Mapping[Level, tuple[float, ...]]] = {
    Level.C7: (0.6, 0.6, 0.6, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.5),
    Level.T3: (0.5, 0.5, 0.5, 0.6, 0.8, 0.9, 0.9, 0.8, 0.7, 0.45),
    Level.T7: (0.45, 0.5, 0.75, 0.9, 1.0, 1.0, 0.9, 0.8, 0.7, 0.4),
    Level.T11: (0.6, 0.7, 1.0, 1.1, 1.0, 0.95, 0.9, 0.9, 0.9, 0.7),
    Level.L1: (0.8, 0.9, 1.15, 1.2, 1.05, 1.0, 0.95, 1.0, 1.1, 1.0),
    Level.L3: (1.0, 1.1, 1.5, 1.4, 1.1, 1.0, 1.0, 1.1, 1.25, 1.1),
}
_BREAST_MM: Final = 21.0


@dataclass(frozen=True)
class BodyShape:
    """What makes one trunk bigger than another."""

    scale: float
    """In-plane size of cage and organs; 1 is the person the tables describe."""
    fat_mm: float
    """Thickness of subcutaneous fat where the table says 1."""
    breasts: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Contours:
    """Radii in mm at some z, each (K, ANGLES)."""

    cage: Field
    """Middle of the ribs; inner side of the muscles in the abdomen."""
    fascia: Field
    """Outer side of the paraspinal muscles; equals the cage plus the intercostals elsewhere."""
    inner_muscle: Field
    outer_muscle: Field
    outer_muscle_inside: Field
    """Inner side of the outer muscle layer."""
    skin: Field
    cage_cosine: Field
    """Turns radial distances from the cage into distances along its normal."""
    skin_cosine: Field
    """The same for the skin and the layers under it."""


class Trunk:
    """Contours of one trunk."""

    def __init__(self, frames: Mapping[Level, VertebraFrame], shape: BodyShape) -> None:
        self.shape = shape
        self.level_z = {level: float(frame.centre[2]) for level, frame in frames.items()}
        ordered = sorted(frames.values(), key=lambda f: float(f.centre[2]))
        z = np.array([f.centre[2] for f in ordered])
        self.spine_y = PchipInterpolator(z, [f.centre[1] for f in ordered], extrapolate=True)
        tips = [float(_spinous_tip_y(f)) for f in ordered]
        smooth = np.convolve(np.pad(tips, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
        self._fascia_y = PchipInterpolator(z, smooth + 3.0, extrapolate=True)
        rng = np.random.default_rng([shape.seed, 21])
        self._waves = rng.uniform(0.0, 2 * np.pi, size=(3, 7))
        self._breast_z = self.level_z[Level.T7] + 8.0
        knots = sorted((self.level_z[level], row) for level, row in _CAGE.items())
        self._cage = PchipInterpolator([k[0] for k in knots], [k[1] for k in knots], extrapolate=True)

    def z_of(self, level: Level, up_mm: float = 0.0) -> float:
        """Height of a level's centre, plus ``up_mm``."""
        return self.level_z[level] + up_mm

    def place(self, x: float, y: float, z: float) -> list[float]:
        """A soft-tissue point drawn for scale 1, put where this trunk has it."""
        s = self.shape.scale
        y0 = float(self.spine_y(z))
        return [x * s, y0 + (y - y0) * s, z]

    def front_y(self, z: float) -> float:
        """Anterior side of the cage in the midline."""
        return AXIS_Y_MM + (float(self._row(np.array([z]))[0][1]) - AXIS_Y_MM) * self.shape.scale

    def _row(self, z: Array) -> Array:
        low, high = self.level_z[Level.L4], self.level_z[Level.C6]
        rows: Array = self._cage(np.clip(z, low, high))
        return rows

    def cage_radius(self, z: Array, theta: Array) -> Array:
        """(K, N) radius of the middle of the cage at heights (K,) and angles (N,)."""
        s = self.shape.scale
        row = self._row(z)
        half = (row[:, 0] * s)[:, None]
        front = ((AXIS_Y_MM - row[:, 1]) * s)[:, None]
        back = ((self.spine_y(z) + row[:, 2] - AXIS_Y_MM) * (1.0 + 0.3 * (s - 1.0)))[:, None]
        back = np.maximum(back, 25.0)
        cos, sin = np.cos(theta)[None, :], np.abs(np.sin(theta))[None, :]
        depth = np.where(cos > 0, back, front)
        power = 2.25
        radius = ((sin / half) ** power + (np.abs(cos) / depth) ** power) ** (-1.0 / power)
        folded = _fold(theta)[None, :]
        radius = radius - row[:, 3][:, None] * np.exp(-np.square(folded / 0.42))
        w = self._waves[0]
        wobble = 1.6 * np.cos(2 * theta[None, :] + w[0] + z[:, None] / 90.0) + 1.2 * np.cos(
            3 * theta[None, :] + w[1] - z[:, None] / 70.0
        )
        wobble = wobble * (1.0 - np.exp(-np.square(folded / 0.8)))
        result: Array = np.maximum(radius + wobble, 13.0)
        return result

    def contours(self, z: Array) -> Contours:
        """All contours at heights (K,)."""
        theta = np.linspace(0.0, 2 * np.pi, ANGLES, endpoint=False, dtype=np.float64)
        folded = _fold(theta)
        cage = self.cage_radius(z, theta)
        bulk = self.shape.scale**0.5
        wave = self._waves[1]
        vary = 1.0 + 0.08 * np.cos(2 * theta[None, :] + wave[0] + z[:, None] / 60.0)
        vary = vary + 0.07 * np.cos(5 * theta[None, :] + wave[1] - z[:, None] / 45.0)
        axilla_z = self.level_z[Level.T2] + 6.0
        inner = self._table(_INNER_MUSCLE_MM, z, folded) * bulk * vary
        outer = self._table(_OUTER_MUSCLE_MM, z, folded) * bulk * vary
        ribs = cage + INTERCOSTAL_MM
        fascia = np.maximum(ribs, self._fascia(z, folded))
        first = fascia + inner
        # Muscle sheets lie against each other in places and slide on fat in others.
        gap = 0.9 + 1.3 * np.cos(3 * theta[None, :] + wave[2] + z[:, None] / 23.0)
        gap = gap + 0.9 * np.cos(8 * theta[None, :] - wave[3] + z[:, None] / 37.0)
        hollow = 0.42 * outer * _bump(folded, 92.0, 20.0)[None, :] * np.exp(-np.square((z - axilla_z) / 42.0))[:, None]
        second = first + np.clip(gap, 0.0, 3.0) * np.clip(inner / 3.0, 0.0, 1.0) + hollow
        third = second + outer - hollow
        fat = self._table(_FAT_SHARE, z, folded) * self.shape.fat_mm * (0.5 + 0.5 * vary)
        if self.shape.breasts:
            side = _bump(folded, 134.0, 23.0)
            height = np.exp(-np.square((z - self._breast_z) / 40.0))
            fat = fat + _BREAST_MM * self.shape.scale * height[:, None] * side[None, :]
        skin = np.maximum(_smooth(np.maximum(third, _smooth(third, 170)), 70) + fat, third + 1.5) + SKIN_MM
        return Contours(
            *(a.astype(np.float32) for a in (cage, fascia, first, third, second, skin, _cosine(cage), _cosine(skin)))
        )

    def _table(self, table: Mapping[Level, tuple[float, ...]], z: Array, folded: Array) -> Array:
        knots = sorted((self.level_z[level], row) for level, row in table.items())
        heights = [k[0] for k in knots]
        rows = PchipInterpolator(heights, [k[1] for k in knots])(np.clip(z, heights[0], heights[-1]))
        values: Array = PchipInterpolator(np.deg2rad(_KNOT_DEG), rows, axis=1)(folded)
        return values

    def _fascia(self, z: Array, folded: Array) -> Array:
        """Radius of the back of the paraspinal muscles: a furrow, two ridges, then down to the ribs."""
        top = (self._fascia_y(z) - AXIS_Y_MM)[:, None]
        cos, sin = np.cos(folded)[None, :], np.sin(folded)[None, :]
        radius = np.broadcast_to(top, (len(z), len(folded))).copy()
        for _ in range(12):
            x = radius * sin
            depth = top + 4.0 * (1.0 - np.exp(-np.square(x / 9.0))) - 0.0022 * x * x - 26.0 * (x / 58.0) ** 6
            radius = 0.5 * radius + 0.5 * np.maximum(depth, 5.0) / np.maximum(cos, 0.2)
        # The erector's outer edge: past it the ribs are the surface again.
        fall = np.square(np.clip((folded[None, :] - 0.75) / 0.3, 0.0, 1.0))
        return np.where(folded[None, :] < 1.05, radius - 140.0 * fall, 0.0)


@dataclass(frozen=True, eq=False)
class PolarMap:
    """Radius and table index of every pixel of a slice."""

    radius: Field
    index: npt.NDArray[np.intp]

    @classmethod
    def of(cls, grid: Grid) -> PolarMap:
        x, y = grid.x_mm[None, :], grid.y_mm[:, None] - np.float32(AXIS_Y_MM)
        angle = np.arctan2(x, y) % (2 * np.pi)
        index = np.rint(angle * (ANGLES / (2 * np.pi))).astype(np.intp) % ANGLES
        return cls(np.hypot(x, y).astype(np.float32), index)


def _spinous_tip_y(frame: VertebraFrame) -> float:
    v = frame.canal_centre_v_mm - frame.canal_half_depth_mm - frame.spinous_length_mm
    return float(frame.world(0.0, v, -frame.spinous_drop_mm)[1])


def _bump(folded: Array, centre_deg: float, width_deg: float) -> Array:
    bump: Array = np.exp(-np.square((folded - np.deg2rad(centre_deg)) / np.deg2rad(width_deg)))
    return bump


def _cosine(radius: Array) -> Array:
    slope = (np.roll(radius, -1, axis=1) - np.roll(radius, 1, axis=1)) * (ANGLES / (4 * np.pi))
    cosine: Array = 1.0 / np.sqrt(1.0 + np.square(slope / radius))
    return cosine


def _fold(theta: Array) -> Array:
    folded: Array = np.minimum(theta % (2 * np.pi), 2 * np.pi - theta % (2 * np.pi))
    return folded


def _smooth(radius: Array, half_width: int) -> Array:
    from scipy.ndimage import uniform_filter1d

    once = uniform_filter1d(radius, 2 * half_width + 1, axis=1, mode="wrap")
    smoothed: Array = uniform_filter1d(once, 2 * half_width + 1, axis=1, mode="wrap")
    return smoothed
