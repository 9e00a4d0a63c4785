"""CT rendered from seed anatomies: deformation, tissue attenuation, contrast, body habitus, scanner.

``render_coarse`` gives whole scans at 4 mm, ``render_fine`` boxes around the column at 1.5 mm, as a ``Sample``:
HU, classes, spine coordinate, ordinals and centres of the vertebrae. The command line keeps filling a folder with
such samples for the trainer to draw from.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from models.training import seeds as s
from models.training.channels import (  # noqa: F401  the networks take their channels from here
    COARSE_CHANNELS,
    FINE_CHANNELS,
    FINE_LUT,
    ORDINAL_LUT,
    Sample,
    body_centres,
    coarse_classes,
    is_spine,
)
from models.training.scanner import AIR, ARM, ARM_BONE, METAL, SKIN, Fields, put_metal, put_table, scan
from scipy.special import ndtr

COARSE_MM, FINE_MM = 4.0, 1.5
METAL_SHARE = 0.35
"""A voxel with at least this share of metal is metal in the label map."""


@dataclass(frozen=True)
class Grid:
    """Where the output lies in the seed: centre (voxels of the seed) and shape at ``spacing``."""

    centre: np.ndarray
    shape: tuple[int, int, int]
    spacing: float


def _rotation(rng: np.random.Generator, degrees: float) -> np.ndarray:
    x, y, z = np.deg2rad(np.clip(rng.normal(0, degrees / 2, 3), -degrees, degrees))
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rx @ ry @ rz


def sample_positions(
    seed: s.Seed, grid: Grid, rng: np.random.Generator, scale: np.ndarray, fractured: list[int]
) -> list[np.ndarray]:
    """Seed voxel coordinates (three float32 arrays) for every voxel of the output grid."""
    field = Fields(rng, grid.shape, grid.spacing)
    axes = [(np.arange(n, dtype=np.float32) - (n - 1) / 2) * grid.spacing for n in grid.shape]
    matrix = (_rotation(rng, 12) / scale[None, :]).astype(np.float32)
    p = [
        matrix[a, 0] * axes[0][:, None, None] + matrix[a, 1] * axes[1][None, :, None] + matrix[a, 2] * axes[2]
        for a in range(3)
    ]
    amplitude = rng.uniform(0, 5)
    for a, weight in enumerate((0.7, 1.0, 1.0)):
        p[a] = p[a] + field(rng.uniform(50, 90)) * (amplitude * weight)
    if rng.random() < 0.5:
        fine = rng.uniform(0, 1.6)
        for a in range(3):
            p[a] = p[a] + field(rng.uniform(18, 30)) * fine
    bend = rng.uniform(0, 28) if rng.random() < 0.35 else rng.uniform(0, 14)
    p[1] = p[1] + field.curve(160, bend).astype(np.float32)[:, None, None]
    p[2] = p[2] + field.curve(160, rng.uniform(0, 6)).astype(np.float32)[:, None, None]
    p[0] = p[0] + field.curve(120, rng.uniform(0, 10)).astype(np.float32)[:, None, None]
    p = [q / s.SPACING_MM + c for q, c in zip(p, grid.centre.astype(np.float32), strict=True)]
    if rng.random() < 0.7:
        _slide_organs(seed, p, rng)
    for ordinal in fractured:
        row = seed.centreline[seed.centreline[:, 0] == ordinal]
        if len(row):
            _crush(p, row[0, 1:], rng)
    return p


def _slide_organs(seed: s.Seed, p: list[np.ndarray], rng: np.random.Generator) -> None:
    """Move what lies in front of the column up or down, in place: a level must not be read off the diaphragm alone."""
    middle = p[0].shape[1] // 2, p[0].shape[2] // 2
    line = seed.centreline[::-1]
    column = np.interp(p[0][:, middle[0], middle[1]], line[:, 1], line[:, 2]).astype(np.float32)
    ahead = (column[:, None, None] - p[1]) * np.float32(s.SPACING_MM / 70)
    p[0] += np.clip(ahead - 0.3, 0, 1) * np.float32(np.clip(rng.normal(0, 22), -50, 50) / s.SPACING_MM)


def _crush(p: list[np.ndarray], centre: np.ndarray, rng: np.random.Generator) -> None:
    """Lower a body's height (more in front for a wedge) by stretching where the seed is read from."""
    half = 9.0
    amount = rng.uniform(0.15, 0.9)
    wedge = rng.random() < 0.6
    dz, dy, dx = (q - c for q, c in zip(p, centre, strict=True))
    near = np.square(np.square(dz / (1.8 * half))) + np.square(np.square(dy / 22)) + np.square(np.square(dx / 22))
    weight = np.exp(-near)
    if wedge:
        weight *= np.clip(0.5 - dy / 20, 0, 1)
    p[0] += weight * dz * amount


def _gather(seed: s.Seed, p: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Flat seed index and inside-the-seed mask of positions; outside the height the end slice repeats."""
    shape = seed.labels.shape
    index = [np.clip(np.rint(q), 0, n - 1).astype(np.int32) for q, n in zip(p, shape, strict=True)]
    flat = (index[0] * shape[1] + index[1]) * shape[2] + index[2]
    inside = (p[0] > -0.5) & (p[0] < shape[0] - 0.5)
    return flat, inside


def grow_body(
    labels: np.ndarray, cavity: np.ndarray, hull_mm: np.ndarray, field: Fields, habitus: dict[str, float]
) -> None:
    """Name what the map leaves free, in place: muscle wall, subcutaneous fat, skin, outside, rest of the cavity."""
    rng = field.rng
    muscle_mm = habitus["muscle_mm"] * (1 + 0.45 * field(80))
    fat_mm = habitus["fat_mm"] * (1 + 0.35 * field(100))
    if habitus["breast_mm"] > 0:
        k, j, i = (np.linspace(-1, 1, n, dtype=np.float32) for n in labels.shape)
        side = np.exp(-(((np.abs(i) - 0.42) / 0.22) ** 2))[None, None, :]
        high = np.exp(-(((k - habitus["breast_at"]) / 0.28) ** 2))[:, None, None]
        front = np.clip(-j * 2, 0, 1)[None, :, None]
        fat_mm = fat_mm + habitus["breast_mm"] * side * high * front
    muscle_mm = np.maximum(muscle_mm, 1.0)
    fat_mm = np.maximum(fat_mm, 1.5)
    free = labels == 0
    labels[free & cavity] = s.CAVITY_FILL
    free &= ~cavity
    labels[free] = s.WALL
    labels[free & (hull_mm >= muscle_mm)] = s.SAT
    labels[free & (hull_mm > muscle_mm + fat_mm)] = SKIN
    labels[free & (hull_mm > muscle_mm + fat_mm + rng.uniform(1.5, 3))] = AIR


def _arms(labels: np.ndarray, spacing: float, rng: np.random.Generator) -> None:
    """Arms beside the trunk, in place, where there is air."""
    shape = labels.shape
    body = np.argwhere((labels[shape[0] // 2] != AIR).any(0)).ravel()
    if len(body) < 10:
        return
    radius = rng.uniform(32, 55) / spacing
    gap = rng.uniform(-5, 15) / spacing
    j0 = shape[1] * rng.uniform(0.45, 0.65)
    jj, ii = np.mgrid[: shape[1], : shape[2]].astype(np.float32)
    drift = rng.uniform(-0.15, 0.25)
    fat = rng.uniform(4, 16) / spacing
    for edge, sign in ((body[0], -1), (body[-1], 1)):
        for k in range(shape[0]):
            at = edge + sign * (gap + radius + drift * (shape[0] - k) * 0.3)
            r2 = (jj - j0) ** 2 + (ii - at) ** 2
            arm = (r2 < radius**2) & (labels[k] == AIR)
            labels[k][arm] = ARM
            labels[k][arm & (r2 > (radius - fat) ** 2)] = s.SAT
            labels[k][arm & (r2 > (radius - 2 / spacing) ** 2)] = SKIN
            labels[k][arm & (r2 < (11 / spacing) ** 2)] = ARM_BONE


def _contrast(rng: np.random.Generator) -> dict[str, float]:
    """HU of blood and organs for one contrast phase."""
    phase = rng.choice(["none", "arterial", "portal"], p=[0.45, 0.3, 0.25])
    u = rng.uniform
    if phase == "none":
        blood = u(25, 58)
        return {"artery": blood, "vein": blood, "heart": blood, "heart_wall": blood, "liver": u(15, 75),
                "spleen": u(35, 65), "kidney": u(20, 50), "vessel": blood, "soft": u(20, 50)}  # fmt: skip
    if phase == "arterial":
        artery = u(130, 480)
        return {"artery": artery, "vein": rng.choice([u(40, 120), u(120, 700)]), "heart": u(100, artery + 60),
                "heart_wall": u(50, 120), "liver": u(40, 90), "spleen": u(70, 160), "kidney": u(80, 220),
                "vessel": u(80, artery), "soft": u(30, 100)}  # fmt: skip
    artery = u(90, 200)
    return {"artery": artery, "vein": artery + u(-20, 30), "heart": artery + u(-15, 15), "heart_wall": u(60, 120),
            "liver": u(60, 150), "spleen": u(80, 150), "kidney": u(110, 240), "vessel": artery,
            "soft": u(40, 110)}  # fmt: skip


def tissue_hu(labels: np.ndarray, depth: np.ndarray, field: Fields) -> np.ndarray:
    """HU before the scanner, float32."""
    rng = field.rng
    u = rng.uniform
    c = _contrast(rng)
    muscle, fat = u(20, 70), u(-118, -82)
    marrow = float(np.clip(np.exp(rng.normal(np.log(125), 0.5)), 25, 300))
    lut = np.zeros(256, np.float32)
    means = {
        s.LUNG: u(-900, -650), s.TRACHEA: u(-1000, -940), s.HEART: c["heart"], s.AORTA: c["artery"], s.VEIN: c["vein"],
        s.ARTERY: c["artery"], s.PORTAL: c["vessel"], s.LIVER: c["liver"], s.SPLEEN: c["spleen"], s.KIDNEY: c["kidney"],
        s.SOFT: c["soft"], s.STOMACH: u(0, 50), s.BOWEL: u(0, 60), s.FLUID: u(-5, 25), s.PARASPINAL: muscle,
        s.MUSCLE: muscle, s.CARTILAGE: u(50, 150), s.CANAL: u(5, 45), s.CANAL_RIM: u(-70, 35), s.DISC: u(40, 115),
        s.RIB: u(0, 220), s.OTHER_BONE: marrow * u(0.4, 1.3), SKIN: u(-20, 60), AIR: -1000.0, ARM: muscle - 25,
        ARM_BONE: u(300, 1100), s.WALL: muscle, s.SAT: fat, s.CAVITY_FILL: fat,
    }  # fmt: skip
    for label, value in means.items():
        lut[label] = value
    posterior = marrow + u(40, 220)
    for n in range(1, 26):
        jitter = rng.normal(1, 0.09) * (1 + 0.012 * (16 - n) * u(0, 2))
        lut[s.BODY_BASE + n] = marrow * jitter
        lut[s.POSTERIOR_BASE + n] = posterior * jitter
    hu = lut[labels]

    f5, f10, g10, f25 = field(max(5.0, 2 * field.spacing)), field(10), field(10), field(28)
    wall, filling = labels == s.WALL, labels == s.CAVITY_FILL
    soft = filling & (f10 + 0.5 * g10 > np.quantile(f10[::4, ::4, ::4], u(0.25, 0.95)) * 1.1)
    hu[soft] = rng.choice([c["soft"], c["vessel"], 40.0])
    layers = np.abs(np.sin(f25 * 3 + g10)) < u(0.05, 0.35)
    hu[wall & layers] = fat * u(0.4, 1)
    lung = labels == s.LUNG
    width = u(0.05, 0.22)
    hu[lung] += (f25 * u(5, 35) + f10 * u(0, 25))[lung]
    hu[lung & (np.abs(f10) < width) & (np.abs(g10) < width * 1.2)] = c["vessel"] * u(0.5, 1)
    if rng.random() < 0.12:
        j = np.arange(labels.shape[1])[None, :, None] / labels.shape[1]
        hu[lung & (j + 0.06 * f25 > u(0.55, 0.8))] = u(-100, 50)
    heart = labels == s.HEART
    hu[heart & (f25 + 0.3 * f10 > u(-0.2, 1.2))] = c["heart_wall"]
    for label in (s.LIVER, s.SPLEEN, s.KIDNEY, s.SOFT):
        hu[labels == label] += (f10 * u(0, 9))[labels == label]
    hu[(labels == s.LIVER) & (np.abs(f10) < 0.12) & (np.abs(g10) < 0.16)] = c["vessel"]
    gut = (labels == s.BOWEL) | (labels == s.STOMACH)
    hu[gut & (f10 + 0.6 * f25 > u(0.2, 2))] = -950
    if rng.random() < 0.25:
        hu[gut & (f25 - 0.5 * g10 > u(-0.5, 1))] = u(120, 450)
    infiltrated = ((labels == s.PARASPINAL) | (labels == s.MUSCLE)) & (np.abs(f5 + 0.7 * f10) < u(0, 0.35))
    hu[infiltrated] = hu[infiltrated] * 0.4 + fat * 0.6 * u(0.3, 1)
    if rng.random() < 0.45:
        hu[((labels == s.AORTA) | (labels == s.ARTERY)) & (f5 + 0.4 * f10 > u(1.7, 2.6))] = u(250, 900)
    hu[(labels == s.CARTILAGE) & (f5 > u(0.3, 2.5))] = u(150, 500)
    if rng.random() < 0.12:
        hu[(labels == s.DISC) & (f5 > u(1.2, 2))] = -700
    _bone(hu, labels, depth, f5, f10, marrow, rng, field.spacing)
    return hu


def _bone(
    hu: np.ndarray, labels: np.ndarray, depth: np.ndarray, f5: np.ndarray, f10: np.ndarray, marrow: float,
    rng: np.random.Generator, spacing: float,
) -> None:  # fmt: skip
    """Marrow texture, cortex and sclerosis in place. ``depth`` is mm below the bone's surface."""
    u = rng.uniform
    bone = s.bone_mask(labels)
    hu[bone] += ((f5 * u(0.05, 0.25) + f10 * u(0.05, 0.2)) * marrow)[bone]
    body = (labels >= s.BODY_BASE) & (labels < s.POSTERIOR_BASE)
    inner = np.clip((depth - 2) / u(4, 9), 0, 1)
    hu[body] -= (inner * u(-0.1, 0.6) * marrow)[body]
    if rng.random() < 0.6:
        vein = body & (depth > 4) & (f10 - 0.6 * f5 > u(0.3, 1.6))
        hu[vein] += rng.choice([-1, 1], p=[0.8, 0.2]) * u(20, 90)
    cortex = u(400, 1300)
    psf = 0.6 + 0.25 * spacing
    for part, thickness in (
        ((labels >= s.BODY_BASE) & (labels < s.POSTERIOR_BASE), u(0.25, 0.9)),
        (labels >= s.POSTERIOR_BASE, u(0.7, 1.9)),
        ((labels == s.RIB) | (labels == s.OTHER_BONE), u(0.5, 1.4)),
    ):
        d = depth[part]
        share = ndtr((d + 0.3) / psf) - ndtr((d - thickness + 0.3) / psf)
        hu[part] += (cortex - hu[part]) * np.clip(share * u(0.9, 1.4), 0, 1)
    if rng.random() < 0.3:
        spots = bone & (f5 + 0.5 * f10 > u(1.6, 2.8))
        hu[spots] += u(100, 600)
    if rng.random() < 0.1:
        hu[bone & (f10 < -u(1.3, 2.2))] -= u(50, 150)


def _habitus(rng: np.random.Generator) -> dict[str, float]:
    return {
        "muscle_mm": rng.uniform(2, 18),
        "fat_mm": float(np.clip(rng.gamma(2.0, 9.0), 2, 60)),
        "breast_mm": rng.uniform(10, 60) if rng.random() < 0.35 else 0.0,
        "breast_at": rng.uniform(-0.1, 0.5),
    }


def _kvp(hu: np.ndarray, factor: float) -> np.ndarray:
    return np.where(hu > 70, 70 + (hu - 70) * factor, hu)


def _fractures(seed: s.Seed, rng: np.random.Generator) -> list[int]:
    if rng.random() > 0.3:
        return []
    return [int(n) for n in rng.choice(seed.centreline[:, 0], rng.integers(1, 4))]


def _pooled(a: np.ndarray) -> np.ndarray:
    """Mean of blocks of two voxels a side."""
    k, j, i = (n // 2 for n in a.shape)
    return a.reshape(k, 2, j, 2, i, 2).mean((1, 3, 5))


def _coarse_range(seed: s.Seed, rng: np.random.Generator) -> np.ndarray:
    """Top and bottom of a scan, in the seed's k."""
    line = seed.centreline
    top_n, low_n = line[0, 0] - 1.5, line[-1, 0] + 1
    if top_n < 10:
        upper = float(rng.choice([rng.uniform(4, 7), rng.uniform(7, 10), rng.uniform(10, 17)], p=[0.3, 0.42, 0.28]))
        lower = rng.uniform(18.5, 23.5) if rng.random() < 0.75 else rng.uniform(17, 26)
    else:
        upper, lower = rng.uniform(16, 19), rng.uniform(21.5, 26)
    spine_k = np.interp([max(upper, top_n), min(lower, low_n)], line[:, 0], line[:, 1])
    if upper < line[0, 0]:
        # above the map's end its last slice is repeated, a stand-in for the neck; no level is taught there
        spine_k[0] = line[0, 1] + (line[0, 0] - upper) * 15
    if seed.hu is not None:
        spine_k = np.clip(spine_k, 0, seed.labels.shape[0] - 1)
    return spine_k


def _coarse_grid(seed: s.Seed, habitus: dict[str, float], scale: np.ndarray, rng: np.random.Generator) -> Grid:
    """Where a whole scan lies, at half the coarse spacing."""
    spine_k = _coarse_range(seed, rng)
    length = max(60.0, (spine_k[0] - spine_k[1]) * s.SPACING_MM) * scale[0]
    mid = int(np.clip(spine_k.mean(), 0, seed.labels.shape[0] - 1))
    if seed.hu is None:
        body = np.argwhere(seed.hull_mm[mid] < 0)
        margin = 2 * (habitus["muscle_mm"] + habitus["fat_mm"]) + rng.uniform(15, 70)
    else:
        body, margin = np.argwhere(seed.labels[mid] != AIR), rng.uniform(5, 50)
    low, high = body.min(0), body.max(0)
    extent = (high - low) * s.SPACING_MM * scale[1:] + margin
    cells = [int(np.clip(np.ceil(length / 4), 24, 112)), *(int(np.clip(np.ceil(e / 4), 40, 104)) for e in extent)]
    centre = np.array([spine_k.mean(), *((low + high) / 2 + rng.normal(0, 6, 2))])
    return Grid(centre, (2 * cells[0], 2 * cells[1], 2 * cells[2]), COARSE_MM / 2)


def render_coarse(seed: s.Seed, rng: np.random.Generator) -> Sample:
    """One whole scan at 4 mm."""
    scale = np.clip(np.exp(rng.normal(-0.09, 0.11)) * np.exp(rng.normal(0, 0.05, 3)), 0.68, 1.25)
    if seed.hu is not None:
        scale = np.clip(scale * 1.09, 0.8, 1.25)
    habitus = _habitus(rng)
    grid = _coarse_grid(seed, habitus, scale, rng)
    p = sample_positions(seed, grid, rng, scale, _fractures(seed, rng))
    hu, labels, metal = _draw(seed, p, grid, rng, habitus, whole=True)
    centre = [_pooled(q) for q in p]
    flat, inside = _gather(seed, centre)
    label = seed.labels.ravel()[flat]
    label[label == s.S1] = s.OTHER_BONE
    if seed.hu is None:
        grown = labels[::2, ::2, ::2]
        # half a voxel away from its own label, a free voxel can meet an organ: then it is what lies between organs
        between = np.where(seed.cavity.ravel()[flat], s.CAVITY_FILL, s.WALL).astype(np.uint8)
        grown = np.where((grown >= SKIN) & (grown < s.BODY_BASE), grown, between)
        label = np.where((label == 0) | (grown == AIR), grown, label)
    else:
        label[labels[::2, ::2, ::2] == AIR] = AIR
    label[_pooled(metal) > METAL_SHARE] = METAL
    out = coarse_classes(label, seed.cavity.ravel()[flat])
    level = seed.level.ravel()[flat].copy()
    level[~is_spine(out) | ~inside] = np.nan
    ordinal = ORDINAL_LUT[label]
    ordinal[~inside] = 0
    centres = body_centres(centre, seed.centreline, COARSE_MM / s.SPACING_MM)
    return Sample(_stored(_pooled(hu)), out, level, ordinal, centres)


def render_fine(seed: s.Seed, rng: np.random.Generator, shape: tuple[int, int, int] = (96, 88, 96)) -> Sample:
    """One box around the column at 1.5 mm."""
    line = seed.centreline
    wanted = rng.normal(18.5, 2.5) if rng.random() < 0.75 else rng.uniform(8, 24)
    ordinal = float(np.clip(wanted, line[0, 0], line[-1, 0]))
    centre = np.array([np.interp(ordinal, line[:, 0], line[:, a]) for a in (1, 2, 3)])
    centre += rng.normal(0, 1, 3) * (8, 6, 8) + (0, 6, 0)
    scale = np.clip(np.exp(rng.normal(-0.07, 0.1)) * np.exp(rng.normal(0, 0.05, 3)), 0.7, 1.25)
    grid = Grid(centre, shape, FINE_MM)
    p = sample_positions(seed, grid, rng, scale, _fractures(seed, rng))
    hu, labels, metal = _draw(seed, p, grid, rng, _habitus(rng), whole=False)
    flat, inside = _gather(seed, p)
    labels[metal > METAL_SHARE] = METAL
    out, ordinals, level = FINE_LUT[labels], ORDINAL_LUT[labels], seed.level.ravel()[flat]
    hu[~inside], out[~inside], ordinals[~inside], level[~inside] = -1024, 0, 0, np.nan
    return Sample(_stored(hu), out, level, ordinals, body_centres(p, line, FINE_MM / s.SPACING_MM))


def _stored(hu: np.ndarray) -> np.ndarray:
    return np.clip(hu, -1024, 3000).astype(np.int16)


def _draw(
    seed: s.Seed, p: list[np.ndarray], grid: Grid, rng: np.random.Generator, habitus: dict[str, float], whole: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU as scanned, labels, and the share of metal, on the drawing grid."""
    flat, inside = _gather(seed, p)
    labels = seed.labels.ravel()[flat]
    labels[labels == s.S1] = s.OTHER_BONE
    field = Fields(rng, grid.shape, grid.spacing)
    metal = np.zeros(grid.shape, np.float32)
    if seed.hu is not None:
        for q, n in zip(p, seed.labels.shape, strict=True):
            inside &= (q > -0.5) & (q < n - 0.5)
        labels[~inside] = AIR
        hu = _kvp(_sampled(seed.hu, p, inside), rng.uniform(0.92, 1.1))
        return scan(hu, labels, grid.spacing, rng, whole=whole, mild=True), labels, metal
    grow_body(labels, seed.cavity.ravel()[flat], seed.hull_mm.ravel()[flat].astype(np.float32), field, habitus)
    if whole and rng.random() < 0.15:
        _arms(labels, grid.spacing, rng)
    depth = seed.bone_depth.ravel()[flat].astype(np.float32) * 0.1
    hu = _kvp(tissue_hu(labels, depth, field), rng.uniform(0.85, 1.2))
    if rng.random() < 0.7:
        put_table(hu, labels, grid.spacing, rng)
    if rng.random() < 0.08:
        metal = put_metal(hu, labels, grid.spacing, rng)
    return scan(hu, labels, grid.spacing, rng, whole=whole), labels, metal


def _sampled(volume: np.ndarray, p: list[np.ndarray], inside: np.ndarray) -> np.ndarray:
    """Trilinear values of ``volume`` at seed positions, float32; -1024 outside it."""
    base = [np.clip(np.floor(q), 0, n - 2).astype(np.int32) for q, n in zip(p, volume.shape, strict=True)]
    part = [np.clip(q - b, 0, 1).astype(np.float32) for q, b in zip(p, base, strict=True)]
    plane, row = volume.shape[1] * volume.shape[2], volume.shape[2]
    corner = base[0] * plane + base[1] * row + base[2]
    values = volume.ravel()

    def along_row(at: np.ndarray) -> np.ndarray:
        first = values[at].astype(np.float32)
        return first + part[2] * (values[at + 1] - first)

    planes = []
    for up in (0, plane):
        first = along_row(corner + up)
        planes.append(first + part[1] * (along_row(corner + (up + row)) - first))
    return np.where(inside, planes[0] + part[0] * (planes[1] - planes[0]), np.float32(-1024))


def load_seeds(
    folder: Path, kind: str, real_share: float = 0.0, pseudo_share: float = 0.0
) -> tuple[list[s.Seed], np.ndarray]:
    """Every seed of ``folder`` that is drawn at all, and how often.

    Seeds named ``real-*`` bring a CT of their own and share ``real_share`` evenly; those named ``pseudo-*`` are
    rendered from label maps our own models made and share ``pseudo_share``; the published maps share the rest. Of
    these only s0327 has the upper thoracic spine.

    Raises:
        ValueError: if no seed of the folder would be drawn.
    """
    share = (0.75, 0.17, 0.08) if kind == "coarse" else (0.6, 0.25, 0.15)
    published = dict(zip(("s0327", "s0328", "spl"), share, strict=True))
    names = sorted(f.stem for f in folder.glob("*.npz"))
    weights: dict[str, float] = {}
    for prefix, part in (("real-", real_share), ("pseudo-", pseudo_share)):
        group = [n for n in names if n.startswith(prefix)]
        if part > 0:
            weights |= {n: part / len(group) for n in group}
    rest = {n: w for n, w in published.items() if n in names}
    left = 1 - sum(weights.values())
    weights |= {n: left * w / sum(rest.values()) for n, w in rest.items() if left > 1e-9}
    if not weights:
        raise ValueError(f"no seeds to draw from in {folder}")
    w = np.array(list(weights.values()))
    return [s.Seed.load(folder / f"{n}.npz") for n in weights], w / w.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["coarse", "fine"])
    parser.add_argument("--seeds", type=Path, default=Path("runs/seeds"), help="folder made by models.training.seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder of samples; slots are overwritten in turn")
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--count", type=int, default=10**9, help="samples to render before stopping")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real-share", type=float, default=0.0, help="share of samples from seeds named real-*")
    parser.add_argument("--pseudo-share", type=float, default=0.0, help="share of samples from seeds named pseudo-*")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds to rest after each sample")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    anatomies, weights = load_seeds(args.seeds, args.kind, args.real_share, args.pseudo_share)
    make = render_coarse if args.kind == "coarse" else render_fine
    for n in range(args.count):
        start = time.monotonic()
        rng = np.random.default_rng((args.seed, n))
        sample = make(anatomies[rng.choice(len(anatomies), p=weights)], rng)
        target = args.out / f"{n % args.slots:05d}.npz"
        partial = target.with_suffix(".part.npz")
        np.savez(partial, **sample.arrays())
        os.replace(partial, target)
        if n < 5 or n % 50 == 0:
            print(n, sample.hu.shape, f"{time.monotonic() - start:.2f} s", flush=True)
        time.sleep(args.pause)


if __name__ == "__main__":
    main()
