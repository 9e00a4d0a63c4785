"""Endplates are found as surfaces, to a fraction of a voxel, whatever the label's edge says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from trabecula.bone.endplates import Endplates, fit_endplates
from trabecula.bone.frame import FloatVolume, axis_mm
from trabecula.bone.rules import BoneRules, bone_rules
from trabecula.bone.shape import find_shape
from trabecula.clinical import load_constants

S, A, L = np.meshgrid(axis_mm(0), axis_mm(1), axis_mm(2), indexing="ij")
RULES = bone_rules(load_constants())
DEPTH, WIDTH = 15.0, 20.0
BLUR_MM = 0.8
Array = npt.NDArray[np.float64]
AT = np.array([(a, b) for a in (-9.0, -4.0, 0.0, 5.0, 10.0) for b in (-12.0, -5.0, 0.0, 6.0, 12.0)])


def surface(a: Array, b: Array, half: float, tilt: float, hollow: float) -> Array:
    """Height of an endplate over (a, l): tilted front to back, hollow in the middle."""
    r2 = (a / DEPTH) ** 2 + (b / WIDTH) ** 2
    return half + tilt * a / DEPTH - hollow * np.clip(1.0 - r2, 0.0, None)


def body(half: float, tilt: float, hollow: float, disc_mm: float, pit_mm: float = 0.0) -> tuple[FloatVolume, Array]:
    """HU of a body between two such plates and its neighbours across discs; and its top plate on the grid."""
    top = surface(A, L, half, tilt, hollow)
    if pit_mm:
        top = top - pit_mm * ((A - 3.0) ** 2 + (L - 4.0) ** 2 <= 4.0**2)
    column = (A / DEPTH) ** 2 + (L / WIDTH) ** 2 <= 1.0
    layers = 8
    hu = np.zeros(S.shape)
    for layer in range(layers):
        s = S + (layer + 0.5) / layers - 0.5
        part = np.where(column, 85.0, -60.0)
        # Neighbours' plates follow the own ones.
        for gap in (top + disc_mm - s, s + surface(A, L, half, -tilt, hollow) + disc_mm):
            part = np.where(column & (gap < 0.0), 150.0, part)
            part = np.where(column & (gap < 0.0) & (gap > -0.7), 700.0, part)
        own = column & (s <= top) & (s >= -surface(A, L, half, -tilt, hollow))
        part = np.where(own, 700.0, part)
        inner = (s <= top - 0.7) & (s >= -surface(A, L, half, -tilt, hollow) + 0.7)
        wall = (A / (DEPTH - 1.0)) ** 2 + (L / (WIDTH - 1.0)) ** 2 <= 1.0
        hu += np.where(own & inner & wall, 130.0, part) / layers
    return ndi.gaussian_filter(hu, 0.6).astype(np.float32), top


def fitted(hu: FloatVolume, mask: npt.NDArray[np.bool_], rules: BoneRules = RULES) -> Endplates:
    shape = find_shape(hu, mask, rules.shape)
    assert shape is not None
    plates = fit_endplates(hu, mask, shape, BLUR_MM, rules.endplate)
    assert plates is not None
    return plates


def label(half: float, tilt: float, hollow: float, shift: int) -> npt.NDArray[np.bool_]:
    column = (A / DEPTH) ** 2 + (L / WIDTH) ** 2 <= 1.0
    inside = (surface(A, L, half, tilt, hollow) >= S) & (-surface(A, L, half, -tilt, hollow) <= S)
    return np.asarray(np.roll(column & inside, shift, axis=0))


@settings(max_examples=12, deadline=None)
@given(
    half=st.floats(9.0, 14.0),
    tilt=st.floats(-2.5, 2.5),
    hollow=st.floats(0.0, 3.5),
    shift=st.sampled_from([-2, -1, 0, 1, 2]),
    disc_mm=st.floats(3.5, 8.0),
)
def test_the_surface_is_found_under_a_misplaced_label(
    half: float, tilt: float, hollow: float, shift: int, disc_mm: float
) -> None:
    hu, _ = body(half, tilt, hollow, disc_mm)
    plates = fitted(hu, label(half, tilt, hollow, shift))
    top = plates.top.height_mm(AT[:, 0], AT[:, 1]) - surface(AT[:, 0], AT[:, 1], half, tilt, hollow)
    bottom = plates.bottom.height_mm(AT[:, 0], AT[:, 1]) + surface(AT[:, 0], AT[:, 1], half, -tilt, hollow)
    assert np.sqrt(np.mean(top**2)) < 0.6
    assert np.sqrt(np.mean(bottom**2)) < 0.6
    assert abs(float((top - bottom)[12])) < 0.7


def test_a_schmorl_node_leaves_the_surface_alone_and_is_told() -> None:
    hu, _ = body(12.0, 0.0, 0.5, 6.0, pit_mm=4.5)
    plates = fitted(hu, label(12.0, 0.0, 0.5, 0))
    assert len(plates.top.pits) == 1
    assert plates.bottom.pits == ()
    pit = plates.top.pits[0]
    assert pit.depth_mm == pytest.approx(4.5, abs=1.5)
    assert pit.centre_mm[1:] == pytest.approx((3.0, 4.0), abs=2.5)
    assert pit.plate_fraction < 0.2
    away = np.array([(-8.0, -8.0), (-8.0, 0.0), (8.0, -8.0)])
    found = plates.top.height_mm(away[:, 0], away[:, 1])
    assert found == pytest.approx(surface(away[:, 0], away[:, 1], 12.0, 0.0, 0.5), abs=0.6)


def test_without_a_visible_edge_the_label_decides() -> None:
    flat = np.full(S.shape, 60.0, dtype=np.float32)
    plates = fitted(flat, label(12.0, 0.0, 0.0, 0))
    assert plates.top.support == 0.0
    assert float(plates.top.height_mm(0.0, 0.0)) == pytest.approx(12.5, abs=0.7)


def test_a_label_of_a_few_columns_gives_no_surface() -> None:
    hu, _ = body(12.0, 0.0, 0.0, 6.0)
    mask = label(12.0, 0.0, 0.0, 0)
    shape = find_shape(hu, mask, RULES.shape)
    assert shape is not None
    sliver = mask & (np.abs(A) < 3.0) & (np.abs(L) < 6.0)
    assert fit_endplates(hu, sliver, shape, BLUR_MM, RULES.endplate) is None
