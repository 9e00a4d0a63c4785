"""Repeating blocks of band-limited noise that give tissues their grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from trabecula.phantom.canvas import Field, Grid, View

_BLOCK = (48, 96, 96)


@dataclass(frozen=True, eq=False)
class Texture:
    """A block of zero-mean noise laid edge to edge over the patient, so that slabs agree."""

    block: Field
    grid: Grid
    slice_offset: int
    """Index of the canvas's first slice in the scan."""

    def sample(self, view: View) -> Field:
        """Noise over a view, in HU."""
        ranges = [
            (np.arange(part.start + offset, part.stop + offset) % n)
            for part, offset, n in zip(view.box, (self.slice_offset, 0, 0), self.block.shape, strict=True)
        ]
        sampled: Field = self.block[np.ix_(*ranges)]
        return sampled


def noise_block(
    seed: tuple[int, int],
    spacing_mm: tuple[float, float, float],
    fine_mm: float | tuple[float, float, float],
    coarse_mm: float,
    sd: float,
) -> Field:
    """A block of noise with features between two sizes, wrapping at its edges.

    Args:
        seed: seed and stream.
        spacing_mm: voxel spacing along (k, j, i).
        fine_mm: Gaussian sigma that smooths the noise, the same every way or along (k, j, i).
        coarse_mm: sigma of what is taken away again; the mean over a region this big is near zero.
        sd: standard deviation in HU.
    """
    fine = (fine_mm,) * 3 if isinstance(fine_mm, float) else fine_mm
    white = np.random.default_rng(seed).standard_normal(_BLOCK, dtype=np.float32)
    response = _gaussian(fine, spacing_mm) - _gaussian((coarse_mm,) * 3, spacing_mm)
    band = scipy.fft.irfftn(scipy.fft.rfftn(white) * response, s=_BLOCK)
    band -= band.mean()
    block: Field = (band * (sd / max(float(band.std()), 1e-9))).astype(np.float32)
    return block


def _gaussian(sigma_mm: tuple[float, float, float], spacing_mm: tuple[float, float, float]) -> Field:
    """Frequency response of a Gaussian over the block."""
    last = len(_BLOCK) - 1
    response = np.ones(1, dtype=np.float32)
    for axis, (n, sigma, spacing) in enumerate(zip(_BLOCK, sigma_mm, spacing_mm, strict=True)):
        frequency = scipy.fft.rfftfreq(n) if axis == last else scipy.fft.fftfreq(n)
        one = np.exp(-2.0 * np.square(np.pi * frequency * sigma / spacing)).astype(np.float32)
        response = response[..., None] * one if axis else one
    return response
