"""Trees of arteries, veins and bronchi inside the lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trabecula.anatomy import Level
from trabecula.phantom.canvas import Canvas, Field, Points, segment_distance
from trabecula.phantom.trunk import Trunk

_GENERATIONS = 8
_SMALLEST_MM = 0.45
_TWIGS = 1500
"""Small peripheral vessels on each side."""


@dataclass(frozen=True, eq=False)
class Branch:
    start: Points
    end: Points
    r0: float
    r1: float
    is_airway: bool


def grow_lung_trees(trunk: Trunk, seed: int) -> tuple[Branch, ...]:
    """Branches from both hila into the lobes, thinner at every fork; lung coverage trims them later."""
    rng = np.random.default_rng([seed, 31])
    branches: list[Branch] = []
    s = trunk.shape.scale
    for side in (1, -1):
        for level, x, y, up in (
            (Level.T6, 44.0, -42.0, 6.0), (Level.T6, 44.0, -54.0, -8.0),
            (Level.T7, 44.0, -38.0, -4.0), (Level.T7, 46.0, -56.0, -2.0),
        ):  # fmt: skip
            z = trunk.z_of(level, up)
            root = np.array([side * x * s, float(trunk.spine_y(z)) + y * s, z])
            for target in rng.uniform((60, -105, -110), (112, 25, 95), size=(4, 3)):
                aim = np.array([side * target[0] * s, float(trunk.spine_y(z)) + (target[1] - 8.0) * s, z + target[2]])
                length = float(np.linalg.norm(aim - root))
                _grow(branches, rng, root, (aim - root) / length, length * 0.3, 4.6, 0, rng.random() < 0.3)
        branches.extend(_twigs(trunk, rng, side))
    return tuple(branches)


def _twigs(trunk: Trunk, rng: np.random.Generator, side: int) -> list[Branch]:
    """Short vessels all over the lung, pointing away from the hilum."""
    s = trunk.shape.scale
    low, high = trunk.z_of(Level.L1), trunk.z_of(Level.T1)
    hilum = np.array([side * 35.0 * s, float(trunk.spine_y(trunk.z_of(Level.T6))) - 42.0 * s, trunk.z_of(Level.T6)])
    twigs = []
    for share in rng.random((_TWIGS, 3)):
        z = low + (high - low) * share[2]
        at = np.array(
            [side * (20.0 + 110.0 * share[0]) * s, float(trunk.spine_y(z)) + (-130.0 + 165.0 * share[1]) * s, z]
        )
        away = at - hilum
        distance = max(float(np.linalg.norm(away)), 1.0)
        direction = away / distance + rng.normal(0.0, 0.45, size=3)
        direction /= np.linalg.norm(direction)
        radius = float(np.clip(rng.normal(1.5 - 0.008 * distance, 0.3), 0.45, 1.9))
        twigs.append(Branch(at, at + direction * rng.uniform(7.0, 22.0), radius, 0.6 * radius, False))
    return twigs


def _grow(
    branches: list[Branch],
    rng: np.random.Generator,
    start: Points,
    direction: Points,
    length: float,
    radius: float,
    generation: int,
    airway: bool,
) -> None:
    if generation >= _GENERATIONS or radius < _SMALLEST_MM:
        return
    end = start + direction * length
    thinner = radius * 0.86
    branches.append(Branch(start, end, radius, thinner, False))
    if airway and generation < 4:
        beside = np.cross(direction, (0.3, 0.5, 0.8))
        beside = beside / max(float(np.linalg.norm(beside)), 1e-6) * (radius * 2.0 + 0.5)
        branches.append(Branch(start + beside, end + beside, radius * 0.95, thinner * 0.95, True))
    for spread, share in ((0.35, 0.86), (0.7, 0.66)):
        turned = direction + rng.normal(0.0, spread, size=3)
        turned = turned / np.linalg.norm(turned)
        _grow(branches, rng, end, turned, length * rng.uniform(0.65, 0.95), thinner * share, generation + 1, airway)


def paint_lung_trees(
    canvas: Canvas, branches: tuple[Branch, ...], lung: Field, vessel_hu: float, air_hu: float
) -> None:
    """Vessels solid, bronchi with a thin wall, only where there is lung."""
    z_low, z_high = float(canvas.grid.z_mm[0]), float(canvas.grid.z_mm[-1])
    for branch in branches:
        reach = max(branch.r0, branch.r1) + 1.5
        low, high = np.minimum(branch.start, branch.end) - reach, np.maximum(branch.start, branch.end) + reach
        if high[2] < z_low or low[2] > z_high:
            continue
        view = canvas.view(low, high, 0.0)
        if view is None:
            continue
        inside = lung[view.box]
        if not inside.any():
            continue
        distance = segment_distance(view.x, view.y, view.z, branch.start, branch.end, branch.r0, branch.r1)
        if branch.is_airway:
            canvas.paint(view, canvas.coverage(distance - np.float32(0.9)) * inside, -100.0)
            canvas.paint(view, canvas.coverage(distance) * inside, air_hu)
        else:
            canvas.paint(view, canvas.coverage(distance) * inside, vessel_hu)
