"""One axial section through a simulated patient: polyenergetic rays, water correction, filtered back-projection.

Regions are ellipses, each wholly inside its parent, so that chords add up exactly. Beam hardening by fat, bone and
iodine, the softer beam near the skin and the harder one in the middle follow from the rays; none is put in by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from cohort.materials import K2HPO4, K2HPO4_WATER_DISPLACEMENT, SCALE_WATER, FloatArray
from cohort.scanners import Beam, Misadjustment, WaterCorrection, channel_weights

VIEWS: Final = 90
CHANNEL_CM: Final = 0.36
CHANNELS: Final = 160


@dataclass(frozen=True)
class Ellipse:
    """Centre and half axes in cm (x to the patient's left, y to the back); ``parent`` is the material around it."""

    material: str
    parent: str
    x: float
    y: float
    half_x: float
    half_y: float

    @property
    def area_cm2(self) -> float:
        return math.pi * self.half_x * self.half_y


AIR: Final = "air"


def rays() -> tuple[FloatArray, FloatArray]:
    """Angles (view) and offsets in cm (channel) of parallel rays."""
    return np.arange(VIEWS) * math.pi / VIEWS, (np.arange(CHANNELS) - (CHANNELS - 1) / 2.0) * CHANNEL_CM


def chords_cm(ellipse: Ellipse, angles: FloatArray, offsets: FloatArray) -> FloatArray:
    """Length of each ray inside the ellipse; angles and offsets broadcast."""
    cos, sin = np.cos(angles), np.sin(angles)
    reach2 = (ellipse.half_x * cos) ** 2 + (ellipse.half_y * sin) ** 2
    distance = offsets - (ellipse.x * cos + ellipse.y * sin)
    inside = np.maximum(reach2 - distance**2, 0.0)
    return np.asarray(2.0 * ellipse.half_x * ellipse.half_y * np.sqrt(inside) / reach2)


def material_paths(ellipses: Sequence[Ellipse]) -> dict[str, FloatArray]:
    """Path in each material, (view, channel), cm; air is left out."""
    angles, offsets = rays()
    paths: dict[str, FloatArray] = {}
    for ellipse in ellipses:
        chord = chords_cm(ellipse, angles[:, None], offsets[None, :])
        paths[ellipse.material] = paths.get(ellipse.material, 0.0) + chord
        if ellipse.parent != AIR:
            paths[ellipse.parent] = paths[ellipse.parent] - chord
    return paths


def scan(
    paths: Mapping[str, FloatArray],
    mu: Mapping[str, FloatArray],
    points: Mapping[str, tuple[str, FloatArray]],
    beam: Beam,
    fault: Misadjustment,
) -> dict[str, float]:
    """What the scanner shows at the points.

    Args:
        mu: 1/cm in each energy bin, by material.
        points: name -> (material there, (n, 2) x and y in cm); the mean over the points is returned.
    """
    _, offsets = rays()
    weights = channel_weights(beam, offsets)
    names = list(paths)
    stack = np.stack([paths[name] for name in names], axis=-1)
    exponent = stack @ np.stack([mu[name] for name in names])
    signal = np.einsum("vce,ce->vc", np.exp(-exponent), weights, optimize=True)
    middle = signal[:, CHANNELS // 2 - 8 : CHANNELS // 2 + 8].mean()
    measured_cm = WaterCorrection(weights).water_cm(-np.log(np.maximum(signal + fault.residual_scatter * middle, 1e-9)))
    linear = _linear(mu, weights[CHANNELS // 2], float(-math.log(middle)))
    remainder = measured_cm - stack @ np.array([linear[name] for name in names])
    shown = _back_project(remainder, [xy for _, xy in points.values()])
    result = {}
    for (name, (material, _)), extra in zip(points.items(), shown, strict=True):
        there = linear.get(material, 0.0)
        result[name] = fault.shown(1000.0 * (there + extra - 1.0))
    return result


def _linear(mu: Mapping[str, FloatArray], weight: FloatArray, attenuation: float) -> dict[str, float]:
    """Attenuation over water's behind a middling path. Reconstructing only what differs from this line keeps the
    edges, and with them the errors of coarse sampling, out of the picture."""
    depth_cm = attenuation / float(weight @ SCALE_WATER.mu)
    behind = weight * np.exp(-0.7 * depth_cm * SCALE_WATER.mu)
    water = float(behind @ SCALE_WATER.mu)
    return {name: float(behind @ values) / water for name, values in mu.items()}


def _back_project(sinogram: FloatArray, points: Sequence[FloatArray]) -> list[float]:
    """Filtered back-projection at a few places only, averaged over each group of points."""
    angles, offsets = rays()
    size = 2 ** math.ceil(math.log2(2 * CHANNELS))
    n = np.arange(-size // 2, size // 2)
    kernel = np.zeros(size)
    kernel[n == 0] = 0.25
    odd = n % 2 != 0
    kernel[odd] = -1.0 / (math.pi * n[odd]) ** 2
    ramp = np.abs(np.fft.fft(np.fft.ifftshift(kernel)))
    frequency = np.fft.fftfreq(size)
    window = 0.5 + 0.5 * np.cos(2.0 * math.pi * frequency)
    filtered = np.fft.ifft(np.fft.fft(sinogram, size, axis=1) * ramp * window, axis=1).real[:, :CHANNELS] / CHANNEL_CM
    place = np.concatenate(points)
    at = place[:, :1] * np.cos(angles) + place[:, 1:] * np.sin(angles)
    values = sum(np.interp(at[:, v], offsets, filtered[v]) for v in range(VIEWS)) * math.pi / VIEWS
    ends = np.cumsum([len(xy) for xy in points])[:-1]
    return [float(part.mean()) for part in np.split(np.asarray(values), ends)]


def beam_behind(ellipses: Sequence[Ellipse], mu: Mapping[str, FloatArray], xy: FloatArray, beam: Beam) -> FloatArray:
    """(view, energy) signal of the rays through one place, each view summing to 1: the beam in which it is seen."""
    angles, _ = rays()
    at = xy[0] * np.cos(angles) + xy[1] * np.sin(angles)
    weights = channel_weights(beam, at)
    exponent = np.zeros_like(weights)
    for ellipse in ellipses:
        step = mu[ellipse.material] - (mu[ellipse.parent] if ellipse.parent != AIR else 0.0)
        exponent += np.outer(chords_cm(ellipse, angles, at), step)
    signal = weights * np.exp(-exponent)
    return np.asarray(signal / signal.sum(axis=1, keepdims=True))


def ideal_qct(behind: FloatArray, bone_mu: FloatArray) -> float:
    """K2HPO4-equivalent density, mg/cm3, that single-energy QCT free of artefact reads in this beam."""
    water = behind @ SCALE_WATER.mu
    hu = 1000.0 * float(np.mean(behind @ bone_mu / water - 1.0))
    return hu / mineral_slope(behind)


def mineral_slope(behind: FloatArray) -> float:
    """HU per mg/cm3 K2HPO4 in solution, in this beam."""
    ratio = (behind @ K2HPO4.mass_attenuation) / (behind @ SCALE_WATER.mass_attenuation)
    return float(np.mean(ratio)) - K2HPO4_WATER_DISPLACEMENT
