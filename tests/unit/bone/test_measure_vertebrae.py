"""The trabecular region finds the marrow and nothing else, however the scan and the segmentation are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_column import HALF_DEPTH_MM, HALF_WIDTH_MM, HEIGHT_MM, Column, axes_of, build, misplaced

from trabecula.anatomy import Anatomy, Level, Structure
from trabecula.bone.exclusion import Subchondral, degenerated
from trabecula.bone.measure import measure_vertebrae
from trabecula.bone.rules import bone_rules
from trabecula.bone.vertebra import DeformityKind, DeformityStatus, ExclusionReason, VertebraMeasurement
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Refusal, RefusalCode, Stage

Array = npt.NDArray[np.float64]
THREE = (Level.T11, Level.T12, Level.L1)
FIVE = (Level.T10, *THREE, Level.L2)


@pytest.fixture(scope="module")
def constants() -> ClinicalConstants:
    return load_constants()


def measure(column: Column, constants: ClinicalConstants) -> dict[Level, VertebraMeasurement]:
    measured = measure_vertebrae(*build(column), constants)
    assert not isinstance(measured, Refusal)
    return {vertebra.level: vertebra for vertebra in measured}


CONSTANTS = load_constants()


@cache
def built(pitch_deg: float) -> tuple[CtVolume, Anatomy]:
    return build(Column(pitch_deg=pitch_deg, noise_hu=8.0))


@settings(max_examples=8, deadline=None)
@given(
    hu=st.tuples(*[st.floats(20.0, 240.0)] * 3),
    pitch=st.floats(-30.0, 30.0),
    roll=st.floats(-12.0, 12.0),
    slice_mm=st.floats(0.8, 5.0),
    pixel_mm=st.floats(0.7, 1.1),
    seed=st.integers(0, 10_000),
)
def test_attenuation_is_found_at_any_tilt_spacing_and_density(
    hu: tuple[float, ...], pitch: float, roll: float, slice_mm: float, pixel_mm: float, seed: int
) -> None:
    column = Column(
        hu=dict(zip(THREE, hu, strict=True)),
        spacing_mm=(slice_mm, pixel_mm, pixel_mm),
        pitch_deg=pitch,
        roll_deg=roll,
        noise_hu=8.0,
        seed=seed,
    )
    for level, measured in measure(column, CONSTANTS).items():
        assert measured.hu_mean == pytest.approx(column.hu[level], abs=2.0)
        assert ExclusionReason.FRACTURE not in measured.excluded


@settings(max_examples=8, deadline=None)
@given(
    shift=st.tuples(*[st.floats(-2.5, 2.5)] * 3),
    centroid=st.tuples(*[st.floats(-1.7, 1.7)] * 3),
    tilt=st.floats(-6.0, 6.0),
    pitch=st.sampled_from([-20.0, 0.0, 25.0]),
)
def test_a_label_that_is_millimetres_off_does_not_move_the_mean(
    shift: tuple[float, float, float], centroid: tuple[float, float, float], tilt: float, pitch: float
) -> None:
    column = Column(pitch_deg=pitch, noise_hu=8.0)
    volume, anatomy = built(column.pitch_deg)
    measured = measure_vertebrae(volume, misplaced(anatomy, shift, np.array(centroid), tilt), CONSTANTS)
    assert not isinstance(measured, Refusal)
    for vertebra in measured:
        assert vertebra.hu_mean == pytest.approx(column.hu[vertebra.level], abs=2.0)
        assert vertebra.excluded == ()


def test_the_region_lies_in_the_middle_of_the_body_clear_of_cortex_and_endplates(constants: ClinicalConstants) -> None:
    column = Column(pitch_deg=20.0)
    measured = measure(column, constants)[Level.T12]
    assert measured.roi is not None
    offset = axes_of(column) @ np.array(measured.roi.centre_lps_mm)
    assert np.abs(offset) == pytest.approx([0.0, 0.0, 0.0], abs=2.5)
    assert measured.roi.half_height_mm + abs(offset[0]) <= HEIGHT_MM / 2 - 3.0
    assert measured.roi.half_depth_mm + abs(offset[1]) <= HALF_DEPTH_MM - 3.0
    assert measured.roi.half_width_mm + abs(offset[2]) <= HALF_WIDTH_MM - 3.0
    assert measured.roi.half_depth_mm > 6.0
    assert measured.roi.half_width_mm > 10.0
    assert measured.roi.volume_mm3 == pytest.approx(measured.roi_voxels * 1.5 * 0.9 * 0.9)


def ball(centre: tuple[float, float, float], radius_mm: float, hu: float, at: Level = Level.T12):  # type: ignore[no-untyped-def]
    def edit(level: Level, local: Array, values: Array) -> Array:
        inside = np.linalg.norm(local - np.array(centre), axis=-1) <= radius_mm
        return np.where(inside & (level is at), hu, values)

    return edit


def test_a_bone_island_is_cut_out(constants: ClinicalConstants) -> None:
    plain = measure(Column(noise_hu=8.0), constants)[Level.T12]
    measured = measure(Column(noise_hu=8.0, edit=ball((1.0, 2.0, 5.0), 3.0, 700.0)), constants)[Level.T12]
    assert measured.hu_mean == pytest.approx(120.0, abs=2.0)
    assert measured.roi_voxels < plain.roi_voxels - 50
    assert measured.excluded == ()

    (part,) = measured.exclusions
    assert (part.reason, part.whole) == (ExclusionReason.BONE_ISLAND, False)
    assert part.volume_mm3 is not None
    assert 100.0 < part.volume_mm3 < 600.0
    assert part.rule in constants


def test_a_lytic_spot_is_cut_out_and_told(constants: ClinicalConstants) -> None:
    column = Column(hu=dict.fromkeys(THREE, 180.0), noise_hu=8.0, edit=ball((0.0, 3.0, 6.0), 3.5, 0.0))
    measured = measure(column, constants)[Level.T12]
    assert measured.hu_mean == pytest.approx(180.0, abs=2.5)
    assert measured.excluded == ()
    assert [part.reason for part in measured.exclusions] == [ExclusionReason.LYTIC_AREA]


def test_the_basivertebral_vein_is_left_out(constants: ClinicalConstants) -> None:
    def vein(_: Level, local: Array, values: Array) -> Array:
        s, a, b = np.moveaxis(local, -1, 0)
        return np.where((np.abs(s) < 4.5) & (np.abs(b) < 3.5) & (a < -3.5) & (a > -13.0), values - 35.0, values)

    for measured in measure(Column(edit=vein), constants).values():
        assert measured.hu_mean == pytest.approx(Column().hu[measured.level], abs=0.5)


def test_screws_are_named_hardware(constants: ClinicalConstants) -> None:
    def screw(level: Level, local: Array, values: Array) -> Array:
        s, a, b = np.moveaxis(local, -1, 0)
        inside = (s**2 + (np.abs(b) - 11.0) ** 2 < 2.5**2) & (a < 5.0) & (a > -30.0)
        return np.where(inside & (level is Level.L1), 3000.0, values)

    measured = measure(Column(edit=screw), constants)
    assert ExclusionReason.HARDWARE in measured[Level.L1].excluded
    assert measured[Level.T11].excluded == ()


def test_cement_is_told_from_hardware(constants: ClinicalConstants) -> None:
    measured = measure(Column(edit=ball((0.0, 2.0, 0.0), 6.0, 1300.0)), constants)
    assert ExclusionReason.CEMENT in measured[Level.T12].excluded
    assert ExclusionReason.HARDWARE not in measured[Level.T12].excluded
    assert measured[Level.T11].excluded == ()


def test_a_large_hole_is_a_lesion(constants: ClinicalConstants) -> None:
    column = Column(hu=dict.fromkeys(THREE, 180.0), noise_hu=8.0, edit=ball((0.0, 3.0, 8.0), 8.5, 20.0))
    measured = measure(column, constants)
    assert ExclusionReason.LESION in measured[Level.T12].excluded
    assert measured[Level.T11].excluded == ()


def test_a_body_out_of_line_with_its_neighbours_is_a_lesion(constants: ClinicalConstants) -> None:
    column = Column(hu=dict(zip(FIVE, (140.0, 135.0, 290.0, 125.0, 120.0), strict=True)))
    measured = measure(column, constants)
    assert measured[Level.T12].excluded == (ExclusionReason.LESION,)
    assert all(measured[level].excluded == () for level in FIVE if level is not Level.T12)


def test_a_natural_fall_of_density_along_the_column_is_no_lesion(constants: ClinicalConstants) -> None:
    column = Column(hu=dict(zip(FIVE, (220.0, 200.0, 180.0, 160.0, 140.0), strict=True)))
    assert all(v.excluded == () for v in measure(column, constants).values())


@pytest.mark.parametrize(
    "column",
    [
        Column(front_height={Level.T12: 0.55}),
        Column(front_height={Level.T12: 0.7}),
        Column(front_height={Level.T12: 0.6}, pitch_deg=20.0, spacing_mm=(2.5, 0.9, 0.9)),
        Column(height={Level.T12: 0.6}),
    ],
    ids=["wedge", "slight wedge of grade 2", "tilted wedge", "crush"],
)
def test_lost_height_is_a_suspected_fracture(column: Column, constants: ClinicalConstants) -> None:
    measured = measure(column, constants)
    assert ExclusionReason.FRACTURE in measured[Level.T12].excluded
    assert measured[Level.T11].excluded == measured[Level.L1].excluded == ()


def test_a_mild_wedge_is_not_a_fracture(constants: ClinicalConstants) -> None:
    measured = measure(Column(front_height={Level.T12: 0.87}), constants)
    assert all(v.excluded == () for v in measured.values())


def test_thick_slices_do_not_make_fractures(constants: ClinicalConstants) -> None:
    for roll in (0.0, 8.0):
        column = Column(spacing_mm=(5.0, 0.9, 0.9), roll_deg=roll, pitch_deg=20.0)
        assert not [v for v in measure(column, constants).values() if ExclusionReason.FRACTURE in v.excluded]
    crushed = measure(Column(spacing_mm=(5.0, 0.9, 0.9), height={Level.T12: 0.45}), constants)
    assert ExclusionReason.FRACTURE in crushed[Level.T12].excluded


def test_a_pushed_in_endplate_is_a_biconcave_fracture(constants: ClinicalConstants) -> None:
    """The case that heights at the rims alone miss."""
    measured = measure_vertebrae(*_hollowed(4.2), constants)
    assert not isinstance(measured, Refusal)
    deformity = measured[1].deformity
    assert deformity is not None
    assert (deformity.status, deformity.kind) == (DeformityStatus.SUSPECTED, DeformityKind.BICONCAVE)
    assert deformity.grade >= 2
    assert measured[1].excluded == (ExclusionReason.FRACTURE,)
    assert measured[1].height_middle_mm == pytest.approx(HEIGHT_MM - 2 * 4.2, abs=1.5)
    assert measured[0].excluded == measured[2].excluded == ()
    shallow = measure_vertebrae(*_hollowed(1.2), constants)
    assert not isinstance(shallow, Refusal)
    assert shallow[1].deformity is not None
    assert shallow[1].deformity.status is DeformityStatus.NONE


def _hollowed(depth_mm: float) -> tuple[CtVolume, Anatomy]:
    """T12 with both endplates pushed in by so much in the middle, labels with them."""

    def plate(a: Array, b: Array) -> Array:
        return HEIGHT_MM / 2 - depth_mm * np.clip(1.0 - (a / HALF_DEPTH_MM) ** 2 - (b / HALF_WIDTH_MM) ** 2, 0.0, None)

    def edit(level: Level, local: Array, values: Array) -> Array:
        s, a, b = np.moveaxis(local, -1, 0)
        body = (level is Level.T12) & ((a / HALF_DEPTH_MM) ** 2 + (b / HALF_WIDTH_MM) ** 2 <= 1.0)
        inside = plate(a, b) - np.abs(s)
        values = np.where(body & (np.abs(s) < HEIGHT_MM / 2) & (inside < 0.0), 85.0, values)
        return np.where(body & (inside >= 0.0) & (inside < 1.0), 600.0, values)

    column = Column(spacing_mm=(1.0, 0.9, 0.9), edit=edit)
    volume, anatomy = build(column)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in volume.geometry.shape), indexing="ij"), axis=-1)
    s, a, b = np.moveaxis(volume.geometry.index_to_lps(grid) @ axes_of(column).T, -1, 0)
    labels = anatomy.labels.copy()
    labels[(labels == 32 + Level.T12.ordinal) & (np.abs(s) > plate(a, b))] = Structure.INTERVERTEBRAL_DISC
    return volume, replace(anatomy, labels=labels)


def test_a_deformity_says_why(constants: ClinicalConstants) -> None:
    measured = measure(Column(front_height={Level.T12: 0.6}), constants)[Level.T12]
    assert measured.deformity is not None
    assert measured.deformity.kind is DeformityKind.WEDGE
    assert measured.deformity.anterior_to_posterior == pytest.approx(0.6, abs=0.06)
    assert any("Genant grade" in reason for reason in measured.deformity.reasons)
    (fracture,) = measured.exclusions
    assert fracture.whole
    assert "for confirmation" in fracture.text


def test_stated_error_of_heights_grows_with_the_slice(constants: ClinicalConstants) -> None:
    errors = [
        measure(Column(spacing_mm=(mm, 0.9, 0.9)), constants)[Level.T12].height_rim_standard_uncertainty_mm or 0.0
        for mm in (1.0, 2.5, 5.0)
    ]
    assert errors[0] < 1.0 < errors[1] < errors[2]


def test_the_region_grows_with_noise_alone(constants: ClinicalConstants) -> None:
    quiet = measure(Column(noise_hu=8.0, noise_mm=0.6), constants)[Level.T12]
    assert quiet.roi_growth is None
    noisy = measure(Column(noise_hu=75.0, noise_mm=0.6, seed=5), constants)[Level.T12]
    growth = noisy.roi_growth
    assert growth is not None
    assert growth.noise_hu == pytest.approx(75.0, rel=0.25)
    assert growth.volume_after_mm3 > 1.1 * growth.volume_before_mm3
    assert growth.slices_after >= growth.slices_before
    assert growth.standard_error_after_hu < growth.standard_error_before_hu
    assert noisy.roi is not None
    assert noisy.roi.half_height_mm + 2.0 <= HEIGHT_MM / 2

    def speckled(_: Level, local: Array, values: Array) -> Array:
        coarse = np.sin(local[..., 1] * 0.9) * np.sin(local[..., 2] * 0.9)
        return np.where((values > 100.0) & (values < 150.0), values + 30.0 * coarse, values)

    assert measure(Column(noise_hu=8.0, noise_mm=0.6, edit=speckled), constants)[Level.T12].roi_growth is None


def test_sclerosis_under_both_endplates_is_severe_degeneration(constants: ClinicalConstants) -> None:
    def sclerosis(level: Level, local: Array, values: Array) -> Array:
        s, a, b = np.moveaxis(local, -1, 0)
        body = (a / HALF_DEPTH_MM) ** 2 + (b / HALF_WIDTH_MM) ** 2 <= 0.85
        layer = (np.abs(s) > 6.0) & (np.abs(s) < 11.0) & (level is Level.T12)
        return np.where(body & layer, 420.0, values)

    measured = measure(Column(edit=sclerosis), constants)
    assert ExclusionReason.DEGENERATION in measured[Level.T12].excluded
    assert measured[Level.T11].excluded == measured[Level.L1].excluded == ()


def test_sclerosis_counts_where_the_disc_is_narrow(constants: ClinicalConstants) -> None:
    rules = bone_rules(constants).exclusion
    one_side = Subchondral(top_hu=150.0, bottom_hu=10.0)
    assert degenerated(one_side, 1.0, 0.3, rules) is None
    assert degenerated(one_side, None, 0.3, rules) is None
    found = degenerated(one_side, 0.4, 1.0, rules)
    assert found is not None
    assert "superior" in found.text
    assert found.rule in constants


def test_a_dense_band_inside_a_body_of_full_height_is_not_a_fracture(constants: ClinicalConstants) -> None:
    def band(level: Level, local: Array, values: Array) -> Array:
        s, a, _ = np.moveaxis(local, -1, 0)
        return np.where((s > 4.5) & (s < 6.5) & (a > 3.0) & (a < 14.0) & (level is Level.T12), 500.0, values)

    assert ExclusionReason.FRACTURE not in measure(Column(edit=band), constants)[Level.T12].excluded


def test_a_low_body_in_thick_slices_keeps_its_endplates_out(constants: ClinicalConstants) -> None:
    column = Column(height=dict.fromkeys(THREE, 0.6), spacing_mm=(4.0, 0.9, 0.9))
    for measured in measure(column, constants).values():
        assert measured.roi is not None
        offset = float(axes_of(column)[0] @ np.array(measured.roi.centre_lps_mm)) % 31.0
        offset = min(offset, 31.0 - offset)
        assert measured.roi.half_height_mm + offset + 2.0 <= 0.6 * HEIGHT_MM / 2
        assert measured.hu_mean == pytest.approx(column.hu[measured.level], abs=2.0)


def test_heights_are_those_of_the_body(constants: ClinicalConstants) -> None:
    measured = measure(Column(front_height={Level.L1: 0.7}), constants)
    whole, wedge = measured[Level.T12], measured[Level.L1]
    heights = (whole.height_anterior_mm, whole.height_middle_mm, whole.height_posterior_mm)
    assert heights == pytest.approx([HEIGHT_MM] * 3, abs=1.5)
    assert wedge.height_anterior_mm == pytest.approx(0.7 * HEIGHT_MM, abs=1.2)
    assert wedge.height_posterior_mm == pytest.approx(HEIGHT_MM, abs=0.8)


def test_a_label_that_runs_into_the_next_vertebra_does_not_count(constants: ClinicalConstants) -> None:
    five = dict(zip(FIVE, (140.0, 135.0, 130.0, 125.0, 120.0), strict=True))
    volume, anatomy = build(Column(hu=five, height=dict.fromkeys((Level.T10, Level.T11, Level.L1, Level.L2), 0.7)))
    measured = measure_vertebrae(volume, anatomy, constants)
    assert not isinstance(measured, Refusal)
    assert measured[2].level is Level.T12
    assert measured[2].excluded == (ExclusionReason.IMPLAUSIBLE,)


def test_a_cut_vertebra_is_out_of_view(constants: ClinicalConstants) -> None:
    measured = measure(Column(incomplete=(Level.L1,)), constants)
    assert measured[Level.L1].excluded == (ExclusionReason.OUT_OF_VIEW,)
    assert measured[Level.L1].hu_mean is None
    assert measured[Level.T12].excluded == ()


def test_no_vertebra_with_a_region_is_a_refusal(constants: ClinicalConstants) -> None:
    refusal = measure_vertebrae(*build(Column(incomplete=THREE)), constants)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.stage) == (RefusalCode.NO_VERTEBRA_LEFT, Stage.BONE)


def test_a_fragment_of_a_label_gives_no_region(constants: ClinicalConstants) -> None:
    volume, anatomy = build(Column())
    labels = anatomy.labels.copy()
    body = np.argwhere(labels == 32 + Level.T12.ordinal)
    k, j, i = body[len(body) // 2]
    keep = np.zeros_like(labels, dtype=bool)
    keep[k - 2 : k + 2, j - 4 : j + 4, i - 4 : i + 4] = True
    labels[(labels == 32 + Level.T12.ordinal) & ~keep] = 1
    measured = measure_vertebrae(volume, replace(anatomy, labels=labels), constants)
    assert not isinstance(measured, Refusal)
    assert measured[1].roi is None
    assert measured[1].excluded == (ExclusionReason.ROI_TOO_SMALL,)


def test_attenuation_that_no_marrow_has_is_implausible(constants: ClinicalConstants) -> None:
    measured = measure(Column(hu=dict.fromkeys(THREE, -150.0)), constants)
    assert all(ExclusionReason.IMPLAUSIBLE in v.excluded for v in measured.values())


def test_vertebrae_come_head_to_foot_and_the_same_every_time(constants: ClinicalConstants) -> None:
    volume, anatomy = build(Column(noise_hu=20.0))
    shuffled = replace(anatomy, vertebrae=anatomy.vertebrae[::-1])
    first = measure_vertebrae(volume, anatomy, constants)
    assert first == measure_vertebrae(volume, shuffled, constants)
    assert not isinstance(first, Refusal)
    assert [v.level for v in first] == list(THREE)


@pytest.mark.parametrize("noise_mm", [0.0, 1.2], ids=["white noise", "noise of a soft kernel"])
def test_the_standard_error_covers_the_scatter_of_repeated_scans(noise_mm: float, constants: ClinicalConstants) -> None:
    base = Column(spacing_mm=(2.5, 1.1, 1.1), noise_hu=40.0, noise_mm=noise_mm)
    means, errors = [], []
    for seed in range(6):
        for level, vertebra in measure(replace(base, seed=seed), constants).items():
            assert vertebra.hu_mean is not None
            assert vertebra.hu_standard_error is not None
            means.append(vertebra.hu_mean - base.hu[level])
            errors.append(vertebra.hu_standard_error)
    scatter = float(np.sqrt(np.mean(np.square(means))))
    assert 0.6 < scatter / float(np.mean(errors)) < 1.5
