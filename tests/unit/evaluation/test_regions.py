"""Overlap and surface distance of shapes whose answers are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.evaluation.regions import compare_regions, dice, joined_box, surface_distances

Mask = npt.NDArray[np.bool_]
ISOTROPIC = (1.0, 1.0, 1.0)


def box(first: int, last: int, *, shape: tuple[int, int, int] = (40, 40, 40), side: int = 20) -> Mask:
    """A box over k = first .. last - 1, ``side`` voxels wide in the middle of j and i."""
    mask = np.zeros(shape, dtype=bool)
    mask[first:last, 10 : 10 + side, 10 : 10 + side] = True
    return mask


def ball(radius: float, *, spacing_mm: tuple[float, float, float] = ISOTROPIC, size_mm: float = 60.0) -> Mask:
    axes = [np.arange(0, size_mm, mm) - size_mm / 2 for mm in spacing_mm]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    return k**2 + j**2 + i**2 <= radius**2


@given(st.integers(0, 10))
def test_dice_of_a_shifted_box_is_what_is_left_over_the_length(shift: int) -> None:
    assert dice(box(5, 15), box(5 + shift, 15 + shift)) == pytest.approx((10 - shift) / 10)


def test_dice_of_two_empty_masks_is_one_and_of_one_empty_mask_zero() -> None:
    nothing = np.zeros((4, 4, 4), dtype=bool)
    assert dice(nothing, nothing) == 1.0
    assert dice(nothing, ~nothing) == 0.0


@pytest.mark.parametrize("spacing_mm", [ISOTROPIC, (2.5, 0.8, 0.8)])
@pytest.mark.parametrize("wider_mm", [2.0, 5.0])
def test_surfaces_of_balls_in_each_other_are_the_difference_of_radii_apart(
    spacing_mm: tuple[float, float, float], wider_mm: float
) -> None:
    mean_mm, far_mm = surface_distances(
        ball(15.0 + wider_mm, spacing_mm=spacing_mm), ball(15.0, spacing_mm=spacing_mm), spacing_mm
    )
    assert mean_mm == pytest.approx(wider_mm, abs=0.2 * max(spacing_mm) + 0.1)
    assert far_mm == pytest.approx(wider_mm, abs=0.6 * max(spacing_mm))


def test_distances_know_the_spacing_of_each_axis() -> None:
    one, other = np.zeros((2, 20, 9, 9), dtype=bool)
    one[5, 4, 4] = other[9, 4, 4] = True
    assert surface_distances(one, other, (2.5, 0.7, 0.7)) == (pytest.approx(10.0), pytest.approx(10.0))


def test_the_far_distance_is_the_larger_of_the_two_directions() -> None:
    """A spur on one of two equal boxes: seen from the box there is no distance, seen from the spur there is."""
    plain = box(10, 30)
    spurred = plain.copy()
    spurred[10:30, 30:36, 10:30] = True
    forth = surface_distances(plain, spurred, ISOTROPIC)
    back = surface_distances(spurred, plain, ISOTROPIC)
    assert forth == back
    assert forth[1] == pytest.approx(6.0, abs=0.5)


def test_the_end_of_the_images_is_no_surface() -> None:
    """Two columns that run through the whole scan differ in width alone."""
    narrow, wide = box(0, 40, side=10), box(0, 40, side=12)
    mean_mm, far_mm = surface_distances(narrow, wide, ISOTROPIC)
    assert far_mm == pytest.approx(np.sqrt(8), abs=0.9)
    assert mean_mm is not None
    assert mean_mm < 1.2
    everywhere = np.ones((9, 9, 9), dtype=bool)
    assert surface_distances(everywhere, everywhere, ISOTROPIC) == (None, None)


def test_an_empty_mask_has_no_surface() -> None:
    assert surface_distances(np.zeros((9, 9, 9), dtype=bool), box(0, 9, shape=(9, 40, 40)), ISOTROPIC) == (None, None)


def test_volumes_are_in_millilitres() -> None:
    found = compare_regions(box(10, 20), box(10, 30), (2.0, 0.5, 0.5))
    assert (found.predicted_ml, found.reference_ml) == (pytest.approx(2.0), pytest.approx(4.0))
    assert found.dice == pytest.approx(2 / 3)


def test_what_lies_between_two_far_apart_masks_does_not_matter() -> None:
    whole = compare_regions(box(2, 8), box(30, 36), ISOTROPIC)
    assert whole.dice == 0.0
    assert whole.surface_95_mm == pytest.approx(28.0, abs=1.0)


def test_a_joined_box_leaves_a_margin_inside_the_array() -> None:
    one = (slice(0, 4), slice(3, 5), slice(3, 5))
    other = (slice(2, 9), slice(1, 4), slice(6, 7))
    assert joined_box([one, None, other], (9, 9, 9)) == (slice(0, 9), slice(0, 6), slice(2, 8))
    assert joined_box([None, None], (9, 9, 9)) is None
