"""What the scanner makes of a drawn body: point spread, slices, kernel, noise, streaks, drift, field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.fields import Fields
from scipy import ndimage as ndi

SKIN, AIR, METAL, ARM_BONE, ARM = 40, s.OUT, 42, 43, 44
"""Labels of what the renderer adds; below the vertebrae, above the seeds' own."""


@dataclass(frozen=True)
class Protocol:
    """How a scan is taken and reconstructed."""

    kvp_factor: float
    """HU of iodine and bone relative to 120 kV."""
    thickness_mm: float
    increment_mm: float
    psf_mm: float
    """Standard deviation of the in-plane point spread."""
    sharpening: float
    """Overshoot of the kernel at edges; 0 for a soft one."""
    noise_hu: float
    """Standard deviation of the noise in the output voxels, before slices are interpolated."""
    grain_mm: float
    """Correlation length of the noise; nothing at low frequencies, as filtered back projection leaves it."""
    streaks_hu: float
    """Of photon starvation between the shoulders and arms; 0 for none."""
    gain: float
    offset_hu: float
    drift_hu: float
    """Slow changes over the image (cupping, scatter)."""
    field_of_view_mm: float | None
    """Diameter of the reconstruction circle; None where it holds the whole image."""


def draw_protocol(rng: np.random.Generator, *, whole: bool, mild: bool = False) -> Protocol:
    """A protocol at random; ``mild`` for a CT that has been through a scanner already."""
    u = rng.uniform
    thickness = float(
        rng.choice([1.0, 1.5, 2.0, 2.5, 3.0, 3.75, 5.0, 6.5], p=[0.13, 0.07, 0.1, 0.15, 0.1, 0.1, 0.31, 0.04])
    )
    sharp = rng.random() < 0.25
    voxel = 0.4 if whole else 1.0  # a voxel of 4 mm averages noise and overshoot away
    return Protocol(
        kvp_factor=u(0.93, 1.1) if mild else u(0.82, 1.25),
        thickness_mm=thickness,
        increment_mm=thickness * float(rng.choice([1.0, 0.8, 0.5], p=[0.65, 0.2, 0.15])),
        psf_mm=u(0.25, 0.45) if sharp else u(0.4, 0.8),
        sharpening=u(0.3, 1.2) * voxel if sharp else 0.0,
        noise_hu=(u(0, 10) if mild else float(np.clip(rng.gamma(2.2, 5.2), 2, 45)) * (1.4 if sharp else 1.0)) * voxel,
        grain_mm=u(0.3, 0.7) if sharp else u(0.6, 1.3),
        streaks_hu=u(3, 25) if not mild and rng.random() < 0.3 else 0.0,
        gain=u(0.97, 1.03),
        offset_hu=u(-8, 8) if mild else u(-15, 15),
        drift_hu=0.0 if mild else u(0, 9),
        field_of_view_mm=u(330, 500) if whole and rng.random() < 0.45 else None,
    )


def at_kvp(hu: np.ndarray, factor: float) -> np.ndarray:
    """HU of what holds iodine or calcium (above 70 HU) at another tube voltage."""
    return np.where(hu > 70, 70 + (hu - 70) * np.float32(factor), hu)


def slice_weights(count: int, spacing_mm: float, thickness_mm: float, centres_mm: np.ndarray) -> np.ndarray:
    """(slices, count) weights that average ``count`` layers ``spacing_mm`` thick over slices ``thickness_mm`` thick."""
    edges = np.arange(count + 1) * spacing_mm
    low, high = centres_mm[:, None] - thickness_mm / 2, centres_mm[:, None] + thickness_mm / 2
    shared = np.clip(np.minimum(high, edges[None, 1:]) - np.maximum(low, edges[None, :-1]), 0, None)
    return (shared / np.maximum(shared.sum(1, keepdims=True), 1e-6)).astype(np.float32)


def interpolation_weights(at_mm: np.ndarray, centres_mm: np.ndarray) -> np.ndarray:
    """(len(at_mm), slices) weights of linear interpolation between slices; the end slices are repeated."""
    place = np.interp(at_mm, centres_mm, np.arange(len(centres_mm)))
    base = np.minimum(place.astype(int), max(0, len(centres_mm) - 2))
    part = (place - base).astype(np.float32)
    out = np.zeros((len(at_mm), len(centres_mm)), np.float32)
    rows = np.arange(len(at_mm))
    out[rows, base] += 1 - part
    out[rows, np.minimum(base + 1, len(centres_mm) - 1)] += part
    return out


def scan(
    hu: np.ndarray, metal: np.ndarray | None, factor: tuple[int, int, int], spacing: tuple[float, float, float],
    protocol: Protocol, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """HU on the output grid (float32), and where the plane lies outside the field of view (bool, (J, I)).

    Args:
        hu: drawn HU, ``factor`` voxels per output voxel along each axis.
        metal: share of metal on the same grid, None for none.
        spacing: mm of the output voxels.
    """
    fk, fj, fi = factor
    dk = spacing[0] / fk
    count = hu.shape[0]
    sigma = protocol.psf_mm * fj / spacing[1], protocol.psf_mm * fi / spacing[2]
    hu = ndi.gaussian_filter(at_kvp(hu, protocol.kvp_factor), (0, *sigma), truncate=2.5) if max(sigma) > 0.25 else hu
    step = min(protocol.increment_mm, count * dk / 2)
    # slices of the output's own spacing lie on it; others begin anywhere
    start = step / 2 if abs(step - spacing[0]) < 1e-6 else rng.uniform(-0.5, 0.5) * step
    centres = np.arange(start, count * dk + step, step)
    weights = slice_weights(count, dk, protocol.thickness_mm, np.clip(centres, dk / 2, (count - 0.5) * dk))
    image = _flat_product(weights, _pooled_plane(hu, fj, fi))
    if metal is not None:
        _metal_streaks(image, _flat_product(weights, _pooled_plane(metal, fj, fi)), spacing, rng)
    image += _noise(image.shape, spacing, protocol, step, rng)
    if protocol.sharpening > 0:
        image += np.float32(protocol.sharpening) * (image - ndi.gaussian_filter(image, (0, 1, 1), truncate=2.5))
    out = _flat_product(interpolation_weights((np.arange(count // fk) + 0.5) * spacing[0], centres), image)
    out *= np.float32(protocol.gain)
    out += np.float32(protocol.offset_hu)
    if protocol.drift_hu > 0:
        out += Fields(rng, out.shape, spacing)(250) * np.float32(protocol.drift_hu)
    outside = np.zeros(out.shape[1:], bool)
    if protocol.field_of_view_mm is not None:
        jj, ii = np.mgrid[: out.shape[1], : out.shape[2]]
        centre = np.array(out.shape[1:]) / 2 + rng.normal(0, 12, 2) / spacing[1:]
        outside = np.hypot((jj - centre[0]) * spacing[1], (ii - centre[1]) * spacing[2]) > protocol.field_of_view_mm / 2
        out[:, outside] = -1024
    return out, outside


def _pooled_plane(a: np.ndarray, fj: int, fi: int) -> np.ndarray:
    """Mean over blocks in the plane."""
    if fj == fi == 1:
        return a
    rows = sum(a[:, n::fj] for n in range(fj))
    return sum(rows[:, :, n::fi] for n in range(fi)) * np.float32(1 / (fj * fi))


def _flat_product(weights: np.ndarray, a: np.ndarray) -> np.ndarray:
    return (weights @ a.reshape(a.shape[0], -1)).reshape(weights.shape[0], *a.shape[1:])


def _noise(
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
    protocol: Protocol,
    step: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Noise of the slices: band-pass texture in the plane, stronger in some regions, streaks; float32.

    Overlapping slices share part of it.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    grain = protocol.grain_mm / spacing[1]
    noise = ndi.gaussian_filter(white, (0, grain, grain), truncate=2.5) if grain > 0.25 else white
    noise -= np.float32(0.7) * ndi.gaussian_filter(noise, (0, 2.2, 2.2), truncate=2)
    shared = protocol.thickness_mm / step
    if shared > 1.1:
        noise = ndi.gaussian_filter1d(noise, 0.4 * shared, axis=0)
    at = Fields(rng, (shape[0], shape[1], shape[2]), (step, spacing[1], spacing[2]))
    noise *= (1 + 0.5 * np.tanh(at(150))) * np.float32(protocol.noise_hu / max(float(noise.std()), 1e-6))
    if protocol.streaks_hu > 0:
        streaks = ndi.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.4, 0.6, 25 / spacing[2]))
        where = np.clip(at(200) - rng.uniform(-0.5, 1), 0, 1)
        noise += streaks * (where * np.float32(protocol.streaks_hu / max(float(streaks.std()), 1e-6)))
    return noise


def _metal_streaks(
    image: np.ndarray, metal: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Bright and dark rays from each piece of metal, in its slices, in place."""
    strength, rays = rng.uniform(20, 250), int(rng.integers(5, 14))
    phase, weight = rng.uniform(0, 2 * np.pi, rays), rng.normal(0, 1, rays)
    jj, ii = np.mgrid[: image.shape[1], : image.shape[2]].astype(np.float32)
    for k in np.flatnonzero(metal.max((1, 2)) > 0.3):
        pieces, count = ndi.label(metal[k] > 0.3)
        for n, (j, i) in enumerate(ndi.center_of_mass(metal[k], pieces, range(1, min(count, 6) + 1)), 1):
            dy, dx = (jj - j) * spacing[1], (ii - i) * spacing[2]
            r = np.hypot(dy, dx) + 1
            angle = np.arctan2(dy, dx)
            size = np.sqrt(float((pieces == n).sum()) * spacing[1] * spacing[2])
            star = sum(w * np.cos((m + 2) * angle + f) for m, (w, f) in enumerate(zip(weight, phase, strict=True)))
            star = star + rng.normal(0, 0.3)
            image[k] += star * (strength / np.sqrt(rays)) * np.clip(size / (r + size), 0, 1) * (r > size * 0.6)
