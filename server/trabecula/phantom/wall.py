"""Painting of skin, fat, wall muscles, lungs and diaphragm, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from trabecula.anatomy import Level, Structure
from trabecula.phantom.canvas import Canvas, Field
from trabecula.phantom.texture import Texture
from trabecula.phantom.tissues import Tissue
from trabecula.phantom.trunk import INTERCOSTAL_MM, PLEURA_DEPTH_MM, SKIN_MM, Contours, PolarMap, Trunk

# Borders of the mediastinum, mm from the midline, from the sternum (0) to the front of the spine (1) and behind it
_BORDER_KNOTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.3, 1.7)
_LEFT_BORDER: Final[Mapping[Level, tuple[float, ...]]] = {
    Level.C7: (60, 50, 40, 34, 30, 28, 28),
    Level.T1: (60, 50, 34, 30, 26, 24, 24),
    Level.T2: (44, 40, 31, 27, 23, 20, 20),
    Level.T3: (24, 30, 31, 29, 25, 20, 19),
    Level.T4: (10, 22, 34, 39, 39, 28, 18),
    Level.T5: (5, 20, 35, 37, 37, 26, 17),
    Level.T6: (4, 24, 42, 42, 36, 26, 18),
    Level.T7: (3, 18, 38, 36, 36, 26, 18),
    Level.T8: (4, 18, 30, 28, 35, 26, 18),
    Level.T9: (8, 22, 28, 26, 33, 27, 19),
    Level.T10: (22, 28, 28, 27, 31, 28, 20),
    Level.T12: (60, 50, 34, 30, 30, 29, 23),
}
_RIGHT_BORDER: Final[Mapping[Level, tuple[float, ...]]] = {
    Level.C7: (60, 50, 40, 34, 30, 28, 28),
    Level.T1: (60, 50, 34, 28, 25, 24, 24),
    Level.T2: (40, 38, 30, 25, 22, 20, 20),
    Level.T3: (20, 28, 28, 23, 20, 18, 18),
    Level.T4: (6, 22, 31, 24, 17, 17, 17),
    Level.T5: (4, 24, 35, 28, 16, 17, 17),
    Level.T6: (5, 26, 42, 36, 16, 17, 17),
    Level.T7: (5, 22, 38, 30, 16, 18, 18),
    Level.T8: (6, 22, 32, 24, 17, 19, 18),
    Level.T9: (10, 24, 32, 25, 19, 21, 19),
    Level.T10: (26, 30, 32, 26, 22, 23, 20),
    Level.T12: (60, 50, 36, 30, 26, 26, 23),
}


@dataclass(frozen=True, eq=False)
class WallTextures:
    fat: Texture
    septa: Texture
    muscle: Texture
    streaks: Texture
    sheets: Texture
    """Planes of fat between muscles."""
    lung: Texture


@dataclass(frozen=True, eq=False)
class Dome:
    """Height of the diaphragm over every pixel, and how steep it is."""

    right_z: Field
    left_z: Field
    steepness: Field

    @classmethod
    def of(cls, canvas: Canvas, trunk: Trunk) -> Dome:
        s = trunk.shape.scale
        x, y = canvas.grid.x_mm[None, :] / np.float32(s), (canvas.grid.y_mm[:, None] + 45.0) / np.float32(s)
        right = _dome(-x, y, trunk.z_of(Level.T9, 6.0), 62.0)
        left = _dome(x, y, trunk.z_of(Level.T9, -8.0), 66.0)
        both = np.maximum(right, left)
        gy, gx = np.gradient(both, canvas.grid.pixel_mm)
        return cls(right, left, np.sqrt(1.0 + gx * gx + gy * gy).astype(np.float32))


def _dome(x: Field, y: Field, top_z: float, centre_x: float) -> Field:
    """One dome: round on top, steep towards ribs and back, reaching lowest behind."""
    off = x - np.float32(centre_x)
    px, py = np.where(off > 0, off / 66.0, off / 118.0), (y + 12.0) / 86.0
    rho2 = px * px + py * py
    height = top_z - 36.0 * rho2 - 26.0 * rho2 * rho2
    height = height - 34.0 * np.square(np.clip(y / 80.0, 0.0, 1.4)) + 8.0 * np.clip(-y / 90.0, 0.0, 1.0)
    dome: Field = height.astype(np.float32)
    return dome


@dataclass(frozen=True, eq=False)
class Regions:
    """What later painters need to know, (K, J, I)."""

    lung: Field
    """Coverage by lung."""
    inside: Field
    """Distance to the inner side of the chest wall and abdominal wall; negative inside."""
    dome: Dome


def paint_wall(
    canvas: Canvas, trunk: Trunk, hu: Mapping[Tissue, float], textures: WallTextures, polar: PolarMap
) -> Regions:
    """Skin to lungs. The spine, organs and ribs come after."""
    view = canvas.whole()
    z = canvas.grid.z_mm.astype(np.float64)
    contours = trunk.contours(z)
    dome = Dome.of(canvas, trunk)
    left, right = (_borders(trunk, canvas, table) for table in (_LEFT_BORDER, _RIGHT_BORDER))
    fat = hu[Tissue.FAT] + textures.fat.sample(view) + 45.0 * textures.septa.sample(view)
    streak, sheet = textures.streaks.sample(view), textures.sheets.sample(view)
    grain = textures.muscle.sample(view)
    lung = np.zeros(canvas.grid.shape, dtype=np.float32)
    inside = np.zeros(canvas.grid.shape, dtype=np.float32)
    for k in range(canvas.grid.shape[0]):
        lean, marbling = hu[Tissue.MUSCLE] + grain[k], np.float32(hu[Tissue.FAT] - hu[Tissue.MUSCLE])
        muscle = lean + np.maximum(0.4 * streak[k], 0.85 * sheet[k]) * marbling
        back = lean + np.maximum(streak[k], 0.5 * sheet[k]) * marbling
        layers = _SliceLayers(canvas, contours, polar, k)
        layers.paint(fat[k], muscle, back, hu)
        inside[k] = layers.distance(contours.cage) + np.float32(PLEURA_DEPTH_MM)
        lung[k] = _lung_coverage(canvas, dome, inside[k], left[k], right[k], float(z[k]))
        _paint_diaphragm(canvas, dome, inside[k], float(z[k]), k, hu[Tissue.MUSCLE])
    texture = textures.lung.sample(view)
    depth = np.clip((canvas.grid.y_mm + 150.0) / 200.0, 0.0, 1.2)[None, :, None]
    canvas.paint(view, lung, hu[Tissue.LUNG] - 25.0 + 55.0 * depth * depth + texture, Structure.LUNG)
    return Regions(lung, inside, dome)


class _SliceLayers:
    """The concentric layers of one slice."""

    def __init__(self, canvas: Canvas, contours: Contours, polar: PolarMap, k: int) -> None:
        self._canvas, self._contours, self._polar, self._k = canvas, contours, polar, k
        self._cage_cosine = contours.cage_cosine[k][polar.index]
        self._skin_cosine = contours.skin_cosine[k][polar.index]

    def distance(self, contour: Field) -> Field:
        cosine = self._cage_cosine if contour is self._contours.cage else self._skin_cosine
        distance: Field = (self._polar.radius - contour[self._k][self._polar.index]) * cosine
        return distance

    def paint(self, fat: Field, muscle: Field, back: Field, hu: Mapping[Tissue, float]) -> None:
        c = self._contours
        skin = self.distance(c.skin)
        fascia, cage = self.distance(c.fascia), self.distance(c.cage)
        self._lay(skin, hu[Tissue.SKIN], Structure.BODY)
        self._lay(skin + np.float32(SKIN_MM), fat, Structure.SUBCUTANEOUS_FAT)
        self._lay(self.distance(c.outer_muscle), muscle, Structure.SKELETAL_MUSCLE)
        self._lay(self.distance(c.outer_muscle_inside), fat, Structure.SKELETAL_MUSCLE)
        self._lay(self.distance(c.inner_muscle), muscle, Structure.SKELETAL_MUSCLE)
        self._lay(fascia + 0.8, fat, Structure.SKELETAL_MUSCLE)
        self._lay(fascia, back, Structure.PARASPINAL_MUSCLE)
        ribs = cage - np.float32(INTERCOSTAL_MM)
        self._lay(ribs, fat, Structure.SKELETAL_MUSCLE)
        self._lay(ribs + 0.8, muscle, Structure.SKELETAL_MUSCLE)
        self._lay(cage + np.float32(INTERCOSTAL_MM - 0.5), fat, Structure.CAVITY)

    def _lay(self, distance: Field, value: Field | float, label: Structure) -> None:
        share = self._canvas.coverage(distance)
        part = self._canvas.hu[self._k]
        part += share * (value - part)
        self._canvas.labels[self._k][share > 0.5] = label


def _borders(trunk: Trunk, canvas: Canvas, table: Mapping[Level, tuple[float, ...]]) -> Field:
    """(K, J) distance of one border of the mediastinum from the midline."""
    z = canvas.grid.z_mm.astype(np.float64)
    knots = sorted((trunk.level_z[level], row) for level, row in table.items())
    rows = PchipInterpolator([k[0] for k in knots], [k[1] for k in knots])(np.clip(z, knots[0][0], knots[-1][0]))
    borders = np.empty((len(z), len(canvas.grid.y_mm)), dtype=np.float32)
    for k, (height, row) in enumerate(zip(z, rows, strict=True)):
        front, spine = trunk.front_y(float(height)) + 8.0, float(trunk.spine_y(height)) - 14.0
        t = (canvas.grid.y_mm - front) / (spine - front)
        borders[k] = PchipInterpolator(_BORDER_KNOTS, row)(np.clip(t, 0.0, _BORDER_KNOTS[-1]))
    return borders * np.float32(0.5 + 0.5 * trunk.shape.scale)


def _lung_coverage(
    canvas: Canvas, dome: Dome, inside: Field, left: Field, right: Field, z: float
) -> npt.NDArray[np.float32]:
    x = canvas.grid.x_mm[None, :]
    border = np.where(x > 0, left[:, None] - x, right[:, None] + x) * np.float32(0.85)
    height = np.where(x > 0, dome.left_z, dome.right_z)
    share = np.minimum(canvas.coverage(inside + 1.0), canvas.coverage(border))
    width = canvas.grid.slice_mm + canvas.grid.pixel_mm * (dome.steepness - 1.0)
    floor: Field = np.clip(0.5 + (np.float32(z) - height) / width, 0.0, 1.0)
    lung: Field = np.minimum(share, floor)
    return lung


def _paint_diaphragm(canvas: Canvas, dome: Dome, inside: Field, z: float, k: int, hu: float) -> None:
    """A muscle sheet of 3 mm under the domes."""
    height = np.maximum(dome.right_z, dome.left_z)
    depth = (height - np.float32(z)) / dome.steepness
    share = np.minimum(canvas.coverage(-depth - 0.5), canvas.coverage(depth - 3.2))
    share = np.minimum(share, canvas.coverage(inside))
    part = canvas.hu[k]
    part += share * (np.float32(hu) - part)
