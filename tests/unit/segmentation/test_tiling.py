"""Tiles cover everything, weigh evenly, tell progress and can be stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.errors import Cancelled
from trabecula.segmentation.tiling import run_tiled, tile_starts, tile_weight

sides = st.integers(1, 9)


@given(st.integers(1, 300), st.integers(1, 100), st.floats(0, 0.9))
def test_starts_cover_the_axis_with_the_overlap_asked_for(size, patch, overlap):
    starts = tile_starts(size, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, size - patch)
    step = np.diff(starts)
    assert (step > 0).all()
    # Rounding may take one voxel of the overlap.
    assert (step <= max(1, int(patch * (1 - overlap))) + 1).all()


@given(st.tuples(sides, sides, sides), st.tuples(sides, sides, sides), st.floats(0, 0.8), st.data())
@settings(max_examples=40, deadline=None)
def test_a_voxelwise_model_gives_the_same_tiled_or_whole(shape, patch, overlap, data):
    patch = tuple(min(a, b) for a, b in zip(shape, patch, strict=True))
    volume = np.random.default_rng(data.draw(st.integers(0, 9))).random(shape, dtype=np.float32)
    answer = run_tiled(volume, patch, overlap, lambda tile: np.stack((tile, 1 - tile)), lambda _: None)
    assert np.allclose(answer, np.stack((volume, 1 - volume)), atol=1e-5)


def test_middle_of_a_tile_outweighs_its_rim():
    """Where two tiles meet, each voxel follows the tile in whose middle it lies."""
    volume = np.zeros((1, 1, 12), dtype=np.float32)
    marks = iter((0.0, 1.0))
    answer = run_tiled(
        volume, (1, 1, 8), 0.5, lambda tile: np.full((1, *tile.shape), next(marks), dtype=np.float32), lambda _: None
    )
    row = answer[0, 0, 0]
    assert (np.diff(row) >= 0).all()
    assert row[4] < 0.1
    assert row[7] > 0.9


def test_weight_is_largest_in_the_middle_and_never_zero():
    weight = tile_weight((8, 9, 10))
    assert np.unravel_index(weight.argmax(), weight.shape)[1] == 4
    assert weight.min() > 0


def test_progress_counts_tiles():
    seen = []
    run_tiled(np.zeros((4, 4, 10), dtype=np.float32), (4, 4, 4), 0.25, lambda tile: tile[None], seen.append)
    assert seen == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])


def test_stopping_between_tiles_runs_no_further_tile():
    runs = []

    def stop(fraction: float) -> None:
        if fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_tiled(
            np.zeros((4, 4, 10), dtype=np.float32), (4, 4, 4), 0.25, lambda tile: runs.append(1) or tile[None], stop
        )
    assert len(runs) == 1
