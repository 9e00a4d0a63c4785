"""What a label map lacks, grown around it: muscle wall, subcutaneous fat, breasts, skin, arms, air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.fields import Fields
from models.training.scanner import AIR, ARM, ARM_BONE, SKIN
from models.training.shape import Grid, Positions


@dataclass(frozen=True)
class Habitus:
    muscle_mm: float
    """Thickness of the wall outside what is labelled."""
    fat_mm: float
    breast_mm: float
    """How far the breasts stand out; 0 for none."""
    breast_level: float
    """Ordinal of the vertebra behind their fullest place."""
    retroperitoneal_mm: float
    """Fat behind the kidneys and great vessels."""
    arms: str
    """``away`` (out of the field of view), ``down`` (beside the trunk) or ``up`` (beside the head)."""


def draw_habitus(rng: np.random.Generator) -> Habitus:
    u = rng.uniform
    return Habitus(
        muscle_mm=u(2, 18),
        fat_mm=float(np.clip(rng.gamma(2.0, 9.0), 2, 60)),
        breast_mm=u(10, 60) if rng.random() < 0.35 else 0.0,
        breast_level=u(13, 16),
        retroperitoneal_mm=u(0, 13),
        arms=str(rng.choice(["away", "down", "up"], p=[0.6, 0.15, 0.25])),
    )


def grow_body(
    seed: s.Seed, labels: np.ndarray, flat: np.ndarray, p: Positions, field: Fields, habitus: Habitus
) -> np.ndarray:
    """Name what the map leaves free, in place: rest of the cavity, muscle wall, subcutaneous fat, skin, outside.

    Gives the depth in mm (float32) of each voxel above the hull of what the map labels, negative inside it.
    """
    rng = field.rng
    hull_mm = seed.hull_mm.ravel()[flat].astype(np.float32)
    hull_mm += field(14) * np.float32(0.8)
    muscle_mm = field(80) * np.float32(0.45 * habitus.muscle_mm) + np.float32(habitus.muscle_mm)
    np.maximum(muscle_mm, 1.0, out=muscle_mm)
    skin_at = field(100) * np.float32(0.35 * habitus.fat_mm) + np.float32(habitus.fat_mm)
    if habitus.breast_mm > 0:
        skin_at += _breasts(seed, p, habitus)
    np.maximum(skin_at, 1.5, out=skin_at)
    skin_at += muscle_mm
    free = labels == 0
    cavity = seed.cavity.ravel()[flat]
    filling = free & cavity
    filling |= free & _behind(labels, filling, round(habitus.retroperitoneal_mm / field.spacing[1]))
    labels[filling] = s.CAVITY_FILL
    free &= ~filling
    labels[free] = s.WALL
    labels[free & (hull_mm >= muscle_mm)] = s.SAT
    labels[free & (hull_mm > skin_at)] = SKIN
    labels[free & (hull_mm > skin_at + np.float32(rng.uniform(1.5, 3)))] = AIR
    return hull_mm


def _behind(labels: np.ndarray, filling: np.ndarray, voxels: int) -> np.ndarray:
    """What lies up to ``voxels`` behind kidney, great vessels and visceral fat: the fat the map's hull cuts off.

    Without it kidneys and aorta lie in muscle. Behind the lung there is none.
    """
    out = np.zeros(labels.shape, bool)
    source = filling | np.isin(labels, (s.KIDNEY, s.AORTA, s.VEIN, s.BOWEL))
    for n in range(1, voxels + 1):
        out[:, n:] |= source[:, :-n]
    return out


def _breasts(seed: s.Seed, p: Positions, habitus: Habitus) -> np.ndarray:
    """mm of fat the breasts add: two mounds in front, beside the midline."""
    line = seed.centreline[::-1]
    ordinals, k = line[:, 0], line[:, 1]
    slope = (k[-1] - k[0]) / (ordinals[-1] - ordinals[0])
    at_k = np.interp(habitus.breast_level, ordinals[::-1], k[::-1])
    if habitus.breast_level < ordinals[-1]:
        at_k = k[-1] + (habitus.breast_level - ordinals[-1]) * slope
    mm = np.float32(s.SPACING_MM)
    high = (p[0] - np.float32(at_k)) * mm / 62
    side = (np.abs(p[2] - np.float32(line[:, 3].mean())) * mm - 82) / 48
    front = np.clip((np.float32(line[:, 2].mean() - 30) - p[1]) * (mm / 50), 0, 1)
    return front * np.float32(habitus.breast_mm) * np.exp(-np.square(high) - np.square(side))


def put_arms(seed: s.Seed, labels: np.ndarray, p: Positions, grid: Grid, habitus: Habitus, field: Fields) -> None:
    """Arms in place, where there is air: muscle round one or two bones, fat, skin."""
    if habitus.arms == "away":
        return
    rng = field.rng
    u = rng.uniform
    dk, dj, di = grid.drawn_spacing
    shape = labels.shape
    middle = labels.shape[1] // 2, labels.shape[2] // 2
    column_k = p[0][:, middle[0], middle[1]]
    rows = np.arange(shape[0])
    if habitus.arms == "up":
        line = seed.centreline
        shoulder = line[0, 1] + (line[0, 0] - u(8.5, 10.5)) * 15
        rows = np.flatnonzero(column_k > shoulder)
    trunk = np.argwhere((labels[rows[len(rows) // 2]] != AIR).any(0)).ravel() if len(rows) else np.array([])
    if len(trunk) < 10:
        return
    radius, gap, fat, drift = u(34, 56), u(-5, 15), u(4, 16), u(-0.12, 0.25)
    j0, lean = shape[1] * dj * u(0.45, 0.65), u(-0.2, 0.2)
    bones = [(u(0, 3), 11.0)] if habitus.arms == "up" or rng.random() < 0.6 else [(u(9, 14), 8.0), (u(-14, -9), 7.0)]
    jj = np.arange(shape[1], dtype=np.float32)[:, None] * np.float32(dj)
    ii = np.arange(shape[2], dtype=np.float32)[None, :] * np.float32(di)
    half = (trunk[-1] - trunk[0]) / 2 * di
    for sign in (-1, 1):
        if rng.random() < 0.08:
            continue
        for k in rows:
            height = (k - rows[0]) * dk
            if habitus.arms == "up":
                at = (trunk.mean() * di) + sign * (half * 0.75 + 0.25 * height + gap)
            else:
                at = (trunk.mean() * di) + sign * (half + gap + radius + drift * (shape[0] * dk - height) * 0.3)
            r2 = (jj - j0 - lean * height) ** 2 * 1.15 + (ii - at) ** 2
            arm = (r2 < radius**2) & (labels[k] == AIR)
            if not arm.any():
                continue
            plane = labels[k]
            plane[arm] = ARM
            plane[arm & (r2 > (radius - fat) ** 2)] = s.SAT
            plane[arm & (r2 > (radius - 2) ** 2)] = SKIN
            for offset, thick in bones:
                bone = (jj - j0 - lean * height - offset) ** 2 + (ii - at - offset * 0.7) ** 2 < thick**2
                plane[arm & bone] = ARM_BONE
