"""A block patient with known tissues, and the pieces the calibration tests share."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from trabecula.anatomy import Anatomy, Level, Structure, VertebraInstance, VertebraPart, vertebra_label
from trabecula.bone.vertebra import VertebraMeasurement
from trabecula.calibration.model import CalibrationModel, load_calibration
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.geometry import Geometry
from trabecula.imaging.study import Acquisition, ContrastTag, CtVolume, KernelClass, SpectralFilter
from trabecula.segmentation.settings import RuntimeSettings

PIXEL_MM, SLICE_MM = 2.0, 6.0
SHAPE = (10, 190, 240)
LEVELS = (Level.L1, Level.T12, Level.T11)


@dataclass(frozen=True)
class BlockPatient:
    """True HU (a scanner in specification would show them) of a patient made of ellipses, and the scanner's errors.

    The scanner shows ``(true - offset_hu) / gain`` plus noise.
    """

    fat_hu: float = -107.0
    muscle_hu: float = 46.0
    blood_hu: float = 42.0
    organ_hu: float = 30.0
    bone_hu: float = 140.0
    gain: float = 1.0
    offset_hu: float = 0.0
    noise_hu: float = 0.0
    half_width_mm: float = 160.0
    half_depth_mm: float = 110.0
    fat_mm: float = 24.0
    lowest_hu: int = -3000
    padding_hu: int | None = None
    table: bool = True
    seed: int = 0
    fat_label: Structure = Structure.SUBCUTANEOUS_FAT
    extra: tuple[tuple[Structure, float], ...] = field(default=())

    def but(self, **changes: object) -> BlockPatient:
        return replace(self, **changes)  # type: ignore[arg-type]

    def scan(self) -> tuple[CtVolume, Anatomy]:
        labels, true_hu = self._slice()
        shown = (true_hu - self.offset_hu) / self.gain
        rng = np.random.default_rng(self.seed)
        hu = np.repeat(shown[None], SHAPE[0], axis=0)
        if self.noise_hu:
            hu = hu + rng.normal(0.0, self.noise_hu, SHAPE)
        hu = np.maximum(np.round(hu), self.lowest_hu)
        if self.padding_hu is not None:
            j, i = _mm_from_centre()
            hu[:, np.hypot(j, i) > SHAPE[1] * PIXEL_MM / 2] = self.padding_hu
        affine = np.array(
            [[0, 0, PIXEL_MM, -SHAPE[2]], [0, PIXEL_MM, 0, -SHAPE[1]], [SLICE_MM, 0, 0, 0], [0, 0, 0, 1]], dtype=float
        )
        geometry = Geometry(SHAPE, affine)
        stack = np.repeat(labels[None], SHAPE[0], axis=0)
        vertebrae = tuple(
            VertebraInstance(
                level, 1.0, tuple(geometry.index_to_lps((2.0 + 2.0 * n, 120.0, 120.0))), (0, 0, 1), (0, -1, 0), True
            )
            for n, level in enumerate(LEVELS)
        )
        return CtVolume(hu.astype(np.int16), geometry), Anatomy(stack, geometry, vertebrae, (), ())

    def _slice(self) -> tuple[np.ndarray, np.ndarray]:
        j, i = _mm_from_centre()

        def ellipse(cj: float, ci: float, rj: float, ri: float) -> np.ndarray:
            return ((j - cj) / rj) ** 2 + ((i - ci) / ri) ** 2 <= 1.0

        labels = np.zeros(SHAPE[1:], np.uint8)
        hu = np.full(SHAPE[1:], -1000.0)
        if self.table:
            hu[(np.abs(j - self.half_depth_mm - 12) < 8) & (np.abs(i) < 180)] = -700.0
        skin = ellipse(0, 0, self.half_depth_mm, self.half_width_mm)
        wall = ellipse(0, 0, self.half_depth_mm - self.fat_mm, self.half_width_mm - self.fat_mm)
        back = self.half_depth_mm - self.fat_mm
        parts = (
            (skin, self.fat_label, self.fat_hu),
            (wall, Structure.CAVITY, self.organ_hu),
            (ellipse(back - 27, -45, 22, 32), Structure.PARASPINAL_MUSCLE, self.muscle_hu),
            (ellipse(back - 27, 45, 22, 32), Structure.PARASPINAL_MUSCLE, self.muscle_hu),
            (ellipse(back - 85, 15, 14, 14), Structure.AORTA, self.blood_hu),
        )
        for mask, label, value in parts:
            labels[mask], hu[mask] = int(label), value
        body = ellipse(back - 48, 0, 16, 20)
        labels[body], hu[body] = vertebra_label(Level.T12, VertebraPart.BODY), self.bone_hu
        return labels, hu


def _mm_from_centre() -> tuple[np.ndarray, np.ndarray]:
    j = (np.arange(SHAPE[1]) - (SHAPE[1] - 1) / 2)[:, None] * PIXEL_MM
    i = (np.arange(SHAPE[2]) - (SHAPE[2] - 1) / 2)[None, :] * PIXEL_MM
    return j, i


@pytest.fixture(scope="session")
def patient() -> BlockPatient:
    return BlockPatient()


@pytest.fixture(scope="session")
def constants() -> ClinicalConstants:
    return load_constants()


@pytest.fixture(scope="session")
def model(repository: Path) -> CalibrationModel:
    return load_calibration(repository / "models", RuntimeSettings())


@pytest.fixture(scope="session")
def physics(repository: Path) -> ModuleType:
    """The code that made the model's table."""
    path = repository / "models" / "training" / "calibration" / "spectrum.py"
    spec = importlib.util.spec_from_file_location("calibration_spectrum", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def acquired() -> Callable[..., Acquisition]:
    """An acquisition at 120 kV, unenhanced, soft kernel, 1 mm, unless said otherwise."""
    usual = Acquisition(
        kvp=120.0,
        spectral_filter=SpectralFilter.NONE,
        kernel="B30f",
        kernel_class=KernelClass.SOFT,
        slice_thickness_mm=1.0,
        slice_spacing_mm=1.0,
        pixel_spacing_mm=(0.7, 0.7),
        reconstruction_diameter_mm=360.0,
        contrast=ContrastTag.NOT_GIVEN,
        exposure_mas=None,
        ctdi_vol_mgy=None,
        manufacturer=None,
        model=None,
        station_hash=None,
        acquired_at=None,
    )
    return lambda **changes: replace(usual, **changes)


@pytest.fixture(scope="session")
def measured() -> Callable[..., VertebraMeasurement]:
    """A vertebra as the bone stage hands it on."""
    usual = VertebraMeasurement(
        level=Level.T12,
        level_confidence=0.99,
        hu_mean=140.0,
        hu_sd=30.0,
        hu_standard_error=1.0,
        roi_voxels=4000,
        roi=None,
        height_anterior_mm=24.0,
        height_middle_mm=24.0,
        height_posterior_mm=25.0,
        excluded=(),
    )
    return lambda **changes: replace(usual, **changes)
