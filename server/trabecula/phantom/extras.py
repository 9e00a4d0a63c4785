"""What is not the patient's: table, QCT phantom, pedicle screws and rods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.anatomy import Level, Structure
from trabecula.phantom.canvas import Canvas, Field, Tube, tube_distance
from trabecula.phantom.physics import Beam, rod_hu
from trabecula.phantom.spine import VertebraFrame

# Certificate values of a Mindways Model 3 CT phantom: name, K2HPO4 and water-equivalent density in mg/cm3
MINDWAYS_RODS: Final = (
    ("A", -51.83, 1012.25),
    ("B", -53.40, 1056.95),
    ("C", 58.88, 1103.57),
    ("D", 157.05, 1119.52),
    ("E", 375.83, 923.20),
)
METAL_HU: Final = 8000.0
"""Titanium; the scanner's number range cuts it."""
_ROD_PITCH_MM: Final = 34.0
_ROD_RADIUS_MM: Final = 8.0
_BASE_HALF_WIDTH_MM: Final = 110.0
_BASE_THICK_MM: Final = 25.0
_BASE_HU: Final = 20.0


@dataclass(frozen=True)
class Rod:
    """One rod of the QCT phantom; it runs along z through the whole scan."""

    name: str
    k2hpo4_mg_cm3: float
    water_equivalent_mg_cm3: float
    hu: float
    """On a scanner in specification."""
    x_mm: float
    y_mm: float
    radius_mm: float


def lay_rods(back_y_mm: float, beam: Beam) -> tuple[Rod, ...]:
    """The rods side by side behind the rearmost skin."""
    y = back_y_mm + _BASE_THICK_MM / 2 + 3.0
    return tuple(
        Rod(name, k, w, rod_hu(k, w, beam), (n - 2) * _ROD_PITCH_MM, y, _ROD_RADIUS_MM)
        for n, (name, k, w) in enumerate(MINDWAYS_RODS)
    )


def paint_table(canvas: Canvas, top_y_mm: float) -> None:
    """A curved carbon shell with a foam core; ``top_y_mm`` is its lowest line, in the middle."""
    x, y = canvas.grid.x_mm[None, :], canvas.grid.y_mm[:, None]
    upper = np.float32(top_y_mm) - np.square(x) * np.float32(26.0 / 210.0**2) - y
    lower = y - np.float32(top_y_mm + 34.0) + np.square(x) * np.float32(38.0 / 210.0**2)
    distance = np.maximum(np.maximum(upper, lower), np.abs(x) - np.float32(212.0)).astype(np.float32)
    view = canvas.whole()
    for inset, hu in ((0.0, 150.0), (1.9, -930.0)):
        share = canvas.coverage(distance + np.float32(inset))[None]
        canvas.paint(view, np.broadcast_to(share, view.shape), hu, Structure.TABLE)


def paint_rods(canvas: Canvas, rods: Sequence[Rod]) -> None:
    """The QCT phantom's base with its rods."""
    x, y = canvas.grid.x_mm[None, :], canvas.grid.y_mm[:, None]
    view = canvas.whole()
    depth = np.abs(y - np.float32(rods[0].y_mm)) - np.float32(_BASE_THICK_MM / 2)
    base = np.maximum(np.abs(x) - np.float32(_BASE_HALF_WIDTH_MM), depth)
    canvas.paint(view, np.broadcast_to(canvas.coverage(base)[None], view.shape), _BASE_HU, Structure.TABLE)
    for rod in rods:
        distance = np.hypot(x - np.float32(rod.x_mm), y - np.float32(rod.y_mm)) - np.float32(rod.radius_mm)
        canvas.paint(view, np.broadcast_to(canvas.coverage(distance)[None], view.shape), rod.hu, Structure.TABLE)


def build_hardware(frames: Mapping[Level, VertebraFrame], levels: Sequence[Level]) -> tuple[Tube, ...]:
    """Two pedicle screws a level, a rod each side along neighbouring levels."""
    tubes: list[Tube] = []
    for side in (1, -1):
        heads = []
        for level in sorted(levels, key=lambda item: item.ordinal):
            f = frames[level]
            head = f.world(side * (f.canal_half_width_mm + 6.5), -f.half_depth_mm - 24.0, 0.22 * f.half_height_mm * 2)
            tip = f.world(side * 0.35 * f.half_width_mm, 0.55 * f.half_depth_mm, 0.12 * f.half_height_mm * 2)
            tubes.append(Tube(np.array([head, tip]), np.array([2.9, 2.5])))
            tubes.append(Tube(np.array([head, head + 0.12 * (head - tip)]), np.array([6.0, 6.0])))
            heads.append(head + 0.1 * (head - tip))
        if len(heads) > 1:
            tubes.append(Tube(np.array(heads), np.full(len(heads), 2.8)))
    return tuple(tubes)


def paint_hardware(canvas: Canvas, tubes: tuple[Tube, ...]) -> None:
    """Metal, then the streaks it makes in every slice it crosses."""
    metal = np.zeros(canvas.grid.shape, dtype=np.float32)
    for tube in tubes:
        found = tube_distance(canvas, tube)
        if found is not None:
            view, distance = found
            np.maximum(metal[view.box], canvas.coverage(distance), out=metal[view.box])
    for k in np.flatnonzero(metal.max(axis=(1, 2)) > 0.5):
        canvas.hu[k] += _streaks(canvas, metal[k])
    canvas.paint(canvas.whole(), metal, METAL_HU, Structure.METAL)


def _streaks(canvas: Canvas, metal: Field) -> Field:
    """Dark along lines through two pieces of metal, rays of both signs around each."""
    from scipy.ndimage import center_of_mass, label

    found, count = label(metal > 0.5)
    x, y = canvas.grid.x_mm[None, :], canvas.grid.y_mm[:, None]
    spots = []
    for row, column in center_of_mass(metal, found, range(1, count + 1)):
        spots.append((float(canvas.grid.x_mm[round(column)]), float(canvas.grid.y_mm[round(row)])))
    streaks = np.zeros(metal.shape, dtype=np.float32)
    for n, (cx, cy) in enumerate(spots):
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        radius = np.hypot(dx, dy) + np.float32(3.0)
        angle = np.arctan2(dy, dx)
        rays = np.cos(14.0 * angle + n) + 0.7 * np.cos(23.0 * angle + 2.0 * n)
        streaks += (np.float32(55.0) * rays * np.exp(-radius / 38.0)).astype(np.float32)
        for ox, oy in spots[n + 1 :]:
            length = float(np.hypot(ox - cx, oy - cy)) or 1.0
            across = (dx * (oy - cy) - dy * (ox - cx)) / length
            middle = np.hypot(x - 0.5 * (cx + ox), y - 0.5 * (cy + oy))
            dark = np.exp(-np.square(across / 4.0)) - 0.5 * np.exp(-np.square(across / 9.0))
            streaks -= (260.0 * dark * np.exp(-middle / 45.0)).astype(np.float32)
    return streaks
