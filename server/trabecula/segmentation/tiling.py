"""Overlapping tiles with Gaussian weights, for networks that cannot take the whole volume at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from trabecula.segmentation.session import FloatVolume

Shape = tuple[int, int, int]
TileRunner = Callable[[FloatVolume], FloatVolume]
"""(K, J, I) in, (C, K, J, I) out."""


def tile_starts(size: int, patch: int, overlap: float) -> tuple[int, ...]:
    """Evenly spread first indices of the tiles along one axis; neighbours share at least ``overlap`` of a tile."""
    if size <= patch:
        return (0,)
    step = max(1, int(patch * (1 - overlap)))
    count = -(-(size - patch) // step) + 1
    return tuple(round(n * (size - patch) / (count - 1)) for n in range(count))


def tile_weight(patch: Shape) -> FloatVolume:
    """Gaussian importance of each voxel of a tile, standard deviation one eighth of the side, at least 1e-3."""
    axes = []
    for side in patch:
        position = (np.arange(side) - (side - 1) / 2) / max(side / 8, 1e-6)
        axes.append(np.exp(-0.5 * position**2))
    weight = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return np.asarray(np.maximum(weight, 1e-3), dtype=np.float32)


def run_tiled(
    volume: FloatVolume, patch: Shape, overlap: float, run: TileRunner, on_tile: Callable[[float], None]
) -> FloatVolume:
    """Weighted mean of the network's answers over overlapping tiles.

    Memory is bounded by one sum over the output and one tile. ``on_tile`` is called with the fraction done before
    the first and after each tile and may raise to stop the work.

    Args:
        volume: (K, J, I), no side smaller than ``patch``.

    Returns:
        (C, K, J, I).
    """
    corners = list(product(*(tile_starts(n, p, overlap) for n, p in zip(volume.shape, patch, strict=True))))
    on_tile(0.0)
    if len(corners) == 1:
        whole = run(volume)
        on_tile(1.0)
        return whole
    weight = tile_weight(patch)
    total = np.zeros(volume.shape, dtype=np.float32)
    out: FloatVolume | None = None
    for done, corner in enumerate(corners, start=1):
        k, j, i = (slice(start, start + side) for start, side in zip(corner, patch, strict=True))
        answer = run(np.ascontiguousarray(volume[k, j, i]))
        if out is None:
            out = np.zeros((answer.shape[0], *volume.shape), dtype=np.float32)
        out[:, k, j, i] += answer * weight
        total[k, j, i] += weight
        on_tile(done / len(corners))
    assert out is not None  # noqa: S101  (there is at least one tile)
    out /= total
    return out
