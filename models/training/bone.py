"""CT numbers of bone: marrow that is not even, cortex and endplates at their true thickness, sclerosis, cement."""

from __future__ import annotations

import numpy as np
from models.training import seeds as s
from models.training.fields import Fields
from models.training.shape import Fracture, Positions
from models.training.tissue import Noise
from scipy.special import ndtr

BODY_CORTEX_MM, POSTERIOR_CORTEX_MM, OTHER_CORTEX_MM = (0.35, 1.2), (0.7, 1.9), (0.5, 1.5)
"""Ranges of the thickness of cortical bone; endplates and shells of the bodies are the thinnest. The upper ends
stand for the dense first millimetre of trabeculae under them, too."""


def put_bone(
    seed: s.Seed, hu: np.ndarray, labels: np.ndarray, depth: np.ndarray, p: Positions, field: Fields, noise: Noise,
    fractures: tuple[Fracture, ...],
) -> None:  # fmt: skip
    """Write the HU of every bone voxel, in place. ``depth`` is mm below the surface of the bone."""
    rng = field.rng
    u = rng.uniform
    at = np.flatnonzero(s.bone_mask(labels))
    if len(at) == 0:
        return
    label = labels.ravel()[at]
    deep = depth.ravel()[at] if depth.size else np.zeros(len(at), np.float32)
    fine, mid, mid2 = (a.ravel()[at] for a in (noise.fine, noise.mid, noise.mid2))
    body = (label >= s.BODY_BASE) & (label < s.POSTERIOR_BASE)
    posterior = label >= s.POSTERIOR_BASE
    marrow = float(np.clip(np.exp(rng.normal(np.log(125), 0.5)), 25, 300))
    values = _marrow_lut(marrow, rng, fractures)[label]
    values += (fine * np.float32(u(0.05, 0.25)) + mid * np.float32(u(0.05, 0.2))) * np.float32(marrow)
    # trabeculae: finer than a voxel, so what is left of them is a grain that the point spread smooths
    grain = rng.standard_normal(len(at), dtype=np.float32)
    values += grain * np.float32(u(0.05, 0.4) * marrow)
    values -= body * np.clip((deep - 2) / u(4, 9), 0, 1) * np.float32(u(-0.1, 0.5) * marrow)
    if rng.random() < 0.5:
        striped = field((5, 60, 60)).ravel()[at]
        values += body * striped * np.float32(u(0, 0.15) * marrow)
    if rng.random() < 0.6:
        vein = body & (deep > 4) & (mid - 0.6 * fine > u(0.3, 1.6))
        values += vein * np.float32(rng.choice([-1, 1], p=[0.8, 0.2]) * u(20, 90))
    _cortex(values, deep, field.spacing, posterior, body, rng)
    _lesions(values, label, deep, fine, mid, mid2, body, rng)
    if rng.random() < 0.06:
        _cement(seed, values, at, p, body, mid, rng)
    hu.ravel()[at] = values


def _marrow_lut(marrow: float, rng: np.random.Generator, fractures: tuple[Fracture, ...]) -> np.ndarray:
    """Mean marrow HU by label: thoracic bodies are denser than lumbar ones, broken ones compacted."""
    u = rng.uniform
    lut = np.zeros(256, np.float32)
    lut[s.RIB], lut[s.OTHER_BONE] = u(10, 260), marrow * u(0.4, 1.3)
    posterior = marrow + u(20, 180)
    fall = u(0, 2)
    for n in range(1, 26):
        jitter = rng.normal(1, 0.09) * (1 + 0.012 * (16 - n) * fall)
        lut[s.BODY_BASE + n], lut[s.POSTERIOR_BASE + n] = marrow * jitter, posterior * jitter
    for fracture in fractures:
        lut[s.BODY_BASE + fracture.ordinal] *= 1 + fracture.compaction
    if rng.random() < 0.06:
        lut[s.BODY_BASE + int(rng.integers(8, 25))] *= u(1.5, 3.5)
    return lut


def _cortex(
    values: np.ndarray, deep: np.ndarray, spacing: tuple[float, float, float],
    posterior: np.ndarray, body: np.ndarray, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Blend in cortical bone by the share of it in a drawn voxel (an edge as wide as half a voxel)."""
    u = rng.uniform
    cortex = u(500, 1400)
    edge = 0.25 + 0.3 * float(np.mean(spacing))
    for part, thickness, other in (
        (body, u(*BODY_CORTEX_MM), 1.0),
        (posterior, u(*POSTERIOR_CORTEX_MM), u(0.9, 1.1)),
        (~(body | posterior), u(*OTHER_CORTEX_MM), u(0.8, 1.0)),
    ):
        d = deep[part]
        share = ndtr((d + 0.3) / edge) - ndtr((d - thickness + 0.3) / edge)
        values[part] += (cortex * other - values[part]) * np.clip(share, 0, 1)


def _lesions(
    values: np.ndarray, label: np.ndarray, deep: np.ndarray, fine: np.ndarray, mid: np.ndarray, mid2: np.ndarray,
    body: np.ndarray, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Bone islands and diffuse sclerosis, sclerotic endplates, lytic holes, a haemangioma."""
    u = rng.uniform
    if rng.random() < 0.3:
        values += (fine + 0.5 * mid > u(1.6, 2.8)) * np.float32(u(100, 600))
    if rng.random() < 0.25:
        values += body * (deep < u(2, 5)) * np.clip(mid2, 0, 1) * np.float32(u(50, 350))
    if rng.random() < 0.1:
        values -= (mid < -u(1.3, 2.2)) * np.float32(u(50, 150))
    if rng.random() < 0.06:
        one = label == s.BODY_BASE + int(rng.integers(8, 25))
        hollow = one & (mid2 > u(-0.5, 1))
        values[hollow] = u(-40, 40) + (fine[hollow] > 0.9) * np.float32(u(100, 300))


def _cement(
    seed: s.Seed, values: np.ndarray, at: np.ndarray, p: Positions, body: np.ndarray, mid: np.ndarray,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Fill part of one to three bodies with bone cement (it stays part of the body)."""
    line = seed.centreline
    for n in rng.choice(len(line), min(len(line), int(rng.integers(1, 4))), replace=False):
        centre = line[n, 1:] + rng.normal(0, 2, 3)
        r = np.sqrt(sum((q.ravel()[at] - np.float32(c)) ** 2 for q, c in zip(p, centre, strict=True)))
        inside = body & (r * np.float32(s.SPACING_MM) + 2.5 * mid < rng.uniform(6, 13))
        values[inside] = rng.uniform(900, 2800)
