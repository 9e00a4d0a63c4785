"""Trilinear values of a seed's volume at positions."""

from __future__ import annotations

import numpy as np
from models.training.shape import Positions


def trilinear(volume: np.ndarray, p: Positions) -> np.ndarray:
    """Values of ``volume`` at seed voxel coordinates ``p``, float32 of their shape; positions outside take the edge."""
    base = [np.clip(np.floor(q), 0, n - 2).astype(np.int32) for q, n in zip(p, volume.shape, strict=True)]
    part = [np.clip(q - b, 0, 1).astype(np.float32) for q, b in zip(p, base, strict=True)]
    plane, row = volume.shape[1] * volume.shape[2], volume.shape[2]
    corner = base[0] * plane + base[1] * row + base[2]
    values = volume.ravel()

    def along_row(at: np.ndarray) -> np.ndarray:
        first = values[at].astype(np.float32)
        return first + part[2] * (values[at + 1] - first)

    planes = []
    for up in (0, plane):
        first = along_row(corner + up)
        planes.append(first + part[1] * (along_row(corner + (up + row)) - first))
    return planes[0] + part[0] * (planes[1] - planes[0])
