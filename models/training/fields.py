"""Smooth random fields and curves: cubic B-splines with random knots, evaluated as three small matrix products."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

_UNIT = 3.0
"""Makes the variance of a field of unit normal knots about one (0.479 per axis for the cubic B-spline)."""


def _basis(count: int, step: float, scale: float, start: float) -> np.ndarray:
    """(count, knots) weights of the cubic B-spline with knots ``scale`` apart at ``count`` places ``step`` apart."""
    at = start + np.arange(count) * (step / scale)
    cell = np.floor(at).astype(int)
    t = at - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    out = np.zeros((count, int(cell[-1]) + 4), np.float32)
    for n in range(4):
        out[np.arange(count), cell + n] = weights[n]
    return out


class Fields:
    """Draws smooth random fields on one grid; ``shape`` in voxels, ``spacing`` in mm, both (k, j, i)."""

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, int, int], spacing: tuple[float, float, float]
    ) -> None:
        self.rng, self.shape, self.spacing = rng, shape, spacing

    def __call__(self, scale_mm: float | tuple[float, float, float]) -> np.ndarray:
        """Zero mean, about unit variance, varying over ``scale_mm`` (one figure, or one per axis); float32."""
        scales = (scale_mm,) * 3 if isinstance(scale_mm, float | int) else scale_mm
        k, j, i = (
            _basis(n, step, max(scale, 1.5 * step), self.rng.random())
            for n, step, scale in zip(self.shape, self.spacing, scales, strict=True)
        )
        knots = self.rng.standard_normal((k.shape[1], j.shape[1], i.shape[1]), dtype=np.float32) * np.float32(_UNIT)
        rows = np.matmul(j, np.tensordot(k, knots, 1))
        return (rows.reshape(-1, i.shape[1]) @ i.T).reshape(self.shape)

    def curve(self, scale_mm: float, amplitude: float) -> np.ndarray:
        """A smooth random function of the height k alone, zero in the middle; float32."""
        length = self.shape[0] * self.spacing[0] / scale_mm
        knots = self.rng.standard_normal(int(np.ceil(length)) + 4) * amplitude
        at = 1.5 + self.rng.uniform(0, 0.99) + np.linspace(0, length, self.shape[0])
        smooth = CubicSpline(np.arange(len(knots)), knots)(at)
        return (smooth - smooth[self.shape[0] // 2]).astype(np.float32)
