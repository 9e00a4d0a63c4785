"""Ellipses of one section at the thoraco-lumbar junction, and where in it things are measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from cohort.materials import SCALE_WATER, FloatArray
from cohort.patients import Body
from cohort.section import AIR, Ellipse

ORGANS: Final = ("blood", "cava", "liver", "spleen", "kidney")


def ellipses_of(body: Body, mu: Mapping[str, FloatArray], weight: FloatArray) -> tuple[Ellipse, ...]:
    """Scale the trunk until its water-equivalent diameter, in this beam, is what was asked."""
    scale = body.size_cm / 28.0
    for _ in range(5):
        ellipses = _trunk(body, scale)
        scale *= body.size_cm / water_equivalent_diameter_cm(ellipses, mu, weight)
    return _trunk(body, scale)


def water_equivalent_diameter_cm(
    ellipses: tuple[Ellipse, ...], mu: Mapping[str, FloatArray], weight: FloatArray
) -> float:
    """From areas and ideal attenuation (AAPM report 220)."""
    water = float(weight @ SCALE_WATER.mu)
    relative = {name: float(weight @ values) / water for name, values in mu.items()} | {AIR: 0.0}
    area = sum(e.area_cm2 * (relative[e.material] - relative[e.parent]) for e in ellipses)
    return 2.0 * math.sqrt(area / math.pi)


def _trunk(body: Body, scale: float) -> tuple[Ellipse, ...]:
    half_x, half_y = 15.5 * scale, 11.2 * scale
    fat_cm = 0.7 + 0.13 * (body.size_cm - 20.0) + 0.012 * (body.size_cm - 20.0) ** 2 * 0.5
    wall_x, wall_y = half_x - fat_cm, half_y - fat_cm
    cavity_x = wall_x - 1.9
    cavity_y = (2.0 * wall_y - 1.2 - 8.6) / 2.0
    cavity_at = -(wall_y - 1.2) + cavity_y
    front = cavity_at + cavity_y
    bone_at = front + 2.4
    liver = min(0.36 * cavity_x, 6.5)
    parts = [
        Ellipse("fat", AIR, 0.0, 0.0, half_x, half_y),
        Ellipse("muscle", "fat", 0.0, 0.0, wall_x, wall_y),
        Ellipse("cavity", "muscle", 0.0, cavity_at, cavity_x, cavity_y),
        Ellipse("liver", "cavity", -0.52 * cavity_x, cavity_at - 0.25 * cavity_y, liver, 0.4 * cavity_y),
        Ellipse("spleen", "cavity", 0.68 * cavity_x, cavity_at - 0.02 * cavity_y, 0.15 * cavity_x, 0.28 * cavity_y),
        Ellipse("kidney", "cavity", 0.42 * cavity_x, cavity_at + 0.24 * cavity_y, 0.10 * cavity_x, 0.15 * cavity_y),
        Ellipse("cava", "cavity", -1.5, front - 1.6, 0.8, 0.7),
        Ellipse("blood", "cavity", 1.1, front - 1.6, 1.1, 1.1),
        Ellipse("cortex", "muscle", 0.0, bone_at, 2.05 + body.cortex_mm / 10.0, 1.55 + body.cortex_mm / 10.0),
        Ellipse("bone", "cortex", 0.0, bone_at, 2.05, 1.55),
        Ellipse("csf", "muscle", 0.0, bone_at + 2.75, 0.9, 0.75),
        Ellipse("cortex", "muscle", 0.0, bone_at + 4.2, 0.5, 0.55),
        Ellipse("cortex", "muscle", -1.9, bone_at + 2.9, 0.35, 0.45),
        Ellipse("cortex", "muscle", 1.9, bone_at + 2.9, 0.35, 0.45),
    ]
    if body.lung_bases:
        parts += [
            Ellipse(
                "lung", "cavity", side * 0.56 * cavity_x, cavity_at + 0.6 * cavity_y, 0.09 * cavity_x, 0.1 * cavity_y
            )
            for side in (-1.0, 1.0)
        ]
    for angle in (0.15, 0.5, 0.85, 2.29, 2.64, 2.99):
        x, y = math.cos(angle) * (wall_x - 0.75), math.sin(angle) * (wall_y - 0.75)
        parts.append(Ellipse("cortex", "muscle", x, y, 0.3, 0.3))
    return tuple(parts)


def rods_under(ellipses: tuple[Ellipse, ...], names: Sequence[str]) -> tuple[Ellipse, ...]:
    """A calibration phantom in its water-like pad on the table, the rods side by side."""
    back = ellipses[0].half_y + 2.6
    pad = Ellipse("pad", AIR, 0.0, back, 13.5, 1.8)
    step = 17.0 / max(len(names) - 1, 1)
    rods = [Ellipse(name, "pad", -8.5 + n * step, back, 0.75, 0.75) for n, name in enumerate(names)]
    return (*ellipses, pad, *rods)


def water_body(size_cm: float) -> tuple[Ellipse, ...]:
    """A body of water, oval like a trunk."""
    radius = size_cm / 2.0
    return (Ellipse("water", AIR, 0.0, 0.0, 1.15 * radius, radius / 1.15),)


def inside(ellipse: Ellipse) -> FloatArray:
    """Points well within."""
    return _disc(ellipse.x, ellipse.y, 0.6 * ellipse.half_x, 0.6 * ellipse.half_y)


def places(ellipses: tuple[Ellipse, ...]) -> dict[str, tuple[str, FloatArray]]:
    """Where tissues are sampled: name -> (material, points in cm)."""
    skin, wall = ellipses[0], ellipses[1]
    bone = next(e for e in ellipses if e.material == "bone")
    angles = np.linspace(0.0, 2.0 * math.pi, 24, endpoint=False) + 0.07
    between = 0.5 * np.array([skin.half_x + wall.half_x, skin.half_y + wall.half_y])
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    beside = [(side * 3.6, bone.y + 3.0) for side in (-1.0, 1.0)]
    return {
        "bone": ("bone", _disc(bone.x, bone.y, 1.25, 0.85)),
        "fat": ("fat", ring * between),
        "muscle": ("muscle", np.concatenate([_disc(x, y, 0.9, 0.9) for x, y in beside])),
        **{name: (name, inside(next(e for e in ellipses if e.material == name))) for name in ORGANS},
        "air": (AIR, np.stack([np.linspace(-8.0, 8.0, 9), np.full(9, -skin.half_y - 4.0)], axis=1)),
    }


def _disc(x: float, y: float, half_x: float, half_y: float) -> FloatArray:
    grid = np.linspace(-1.0, 1.0, 7)
    u, v = (a.ravel() for a in np.meshgrid(grid, grid))
    keep = u**2 + v**2 <= 1.0
    return np.stack([x + half_x * u[keep], y + half_y * v[keep]], axis=1)
