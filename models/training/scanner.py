"""What the scanner adds to a rendered body: table, metal with its streaks, slices, kernel, noise, field of view."""

from __future__ import annotations

import numpy as np
import torch
from models.training import seeds as s
from scipy import ndimage as ndi
from scipy.interpolate import CubicSpline

SKIN, AIR, METAL, ARM_BONE, ARM = 40, s.OUT, 42, 43, 44
"""Labels of what the renderer adds; below the vertebrae, above the seeds' own."""


class Fields:
    """Smooth random fields on one grid."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], spacing: float) -> None:
        self.rng, self.shape, self.spacing = rng, shape, spacing

    def __call__(self, scale_mm: float) -> np.ndarray:
        """Zero mean, about unit variance, varying over ``scale_mm``."""
        low = [max(2, int(np.ceil(n * self.spacing / scale_mm)) + 1) for n in self.shape]
        a = torch.from_numpy(self.rng.standard_normal(low, dtype=np.float32))[None, None]
        up = torch.nn.functional.interpolate(a, size=self.shape, mode="trilinear", align_corners=True)
        return up[0, 0].numpy() * 1.5

    def curve(self, scale_mm: float, amplitude: float) -> np.ndarray:
        """A smooth random function of the height k alone."""
        length = self.shape[0] * self.spacing / scale_mm
        knots = self.rng.standard_normal(int(np.ceil(length)) + 4) * amplitude
        at = 1.5 + self.rng.uniform(0, 0.99) + np.linspace(0, length, self.shape[0])
        smooth = CubicSpline(np.arange(len(knots)), knots)(at)
        return smooth - smooth[self.shape[0] // 2]


def put_table(hu: np.ndarray, labels: np.ndarray, spacing: float, rng: np.random.Generator) -> None:
    body = np.argwhere((labels != AIR).any((0, 2))).ravel()
    if len(body) == 0:
        return
    shape = hu.shape
    top = body[-1] + rng.uniform(-2, 12) / spacing
    curve = rng.uniform(0, 0.9)
    i = (np.arange(shape[2]) - shape[2] / 2) * spacing
    surface = top - curve * (i / 100) ** 2 * 18 / spacing
    j = np.arange(shape[1])[:, None]
    thick, shell = rng.uniform(15, 60) / spacing, max(1.0, rng.uniform(1, 4) / spacing)
    half = rng.uniform(180, 280)
    plate = (j > surface) & (j < surface + thick) & (np.abs(i) < half)
    shell_mask = plate & ((j < surface + shell) | (j > surface + thick - shell))
    air = labels == AIR
    hu[air & plate[None]] = rng.uniform(-980, -850)
    hu[air & shell_mask[None]] = rng.uniform(-300, 300)


def put_metal(hu: np.ndarray, labels: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Rods, wires or clips with streaks in their slices, drawn into ``hu``; gives the share of metal, float32."""
    shape = np.array(hu.shape)
    field = np.zeros(hu.shape, np.float32)
    for _ in range(rng.integers(1, 5)):
        a = rng.uniform(0.2, 0.8, 3) * shape
        step = rng.normal(0, 1, 3)
        step /= np.linalg.norm(step)
        for t in np.arange(0, rng.uniform(3, 60) / spacing, 0.5):
            at = np.rint(a + step * t).astype(int)
            if ((at >= 0) & (at < shape)).all() and labels[tuple(at)] != AIR:
                field[tuple(at)] = 1
    metal = ndi.gaussian_filter(field, 0.8)
    hu += 6000 * metal
    rows = ndi.gaussian_filter(field, (0.5, 1.0, 40 / spacing)) - ndi.gaussian_filter(field, (0.5, 3, 40 / spacing))
    if rows.std() > 0:
        hu += rows / np.abs(rows).max() * rng.uniform(20, 350)
    return np.clip(metal * 4, 0, 1)


def scan(
    hu: np.ndarray, labels: np.ndarray, spacing: float, rng: np.random.Generator, whole: bool, mild: bool = False
) -> np.ndarray:
    """The scanner: slice thickness, kernel, noise, streaks, drift, field of view (which makes ``labels`` AIR).

    ``mild`` is for a CT that has been through a scanner already: less noise, no streaks, less drift.
    """
    u = rng.uniform
    field = Fields(rng, hu.shape, spacing)
    slice_mm = float(rng.choice([1.0, 1.5, 2.0, 2.5, 3.0, 3.75, 5.0], p=[0.13, 0.08, 0.12, 0.17, 0.1, 0.12, 0.28]))
    blur = u(0.3, 1.1) / spacing
    hu = ndi.gaussian_filter(hu, (0.3 / spacing, blur, blur), truncate=3)
    step = slice_mm / spacing
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    grain = u(0.2, 1.4) / spacing
    if grain > 0.3:
        noise = ndi.gaussian_filter(noise, (0.0 if step > 1 else 0.4, grain, grain), truncate=2.5)
    noise *= (
        (u(0, 14) if mild else u(3, 32))
        * (0.6 if whole else 1.0)
        * (1 + 0.5 * np.tanh(field(150)))
        / max(noise.std(), 1e-6)
    )
    if not mild and rng.random() < 0.3:
        streaks = ndi.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0.5, 0.7, 25 / spacing))
        noise += streaks / streaks.std() * u(0, 25) * (field(200) > u(0, 1.5))
    hu += noise
    if step > 1.2:
        hu = ndi.uniform_filter1d(hu, max(2, round(step)), axis=0) if step >= 1.6 else hu
        if not whole:
            offset = u(0, 1)
            slices = np.arange(offset, hu.shape[0] - 1 + step, step)
            low = np.floor(np.clip(slices, 0, hu.shape[0] - 1)).astype(int)
            taken = hu[low]
            at = np.clip((np.arange(hu.shape[0]) - low[0]) / step, 0, len(low) - 1)
            base = np.minimum(np.floor(at).astype(int), len(low) - 2)
            part = (at - base)[:, None, None].astype(np.float32)
            hu = taken[base] * (1 - part) + taken[base + 1] * part
    if rng.random() < 0.35:
        hu = hu + u(0.3, 1.0) * (hu - ndi.gaussian_filter(hu, (0, 1, 1), truncate=2.5))
    hu = hu * u(0.97, 1.03) + (u(-10, 10) if mild else u(-18, 18) + field(250) * u(0, 10))
    if whole and rng.random() < 0.45:
        jj, ii = np.mgrid[: hu.shape[1], : hu.shape[2]]
        radius = u(165, 250) / spacing
        centre = np.array(hu.shape[1:]) / 2 + rng.normal(0, 12 / spacing, 2)
        out = (jj - centre[0]) ** 2 + (ii - centre[1]) ** 2 > radius**2
        hu[:, out] = -1024
        labels[:, out] = AIR
    return hu
