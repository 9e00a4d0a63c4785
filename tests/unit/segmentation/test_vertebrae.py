"""Cut planes tell vertebrae apart, and what lies beyond the outer ones belongs to none."""

from __future__ import annotations

import numpy as np
import pytest

from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.ownership import Chain
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid
from trabecula.segmentation.settings import ColumnSettings
from trabecula.segmentation.vertebrae import cut_planes, keep_vertebrae

GRID = Grid((60, 20, 20), (0.0, 0.0, 0.0), (1.0, 2.0, 2.0))
CHANNELS = ("body", "vertebra_body", "intervertebral_disc")


@pytest.fixture
def column():
    heights = np.arange(59.0, -1.0, -1.0)
    points = np.column_stack((heights, np.full(60, 20.0), np.full(60, 20.0)))
    return Column(points, np.tile((1.0, 0.0, 0.0), (60, 1)), np.tile((0.0, -1.0, 0.0), (60, 1)))


def answer(disc=()):
    k, j, i = np.indices(GRID.shape)
    probability = np.zeros((3, *GRID.shape), dtype=np.float32)
    spine = (np.abs(j - 10) < 5) & (np.abs(i - 10) < 5)
    probability[1] = spine
    probability[0] = ~spine
    for low, high in disc:
        inside = spine & (k >= low) & (k < high)
        probability[2][inside], probability[1][inside] = 0.7, 0.3
    return Prediction(GRID, CHANNELS, probability, None)


def keep(prediction, column, segments):
    chain = Chain(column, tuple(segments), tuple(range(19, 19 + len(segments))))
    return keep_vertebrae(prediction, chain, cut_planes(column, segments), ColumnSettings())


def test_each_stretch_between_planes_is_one_vertebra(column):
    segments = [Segment(0, 19.5, False, True), Segment(19.5, 39.5, True, True), Segment(39.5, 59, True, False)]
    _, found = keep(answer(), column, segments)
    along = found[:, 10, 10]
    assert set(along[41:].tolist()) == {1}
    assert set(along[21:39].tolist()) == {2}
    assert set(along[:19].tolist()) == {3}


def test_stubs_beyond_the_outer_discs_are_no_vertebra(column):
    segments = [Segment(5.5, 29.5, True, True), Segment(29.5, 52.5, True, True)]
    kept, found = keep(answer(), column, segments)
    along = found[:, 10, 10]
    assert not along[55:].any()
    assert not along[:6].any()
    assert (kept.of("vertebra_body")[:6] == 0).all()


def test_disc_far_from_every_cut_goes_back_to_the_body(column):
    segments = [Segment(0, 29.5, False, True), Segment(29.5, 59, True, False)]
    spoilt = answer(disc=((27, 33), (8, 12)))
    kept, _ = keep(spoilt, column, segments)
    top = kept.probability.argmax(axis=0)[:, 10, 10]
    assert (top[27:33] == 2).all()
    assert (top[8:12] == 1).all()


def test_a_loose_piece_of_bone_is_dropped(column):
    loose = answer()
    loose.probability[1][20:24, 0:2, 8:12], loose.probability[0][20:24, 0:2, 8:12] = 1, 0
    segments = [Segment(0, 29.5, False, True), Segment(29.5, 59, True, False)]
    kept, found = keep(loose, column, segments)
    assert not found[20:24, 0:2].any()
    assert (kept.of("vertebra_body")[20:24, 0:2] == 0).all()
