"""Fat counted by its share, what the field of view cuts off, and what is no bone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from findings import calibration
from ring_body import FAT_HU, MUSCLE_HU, Areas, Ring, build
from scipy import ndimage as ndi

from trabecula.anatomy import Structure
from trabecula.clinical import load_constants
from trabecula.composition.body import CompositionAtLevel
from trabecula.composition.measure import measure_composition, measure_levels
from trabecula.composition.mixture import unmix
from trabecula.composition.rules import tissue_rules
from trabecula.composition.tissue import Plane, Tissue
from trabecula.composition.truncation import find_truncation
from trabecula.patient import PatientContext

CONSTANTS = load_constants()
RULES = tissue_rules(CONSTANTS)
PIXEL_MM = 0.8


def sheets(width_mm: float, every_mm: float = 8.0, blur_mm: float = 0.9, noise_hu: float = 0.0) -> tuple[Plane, float]:
    """A slab of muscle with planes of fat, blurred, beside a slab of fat; and the fat's share of the muscle."""
    fine = 8
    size = 160
    at = (np.arange(size * fine) + 0.5) * PIXEL_MM / fine
    row = np.where(np.abs((at + every_mm / 2) % every_mm - every_mm / 2) < width_mm / 2, FAT_HU, MUSCLE_HU)
    row[at > 0.75 * size * PIXEL_MM] = FAT_HU
    line = ndi.gaussian_filter1d(row, blur_mm * fine / PIXEL_MM).reshape(size, fine).mean(axis=1)
    hu = np.repeat(line[None, :], size, axis=0)
    if noise_hu:
        hu = hu + np.random.default_rng(5).normal(0.0, noise_hu, hu.shape)
    return Plane(hu.astype(np.float32), np.ones(hu.shape, dtype=np.uint8), (PIXEL_MM, PIXEL_MM)), width_mm / every_mm


def classified(plane: Plane) -> np.ndarray:
    """What windows alone make of it."""
    found = np.zeros(plane.hu.shape, dtype=np.uint8)
    inside = np.arange(plane.hu.shape[1]) < 0.75 * plane.hu.shape[1]
    found[:, inside] = np.where(plane.hu[:, inside] > -30.0, Tissue.MUSCLE, Tissue.IMAT)
    found[:, ~inside] = Tissue.SAT
    return found


@pytest.mark.parametrize(("width_mm", "within"), [(0.8, 0.25), (1.2, 0.15), (2.0, 0.12)])
@pytest.mark.parametrize("noise_hu", [0.0, 8.0])
def test_thin_planes_of_fat_are_counted_whatever_the_blur(width_mm: float, within: float, noise_hu: float) -> None:
    plane, share = sheets(width_mm, noise_hu=noise_hu)
    tissue = classified(plane)
    found = unmix(plane, tissue, noise_hu, RULES)
    assert found is not None
    compartment_cm2 = float(((tissue == Tissue.MUSCLE) | (tissue == Tissue.IMAT)).sum()) * plane.pixel_cm2
    by_window = float((tissue == Tissue.IMAT).sum()) * plane.pixel_cm2
    true = share * compartment_cm2
    assert found.fat_cm2 == pytest.approx(true, rel=within)
    assert abs(found.fat_cm2 - true) <= abs(by_window - true) + 0.02 * compartment_cm2
    assert found.lean_hu == pytest.approx(MUSCLE_HU, abs=4.0)


@pytest.mark.parametrize("noise_hu", [0.0, 10.0])
def test_plain_muscle_holds_no_fat(noise_hu: float) -> None:
    plane, _ = sheets(0.0, noise_hu=noise_hu)
    found = unmix(plane, classified(plane), noise_hu, RULES)
    assert found is not None
    assert found.fat_cm2 < 0.02 * float((classified(plane) == Tissue.MUSCLE).sum()) * plane.pixel_cm2
    assert found.lean_hu == pytest.approx(MUSCLE_HU, abs=2.0)


def test_too_little_to_compare_with_gives_nothing() -> None:
    plane, _ = sheets(0.8)
    tissue = classified(plane)
    assert unmix(plane, np.where(tissue == Tissue.SAT, 0, tissue), 0.0, RULES) is None
    assert unmix(plane, np.where(tissue == Tissue.MUSCLE, 0, tissue), 0.0, RULES) is None


def measured(ring: Ring) -> CompositionAtLevel:
    volume, anatomy, _ = build(ring)
    (found,) = measure_composition(volume, anatomy, calibration(), PatientContext(height_m=1.6), CONSTANTS)
    return found


def test_what_is_cut_off_is_estimated_from_the_outline() -> None:
    whole = Ring(field_mm=360.0)
    assert measured(whole).missing_area_cm2 == 0.0
    for field_mm in (310.0, 296.0, 280.0):
        found = measured(replace(whole, field_mm=field_mm))
        a, b = whole.skin
        half = field_mm / 2
        # the two caps of the ellipse beyond +-half across
        part = 2 * a * b * (np.arccos(half / a) - (half / a) * np.sqrt(1 - (half / a) ** 2)) / 100.0
        assert found.truncated
        assert found.missing_area_cm2 == pytest.approx(part, rel=0.12, abs=1.0)


def in_field(half_rows: float, half_columns: float, shape: tuple[int, int], circle: bool) -> tuple[Plane, np.ndarray]:
    """An ellipse in a field of 1 mm pixels, cut by the image or by the circle in it."""
    rows, columns = shape
    j, i = np.ogrid[:rows, :columns]
    y, x = j - (rows - 1) / 2, i - (columns - 1) / 2
    body = (y / half_rows) ** 2 + (x / half_columns) ** 2 <= 1.0
    hu = np.where(body, 40.0, -1000.0).astype(np.float32)
    if circle:
        lost = (y / (rows / 2)) ** 2 + (x / (columns / 2)) ** 2 > 1.0
        hu[lost], body = -1024.0, body & ~lost
    return Plane(hu, np.ones(shape, dtype=np.uint8), (1.0, 1.0)), body


@pytest.mark.parametrize(
    ("half_rows", "half_columns", "shape", "circle"),
    [
        (90.0, 150.0, (220, 260), False),
        (150.0, 90.0, (260, 220), False),
        (110.0, 150.0, (270, 270), True),
        (140.0, 120.0, (260, 260), True),
    ],
)
def test_the_estimate_is_what_lies_outside_image_or_circle(
    half_rows: float, half_columns: float, shape: tuple[int, int], circle: bool
) -> None:
    plane, body = in_field(half_rows, half_columns, shape, circle)
    found = find_truncation(plane, body, RULES)
    missing = np.pi * half_rows * half_columns / 100.0 - float(body.sum()) / 100.0
    assert missing > 5.0
    assert found.missing_cm2 == pytest.approx(missing, rel=0.1)


def test_an_outline_that_tells_too_little_gives_no_estimate() -> None:
    body = np.ones((100, 100), dtype=bool)
    plane = Plane(np.zeros((100, 100), dtype=np.float32), np.ones((100, 100), dtype=np.uint8), (1.0, 1.0))
    found = find_truncation(plane, body, RULES)
    assert found.truncated
    assert found.missing_cm2 is None


def test_paraspinal_index_follows_from_height() -> None:
    found = measured(Ring())
    assert found.paraspinal_muscle_area_cm2 is not None
    assert found.paraspinal_muscle_index_cm2_m2 == pytest.approx(found.paraspinal_muscle_area_cm2 / 1.6**2)


def with_ring(outer: tuple[float, float], inner: tuple[float, float]) -> tuple[CompositionAtLevel, Areas]:
    """The body of ellipses with a ring as bright as bone between two more."""
    volume, anatomy, truth = build(Ring())
    at = (np.arange(volume.hu.shape[1]) + 0.5) * 0.9 - 180.0
    y, x = np.meshgrid(at, at, indexing="ij")

    def oval(axes: tuple[float, float]) -> np.ndarray:
        return (x / axes[0]) ** 2 + (y / axes[1]) ** 2 <= 1.0

    hu = np.where(oval(outer) & ~oval(inner), 320, volume.hu).astype(np.int16)
    (found,) = measure_composition(replace(volume, hu=hu), anatomy, calibration(), PatientContext(), CONSTANTS)
    return found, truth


def test_skin_as_bright_as_bone_all_round_is_no_bone() -> None:
    """As sharp kernels show it; a ring of bone would be filled, and the whole body with it."""
    found, truth = with_ring((160.0, 112.0), (157.0, 109.0))
    assert found.muscle_area_cm2 == pytest.approx(truth.muscle, rel=0.05)
    assert found.sat_area_cm2 == pytest.approx(truth.sat, rel=0.08)


def test_ribs_that_join_to_a_ring_do_not_swallow_what_is_inside() -> None:
    found, truth = with_ring((133.0, 85.0), (128.0, 80.0))
    assert found.vat_area_cm2 == pytest.approx(truth.vat, rel=0.1)
    assert found.sat_area_cm2 == pytest.approx(truth.sat, rel=0.05)


def test_cartilage_that_the_model_names_is_no_muscle() -> None:
    volume, anatomy, _ = build(Ring())
    at = (np.arange(volume.hu.shape[1]) + 0.5) * 0.9 - 180.0
    y, x = np.meshgrid(at, at, indexing="ij")
    piece = ((x - 60.0) / 22.0) ** 2 + ((y + 75.0) / 5.0) ** 2 <= 1.0
    hu = np.where(piece, 75, volume.hu).astype(np.int16)
    labels = np.where(piece, np.uint8(Structure.OTHER_BONE), anatomy.labels).astype(np.uint8)
    named = replace(anatomy, labels=labels)
    (found,) = measure_levels(replace(volume, hu=hu), named, calibration(), PatientContext(), CONSTANTS)
    core = ndi.binary_erosion(piece, iterations=3)
    assert core.sum() > 50
    assert (found.tissue[core] == Tissue.MUSCLE).mean() < 0.05
