"""What the scanner makes of ideal CT numbers: blur or edge enhancement, noise, calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from trabecula.phantom.canvas import Field
from trabecula.phantom.spec import Kernel

LOWEST_HU: Final = -1200.0
HIGHEST_HU: Final = 3071.0


@dataclass(frozen=True)
class KernelShape:
    """Point spread: a Gaussian, and an unsharp mask for edge enhancement."""

    name: str
    """As the scanner would print it."""
    blur_mm: float
    enhance: float
    enhance_mm: float
    noise_fine_mm: float
    noise_coarse_mm: float
    """Noise is white noise between these two Gaussian sizes: sharp kernels have finer grain."""


KERNELS: Final = {
    Kernel.SOFT: KernelShape("Br40f", 0.55, 0.0, 1.0, 0.62, 3.0),
    Kernel.MEDIUM: KernelShape("Br49f", 0.42, 0.25, 1.2, 0.46, 2.0),
    Kernel.SHARP: KernelShape("Br64f", 0.30, 0.9, 0.9, 0.32, 1.1),
}


def scan(
    ideal_hu: Field,
    pixel_mm: float,
    kernel: Kernel,
    noise_hu: float,
    gain: float,
    offset_hu: float,
    seed: tuple[int, ...],
) -> npt.NDArray[np.int16]:
    """One slice as reconstructed.

    Args:
        ideal_hu: (J, I) noise-free CT numbers.
        seed: any integers; the slice's noise depends on nothing else.
    """
    shape = KERNELS[kernel]
    image = gaussian_filter(ideal_hu, shape.blur_mm / pixel_mm, truncate=3.0)
    if shape.enhance:
        image = image + np.float32(shape.enhance) * (
            image - gaussian_filter(image, shape.enhance_mm / pixel_mm, truncate=3.0)
        )
    if noise_hu > 0:
        image = image + _noise(ideal_hu, pixel_mm, shape, noise_hu, seed)
    scaled = gain * (image + 1000.0) - 1000.0 + offset_hu
    result: npt.NDArray[np.int16] = np.rint(np.clip(scaled, LOWEST_HU, HIGHEST_HU)).astype(np.int16)
    return result


def _noise(ideal_hu: Field, pixel_mm: float, shape: KernelShape, noise_hu: float, seed: tuple[int, ...]) -> Field:
    white = np.random.default_rng(seed).standard_normal(ideal_hu.shape, dtype=np.float32)
    fine, coarse = shape.noise_fine_mm / pixel_mm, shape.noise_coarse_mm / pixel_mm
    band = gaussian_filter(white, fine, truncate=3.0) - np.float32(0.8) * gaussian_filter(white, coarse, truncate=3.0)
    band *= np.float32(noise_hu / max(float(band.std()), 1e-6))
    n = min(ideal_hu.shape)
    step = max(1, n // 64)
    # Less noise where rays have crossed less tissue: outside the body and near its edge.
    body = np.clip((ideal_hu[::step, ::step] + 1000.0) / 1000.0, 0.0, 1.2)
    smooth = gaussian_filter(body, 45.0 / (pixel_mm * step))
    weight = 0.45 + 0.55 * smooth / max(float(smooth.max()), 1e-6)
    full = np.repeat(np.repeat(weight, step, axis=0), step, axis=1)[: ideal_hu.shape[0], : ideal_hu.shape[1]]
    noise: Field = band * full.astype(np.float32)
    return noise
