"""One patient and one scan: what is drawn at random about them, and the drawing of a seed on a grid.

Shape, tissue and hardware come from their own modules; here they are put together and scanned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.bone import put_bone
from models.training.channels import body_centres
from models.training.fields import Fields
from models.training.habitus import Habitus, draw_habitus, grow_body, put_arms
from models.training.hardware import put_leads, put_metal, put_table
from models.training.sampling import trilinear
from models.training.scanner import AIR, ARM_BONE, METAL, SKIN, Protocol, draw_protocol, scan
from models.training.shape import Fracture, Grid, Positions, Spur, draw_fractures, draw_spurs, positions
from models.training.tissue import Phase, draw_noise, draw_phase, soft_tissue
from models.training.transitional import Variant, draw_variant, read

METAL_SHARE = 0.35
"""A voxel with at least this share of metal is metal in the label map."""


@dataclass(frozen=True)
class Story:
    """Everything that is drawn at random about one sample but its fields."""

    scale: np.ndarray
    """Size relative to the seed, (k, j, i)."""
    habitus: Habitus
    fractures: tuple[Fracture, ...]
    spurs: tuple[Spur, ...]
    variant: Variant
    phase: Phase
    protocol: Protocol
    table: bool
    leads: bool
    metal: bool


def draw_story(seed: s.Seed, rng: np.random.Generator, *, whole: bool) -> Story:
    """A patient and a scan at random."""
    real = seed.hu is not None
    scale = np.exp(rng.normal(0.0 if real else -0.08, 0.1)) * np.exp(rng.normal(0, 0.05, 3))
    return Story(
        scale=np.clip(scale, 0.8 if real else 0.68, 1.25),
        habitus=draw_habitus(rng),
        fractures=draw_fractures(seed, rng),
        spurs=() if real else draw_spurs(seed, rng),
        variant=draw_variant(seed, rng),
        phase=draw_phase(rng),
        protocol=draw_protocol(rng, whole=whole, mild=real),
        table=rng.random() < 0.75,
        leads=rng.random() < 0.15,
        metal=rng.random() < 0.1,
    )


@dataclass(frozen=True, eq=False)
class Rendered:
    """One scan on its output grid, axes as in the seeds."""

    hu: np.ndarray
    """float32."""
    labels: np.ndarray
    """uint8 internal labels, those of the renderer included."""
    cavity: np.ndarray
    inside: np.ndarray
    """bool: within the height of the seed."""
    level: np.ndarray
    """float16 spine coordinate near the column, NaN elsewhere."""
    centres: np.ndarray
    """float32 (n, 4): ordinal and output voxel of the centres of the bodies in the grid."""


def render(seed: s.Seed, grid: Grid, story: Story, rng: np.random.Generator) -> Rendered:
    """Draw a seed on a grid and scan it."""
    p = positions(seed, grid, rng, story.scale, story.fractures, story.spurs)
    hu, labels, metal = _draw(seed, p, grid, story, rng)
    hu, beyond = scan(hu, metal, grid.factor, grid.spacing, story.protocol, rng)
    centre = [_block_centres(q, grid.factor) for q in p]
    named = read(seed, centre, story.variant, story.spurs)
    label = named.labels
    cavity = seed.cavity.ravel()[named.flat]
    if seed.hu is None:
        fk, fj, fi = grid.factor
        grown = labels[fk // 2 :: fk, fj // 2 :: fj, fi // 2 :: fi]
        # half a voxel away from its own label, a free voxel can meet an organ: then it is what lies between organs
        between = np.where(cavity, s.CAVITY_FILL, s.WALL).astype(np.uint8)
        grown = np.where((grown >= SKIN) & (grown < s.BODY_BASE), grown, between)
        label = np.where(label == 0, grown, label)
        label[(grown == ARM_BONE) & (named.labels == 0)] = ARM_BONE
    else:
        label[~_within(seed, centre)] = AIR
    if metal is not None:
        label[_pooled(metal, grid.factor) > METAL_SHARE] = METAL
    label[:, beyond] = AIR
    spacing = max(grid.spacing) / s.SPACING_MM
    centres = body_centres(centre, seed.centreline, spacing)
    return Rendered(hu, label, cavity, named.inside, seed.level.ravel()[named.flat], centres)


def _draw(
    seed: s.Seed, p: Positions, grid: Grid, story: Story, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """HU before the scanner, labels, and share of metal, on the drawing grid."""
    if seed.hu is not None:
        hu = np.where(_within(seed, p), trilinear(seed.hu, p), np.float32(-1024))
        return hu, np.empty(0, np.uint8), None
    jitter = None
    if max(grid.factor) > 1:
        jitter = (rng.random(p[0].shape, dtype=np.float32) - np.float32(0.5)) * np.float32(0.9)
    named = read(seed, p, story.variant, story.spurs, jitter=jitter, depth=True)
    labels = named.labels
    field = Fields(rng, grid.drawn_shape, grid.drawn_spacing)
    above_hull_mm = grow_body(seed, labels, named.flat, p, field, story.habitus)
    put_arms(seed, labels, p, grid, story.habitus, field)
    noise = draw_noise(field)
    hu = soft_tissue(seed, labels, p, above_hull_mm, field, noise, story.phase)
    depth = np.zeros(0) if named.depth is None else named.depth
    put_bone(seed, hu, labels, depth, p, field, noise, story.fractures)
    if story.table:
        put_table(hu, labels, grid, rng)
    if story.leads:
        put_leads(hu, labels, grid, rng)
    return hu, labels, put_metal(seed, hu, labels, p, grid, rng) if story.metal else None


def _within(seed: s.Seed, p: Positions) -> np.ndarray:
    inside = np.ones(p[0].shape, bool)
    for q, n in zip(p, seed.labels.shape, strict=True):
        inside &= (q > -0.5) & (q < n - 0.5)
    return inside


def _block_centres(a: np.ndarray, factor: tuple[int, int, int]) -> np.ndarray:
    """Value of a smooth field at the middle of blocks: mean of the two voxels beside it, along the diagonal."""
    low, high = ([slice((f - 1) // 2 if n == 0 else f // 2, None, f) for f in factor] for n in (0, 1))
    return np.ascontiguousarray((a[tuple(low)] + a[tuple(high)]) * np.float32(0.5))


def _pooled(a: np.ndarray, factor: tuple[int, int, int]) -> np.ndarray:
    """Mean over blocks."""
    (k, fk), (j, fj), (i, fi) = ((n // f, f) for n, f in zip(a.shape, factor, strict=True))
    return a.reshape(k, fk, j, fj, i, fi).mean((1, 3, 5))


def scan_range(
    seed: s.Seed, rng: np.random.Generator, *, past_the_map: bool, span: tuple[float, float] | None = None
) -> np.ndarray:
    """Top and bottom of a scan in the seed's k: chest, chest and abdomen, or a part; both ends cut anywhere.

    ``past_the_map`` lets it run past the map's ends, whose last slices are then repeated. ``span`` gives ordinals
    that must be in view.
    """
    line = seed.centreline
    top_n, low_n = line[0, 0] - 1.5, line[-1, 0] + 1
    if top_n < 10:
        upper = float(rng.choice([rng.uniform(4, 7), rng.uniform(7, 10), rng.uniform(10, 17)], p=[0.3, 0.42, 0.28]))
        lower = rng.uniform(18.5, 23.5) if rng.random() < 0.75 else rng.uniform(17, 26)
    else:
        upper, lower = rng.uniform(min(top_n, 16), 19), rng.uniform(21.5, 26)
    if span is not None:
        upper, lower = min(upper, span[0]), max(lower, span[1])
    spine_k = np.interp([max(upper, top_n), min(lower, low_n)], line[:, 0], line[:, 1])
    if lower > line[-1, 0]:
        spine_k[1] = line[-1, 1] - (min(lower, 28) - line[-1, 0]) * 20
    if upper < line[0, 0]:
        # above the map's end its last slice is repeated, a stand-in for the neck; no level is taught there
        spine_k[0] = line[0, 1] + (line[0, 0] - upper) * 15
    if past_the_map and seed.hu is None:
        return spine_k
    return np.clip(spine_k, 0, seed.labels.shape[0] - 1)


def whole_grid(
    seed: s.Seed, story: Story, rng: np.random.Generator, spacing: tuple[float, float, float],
    factor: tuple[int, int, int], most: tuple[int, int, int], *, past_the_map: bool = True,
    span: tuple[float, float] | None = None,
) -> Grid:  # fmt: skip
    """Where a whole scan lies; ``most`` voxels at most along each axis."""
    spine_k = scan_range(seed, rng, past_the_map=past_the_map, span=span)
    length = max(60.0, (spine_k[0] - spine_k[1]) * s.SPACING_MM) * story.scale[0]
    mid = int(np.clip(spine_k.mean(), 0, seed.labels.shape[0] - 1))
    habitus, ahead, beside = story.habitus, 0.0, 0.0
    if seed.hu is None:
        body = np.argwhere(seed.hull_mm[mid] < 0)
        margin = 2 * (habitus.muscle_mm + habitus.fat_mm) + rng.uniform(15, 70)
        ahead = 0.7 * habitus.breast_mm
        beside = 170.0 if habitus.arms != "away" and rng.random() < 0.4 else 0.0
    else:
        body, margin = np.argwhere(seed.labels[mid] != AIR), rng.uniform(5, 50)
    low, high = body.min(0), body.max(0)
    extent = (high - low) * s.SPACING_MM * story.scale[1:] + margin + (ahead, beside)
    cells = [
        int(np.clip(np.ceil(e / a), few, many))
        for e, a, few, many in zip((length, *extent), spacing, (24, 40, 40), most, strict=True)
    ]
    centre = (low + high) / 2 + rng.normal(0, 6, 2) - (ahead / 2 / s.SPACING_MM, 0)
    return Grid(np.array([spine_k.mean(), *centre]), (cells[0], cells[1], cells[2]), spacing, factor)
