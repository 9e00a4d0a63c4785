"""From the renderer's labels to what the networks learn: channels, vertebra ordinals, centres of the bodies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.scanner import AIR, ARM, ARM_BONE, METAL

COARSE_CHANNELS = (
    "outside", "body", "cavity", "lung", "trachea", "heart", "aorta", "liver", "spleen", "kidney",
    "paraspinal_muscle", "rib", "other_bone", "spinal_canal", "intervertebral_disc", "vertebra_body",
    "vertebra_posterior", "skeletal_muscle", "subcutaneous_fat", "metal",
)  # fmt: skip
FINE_CHANNELS = (
    "background", "vertebra_body", "vertebra_posterior", "intervertebral_disc", "spinal_canal",
    "paraspinal_muscle", "aorta", "rib", "metal",
)  # fmt: skip

_SPINE = tuple(COARSE_CHANNELS.index(n) for n in ("spinal_canal", "intervertebral_disc", "vertebra_body", "vertebra_posterior"))  # noqa: E501  # fmt: skip


def _channel_lut(channels: tuple[str, ...], rest: str) -> np.ndarray:
    names = {
        s.LUNG: "lung", s.TRACHEA: "trachea", s.HEART: "heart", s.AORTA: "aorta", s.LIVER: "liver",
        s.SPLEEN: "spleen", s.KIDNEY: "kidney", s.PARASPINAL: "paraspinal_muscle", s.MUSCLE: "skeletal_muscle",
        s.WALL: "skeletal_muscle", ARM: "skeletal_muscle", s.SAT: "subcutaneous_fat", s.CAVITY_FILL: "cavity",
        s.RIB: "rib", s.OTHER_BONE: "other_bone", s.S1: "other_bone", ARM_BONE: "other_bone", s.CANAL: "spinal_canal",
        s.CANAL_RIM: "spinal_canal", s.DISC: "intervertebral_disc", AIR: "outside", METAL: "metal",
    }  # fmt: skip
    names |= {s.BODY_BASE + n: "vertebra_body" for n in range(1, 26)}
    names |= {s.POSTERIOR_BASE + n: "vertebra_posterior" for n in range(1, 26)}
    lut = np.full(256, channels.index(rest), np.uint8)
    for label, name in names.items():
        if name in channels:
            lut[label] = channels.index(name)
    return lut


COARSE_LUT = _channel_lut(COARSE_CHANNELS, "body")
FINE_LUT = _channel_lut(FINE_CHANNELS, "background")

ORDINAL_LUT = np.zeros(256, np.uint8)
"""Ordinal (C1 = 1 .. L5 = 24) of the vertebra a label of a body or of posterior elements belongs to, else 0."""
ORDINAL_LUT[s.BODY_BASE + 1 : s.BODY_BASE + 25] = np.arange(1, 25)
ORDINAL_LUT[s.POSTERIOR_BASE + 1 : s.POSTERIOR_BASE + 25] = np.arange(1, 25)


@dataclass(frozen=True, eq=False)
class Sample:
    """What the trainer draws. All volumes share one (D, H, W) grid, axes as in the seeds."""

    hu: np.ndarray
    """int16."""
    classes: np.ndarray
    """uint8 index into the network's channels."""
    level: np.ndarray
    """float16 spine coordinate (C1 = 1 .. L5 = 24) near the column, NaN elsewhere."""
    ordinal: np.ndarray
    """uint8 ordinal of the vertebra at voxels of bodies and posterior elements, 0 elsewhere."""
    centres: np.ndarray
    """float32 (n, 4): ordinal, k, j, i in voxels of this grid of the bodies whose centre lies in it."""

    def arrays(self) -> dict[str, np.ndarray]:
        """By the names used in the bank's npz files."""
        return {
            "hu": self.hu, "classes": self.classes, "level": self.level, "ordinal": self.ordinal,
            "centres": self.centres,
        }  # fmt: skip


def coarse_classes(labels: np.ndarray, cavity: np.ndarray) -> np.ndarray:
    """Coarse channel index of labels; organs without a channel are cavity where they lie inside the wall."""
    out = COARSE_LUT[labels]
    out[cavity & (labels < s.PARASPINAL) & (out == COARSE_CHANNELS.index("body"))] = COARSE_CHANNELS.index("cavity")
    return out


def is_spine(coarse: np.ndarray) -> np.ndarray:
    """Where a coarse class belongs to the column."""
    return np.isin(coarse, _SPINE)


def body_centres(positions: list[np.ndarray], centreline: np.ndarray, voxel: float) -> np.ndarray:
    """Voxels of the output grid, float32 (n, 4), that the centres of the bodies were carried to.

    Args:
        positions: seed voxel coordinates (k, j, i) of every voxel of the output grid.
        centreline: (n, 4) ordinal and seed voxel coordinates.
        voxel: how far apart output voxels lie, in voxels of the seed; a centre with no output voxel nearer than
            that is not in the grid and left out.
    """
    shape = positions[0].shape
    found = []
    sparse = [q[::4, ::4, ::4] for q in positions]
    for ordinal, *centre in centreline:
        far = sum((q - np.float32(c)) ** 2 for q, c in zip(sparse, centre, strict=True))
        start = [4 * a for a in np.unravel_index(np.argmin(far), far.shape)]
        box = tuple(slice(max(0, a - 6), a + 7) for a in start)
        near = sum((q[box] - np.float32(c)) ** 2 for q, c in zip(positions, centre, strict=True))
        if near.min() > voxel**2:
            continue
        at = np.array([b.start + a for a, b in zip(np.unravel_index(np.argmin(near), near.shape), box, strict=True)])
        found.append((ordinal, *(at + _step(positions, at, np.array(centre), shape))))
    return np.array(found, np.float32).reshape(-1, 4)


def _step(positions: list[np.ndarray], at: np.ndarray, centre: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Fraction of a voxel from the nearest voxel to ``centre``: one Newton step on the mapping."""
    jacobian = np.empty((3, 3))
    for axis in range(3):
        low, high = at.copy(), at.copy()
        low[axis], high[axis] = max(0, at[axis] - 1), min(shape[axis] - 1, at[axis] + 1)
        jacobian[:, axis] = [(q[tuple(high)] - q[tuple(low)]) / (high[axis] - low[axis]) for q in positions]
    if abs(np.linalg.det(jacobian)) < 1e-3:
        return np.zeros(3)
    missing = centre - np.array([q[tuple(at)] for q in positions])
    return np.clip(np.linalg.solve(jacobian, missing), -0.6, 0.6)
