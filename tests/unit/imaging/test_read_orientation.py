"""Whatever the order, flip or transposition of the files, the same canonical volume comes out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_ct import HuArray, SeriesSpec, geometry_affine, write_series

from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy


def _read(path: Path, limits: ImagingLimits) -> CtStudy:
    study = read_study([path], limits)
    assert isinstance(study, CtStudy), study
    return study


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(12)),
    swap=st.booleans(),
    flip_rows=st.booleans(),
    flip_columns=st.booleans(),
    signed=st.booleans(),
)
def test_flips_transpositions_and_file_order_change_nothing(
    body: HuArray, small: ImagingLimits, order: list[int], swap: bool, flip_rows: bool, flip_columns: bool, signed: bool
) -> None:
    spec = SeriesSpec(
        body, order=order, swap=swap, flip_rows=flip_rows, flip_columns=flip_columns, signed=signed, intercept=-1100
    )
    with tempfile.TemporaryDirectory() as folder:
        write_series(spec, Path(folder))
        volume = _read(Path(folder), small).volume
    np.testing.assert_array_equal(volume.hu, body)
    np.testing.assert_allclose(volume.geometry.affine, geometry_affine(spec), atol=1e-5)
    assert volume.geometry.shape == body.shape


def test_volume_is_read_only_int16(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    volume = _read(series(SeriesSpec(body)), small).volume
    assert volume.hu.dtype == np.int16
    assert not volume.hu.flags.writeable
    assert volume.hu.flags.c_contiguous


@pytest.mark.parametrize("angle_deg", [12.0, -20.0])
def test_oblique_series_keeps_its_own_axes(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path], angle_deg: float
) -> None:
    angle = np.radians(angle_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    spec = SeriesSpec(body, rotation=about_x)
    volume = _read(series(spec), small).volume
    np.testing.assert_array_equal(volume.hu, body)
    np.testing.assert_allclose(volume.geometry.affine, geometry_affine(spec), atol=1e-5)


@pytest.mark.parametrize("tilt_rows", [0.75, -1.0])
@pytest.mark.parametrize("flip_rows", [False, True])
def test_gantry_tilt_is_undone(
    small: ImagingLimits, series: Callable[..., Path], tilt_rows: float, flip_rows: bool
) -> None:
    """A bar upright in the patient runs aslant through tilted slices; on the canonical grid it is upright again."""
    hu = np.full((20, 44, 12), -1000, np.int16)
    for k in range(20):
        row = 20.0 - k * tilt_rows  # where the upright plane y = const lies within slice k
        distance = np.abs(np.arange(44) - row)
        hu[k] = (-1000 + 1100 * np.clip(2.0 - distance, 0, 1)).astype(np.int16)[:, None]
    spec = SeriesSpec(hu, tilt_rows=tilt_rows, flip_rows=flip_rows)
    study = _read(series(spec), small)
    assert "gantry-tilt-corrected" in {notice.code for notice in study.notices}
    k, j, i = study.volume.geometry.affine[:3, :3].T
    assert abs(k @ j) < 1e-6
    assert abs(k @ i) < 1e-6
    weights = np.maximum(study.volume.hu[:, :, 5] + 1000.0, 0.0)
    centres = weights @ np.arange(weights.shape[1]) / weights.sum(axis=1)
    centres_mm = [study.volume.geometry.index_to_lps([n, j, 5])[1] for n, j in enumerate(centres)]
    expected_mm = geometry_affine(spec)[1] @ np.array([0, 20.0, 5, 1])
    np.testing.assert_allclose(centres_mm, expected_mm, atol=0.02)


def test_nested_folders_names_links_and_strangers_do_not_matter(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    study = series(SeriesSpec(body))
    paths = sorted((study / "series").iterdir())
    (study / "deep" / "er").mkdir(parents=True)
    paths[0].rename(study / "deep" / "er" / "a.dcm")
    paths[1].rename(study / "deep" / "no extension")
    (study / "link").symlink_to(study / "deep" / "no extension")
    (study / "loop").symlink_to(study)
    (study / "dangling").symlink_to(study / "nowhere")
    (study / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM rest")
    (study / "index").write_bytes(b"\0" * 128 + b"DICM" + b"..1.2.840.10008.1.3.10\0..")
    (study / "notes.txt").write_text("not DICOM")
    (study / "empty").write_bytes(b"")
    read = read_study([study, paths[3], study / "deep"], small)
    assert isinstance(read, CtStudy)
    np.testing.assert_array_equal(read.volume.hu, body)
    assert read.candidates[0].instances == 12


def test_files_without_preamble_are_read(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    study = series(SeriesSpec(body))
    for path in (study / "series").iterdir():
        content = path.read_bytes()
        path.write_bytes(content[content.index(b"\x08\x00\x08\x00CS") :])
    np.testing.assert_array_equal(_read(study, small).volume.hu, body)


def test_duplicates_are_dropped_with_a_notice(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    study = series(SeriesSpec(body))
    first = next((study / "series").iterdir())
    (study / "copy").write_bytes(first.read_bytes())
    read = _read(study, small)
    np.testing.assert_array_equal(read.volume.hu, body)
    assert "duplicate-instances" in {notice.code for notice in read.notices}


def test_same_position_under_another_uid_is_dropped_with_a_notice(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    series(SeriesSpec(body))
    study = series(SeriesSpec(body[:1], tags={"SOPInstanceUID": "1.2.99", "InstanceNumber": 99}), "more")
    read = _read(study, small)
    np.testing.assert_array_equal(read.volume.hu, body)
    assert "duplicate-positions" in {notice.code for notice in read.notices}


def test_two_acquisitions_in_one_series_are_told_apart(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    series(SeriesSpec(body))
    study = series(
        SeriesSpec(
            np.roll(body, 3, axis=1),
            series_uid="1.2.3.4.6",
            tags={"SeriesInstanceUID": "1.2.3.4.5", "AcquisitionNumber": 2},
        ),
        "second",
    )
    read = _read(study, small)
    assert len(read.candidates) == 2
    np.testing.assert_array_equal(read.volume.hu, body)


def test_padding_and_a_scanners_filling_become_minus_1024(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    padded = body.copy()
    padded[:, :2, :2] = -1100
    padded[:, 13, 16] = -3000  # filling without a tag
    study = series(SeriesSpec(padded, intercept=0, tags={"PixelPaddingValue": -1100}))
    hu = _read(study, small).volume.hu
    assert (hu[:, :2, :2] == -1024).all()
    assert (hu[:, 13, 16] == -1024).all()
    np.testing.assert_array_equal(hu[:, 3:13], body[:, 3:13])


def test_a_padding_value_that_tissue_has_is_not_believed(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    study = series(SeriesSpec(body, intercept=0, tags={"PixelPaddingValue": 0}))
    np.testing.assert_array_equal(_read(study, small).volume.hu, body)


def test_rescale_differs_from_slice_to_slice(body: HuArray, small: ImagingLimits, tmp_path: Path) -> None:
    for k in range(12):
        intercept = -1024 if k % 2 else -1100
        one = SeriesSpec(body, intercept=intercept, order=[k], tags={"InstanceNumber": k, "SOPInstanceUID": f"1.2.{k}"})
        write_series(one, tmp_path / str(k))
    np.testing.assert_array_equal(_read(tmp_path, small).volume.hu, body)


def test_fractional_slope_is_rounded(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    hu = _read(series(SeriesSpec(body, tags={"RescaleSlope": 0.5, "RescaleIntercept": -512})), small).volume.hu
    np.testing.assert_allclose(hu, body / 2, atol=0.5)
