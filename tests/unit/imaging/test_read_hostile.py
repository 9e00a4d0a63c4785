"""Damaged and hostile input: a coded fault, fast, and never more memory than the limits say."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless
from synthetic_ct import HuArray, SeriesSpec, instance_of, write_series

from trabecula.errors import (
    Cancelled,
    CorruptInstance,
    ImplausibleSize,
    InputError,
    LimitExceeded,
    MixedPatients,
    MixedStudies,
    NoDicomFound,
    NoPixelData,
    TrabeculaError,
    UnsupportedTransferSyntax,
)
from trabecula.imaging.codecs import codestream_size, decode_frame
from trabecula.imaging.headers import read_instance
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.pixel_element import stored_frames
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, StudyRefused
from trabecula.outcome import RefusalCode, Stage

Series = Callable[..., Path]


def test_no_dicom(tmp_path: Path, small: ImagingLimits) -> None:
    with pytest.raises(NoDicomFound):
        read_study([tmp_path], small)
    (tmp_path / "notes.dcm").write_text("Only the name says DICOM. " * 20)
    with pytest.raises(NoDicomFound):
        read_study([tmp_path], small)
    with pytest.raises(InputError):
        read_study([tmp_path / "nowhere"], small)


def test_pipes_are_never_opened(tmp_path: Path, small: ImagingLimits) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoDicomFound):
        read_study([tmp_path], small)


@pytest.mark.parametrize("side", [10_000, 2_000])
def test_huge_image_announced_on_little_data(body: HuArray, tmp_path: Path, side: int) -> None:
    dataset = instance_of(SeriesSpec(body), 0, 1)
    dataset.Rows = dataset.Columns = side
    dataset.PixelData = b"\0" * 1000
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    started = time.perf_counter()
    with pytest.raises(ImplausibleSize):
        read_study([tmp_path], ImagingLimits())
    assert time.perf_counter() - started < 1.0


def test_many_frames_announced(body: HuArray, series: Series, small: ImagingLimits) -> None:
    with pytest.raises(ImplausibleSize):
        read_study([series(SeriesSpec(body, tags={"NumberOfFrames": 2_000_000_000}))], small)


def test_headers_without_pixels(body: HuArray, series: Series, small: ImagingLimits) -> None:
    with pytest.raises(NoPixelData):
        read_study([series(SeriesSpec(body, tags={"PixelData": None}))], small)
    with pytest.raises(NoPixelData):
        read_study([series(SeriesSpec(body, tags={"Rows": 0}), "series")], small)


def test_all_files_truncated(body: HuArray, series: Series, small: ImagingLimits) -> None:
    study = series(SeriesSpec(body))
    for path in (study / "series").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptInstance):
        read_study([study], small)


def test_one_truncated_file_leaves_a_gap(body: HuArray, series: Series, small: ImagingLimits) -> None:
    study = series(SeriesSpec(body))
    path = study / "series" / "im0006"
    path.write_bytes(path.read_bytes()[:-100])
    refused = read_study([study], small)
    assert isinstance(refused, StudyRefused)
    assert refused.refusals[0].code is RefusalCode.SLICE_GAP
    assert "instances-dropped" in {notice.code for notice in refused.notices}


@pytest.mark.parametrize("cut", [3, 140, 200, 300, 700])
def test_file_cut_within_its_header(body: HuArray, tmp_path: Path, small: ImagingLimits, cut: int) -> None:
    path = write_series(SeriesSpec(body[:1]), tmp_path)[0]
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError):
        read_study([tmp_path], small)


def test_one_damaged_codestream_at_the_end_is_left_out(body: HuArray, tmp_path: Path, small: ImagingLimits) -> None:
    tall = np.concatenate([body] * 5)
    for k in range(60):
        dataset = instance_of(SeriesSpec(tall), k, k + 1)
        dataset.compress(JPEGLSLossless)
        if k == 59:
            dataset.PixelData = dataset.PixelData[:30] + b"\x7f" * (len(dataset.PixelData) - 30)
        dataset.save_as(tmp_path / f"{k:03d}", enforce_file_format=True)
    read = read_study([tmp_path], small)
    assert isinstance(read, CtStudy)
    assert "slices-damaged" in {notice.code for notice in read.notices}
    np.testing.assert_array_equal(read.volume.hu, tall[:59])


def test_codestream_of_another_size_than_the_header(body: HuArray, tmp_path: Path, small: ImagingLimits) -> None:
    for k in range(12):
        dataset = instance_of(SeriesSpec(body), k, k + 1)
        dataset.compress(JPEGLSLossless)
        dataset.Rows = 60
        dataset.save_as(tmp_path / str(k), enforce_file_format=True)
    with pytest.raises(CorruptInstance):
        read_study([tmp_path], small)


def test_codestream_size_is_read_from_the_stream_itself() -> None:
    siz = b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, 60_000, 50_000, 0, 0)
    assert codestream_size(siz) == (50_000, 60_000)
    sof = b"\xff\xd8" + b"\xff\xe0\x00\x04ab" + b"\xff\xc3\x00\x0b\x10" + struct.pack(">HH", 300, 400) + b"\0" * 8
    assert codestream_size(sof) == (300, 400)
    assert codestream_size(b"") is None


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless], ids=str)
@pytest.mark.parametrize("kept", [0.05, 0.4, 0.98])
def test_cut_codestreams_are_told_quickly(body: HuArray, tmp_path: Path, syntax: str, kept: float) -> None:
    """CharLS left alone takes ten seconds over each, the RLE decoder panics."""
    dataset = instance_of(SeriesSpec(np.tile(body, (1, 4, 4))), 0, 1)
    dataset.compress(syntax)
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    instance = read_instance(tmp_path / "a", ImagingLimits())
    with (tmp_path / "a").open("rb") as file:
        (stored,) = stored_frames(instance, file)
    started = time.perf_counter()
    with pytest.raises(CorruptInstance):
        decode_frame(stored[: int(len(stored) * kept)], instance.pixels)
    assert time.perf_counter() - started < 2.0


def test_deflated_bomb(body: HuArray, tmp_path: Path) -> None:
    dataset = instance_of(SeriesSpec(body), 0, 1)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a", enforce_file_format=True)
    head = (tmp_path / "a").read_bytes()
    start = 128 + 4 + 12 + struct.unpack_from("<I", head, 128 + 4 + 8)[0]
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    element = b"\x08\x00\x06\x00OB\0\0" + struct.pack("<I", 50_000_000)
    bomb = deflater.compress(element + b"\0" * 50_000_000) + deflater.flush()
    (tmp_path / "a").write_bytes(head[:start] + bomb)
    with pytest.raises(ImplausibleSize):
        read_study([tmp_path], ImagingLimits(max_inflated_bytes=10_000_000))


def test_deeply_nested_sequences(body: HuArray, tmp_path: Path, small: ImagingLimits) -> None:
    path = write_series(SeriesSpec(body[:1]), tmp_path)[0]
    content = path.read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    opening = b"\x08\x00\x11\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(content[:at] + opening * 5000 + content[at:])
    with pytest.raises(CorruptInstance):
        read_study([tmp_path], small)


def test_believing_neither_size_nor_compression(body: HuArray, series: Series, small: ImagingLimits) -> None:
    study = series(SeriesSpec(body))
    for limits, fault in (
        (replace(small, max_voxels=1000), LimitExceeded),
        (replace(small, max_compression_ratio=0.5), ImplausibleSize),
        (replace(small, max_instances=5), LimitExceeded),
        (replace(small, max_files=5), LimitExceeded),
        (replace(small, max_total_bytes=1000), LimitExceeded),
        (replace(small, max_header_bytes=100), LimitExceeded),
        (replace(small, max_side_pixels=10), ImplausibleSize),
    ):
        with pytest.raises(fault):
            read_study([study], limits)


def test_mixed_patients_and_mixed_studies(body: HuArray, series: Series, small: ImagingLimits) -> None:
    study = series(SeriesSpec(body))
    series(SeriesSpec(body, series_uid="1.2.3.9", study_uid="1.2.9"), "second")
    with pytest.raises(MixedStudies):
        read_study([study], small)
    series(SeriesSpec(body, series_uid="1.2.3.8", study_uid="1.2.9", tags={"PatientID": "TEST-2"}), "third")
    with pytest.raises(MixedPatients) as fault:
        read_study([study], small)
    assert "TEST" not in fault.value.client_message


def test_unsupported_transfer_syntax(body: HuArray, series: Series, small: ImagingLimits) -> None:
    study = series(SeriesSpec(body))
    for path in (study / "series").iterdir():
        dataset = dcmread(path)
        dataset.compress(JPEGLSLossless)
        dataset.save_as(path)
        content = path.read_bytes()
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.64"))
    with pytest.raises(UnsupportedTransferSyntax):
        read_study([study], small)


def test_a_series_that_cannot_be_decoded_gives_way_to_the_next(
    body: HuArray, series: Series, small: ImagingLimits
) -> None:
    study = series(SeriesSpec(body, tags={"ConvolutionKernel": "Br64f"}))
    for path in (series(SeriesSpec(body, series_uid="1.2.3.7"), "soft") / "soft").iterdir():
        dataset = dcmread(path)
        dataset.compress(JPEGLSLossless)
        dataset.PixelData = dataset.PixelData[:20] + b"\0" * 40
        dataset.save_as(path)
    read = read_study([study], small)
    assert isinstance(read, CtStudy)
    assert read.acquisition.kernel == "Br64f"
    assert "series-not-decodable" in {notice.code for notice in read.notices}


def test_cancelling_is_let_through(body: HuArray, series: Series, small: ImagingLimits) -> None:
    def stop(_stage: Stage, fraction: float) -> None:
        if fraction > 0.5:
            raise Cancelled()

    with pytest.raises(Cancelled):
        read_study([series(SeriesSpec(body))], small, stop)


def test_progress_runs_from_start_to_end(body: HuArray, series: Series, small: ImagingLimits) -> None:
    seen: list[float] = []
    read_study([series(SeriesSpec(body))], small, lambda _stage, fraction: seen.append(fraction))
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
    assert len(seen) > 5


def test_mutated_files_never_escape_the_error_tree(
    body: HuArray, tmp_path: Path, small: ImagingLimits, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(3)
    paths = write_series(SeriesSpec(body, tags={"PatientID": "SECRET-ID"}), tmp_path)
    original = [path.read_bytes() for path in paths]
    words: list[str] = []
    for _ in range(20):
        for path, content in zip(paths, original, strict=True):
            mutated = bytearray(content)
            for at in random.integers(132, len(content), size=random.integers(1, 6)):
                mutated[at] = random.integers(256)
            path.write_bytes(mutated)
        try:
            read_study([tmp_path], small)
        except TrabeculaError as fault:
            words.append(f"{fault}{fault.client_message}")
    captured = capfd.readouterr()
    assert "SECRET" not in "".join([captured.out, captured.err, *words])
