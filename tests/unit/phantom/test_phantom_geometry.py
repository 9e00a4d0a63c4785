"""The skeleton: order, ribs on their vertebrae, fractures, sizes."""

from itertools import pairwise

import numpy as np
import pytest

from trabecula.anatomy import Level
from trabecula.phantom import PHANTOM_LEVELS, PhantomSpec, parse_fractures
from trabecula.phantom.canvas import Tube
from trabecula.phantom.spine import build_spine
from trabecula.phantom.thorax import RIB_LEVELS, Thorax, build_thorax
from trabecula.phantom.trunk import BodyShape, Trunk


def _thorax(seed: int) -> Thorax:
    frames = build_spine(PhantomSpec(seed=seed))
    return build_thorax(frames, Trunk(frames, BodyShape(1.0, 15.0, False, seed)))


def _length_mm(tube: Tube) -> float:
    return float(np.linalg.norm(np.diff(tube.points, axis=0), axis=1).sum())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_levels_descend_without_overlap(seed: int) -> None:
    frames = build_spine(PhantomSpec(seed=seed))
    heights = [frames[level].centre[2] for level in PHANTOM_LEVELS]
    assert all(above > below for above, below in pairwise(heights))
    for above, below in pairwise(PHANTOM_LEVELS):
        upper, lower = frames[above], frames[below]
        gap = np.linalg.norm(upper.centre - lower.centre) - upper.back_mm / 2 - lower.back_mm / 2
        assert 2.0 < gap < 13.0
    assert frames[Level.T12].centre[2] == 0.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_thoracic_vertebra_carries_its_own_pair_of_ribs(seed: int) -> None:
    frames = build_spine(PhantomSpec(seed=seed))
    thorax = _thorax(seed)
    assert set(thorax.ribs) == {(level, side) for level in RIB_LEVELS for side in (1, -1)}
    for (level, side), tube in thorax.ribs.items():
        distances = {lv: float(np.linalg.norm(tube.points[0] - frame.centre)) for lv, frame in frames.items()}
        assert distances[level] == min(distances.values())
        assert np.sign(tube.points[0][0] - frames[level].centre[0]) == side
        assert tube.points[-1][2] < tube.points[0][2], "ribs slope down to the front"


def test_the_last_ribs_are_short_and_the_first_curve_tightly() -> None:
    ribs = _thorax(1).ribs
    lengths = [_length_mm(ribs[level, 1]) for level in RIB_LEVELS]
    assert lengths[11] < 0.75 * lengths[10] < 0.75 * lengths[9]
    assert lengths[0] < 0.6 * lengths[5]


@pytest.mark.parametrize(
    ("text", "least", "most"), [("L1=grade1", 0.20, 0.25), ("L1=grade2", 0.25, 0.40), ("L1=grade3", 0.40, 0.60)]
)
def test_a_wedge_loses_the_height_its_grade_says(text: str, least: float, most: float) -> None:
    frame = build_spine(PhantomSpec(fractures=parse_fractures(text)))[Level.L1]
    assert least <= 1.0 - frame.front_mm / frame.back_mm <= most


def test_biconcave_and_crush_fractures_lose_height_where_they_should() -> None:
    sound = build_spine(PhantomSpec())[Level.T9]
    hollow = build_spine(PhantomSpec(fractures=parse_fractures("T9=grade2-biconcave")))[Level.T9]
    crushed = build_spine(PhantomSpec(fractures=parse_fractures("T9=grade2-crush")))[Level.T9]
    assert hollow.middle_mm / hollow.back_mm < 0.75 < hollow.front_mm / hollow.back_mm
    assert crushed.back_mm < 0.75 * sound.back_mm


def test_contours_lie_inside_each_other() -> None:
    frames = build_spine(PhantomSpec())
    contours = Trunk(frames, BodyShape(1.0, 15.0, True, 1)).contours(np.linspace(-80.0, 260.0, 30))
    order = [contours.cage, contours.fascia, contours.inner_muscle, contours.outer_muscle_inside, contours.outer_muscle]
    for inner, outer in zip(order, [*order[1:], contours.skin], strict=True):
        assert (outer - inner > -1e-3).all()
