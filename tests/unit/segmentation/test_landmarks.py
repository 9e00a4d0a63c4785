"""Lung ends and the sacrum at the height of the vertebrae beside them."""

from __future__ import annotations

import numpy as np
import pytest

from trabecula.segmentation.column import Column
from trabecula.segmentation.instances import Segment
from trabecula.segmentation.landmarks import find_landmarks
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid

GRID = Grid((100, 40, 50), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
CHANNELS = ("body", "lung", "vertebra_body", "other_bone", "rib")
MIDDLE = 100.0
PITCH = 25.0


@pytest.fixture(scope="module")
def column():
    heights = np.arange(398.0, 20.0, -1.0)
    points = np.column_stack((heights, np.full(len(heights), 110.0), np.full(len(heights), MIDDLE)))
    return Column(points, np.tile((1.0, 0.0, 0.0), (len(heights), 1)), np.tile((0.0, -1.0, 0.0), (len(heights), 1)))


SEGMENTS = tuple(Segment(n * PITCH, (n + 1) * PITCH, True, True) for n in range(14))


def scan(lungs=((60.0, 330.0), (60.0, 330.0)), extra=None):
    """Two lungs from base to apex in mm, the patient's right one first."""
    k, j, i = np.moveaxis(GRID.to_mm(np.moveaxis(np.indices(GRID.shape), 0, -1)), -1, 0)
    probability = np.zeros((len(CHANNELS), *GRID.shape), dtype=np.float32)
    for side, (base, apex) in zip((i < MIDDLE - 20, i > MIDDLE + 20), lungs, strict=True):
        probability[1] += side & (j > 30) & (j < 100) & (k >= base) & (k <= apex)
    if extra is not None:
        probability[3] += extra(k, j, i)
    probability[0] = 1 - probability.sum(axis=0)
    return Prediction(GRID, CHANNELS, probability, None)


def place(height_mm):
    return (398.0 - height_mm) / PITCH - 0.5


def test_lungs_end_beside_the_vertebrae_at_their_height(column):
    found = find_landmarks(scan(), column, SEGMENTS)
    assert found.lung_apex == pytest.approx(place(330.0), abs=0.2)
    assert found.lung_base == pytest.approx(place(60.0), abs=0.2)
    assert not found.sacrum_below


def test_both_sides_are_averaged(column):
    found = find_landmarks(scan(((60.0, 300.0), (80.0, 340.0))), column, SEGMENTS)
    assert found.lung_apex == pytest.approx(place(320.0), abs=0.2)
    assert found.lung_base == pytest.approx(place(70.0), abs=0.2)


def test_a_lung_cut_by_the_scan_has_no_end(column):
    found = find_landmarks(scan(((0.0, 396.0), (0.0, 396.0))), column, SEGMENTS)
    assert found.lung_apex is None
    assert found.lung_base is None


def test_one_lung_alone_tells_nothing(column):
    found = find_landmarks(scan(((60.0, 330.0), (200.0, 220.0))), column, SEGMENTS)
    assert found.lung_apex is None


def test_gas_elsewhere_is_no_lung(column):
    spoilt = scan()
    spoilt.probability[1, 88:93, 15:20, 30:36] = 1.0
    assert find_landmarks(spoilt, column, SEGMENTS).lung_apex == pytest.approx(place(330.0), abs=0.2)


def test_the_sacrum_is_bone_where_the_next_body_would_be(column):
    foot = 398.0 - SEGMENTS[-1].foot_mm
    below = scan(extra=lambda k, j, i: (k < foot - 4) & (np.abs(j - 118) < 22) & (np.abs(i - MIDDLE) < 22))
    assert find_landmarks(below, column, SEGMENTS).sacrum_below
    beside = scan(extra=lambda k, _, i: (k < foot - 4) & (np.abs(i - MIDDLE) > 34))
    assert not find_landmarks(beside, column, SEGMENTS).sacrum_below


def test_models_without_ribs_or_lungs_say_so(column):
    bare = Prediction(GRID, ("body", "vertebra_body"), scan().probability[[0, 2]], None)
    found = find_landmarks(bare, column, SEGMENTS)
    assert (found.lung_apex, found.lung_base, found.ribs_looked_for) == (None, None, False)
