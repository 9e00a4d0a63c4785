"""Endplates and cortex are found in the scan, whatever the label's edge says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from trabecula.bone.frame import FloatVolume, axis_mm
from trabecula.bone.rules import ShapeRules, bone_rules
from trabecula.bone.shape import BodyShape, find_shape
from trabecula.clinical import load_constants

S, A, L = np.meshgrid(axis_mm(0), axis_mm(1), axis_mm(2), indexing="ij")
HALF_HEIGHT, DEPTH, WIDTH = 11.0, 15.0, 20.0


def body(half_height: float, depth: float, width: float) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(S) <= half_height) & ((A / depth) ** 2 + (L / width) ** 2 <= 1.0))


def scan(disc_mm: float = 5.0) -> FloatVolume:
    """A body of 120 HU with a bright shell, and the neighbours' endplates across discs of so many millimetres."""
    hu = np.full(S.shape, -60.0)
    column = (A / DEPTH) ** 2 + (L / WIDTH) ** 2 <= 1.0
    hu[column] = 90.0
    for away in (HALF_HEIGHT + disc_mm, -HALF_HEIGHT - disc_mm - 1.0):
        hu[column & (away <= S) & (away + 1.0 >= S)] = 600.0
    hu[body(HALF_HEIGHT, DEPTH, WIDTH)] = 450.0
    hu[body(HALF_HEIGHT - 1.0, DEPTH - 1.5, WIDTH - 1.5)] = 120.0
    return hu.astype(np.float32)


@pytest.fixture(scope="module")
def rules() -> ShapeRules:
    return bone_rules(load_constants()).shape


def found(hu: FloatVolume, mask: npt.NDArray[np.bool_], rules: ShapeRules) -> BodyShape:
    shape = find_shape(hu, mask, rules)
    assert shape is not None
    return shape


@pytest.mark.parametrize("disc_mm", [3.0, 6.0])
@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_the_marrow_is_bounded_by_the_own_endplates(shift: int, disc_mm: float, rules: ShapeRules) -> None:
    mask = np.roll(body(HALF_HEIGHT, DEPTH, WIDTH), shift, axis=0)
    shape = found(scan(disc_mm), mask, rules)
    assert shape.marrow_bottom_mm == pytest.approx(-10.5, abs=0.6)
    assert shape.marrow_top_mm == pytest.approx(10.5, abs=0.6)
    assert shape.height_mm == pytest.approx(2 * HALF_HEIGHT, abs=1.5)


@pytest.mark.parametrize("by_mm", [-2.0, 2.0])
def test_the_outline_follows_the_cortex_under_a_label_too_small_or_too_large(by_mm: float, rules: ShapeRules) -> None:
    shape = found(scan(), body(HALF_HEIGHT, DEPTH + by_mm, WIDTH + by_mm), rules)
    points = shape.outline_mm()
    off = np.hypot(points[:, 0] / (DEPTH - 0.75), points[:, 1] / (WIDTH - 0.75))
    assert np.abs(off - 1.0).max() * DEPTH < 1.2


def test_without_ridges_the_label_decides(rules: ShapeRules) -> None:
    flat = np.full(S.shape, 60.0, dtype=np.float32)
    shape = found(flat, body(HALF_HEIGHT, DEPTH, WIDTH), rules)
    assert (shape.bottom_mm, shape.top_mm) == pytest.approx((-11.5, 11.5), abs=0.1)
    assert shape.radii_mm.max() == pytest.approx(WIDTH, abs=1.0)
    assert shape.radii_mm.min() == pytest.approx(DEPTH, abs=1.0)


def test_a_small_or_ragged_label_gives_no_shape(rules: ShapeRules) -> None:
    assert find_shape(scan(), body(3.0, 6.0, 6.0), rules) is None
    half = body(HALF_HEIGHT, DEPTH, WIDTH) & (L > 8.0)
    assert find_shape(scan(), half | body(2.0, DEPTH, WIDTH) & (A > 12.0), rules) is None
