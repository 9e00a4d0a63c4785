"""Each clinical reason against a study is a refusal with its own code, never an exception."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import MRImageStorage
from synthetic_ct import HuArray, SeriesSpec, write_series

from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, StudyRefused
from trabecula.outcome import RefusalCode, Stage


def _refused(path: Path, limits: ImagingLimits) -> StudyRefused:
    outcome = read_study([path], limits)
    assert isinstance(outcome, StudyRefused)
    assert all(refusal.stage is Stage.IMAGING and refusal.remedy for refusal in outcome.refusals)
    return outcome


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"SOPClassUID": MRImageStorage, "Modality": "MR"}, RefusalCode.NOT_CT),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, RefusalCode.LOCALIZER_ONLY),
        ({"ImageType": ["DERIVED", "SECONDARY", "VNC"]}, RefusalCode.DERIVED_ONLY),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MONO_E_70KEV"]}, RefusalCode.DERIVED_ONLY),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, RefusalCode.DERIVED_ONLY),
        ({"SeriesDescription": "Thorax 70 keV"}, RefusalCode.DERIVED_ONLY),
        ({"DerivationDescription": "virtual non contrast"}, RefusalCode.DERIVED_ONLY),
        ({"SamplesPerPixel": 2}, RefusalCode.DERIVED_ONLY),
        ({"RescaleSlope": None}, RefusalCode.NOT_HOUNSFIELD),
        ({"RescaleIntercept": None}, RefusalCode.NOT_HOUNSFIELD),
        ({"RescaleType": "OD"}, RefusalCode.NOT_HOUNSFIELD),
        ({"RescaleSlope": -1}, RefusalCode.NOT_HOUNSFIELD),
        ({"RescaleIntercept": 3000}, RefusalCode.NOT_HOUNSFIELD),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, RefusalCode.NO_AXIAL_SERIES),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, RefusalCode.NO_AXIAL_SERIES),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, RefusalCode.NO_AXIAL_SERIES),
        ({"ImageOrientationPatient": None}, RefusalCode.NO_AXIAL_SERIES),
        ({"ImagePositionPatient": None}, RefusalCode.NO_AXIAL_SERIES),
        ({"PixelSpacing": None}, RefusalCode.NO_AXIAL_SERIES),
        ({"SliceThickness": 7.5}, RefusalCode.SLICES_TOO_THICK),
    ],
    ids=str,
)
def test_header_says_why_not(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path], tags: dict[str, Any], code: RefusalCode
) -> None:
    if tags.get("SamplesPerPixel"):
        tags = {**tags, "PixelData": b"\0" * (body[0].size * 4)}
    refused = _refused(series(SeriesSpec(body, tags=tags)), small)
    assert [refusal.code for refusal in refused.refusals] == [code]
    assert refused.identity is not None
    assert refused.identity.patient_id == "TEST-1"


def test_slices_of_exactly_five_millimetres_are_used_with_a_warning(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    read = read_study([series(SeriesSpec(body, spacing_mm=(5.0, 0.8, 0.7)))], small)
    assert isinstance(read, CtStudy)
    assert "thick-slices" in {notice.code for notice in read.notices}


def test_thin_slices_far_apart_are_too_thick(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    spec = SeriesSpec(body, spacing_mm=(10.0, 0.8, 0.7), tags={"SliceThickness": 1.0})
    assert _refused(series(spec), small).refusals[0].code is RefusalCode.SLICES_TOO_THICK


def test_a_missing_slice_is_named_with_its_place(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    study = series(SeriesSpec(body))
    (study / "series" / "im0006").unlink()
    refusal = _refused(study, small).refusals[0]
    assert refusal.code is RefusalCode.SLICE_GAP
    assert "4.0 mm between slices 5 and 6 of 11" in refusal.message


def test_a_lone_slice_beyond_a_gap_at_the_end_of_a_long_series_is_dropped(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    tall = np.concatenate([body] * 5)
    study = series(SeriesSpec(tall))
    (study / "series" / "im0002").unlink()
    read = read_study([study], small)
    assert isinstance(read, CtStudy)
    assert "end-slices-dropped" in {notice.code for notice in read.notices}
    np.testing.assert_array_equal(read.volume.hu, tall[2:])
    assert read.volume.geometry.affine[2, 3] == pytest.approx(100.0 + 2 * 2.0)


def test_uneven_steps_are_refused(body: HuArray, small: ImagingLimits, tmp_path: Path) -> None:
    for k in range(12):
        spec = SeriesSpec(
            body, order=[k], tags={"SOPInstanceUID": f"1.2.{k}", "ImagePositionPatient": [0, 0, 2 * k + (k % 2) * 0.6]}
        )
        write_series(spec, tmp_path / str(k))
    assert _refused(tmp_path, small).refusals[0].code is RefusalCode.NON_UNIFORM_SPACING


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_that_jump_sideways_are_refused(body: HuArray, small: ImagingLimits, tmp_path: Path, axis: int) -> None:
    """A table or field of view moved between two parts of the scan."""
    for k in range(12):
        position = [0.0, 0.0, 2.0 * k]
        position[axis] = 5.0 if 4 <= k < 8 else 0.0
        tags = {"SOPInstanceUID": f"1.2.{k}", "ImagePositionPatient": position}
        write_series(SeriesSpec(body, order=[k], tags=tags), tmp_path / str(k))
    assert _refused(tmp_path, small).refusals[0].code is RefusalCode.NON_UNIFORM_SPACING


def test_steps_that_add_up_to_a_drift_are_refused(small: ImagingLimits, tmp_path: Path) -> None:
    body = np.random.default_rng(1).integers(-100, 100, (30, 8, 8)).astype(np.int16)
    z = np.cumsum([2.0] * 15 + [2.15] * 15)
    for k in range(30):
        tags = {"SOPInstanceUID": f"1.2.{k}", "ImagePositionPatient": [0, 0, float(z[k].round(3))]}
        write_series(SeriesSpec(body, order=[k], tags=tags), tmp_path / str(k))
    assert _refused(tmp_path, small).refusals[0].code is RefusalCode.NON_UNIFORM_SPACING


def test_positions_rounded_to_a_tenth_are_even_enough(body: HuArray, small: ImagingLimits, tmp_path: Path) -> None:
    for k in range(12):
        spec = SeriesSpec(
            body,
            order=[k],
            spacing_mm=(0.625, 0.8, 0.7),
            tags={"SOPInstanceUID": f"1.2.{k}", "ImagePositionPatient": [0, 0, round(0.625 * k, 1)]},
        )
        write_series(spec, tmp_path / str(k))
    assert isinstance(read_study([tmp_path], small), CtStudy)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_slices(body: HuArray, series: Callable[..., Path], count: int) -> None:
    refused = _refused(series(SeriesSpec(body[:count])), ImagingLimits())
    assert refused.refusals[0].code is RefusalCode.TOO_FEW_SLICES


def test_steep_tilt_and_sideways_drift_are_refused(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    steep = series(SeriesSpec(body, tilt_rows=2.0))
    refusal = _refused(steep, small).refusals[0]
    assert refusal.code is RefusalCode.GANTRY_TILT
    assert "38.7 degrees" in refusal.message
    sideways = SeriesSpec(body, tilt_rows=0.9, swap=True, rotation=np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    assert _refused(_only(sideways, steep.parent / "other"), small).refusals[0].code is RefusalCode.GANTRY_TILT


def _only(spec: SeriesSpec, folder: Path) -> Path:
    write_series(spec, folder)
    return folder


def test_unspecified_unit_is_believed_only_if_the_pixels_look_like_hounsfield(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    spec = SeriesSpec(body, tags={"RescaleType": "US"})
    assert isinstance(read_study([series(spec)], small), CtStudy)
    airless = replace(spec, hu=np.maximum(body, -100).astype(np.int16))
    assert _refused(_only(airless, series(spec).parent / "b"), small).refusals[0].code is RefusalCode.NOT_HOUNSFIELD


def test_the_most_telling_reason_wins(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    series(
        SeriesSpec(body[:1], series_uid="1.2.3.4.1", tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}), "scout"
    )
    study = series(SeriesSpec(body, tags={"SliceThickness": 8.0}))
    refused = _refused(study, small)
    assert [refusal.code for refusal in refused.refusals] == [RefusalCode.SLICES_TOO_THICK]
    assert len(refused.candidates) == 2
    assert not any(candidate.chosen for candidate in refused.candidates)
    assert any("localizer-only" in reason for candidate in refused.candidates for reason in candidate.reasons)


def test_refusals_hold_no_patient_data(body: HuArray, series: Callable[..., Path]) -> None:
    spec = SeriesSpec(body[:1], tags={"SeriesDescription": "Secret^Name", "StudyDescription": "Secret^Name"})
    refused = _refused(series(spec), ImagingLimits())
    text = f"{refused.refusals}{refused.candidates}{refused.notices}"
    assert "Secret" not in text
    assert "TEST-1" not in text
