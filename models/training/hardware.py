"""What is not the patient: table, leads on the skin, and metal inside (screws, rods, wires, pacemaker, port, clips)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from models.training import seeds as s
from models.training.channels import body_centres
from models.training.scanner import AIR, SKIN
from models.training.shape import Grid, Positions


def put_table(hu: np.ndarray, labels: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """A curved table under the patient (shell and foam), now and then a blanket or a mat, in place; all in air."""
    body = np.flatnonzero((labels != AIR).any((0, 2)))
    if len(body) == 0:
        return
    _, dj, di = grid.drawn_spacing
    u = rng.uniform
    air = labels == AIR
    i = (np.arange(labels.shape[2]) - labels.shape[2] / 2) * di + u(-15, 15)
    j = np.arange(labels.shape[1])[:, None] * dj
    top = (body[-1] * dj + u(-2, 12)) - u(0, 0.9) * (i / 100) ** 2 * 18
    thick, shell, half = u(15, 60), max(dj, u(1, 4)), u(180, 280)
    plate = (j > top) & (j < top + thick) & (np.abs(i) < half)
    skin = plate & ((j < top + shell) | (j > top + thick - shell))
    hu[air & plate[None]] = u(-980, -850)
    hu[air & skin[None]] = u(-300, 300)
    if rng.random() < 0.3:
        mat = (j > top - u(3, 12)) & (j < top) & (np.abs(i) < half * u(0.6, 1))
        hu[air & mat[None]] = u(-970, -820)


class Metal:
    """Share of metal per drawn voxel, painted rod by rod in mm."""

    def __init__(self, grid: Grid) -> None:
        self.share = np.zeros(grid.drawn_shape, np.float32)
        self._spacing = np.array(grid.drawn_spacing)

    def rod(self, start: np.ndarray, end: np.ndarray, radius_mm: float) -> None:
        """A capsule between two points in drawn voxels (k, j, i)."""
        a, b = start * self._spacing, end * self._spacing
        reach = radius_mm + self._spacing.max()
        low = np.floor((np.minimum(a, b) - reach) / self._spacing).astype(int)
        high = np.ceil((np.maximum(a, b) + reach) / self._spacing).astype(int) + 1
        k, j, i = (
            slice(min(n, max(0, int(x))), max(0, min(n, int(y))))
            for n, x, y in zip(self.share.shape, low, high, strict=True)
        )
        if 0 in self.share[k, j, i].shape:
            return
        points = np.stack(np.meshgrid(*(np.arange(q.start, q.stop) for q in (k, j, i)), indexing="ij"), -1)
        rel = points * self._spacing - a
        along = b - a
        length = max(float(along @ along), 1e-6)
        t = np.clip(rel @ along / length, 0, 1)
        distance = np.linalg.norm(rel - t[..., None] * along, axis=-1)
        voxel = float(self._spacing.mean())
        # thinner than a voxel: its cross-section's share of the voxel rather than a full one
        full = min(1.0, np.pi * radius_mm**2 / voxel**2)
        share = np.clip((radius_mm - distance) / voxel + 0.5, 0, 1) * full
        np.maximum(self.share[k, j, i], share.astype(np.float32), out=self.share[k, j, i])

    def path(self, points: list[np.ndarray], radius_mm: float) -> None:
        for start, end in pairwise(points):
            self.rod(start, end, radius_mm)


def put_metal(
    seed: s.Seed, hu: np.ndarray, labels: np.ndarray, p: Positions, grid: Grid, rng: np.random.Generator
) -> np.ndarray | None:
    """Draw metal into ``hu``; gives its share per drawn voxel, or None where nothing came to lie in the patient."""
    metal = Metal(grid)
    kinds = rng.choice(["screws", "wires", "pacemaker", "port", "clips", "needle"], 1 + int(rng.random() < 0.25))
    for kind in kinds:
        if kind == "screws":
            _screws(metal, seed, p, grid, rng)
        elif kind == "wires":
            _sternal_wires(metal, labels, grid, rng)
        elif kind in ("pacemaker", "port"):
            _chest_device(metal, labels, grid, rng, pacemaker=kind == "pacemaker")
        else:
            _clips(metal, labels, grid, rng, long=kind == "needle")
    metal.share[labels == AIR] = 0
    if not metal.share.any():
        return None
    there = metal.share > 0
    hu[there] += (rng.uniform(3000, 9000) - hu[there]) * metal.share[there]
    return metal.share


def put_leads(hu: np.ndarray, labels: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """ECG leads and lines that lie on the skin, in place."""
    metal = Metal(grid)
    spacing = np.array(grid.drawn_spacing)
    skin = np.argwhere(labels[::3, ::3, ::3] == SKIN) * 3
    if len(skin) == 0:
        return
    for _ in range(rng.integers(1, 5)):
        at = skin[rng.integers(len(skin))].astype(float)
        points = [at]
        for _ in range(rng.integers(3, 10)):
            near = skin[np.linalg.norm((skin - points[-1]) * spacing, axis=1) < 45]
            points.append(near[rng.integers(len(near))].astype(float))
        metal.path(points, rng.uniform(0.5, 1.5))
    outside = (metal.share > 0) & (labels == AIR)
    hu[outside] += (rng.uniform(200, 3000) - hu[outside]) * metal.share[outside]


def _screws(metal: Metal, seed: s.Seed, p: Positions, grid: Grid, rng: np.random.Generator) -> None:
    """Two pedicle screws a level and two rods, over two to six neighbouring levels."""
    centres = body_centres(p, seed.centreline, float(max(grid.drawn_spacing)) / s.SPACING_MM)[:, 1:]
    if len(centres) < 2:
        return
    count = int(rng.integers(2, 7))
    first = int(rng.integers(0, max(1, len(centres) - count + 1)))
    mm = 1 / np.array(grid.drawn_spacing)
    radius, rod, head, wide = rng.uniform(2, 3.5), rng.uniform(2.2, 3.2), rng.uniform(26, 33), rng.uniform(12, 17)
    for side in (-1, 1):
        heads = []
        for centre in centres[first : first + count]:
            entry = centre + np.array([rng.normal(0, 1), head, side * wide]) * mm
            tip = centre + np.array([rng.normal(0, 1.5), -rng.uniform(3, 12), side * rng.uniform(3, 9)]) * mm
            metal.rod(entry, tip, radius)
            metal.rod(entry, entry + np.array([0, 6, 0]) * mm, radius + 2.5)
            heads.append(entry + np.array([0, 3, 0]) * mm)
        metal.path(heads, rod)


def _sternal_wires(metal: Metal, labels: np.ndarray, grid: Grid, rng: np.random.Generator) -> None:
    """Loops round the sternum: bone in the front third, near the midline."""
    third, mid = labels.shape[1] // 3, labels.shape[2] // 2
    band = slice(mid - labels.shape[2] // 8, mid + labels.shape[2] // 8)
    found = np.argwhere(labels[:, :third, band] == s.OTHER_BONE)
    if len(found) < 20:
        return
    mm = 1 / np.array(grid.drawn_spacing)
    thick = rng.uniform(0.5, 1.0)
    for _ in range(rng.integers(3, 7)):
        k = found[rng.integers(len(found)), 0]
        plane = found[found[:, 0] == k]
        j0, j1 = plane[:, 1].min() - 1, plane[:, 1].max() + 1
        i = plane[:, 2].mean() + band.start
        half = rng.uniform(8, 16) * mm[2]
        corners = [(k, j0, i - half), (k, j0, i + half), (k, j1, i + half), (k, j1, i - half), (k, j0, i - half)]
        metal.path([np.array(c, float) for c in corners], thick)


def _chest_device(metal: Metal, labels: np.ndarray, grid: Grid, rng: np.random.Generator, *, pacemaker: bool) -> None:
    """A can (or port chamber) under the skin of the upper chest with a lead to heart or caval vein."""
    mm = 1 / np.array(grid.drawn_spacing)
    k = int(labels.shape[0] * rng.uniform(0.65, 0.9))
    at_i = int(labels.shape[2] * (rng.uniform(0.62, 0.75) if pacemaker else rng.uniform(0.28, 0.4)))
    column = np.flatnonzero(labels[k, :, at_i] == s.SAT)
    goal = np.argwhere(labels == (s.HEART if pacemaker else s.VEIN))
    if len(column) == 0 or len(goal) == 0:
        return
    centre = np.array([k, column[0] + min(len(column) - 1, int(6 * mm[1])), at_i], float)
    if pacemaker:
        for step in np.linspace(-18, 18, 9):
            span = np.sqrt(max(0, 1 - (step / 22) ** 2)) * 20
            row = centre + np.array([step, 0, 0]) * mm
            metal.rod(row - np.array([0, 0, span]) * mm, row + np.array([0, 0, span]) * mm, rng.uniform(3, 4))
    else:
        metal.rod(centre, centre + np.array([0, 8, 0]) * mm, rng.uniform(5, 9))
    end = goal[rng.integers(len(goal))].astype(float)
    vein = np.argwhere(labels == s.VEIN)
    top = vein[np.argmax(vein[:, 0])].astype(float) if len(vein) else (centre + end) / 2
    points = [centre, (centre + top) / 2 + np.array([12, -4, 0]) * mm, top, (top + end) / 2, end]
    metal.path(points, rng.uniform(0.8, 1.4) if pacemaker else rng.uniform(0.5, 0.9))


def _clips(metal: Metal, labels: np.ndarray, grid: Grid, rng: np.random.Generator, *, long: bool) -> None:
    """Surgical clips in a cluster, or longer wires and stents, in soft tissue."""
    soft = np.argwhere((labels[::4, ::4, ::4] > 0) & (labels[::4, ::4, ::4] < SKIN)) * 4
    if len(soft) == 0:
        return
    centre = soft[rng.integers(len(soft))].astype(float)
    mm = 1 / np.array(grid.drawn_spacing)
    for _ in range(1 if long else rng.integers(2, 9)):
        start = centre + rng.normal(0, 18, 3) * mm
        step = rng.normal(0, 1, 3)
        length = rng.uniform(20, 80) if long else rng.uniform(3, 9)
        metal.rod(start, start + step / np.linalg.norm(step) * length * mm, rng.uniform(0.6, 1.6))
