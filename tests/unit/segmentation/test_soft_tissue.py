"""Compartments of the wall from attenuation and place, where the model names only plain body."""

from __future__ import annotations

import numpy as np
import pytest

from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid
from trabecula.segmentation.settings import SoftTissueSettings
from trabecula.segmentation.soft_tissue import with_wall_tissues

GRID = Grid((6, 80, 80), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
CHANNELS = ("outside", "body", "cavity", "rib")
CAVITY_MM, MUSCLE_MM, FAT_MM, SKIN_MM = 90.0, 104.0, 128.0, 132.0


@pytest.fixture(scope="module")
def trunk():
    """(radius of each voxel, class probabilities, HU): cavity, muscle with ribs in it, fat, skin."""
    _, j, i = GRID.to_mm(np.moveaxis(np.indices(GRID.shape), 0, -1)).transpose(3, 0, 1, 2)
    radius, angle = np.hypot(j - 158, i - 158), np.arctan2(j - 158, i - 158)
    probability = np.zeros((4, *GRID.shape), dtype=np.float32)
    probability[0] = radius >= SKIN_MM
    probability[2] = radius < CAVITY_MM
    probability[3] = (np.abs(radius - 97) < 5) & (np.cos(7 * angle) > 0.8)
    probability[1] = 1 - probability.sum(axis=0)
    hu = np.select(
        [radius < CAVITY_MM, radius < MUSCLE_MM, radius < FAT_MM, radius < SKIN_MM], [30.0, 50.0, -105.0, 20.0], -1000.0
    ).astype(np.float32)
    hu[probability[3] > 0] = 300
    return radius, probability, hu


def top(prediction):
    return np.array(prediction.channels)[prediction.probability.argmax(axis=0)]


def test_muscle_and_subcutaneous_fat_are_where_they_are(trunk):
    radius, probability, hu = trunk
    found = top(with_wall_tissues(Prediction(GRID, CHANNELS, probability, None), hu, SoftTissueSettings()))
    bare = probability[1] > 0
    muscle, fat = bare & (radius > 92) & (radius < 102), bare & (radius > 106) & (radius < 124)
    assert (found[muscle] == "skeletal_muscle").mean() > 0.98
    assert (found[fat] == "subcutaneous_fat").mean() > 0.98
    assert not np.isin(found[(radius > FAT_MM) | (radius < CAVITY_MM)], ("skeletal_muscle", "subcutaneous_fat")).any()


def test_fat_between_muscles_is_not_subcutaneous(trunk):
    radius, probability, hu = trunk
    hu = hu.copy()
    streak = (np.abs(radius - 95.5) < 2.5) & (probability[1] > 0)
    hu[streak & (np.arange(80)[None, :, None] > 36) & (np.arange(80)[None, :, None] < 44)] = -100
    found = top(with_wall_tissues(Prediction(GRID, CHANNELS, probability, None), hu, SoftTissueSettings()))
    assert (found[streak & (hu == -100)] == "subcutaneous_fat").mean() < 0.05


def test_a_dense_lump_in_the_fat_of_the_breast_is_no_muscle(trunk):
    radius, probability, hu = trunk
    wide = np.where(radius < 152, np.where(radius >= MUSCLE_MM, -105.0, hu), -1000.0).astype(np.float32)
    probability = probability.copy()
    probability[0], probability[1] = radius >= 152, probability[1] + ((radius >= SKIN_MM) & (radius < 152))
    lump = (radius > 136) & (np.abs(np.arange(80)[None, None, :] - 40) < 5)
    wide[lump & (radius < 146)] = 30
    near_bone = SoftTissueSettings(muscle_reach_mm=25.0)
    found = top(with_wall_tissues(Prediction(GRID, CHANNELS, probability, None), wide, near_bone))
    assert (found[lump] == "body").any()
    assert not (found[lump] == "skeletal_muscle").any()


@pytest.mark.parametrize("own", ["skeletal_muscle", "subcutaneous_fat"])
def test_a_model_with_channels_of_its_own_is_left_alone(trunk, own):
    _, probability, hu = trunk
    given = Prediction(GRID, ("outside", "body", "cavity", own), probability, None)
    assert with_wall_tissues(given, hu, SoftTissueSettings()) is given


def test_probabilities_still_sum_to_one(trunk):
    _, probability, hu = trunk
    found = with_wall_tissues(Prediction(GRID, CHANNELS, probability, None), hu, SoftTissueSettings())
    assert np.allclose(found.probability.sum(axis=0), 1.0)
    assert (probability.sum(axis=0) == 1).all()
