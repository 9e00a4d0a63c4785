"""The same pixels whatever the transfer syntax."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from synthetic_ct import HuArray, SeriesSpec, instance_of, write_series

from trabecula.imaging.codecs import decode_frame
from trabecula.imaging.decode import believed_padding, to_hounsfield
from trabecula.imaging.headers import inflated_dataset, read_instance
from trabecula.imaging.instance import PixelFormat, Slice
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.pixel_element import check_pixel_element, stored_frames
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy


def _hounsfield(path: Path) -> npt.NDArray[np.int16]:
    limits = ImagingLimits()
    instance = read_instance(path, limits)
    with path.open("rb") as file:
        source = inflated_dataset(file, limits) if instance.deflated else file
        check_pixel_element(instance, source)
        (stored,) = stored_frames(instance, source)
    return to_hounsfield(decode_frame(stored, instance.pixels), Slice(instance, instance.frames[0]))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_compressed_series(body: HuArray, tmp_path: Path, small: ImagingLimits, syntax: str, signed: bool) -> None:
    wide = np.tile(body, (1, 5, 4))
    for k in range(12):
        dataset = instance_of(SeriesSpec(wide, signed=signed), k, k + 1)
        dataset.compress(syntax)
        dataset.save_as(tmp_path / str(k), enforce_file_format=True)
    study = read_study([tmp_path], small)
    assert isinstance(study, CtStudy)
    np.testing.assert_array_equal(study.volume.hu, wide)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
def test_uncompressed_series(body: HuArray, tmp_path: Path, small: ImagingLimits, syntax: str) -> None:
    for k in range(12):
        dataset = instance_of(SeriesSpec(body), k, k + 1)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
        dataset.set_original_encoding(implicit, little)
        dataset.save_as(tmp_path / str(k), enforce_file_format=True)
    study = read_study([tmp_path], small)
    assert isinstance(study, CtStudy)
    np.testing.assert_array_equal(study.volume.hu, body)


def _format(**values: object) -> PixelFormat:
    plain: dict[str, object] = {
        "transfer_syntax": "1.2.840.10008.1.2.1", "rows": 1, "columns": 4, "samples": 1,
        "photometric": "MONOCHROME2", "bits_allocated": 16, "bits_stored": 12, "signed": False, "padding": None,
    }  # fmt: skip
    return PixelFormat(**{**plain, **values})  # type: ignore[arg-type]


def test_bits_beyond_those_stored_are_cleared() -> None:
    """Old files keep overlays in the unused high bits."""
    stored = np.array([0x1001, 0xFFFF, 0x0800, 0xF000], "<u2").tobytes()
    assert decode_frame(stored, _format()).tolist() == [[1, 4095, 2048, 0]]
    assert decode_frame(stored, _format(signed=True)).tolist() == [[1, -1, -2048, 0]]


def test_padding_is_believed_only_outside_of_what_tissue_has() -> None:
    assert believed_padding(_format(padding=(-2000, -2000)), 1.0, 0.0) == (-2000, -2000)
    assert believed_padding(_format(padding=(0, 0)), 1.0, -1024.0) == (0, 0)
    assert believed_padding(_format(padding=(0, 0)), 1.0, 0.0) is None
    assert believed_padding(_format(padding=(-2000, 100)), 1.0, 0.0) is None


@pytest.mark.parametrize(
    ("stored", "dtype", "intercept", "expected"),
    [
        ([0, 65535], "u2", -1024.0, [-1024, 32767]),
        ([40_000, 33_000], "u2", -32_000.0, [8000, 1000]),
        ([-32_768, 32_767], "i2", -1024.0, [-1024, 31743]),
        ([-32_768, 32_767], "i2", 1024.0, [-1024, 32767]),
        ([0, 2_000_000_000], "i4", 0.0, [0, 32767]),
        ([0, 3000], "u2", -1024.5, [-1024, 1976]),
    ],
)
def test_hounsfield_values_never_wrap(
    body: HuArray, tmp_path: Path, stored: list[int], dtype: str, intercept: float, expected: list[int]
) -> None:
    instance = read_instance(write_series(SeriesSpec(body[:1]), tmp_path)[0], ImagingLimits())
    one = Slice(instance, replace(instance.frames[0], intercept=intercept))
    assert to_hounsfield(np.array([stored], dtype), one).tolist() == [expected]


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "largest_hu", "mean_hu"),
    [
        ("1.2.840.10008.1.2.dcm", 0, 0),
        ("1.2.840.10008.1.2.2.dcm", 0, 0),
        ("1.2.840.10008.1.2.1.99.dcm", 0, 0),
        ("1.2.840.10008.1.2.5.dcm", 0, 0),
        ("1.2.840.10008.1.2.4.57.dcm", 0, 0),
        ("1.2.840.10008.1.2.4.70.dcm", 0, 0),
        ("1.2.840.10008.1.2.4.80.dcm", 0, 0),
        ("1.2.840.10008.1.2.4.90.dcm", 0, 0),
        ("1.2.840.10008.1.2.4.81.dcm", 1, 1),
        ("1.2.840.10008.1.2.4.91.dcm", 6, 1),
        ("1.2.840.10008.1.2.4.51.dcm", 40, 5),
        ("1.2.840.10008.1.2.4.53.dcm", 40, 5),
        ("1.2.840.10008.1.2.4.55.dcm", 40, 5),
        ("1.2.840.10008.1.2.4.50.dcm", 65, 20),  # eight bits over the whole range: 32 HU a step
    ],
)
def test_one_slice_in_every_transfer_syntax(data_dir: Path, name: str, largest_hu: float, mean_hu: float) -> None:
    folder = data_dir / "dicom-quirks" / "transfer-syntaxes"
    (reference,) = folder.glob("*_1.2.840.10008.1.2.1.dcm")
    (path,) = folder.glob(f"*_{name}")
    expected, found = _hounsfield(reference).astype(float), _hounsfield(path).astype(float)
    inside = expected > -1024  # the lossy samples have no padding value
    difference = np.abs(found - expected)[inside]
    assert difference.max() <= largest_hu
    assert difference.mean() <= mean_hu
