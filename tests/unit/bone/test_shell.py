"""Shell thickness and attenuation come out right under any blur the scan may have, or not at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage as ndi
from synthetic_column import CORTEX_HU, CORTEX_MM, HALF_DEPTH_MM, HALF_WIDTH_MM, Column, build

from trabecula.anatomy import Anatomy, Level, Structure, VertebraInstance, VertebraPart, vertebra_label
from trabecula.bone.blur import Blur, measure_blur
from trabecula.bone.cortex import measure_cortex
from trabecula.bone.frame import resample, vertebra_frame
from trabecula.bone.rules import bone_rules, compact_hu
from trabecula.bone.shape import find_shape
from trabecula.bone.vertebra import CortexMeasurement
from trabecula.clinical import load_constants
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume

CONSTANTS = load_constants()
RULES = bone_rules(CONSTANTS)
ONE = {Level.T12: 120.0}
SHARP = Blur(0.62, 0.03, 500)
"""Blur that the column is built with, its linear interpolation between pixels of 0.9 mm included."""


def shell(column: Column, blur: Blur | None = SHARP) -> CortexMeasurement:
    volume, anatomy = build(column)
    vertebra = anatomy.vertebrae[0]
    frame = vertebra_frame(vertebra)
    hu = resample(volume.hu, volume.geometry, frame, order=1, outside=-1024)
    labels = resample(anatomy.labels, anatomy.geometry, frame, order=0, outside=0)
    shape = find_shape(hu, labels == vertebra_label(vertebra.level, VertebraPart.BODY), RULES.shape)
    assert shape is not None
    return measure_cortex(volume, frame, shape, blur, CORTEX_HU, RULES.cortex)


def thinner(to_mm: float):  # type: ignore[no-untyped-def]
    def edit(_: Level, local: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        s, a, b = np.moveaxis(local, -1, 0)
        marrow = (a / (HALF_DEPTH_MM - to_mm)) ** 2 + (b / (HALF_WIDTH_MM - to_mm)) ** 2 <= 1.0
        return np.where(marrow & (np.abs(s) < 10.0), 120.0, values)

    return edit


@pytest.mark.parametrize(("pitch_deg", "noise_hu"), [(0.0, 0.0), (15.0, 8.0)])
def test_the_shell_has_its_thickness(pitch_deg: float, noise_hu: float) -> None:
    found = shell(Column(hu=ONE, spacing_mm=(1.0, 0.9, 0.9), pitch_deg=pitch_deg, noise_hu=noise_hu))
    assert found.resolved
    assert found.thickness_mm == pytest.approx(CORTEX_MM, abs=0.15)
    share = CORTEX_MM / found.layer_mm
    assert found.attenuation_hu == pytest.approx(120.0 + share * (CORTEX_HU - 120.0), abs=45.0)
    assert found.thickness_standard_uncertainty_mm is not None
    assert 0.05 < found.thickness_standard_uncertainty_mm < 0.5


def test_a_thinner_shell_measures_thinner() -> None:
    found = shell(Column(hu=ONE, spacing_mm=(1.0, 0.5, 0.5), edit=thinner(0.5)), Blur(0.54, 0.03, 500))
    assert found.thickness_mm == pytest.approx(0.5, abs=0.15)


def test_what_the_scan_cannot_resolve_has_no_number() -> None:
    column = Column(hu=ONE, spacing_mm=(4.0, 0.9, 0.9))
    for found, why in (
        (shell(column), "slices of 4.0 mm"),
        (shell(Column(hu=ONE), Blur(1.0, 0.05, 500)), "soft kernel"),
        (shell(Column(hu=ONE), None), "could not be measured"),
    ):
        assert not found.resolved
        assert why in found.why_not
        assert found.thickness_mm is None
        assert found.attenuation_hu is None


def test_compact_bone_is_brighter_at_lower_voltage_and_darker_behind_tin() -> None:
    by_kvp = [compact_hu(CONSTANTS, kvp, tin=False) for kvp in (80.0, 100.0, 120.0, 140.0)]
    assert by_kvp == sorted(by_kvp, reverse=True)
    assert compact_hu(CONSTANTS, 100.0, tin=True) < compact_hu(CONSTANTS, 100.0, tin=False)
    assert compact_hu(CONSTANTS, None, tin=False) == compact_hu(CONSTANTS, 120.0, tin=False)


def torso(sd_mm: float, pixel_mm: float) -> tuple[CtVolume, Anatomy]:
    """An oval of soft tissue in air, blurred, on three slices."""
    n = round(240.0 / pixel_mm)
    fine = 3
    axis = (np.arange(n * fine) - n * fine / 2) * pixel_mm / fine
    oval = (axis[:, None] / 75.0) ** 2 + (axis[None, :] / 95.0) ** 2 <= 1.0
    hu = np.where(oval, -60.0, -1000.0).reshape(n, fine, n, fine).mean(axis=(1, 3))
    hu = ndi.gaussian_filter(hu, sd_mm / pixel_mm)
    hu = hu + np.random.default_rng(3).normal(0.0, 12.0, hu.shape)
    labels = np.where(hu > -500.0, np.uint8(Structure.BODY), np.uint8(Structure.OUTSIDE))
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, pixel_mm], [0, pixel_mm, 0], [2.0, 0, 0]]
    geometry = Geometry((3, n, n), affine)
    centre = tuple(float(v) for v in geometry.index_to_lps([1, n / 2, n / 2]))
    vertebra = VertebraInstance(Level.T12, 1.0, centre, (0.0, 0.0, 1.0), (0.0, -1.0, 0.0), complete=True)  # type: ignore[arg-type]
    volume = CtVolume(np.repeat(np.rint(hu).astype(np.int16)[None], 3, axis=0), geometry)
    return volume, Anatomy(np.repeat(labels[None], 3, axis=0), geometry, (vertebra,), (), ())


@pytest.mark.parametrize(("sd_mm", "pixel_mm"), [(0.5, 0.7), (0.9, 0.7), (0.6, 0.95)])
def test_the_point_spread_is_read_from_the_skin(sd_mm: float, pixel_mm: float) -> None:
    blur = measure_blur(*torso(sd_mm, pixel_mm), RULES.blur)
    assert blur is not None
    # The pixel's own width and its interpolation are part of what any profile shows.
    expected = float(np.sqrt(sd_mm**2 + pixel_mm**2 / 12.0 + pixel_mm**2 / 6.0))
    assert blur.sd_mm == pytest.approx(expected, rel=0.12)


def test_without_free_skin_there_is_no_point_spread() -> None:
    volume, anatomy = torso(0.6, 0.9)
    filled = CtVolume(np.full_like(volume.hu, 40), volume.geometry)
    assert measure_blur(filled, anatomy, RULES.blur) is None
