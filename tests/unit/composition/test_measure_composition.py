"""Areas of muscle and fat against a body whose areas are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from findings import calibration
from ring_body import Areas, Ring, build
from scipy import ndimage as ndi

from trabecula.anatomy import Anatomy, Level
from trabecula.calibration.calibration import Calibration
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.composition.body import CompositionAtLevel
from trabecula.composition.measure import measure_composition
from trabecula.composition.tissue import Tissue, tissue_map
from trabecula.imaging.study import CtVolume
from trabecula.patient import PatientContext


@pytest.fixture(scope="module")
def constants() -> ClinicalConstants:
    return load_constants()


def measure(
    scan: tuple[CtVolume, Anatomy, Areas],
    constants: ClinicalConstants,
    calibrated: Calibration | None = None,
    patient: PatientContext = PatientContext(),  # noqa: B008 - frozen
) -> CompositionAtLevel:
    found = measure_composition(scan[0], scan[1], calibrated or calibration(), patient, constants)
    assert [at.level for at in found] == [Level.T12]
    return found[0]


@pytest.mark.parametrize(
    ("ring", "tolerance"),
    [
        (Ring(), 0.04),
        (Ring(noise_hu=30.0), 0.05),
        (Ring(noise_hu=90.0, slice_mm=1.0, slices=5), 0.07),
        (Ring(pixel_mm=0.7), 0.05),
        (Ring(block_mm=4.0), 0.06),
        (Ring(fat=(142.0, 94.0), skin=(144.5, 96.5)), 0.06),
    ],
    ids=["plain", "noisy", "very noisy", "small pixels", "blocky labels", "lean"],
)
def test_areas_are_those_of_the_body(ring: Ring, tolerance: float, constants: ClinicalConstants) -> None:
    scan = build(ring)
    found, truth = measure(scan, constants), scan[2]
    assert found.muscle_area_cm2 == pytest.approx(truth.muscle, rel=tolerance)
    assert found.sat_area_cm2 == pytest.approx(truth.sat, rel=max(tolerance, 0.08 if truth.sat < 60 else 0.0))
    assert found.vat_area_cm2 == pytest.approx(truth.vat, rel=tolerance)
    assert found.paraspinal_muscle_area_cm2 == pytest.approx(truth.paraspinal, rel=tolerance)
    assert found.muscle_attenuation_hu == pytest.approx(50.0, abs=4.0)
    assert found.imat_area_cm2 == pytest.approx(0.0, abs=2.5)
    assert not found.truncated


def test_fat_between_muscle_layers_is_intermuscular(constants: ClinicalConstants) -> None:
    scan = build(Ring(stripes=True))
    found, truth = measure(scan, constants), scan[2]
    assert truth.imat > 20.0
    assert found.imat_area_cm2 == pytest.approx(truth.imat, rel=0.12)
    assert found.muscle_area_cm2 == pytest.approx(truth.muscle, rel=0.06)
    assert found.sat_area_cm2 == pytest.approx(truth.sat, rel=0.04)


def test_the_ratio_and_the_index_follow_from_the_areas(constants: ClinicalConstants) -> None:
    scan = build(Ring())
    found = measure(scan, constants, patient=PatientContext(height_m=1.7))
    assert found.muscle_area_cm2 is not None
    assert found.sat_area_cm2 is not None
    assert found.vat_area_cm2 is not None
    assert found.muscle_index_cm2_m2 == pytest.approx(found.muscle_area_cm2 / 1.7**2)
    assert found.vat_sat_ratio == pytest.approx(found.vat_area_cm2 / found.sat_area_cm2)
    assert measure(scan, constants).muscle_index_cm2_m2 is None


def test_areas_are_counts_of_the_map_that_is_drawn(constants: ClinicalConstants) -> None:
    volume, anatomy, _ = build(Ring(stripes=True))
    found = measure((volume, anatomy, _), constants)
    drawn = tissue_map(volume, anatomy, found.slice_index, constants)
    pixel_cm2 = 0.9 * 0.9 / 100.0
    for tissue, area in (
        (Tissue.MUSCLE, found.muscle_area_cm2),
        (Tissue.IMAT, found.imat_area_cm2),
        (Tissue.SAT, found.sat_area_cm2),
        (Tissue.VAT, found.vat_area_cm2),
    ):
        assert area == pytest.approx(float((drawn == tissue).sum()) * pixel_cm2)
    assert drawn.shape == volume.hu.shape[1:]


def test_windows_are_applied_to_calibrated_attenuation(constants: ClinicalConstants) -> None:
    scan = build(Ring(muscle_hu=155.0))
    off = measure(scan, constants).muscle_area_cm2 or 0.0
    right = measure(scan, constants, replace(calibration(), gain=1.0, offset_hu=-80.0))
    assert off < 0.2 * scan[2].muscle
    assert right.muscle_area_cm2 == pytest.approx(scan[2].muscle, rel=0.05)
    assert right.muscle_attenuation_hu == pytest.approx(75.0, abs=4.0)


def test_skin_bone_marrow_and_table_are_no_muscle(constants: ClinicalConstants) -> None:
    volume, anatomy, _ = build(Ring())
    drawn = tissue_map(volume, anatomy, 1, constants)
    size = drawn.shape[0]
    at = (np.arange(size) + 0.5) * 0.9 - 180.0
    y, x = np.meshgrid(at, at, indexing="ij")
    outside_fat = (x / 157.0) ** 2 + (y / 109.0) ** 2 > 1.0
    assert not (drawn[outside_fat] == Tissue.MUSCLE).any()
    labels = anatomy.labels[1]
    assert not drawn[(labels == 13) | (labels == 18) | (labels > 32)].any()


def test_the_blurred_edge_of_gas_in_soft_tissue_is_not_visceral_fat(constants: ClinicalConstants) -> None:
    volume, anatomy, _ = build(Ring())
    at = (np.arange(volume.hu.shape[1]) + 0.5) * 0.9 - 180.0
    y, x = np.meshgrid(at, at, indexing="ij")
    away = np.hypot(x + 55.0, y)
    hu = np.where(away < 15.0, -900.0, volume.hu)
    hu = np.stack([ndi.gaussian_filter(plane, 0.8) for plane in hu]).astype(np.int16)
    in_window = (hu[1] >= -190) & (hu[1] <= -30) & (away < 40.0)
    drawn = tissue_map(replace(volume, hu=hu), anatomy, 1, constants)
    assert in_window.sum() > 50
    assert not (drawn[away < 40.0] == Tissue.VAT).any()


@pytest.mark.parametrize(
    ("ring", "truncated"),
    [
        (Ring(field_mm=330.0), False),
        (Ring(field_mm=300.0), True),
    ],
)
def test_a_body_that_reaches_the_border_is_truncated(ring: Ring, truncated: bool, constants: ClinicalConstants) -> None:
    assert measure(build(ring), constants).truncated is truncated


@pytest.mark.parametrize(("down_mm", "truncated"), [(0.0, False), (50.0, True)])
def test_a_body_that_reaches_the_reconstruction_circle_is_truncated(
    down_mm: float, truncated: bool, constants: ClinicalConstants
) -> None:
    volume, anatomy, truth = build(Ring(field_mm=330.0))
    size, rows = volume.hu.shape[1], round(down_mm / 0.9)
    j, i = np.ogrid[:size, :size]
    circle = (j - (size - 1) / 2) ** 2 + (i - (size - 1) / 2) ** 2 > (size / 2) ** 2
    hu = np.roll(volume.hu, rows, axis=1)
    hu[:, circle] = -1024
    moved = replace(anatomy, labels=np.roll(anatomy.labels, rows, axis=1))
    assert measure((replace(volume, hu=hu), moved, truth), constants).truncated is truncated


def test_an_organ_that_a_small_outline_leaves_to_the_wall_is_no_muscle(constants: ClinicalConstants) -> None:
    volume, anatomy, truth = build(Ring())
    at = (np.arange(volume.hu.shape[1]) + 0.5) * 0.9 - 180.0
    y, x = np.meshgrid(at, at, indexing="ij")
    cavity = (x / 124.0) ** 2 + (y / 76.0) ** 2
    liver = (cavity < 1.0) & (x < -30.0) & (y < 40.0) & (anatomy.labels[1] != 13)
    labels, hu = anatomy.labels.copy(), volume.hu.copy()
    hu[:, liver] = 50
    labels[:, (cavity > 0.87) & (labels[1] != 13) & (labels[1] != 10) & (labels[1] > 1)] = 1
    found = measure((replace(volume, hu=hu), replace(anatomy, labels=labels), truth), constants)
    assert found.muscle_area_cm2 == pytest.approx(truth.muscle, rel=0.08)


def test_marrow_of_a_rib_that_was_not_labelled_is_no_muscle(constants: ClinicalConstants) -> None:
    volume, anatomy, _ = build(Ring())
    ribs = anatomy.labels[1] == 13
    drawn = tissue_map(volume, replace(anatomy, labels=np.where(anatomy.labels == 13, 1, anatomy.labels)), 1, constants)
    assert not (drawn[ndi.binary_erosion(ribs, iterations=3)] == Tissue.MUSCLE).any()


def test_a_level_that_is_cut_or_missing_is_left_out(constants: ClinicalConstants) -> None:
    volume, anatomy, _ = build(Ring())
    cut = replace(anatomy, vertebrae=(replace(anatomy.vertebrae[0], complete=False),))
    other = replace(anatomy, vertebrae=(replace(anatomy.vertebrae[0], level=Level.T8),))
    none = replace(anatomy, vertebrae=())
    for changed in (cut, other, none):
        assert measure_composition(volume, changed, calibration(), PatientContext(), constants) == ()


def test_an_empty_picture_measures_nothing(constants: ClinicalConstants) -> None:
    volume, anatomy, truth = build(Ring())
    air = replace(volume, hu=np.full_like(volume.hu, -1000))
    found = measure((air, anatomy, truth), constants)
    assert found.muscle_area_cm2 is None
    assert found.sat_area_cm2 is None
    assert found.vat_sat_ratio is None
    assert found.muscle_attenuation_hu is None
