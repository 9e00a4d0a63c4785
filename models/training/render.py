"""CT rendered from seed anatomies: deformation, tissue attenuation, contrast, body habitus, scanner.

``render_coarse`` gives whole scans at 4 mm, ``render_fine`` boxes around the column at 1.5 mm; both give
HU (int16), a class map in the network's channel order (uint8) and the spine coordinate (float16, NaN away
from the column). The command line keeps filling a folder with such samples for the trainer to draw from.
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
from models.training.scanner import AIR, ARM, ARM_BONE, SKIN, Fields, put_metal, put_table, scan
from scipy.special import ndtr

COARSE_CHANNELS = (
    "outside", "body", "cavity", "lung", "trachea", "heart", "aorta", "liver", "spleen", "kidney",
    "paraspinal_muscle", "rib", "other_bone", "spinal_canal", "intervertebral_disc", "vertebra_body",
    "vertebra_posterior",
)  # fmt: skip
FINE_CHANNELS = (
    "background", "vertebra_body", "vertebra_posterior", "intervertebral_disc", "spinal_canal",
    "paraspinal_muscle", "aorta", "rib",
)  # fmt: skip
COARSE_MM, FINE_MM = 4.0, 1.5


def _channel_lut(channels: tuple[str, ...], rest: str) -> np.ndarray:
    names = {
        s.LUNG: "lung", s.TRACHEA: "trachea", s.HEART: "heart", s.AORTA: "aorta", s.LIVER: "liver",
        s.SPLEEN: "spleen", s.KIDNEY: "kidney", s.PARASPINAL: "paraspinal_muscle", s.RIB: "rib",
        s.OTHER_BONE: "other_bone", ARM_BONE: "other_bone", s.CANAL: "spinal_canal", s.CANAL_RIM: "spinal_canal",
        s.DISC: "intervertebral_disc", AIR: "outside",
    }  # fmt: skip
    names |= {s.BODY_BASE + n: "vertebra_body" for n in range(1, 25)}
    names |= {s.POSTERIOR_BASE + n: "vertebra_posterior" for n in range(1, 25)}
    lut = np.full(256, channels.index(rest), np.uint8)
    for label, name in names.items():
        if name in channels:
            lut[label] = channels.index(name)
    return lut


COARSE_LUT = _channel_lut(COARSE_CHANNELS, "body")
FINE_LUT = _channel_lut(FINE_CHANNELS, "background")


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
    weight = np.exp(-((dz / (1.8 * half)) ** 4)) * np.exp(-((dy / 22) ** 4) - (dx / 22) ** 4)
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
) -> np.ndarray:
    """Add skin and outside air to ``labels`` in place; gives the thickness-free mask of the muscle wall."""
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
    free = (labels == 0) & ~cavity
    wall = free & (hull_mm < muscle_mm)
    skin = free & (hull_mm > muscle_mm + fat_mm)
    air = free & (hull_mm > muscle_mm + fat_mm + rng.uniform(1.5, 3))
    labels[skin] = SKIN
    labels[air] = AIR
    return wall


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
    for edge, sign in ((body[0], -1), (body[-1], 1)):
        for k in range(shape[0]):
            at = edge + sign * (gap + radius + drift * (shape[0] - k) * 0.3)
            r2 = (jj - j0) ** 2 + (ii - at) ** 2
            arm = (r2 < radius**2) & (labels[k] == AIR)
            labels[k][arm] = ARM
            labels[k][arm & (r2 > (radius - 6 / spacing) ** 2)] = SKIN
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


def tissue_hu(labels: np.ndarray, cavity: np.ndarray, wall: np.ndarray, depth: np.ndarray, field: Fields) -> np.ndarray:
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
        ARM_BONE: u(300, 1100),
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
    free = labels == 0
    filling = free & cavity
    hu[free] = fat
    soft = filling & (f10 + 0.5 * g10 > np.quantile(f10[::4, ::4, ::4], u(0.25, 0.95)) * 1.1)
    hu[soft] = rng.choice([c["soft"], c["vessel"], 40.0])
    hu[wall] = muscle
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


def render_coarse(seed: s.Seed, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One scan at 4 mm: (HU int16, channel index uint8, spine coordinate float16), each (D, H, W)."""
    spacing = COARSE_MM / 2
    scale = np.clip(np.exp(rng.normal(-0.09, 0.11)) * np.exp(rng.normal(0, 0.05, 3)), 0.68, 1.25)
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
    length = max(60.0, (spine_k[0] - spine_k[1]) * s.SPACING_MM) * scale[0]
    habitus = _habitus(rng)
    margin = 2 * (habitus["muscle_mm"] + habitus["fat_mm"]) + rng.uniform(15, 70)
    mid = int(np.clip(spine_k.mean(), 0, seed.labels.shape[0] - 1))
    hull = np.argwhere(seed.hull_mm[mid] < 0)
    low, high = hull.min(0), hull.max(0)
    extent = (high - low) * s.SPACING_MM * scale[1:] + margin
    cells = [int(np.clip(np.ceil(length / 4), 24, 112)), *(int(np.clip(np.ceil(e / 4), 40, 104)) for e in extent)]
    grid = Grid(
        np.array([spine_k.mean(), *((low + high) / 2 + rng.normal(0, 6, 2))]), tuple(2 * n for n in cells), spacing
    )
    p = sample_positions(seed, grid, rng, scale, _fractures(seed, rng))
    flat, _ = _gather(seed, p)
    labels = seed.labels.ravel()[flat]
    cavity = seed.cavity.ravel()[flat]
    field = Fields(rng, grid.shape, spacing)
    wall = grow_body(labels, cavity, seed.hull_mm.ravel()[flat].astype(np.float32), field, habitus)
    if rng.random() < 0.15:
        _arms(labels, spacing, rng)
    depth = seed.bone_depth.ravel()[flat].astype(np.float32) * 0.1
    hu = _kvp(tissue_hu(labels, cavity, wall, depth, field), rng.uniform(0.85, 1.2))
    if rng.random() < 0.7:
        put_table(hu, labels, spacing, rng)
    if rng.random() < 0.08:
        put_metal(hu, labels, spacing, rng)
    hu = scan(hu, labels, spacing, rng, whole=True)
    hu = hu.reshape(cells[0], 2, cells[1], 2, cells[2], 2).mean((1, 3, 5))
    centre = [q.reshape(cells[0], 2, cells[1], 2, cells[2], 2).mean((1, 3, 5)) for q in p]
    flat4, inside4 = _gather(seed, centre)
    grown = labels[::2, ::2, ::2]
    label4 = seed.labels.ravel()[flat4]
    label4 = np.where((grown >= SKIN) & (grown <= ARM), grown, label4)
    out = COARSE_LUT[label4]
    inside = seed.cavity.ravel()[flat4] & (label4 < s.PARASPINAL)
    out[inside & (out == COARSE_CHANNELS.index("body"))] = COARSE_CHANNELS.index("cavity")
    level = seed.level.ravel()[flat4].copy()
    level[(out < COARSE_CHANNELS.index("spinal_canal")) | ~inside4] = np.nan
    return np.clip(hu, -1024, 3000).astype(np.int16), out, level


def render_fine(
    seed: s.Seed, rng: np.random.Generator, shape: tuple[int, int, int] = (96, 88, 96)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One box around the column at 1.5 mm: (HU int16, channel index uint8, spine coordinate float16)."""
    line = seed.centreline
    wanted = rng.normal(18.5, 2.5) if rng.random() < 0.75 else rng.uniform(8, 24)
    ordinal = float(np.clip(wanted, line[0, 0], line[-1, 0]))
    centre = np.array([np.interp(ordinal, line[:, 0], line[:, a]) for a in (1, 2, 3)])
    centre += rng.normal(0, 1, 3) * (8, 6, 8) + (0, 6, 0)
    scale = np.clip(np.exp(rng.normal(-0.07, 0.1)) * np.exp(rng.normal(0, 0.05, 3)), 0.7, 1.25)
    grid = Grid(centre, shape, FINE_MM)
    p = sample_positions(seed, grid, rng, scale, _fractures(seed, rng))
    flat, inside = _gather(seed, p)
    labels = seed.labels.ravel()[flat]
    cavity = seed.cavity.ravel()[flat]
    field = Fields(rng, shape, FINE_MM)
    wall = grow_body(labels, cavity, seed.hull_mm.ravel()[flat].astype(np.float32), field, _habitus(rng))
    depth = seed.bone_depth.ravel()[flat].astype(np.float32) * 0.1
    hu = _kvp(tissue_hu(labels, cavity, wall, depth, field), rng.uniform(0.85, 1.2))
    if rng.random() < 0.7:
        put_table(hu, labels, FINE_MM, rng)
    if rng.random() < 0.08:
        put_metal(hu, labels, FINE_MM, rng)
    hu = scan(hu, labels, FINE_MM, rng, whole=False)
    out = FINE_LUT[labels]
    hu[~inside] = -1024
    out[~inside] = 0
    return np.clip(hu, -1024, 3000).astype(np.int16), out, seed.level.ravel()[flat]


def load_seeds(folder: Path, kind: str) -> tuple[list[s.Seed], np.ndarray]:
    """Seeds and how often each is drawn; only s0327 has the upper thoracic spine."""
    share = (0.75, 0.17, 0.08) if kind == "coarse" else (0.6, 0.25, 0.15)
    weights = dict(zip(("s0327", "s0328", "spl"), share, strict=True))
    found = [n for n in weights if (folder / f"{n}.npz").exists()]
    w = np.array([weights[n] for n in found])
    return [s.Seed.load(folder / f"{n}.npz") for n in found], w / w.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["coarse", "fine"])
    parser.add_argument("--seeds", type=Path, default=Path("runs/seeds"), help="folder made by models.training.seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder of samples; slots are overwritten in turn")
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--count", type=int, default=10**9, help="samples to render before stopping")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds to rest after each sample")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    anatomies, weights = load_seeds(args.seeds, args.kind)
    make = render_coarse if args.kind == "coarse" else render_fine
    for n in range(args.count):
        start = time.monotonic()
        rng = np.random.default_rng((args.seed, n))
        hu, out, level = make(anatomies[rng.choice(len(anatomies), p=weights)], rng)
        target = args.out / f"{n % args.slots:05d}.npz"
        partial = target.with_suffix(".part.npz")
        np.savez(partial, hu=hu, classes=out, level=level)
        os.replace(partial, target)
        if n < 5 or n % 50 == 0:
            print(n, hu.shape, f"{time.monotonic() - start:.2f} s", flush=True)
        time.sleep(args.pause)


if __name__ == "__main__":
    main()
