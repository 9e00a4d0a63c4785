"""Bone goes to the vertebra whose centre it votes for; votes also tell discs that cannot be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment, column_profile, find_segments, place_cuts
from trabecula.segmentation.ownership import Chain, aimed_numbers, voted_numbers
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid
from trabecula.segmentation.settings import ColumnSettings

PITCH, COUNT, FIRST = 26.0, 7, 13
LENGTH = int(PITCH * COUNT)
GRID = Grid((LENGTH // 2, 50, 20), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
CHANNELS = ("body", "vertebra_body", "vertebra_posterior")
MIDDLE = np.array((0.0, 24.0, 20.0))


@pytest.fixture(scope="module")
def chain():
    """A straight column of seven vertebrae, T6 to T12, head first."""
    heights = np.arange(LENGTH - 1.0, -1.0, -1.0)
    points = MIDDLE + np.column_stack((heights, np.zeros(LENGTH), np.zeros(LENGTH)))
    column = Column(points, np.tile((1.0, 0.0, 0.0), (LENGTH, 1)), np.tile((0.0, -1.0, 0.0), (LENGTH, 1)))
    segments = tuple(Segment(PITCH * n, PITCH * (n + 1), n > 0, n < COUNT - 1) for n in range(COUNT))
    return Chain(column, segments, tuple(range(FIRST, FIRST + COUNT)))


def centre_height(number):
    return LENGTH - 1 - PITCH * (number + 0.5)


def answer(offset=True, noise_mm=0.0, shrink=1.0):
    """All bone in one blob from the head to the foot; only the offsets know one vertebra from the next."""
    points = GRID.to_mm(np.moveaxis(np.indices(GRID.shape), 0, -1))
    body = np.hypot(points[..., 1] - MIDDLE[1], points[..., 2] - MIDDLE[2]) < 15
    probability = np.stack((~body, body, np.zeros_like(body))).astype(np.float32)
    number = np.clip(((LENGTH - 1 - points[..., 0]) // PITCH).astype(int), 0, COUNT - 1)
    target = np.stack((centre_height(number), np.full(number.shape, MIDDLE[1]), np.full(number.shape, MIDDLE[2])))
    vectors = shrink * (target - np.moveaxis(points, -1, 0))
    vectors += np.random.default_rng(0).normal(0, noise_mm, vectors.shape)
    return Prediction(GRID, CHANNELS, probability, None, vectors.astype(np.float32) if offset else None), number


def spinous_process(number):
    """Voxels 45 mm behind the middle line, where in mid-thorax the process of one vertebra lies behind the next."""
    height = centre_height(number) - 0.7 * PITCH
    return np.array([[round((height + dz) / 2), int((MIDDLE[1] + 45) / 2), 10] for dz in (-4, 0, 4)])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_spinous_process_belongs_to_the_vertebra_above_it(chain, number):
    index = spinous_process(number)
    level_with = chain.number_at(chain.column.arc_mm(GRID.to_mm(index)))
    assert (level_with == number + 1).any()
    assert (voted_numbers(answer(offset=False)[0], index, chain) == number).all()


def test_a_low_thoracic_process_lies_behind_its_own_body(chain):
    index = np.array([[int((centre_height(5) - 0.3 * PITCH) / 2), int((MIDDLE[1] + 45) / 2), 10]])
    assert voted_numbers(answer(offset=False)[0], index, chain) == [5]


def test_offsets_tell_bodies_apart(chain):
    prediction, number = answer(noise_mm=2.0)
    index = np.argwhere(prediction.probability[1] > 0)
    right = aimed_numbers(prediction, index, chain) == number[tuple(index.T)]
    assert right.mean() > 0.99


def test_offsets_that_lead_far_astray_are_not_believed(chain):
    prediction, _ = answer()
    vectors = prediction.offset_mm.copy()
    vectors[0], vectors[2] = 3 * PITCH, 60.0
    index = spinous_process(1)
    assert (voted_numbers(replace(prediction, offset_mm=vectors), index, chain) == 1).all()


def test_offsets_move_a_vote(chain):
    prediction, _ = answer()
    vectors = np.zeros_like(prediction.offset_mm)
    vectors[0], vectors[1] = -0.9 * PITCH, -40.0
    index = spinous_process(1)
    assert (voted_numbers(replace(prediction, offset_mm=vectors), index, chain) > 1).all()


def test_what_lies_beyond_a_cut_end_belongs_to_the_last_vertebra_and_beyond_a_disc_to_none(chain):
    assert list(chain.number_at(np.array([-5.0, LENGTH + 5.0]))) == [0, COUNT - 1]
    closed = replace(chain, segments=tuple(replace(s, cut_head=True, cut_foot=True) for s in chain.segments))
    assert list(closed.number_at(np.array([-5.0, LENGTH + 5.0]))) == [-1, COUNT]


@pytest.mark.parametrize(("noise_mm", "shrink"), [(0.0, 1.0), (3.0, 1.0), (2.0, 0.4)])
def test_votes_place_discs_that_nobody_sees(chain, noise_mm, shrink):
    """Even attenuation, bodies and discs in one: an offset that falls short of its aim will do."""
    flat = CtVolume(np.full(GRID.shape, 150, np.int16), Geometry(GRID.shape, np.diag((2.0, 2.0, 2.0, 1.0))))
    prediction, _ = answer(noise_mm=noise_mm, shrink=shrink)
    segments = find_segments(column_profile(flat, chain.column, prediction, None), ColumnSettings())
    cuts = [segment.foot_mm for segment in segments if segment.cut_foot]
    expected = PITCH * np.arange(1, COUNT)
    assert len(cuts) == len(expected)
    assert np.abs(np.array(cuts) - expected).max() <= 4.0


def test_without_votes_nothing_tells_them(chain):
    flat = CtVolume(np.full(GRID.shape, 150, np.int16), Geometry(GRID.shape, np.diag((2.0, 2.0, 2.0, 1.0))))
    profile = column_profile(flat, chain.column, answer(offset=False)[0], None)
    assert np.abs(profile.disc).max() < 0.2


@pytest.mark.parametrize("size", [0.82, 1.0, 1.22])
def test_vertebrae_of_small_and_of_large_people_are_counted(size):
    """Discs that show, of which one in three is missed, and specks that look like discs between them."""
    levels, spacings = zip(*ColumnSettings().spacing_by_level_mm, strict=True)
    lengths = size * np.interp(np.arange(10, 21), levels, spacings)
    places = np.round(8 + np.concatenate(([0.0], np.cumsum(lengths)))).astype(int)
    evidence = np.zeros(places[-1] + 10)
    evidence[places] = 1.5
    evidence[places[1:-1:3]] = 0.4
    evidence[places[:-1] + (lengths / 2).astype(int)] = 0.5
    spacing = np.interp(np.interp(np.arange(len(evidence)), places, np.arange(9.5, 21.5)), levels, spacings)
    assert np.abs(np.array(place_cuts(evidence, spacing, ColumnSettings())) - places).max() <= 2
