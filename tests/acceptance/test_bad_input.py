"""Bad input gets a clear, coded answer, fast, and the engine reads the next study."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from trabecula.errors import InputError
from trabecula.screening import Engine, screen

SECONDS_ALLOWED = 10.0
"""Generous: the machine may be busy. Seen: well under one second."""


def instances(study: Path) -> list[Path]:
    return sorted(path for path in study.rglob("*.dcm"))


def text_file(_study: Path, folder: Path) -> None:
    (folder / "notes.txt").write_text("this is not DICOM", encoding="utf-8")


def nothing(_study: Path, _folder: Path) -> None:
    """An empty folder."""


def magnetic_resonance(study: Path, folder: Path) -> None:
    for index, path in enumerate(instances(study)[:20]):
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.Modality = "MR"
        dataset.save_as(folder / f"{index}.dcm")


def truncated(study: Path, folder: Path) -> None:
    for path in instances(study):
        content = path.read_bytes()
        (folder / path.name).write_bytes(content[: len(content) // 3])


def header_alone(study: Path, folder: Path) -> None:
    for path in instances(study):
        dataset = pydicom.dcmread(path)
        del dataset.PixelData
        dataset.save_as(folder / path.name)


def one_slice(study: Path, folder: Path) -> None:
    (folder / "one.dcm").write_bytes(instances(study)[40].read_bytes())


def huge_header(study: Path, folder: Path) -> None:
    for index, path in enumerate(instances(study)[:60]):
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 10_000
        dataset.PixelData = np.zeros(512, dtype=np.int16).tobytes()
        dataset.save_as(folder / f"{index}.dcm")


def mixed_patients(study: Path, folder: Path) -> None:
    for index, path in enumerate(instances(study)):
        dataset = pydicom.dcmread(path)
        if index % 2:
            dataset.PatientID = "SOMEBODY-ELSE"
            dataset.StudyInstanceUID = generate_uid(entropy_srcs=["other study"])
        dataset.save_as(folder / path.name)


CASES: dict[str, tuple[Callable[[Path, Path], None], set[str]]] = {
    "text file": (text_file, {"no-dicom-found"}),
    "empty folder": (nothing, {"no-dicom-found"}),
    "magnetic resonance": (magnetic_resonance, {"not-ct"}),
    "truncated instances": (truncated, {"corrupt-instance"}),
    "header without pixels": (header_alone, {"no-pixel-data"}),
    "one slice": (one_slice, {"too-few-slices"}),
    "huge header on little data": (huge_header, {"implausible-size"}),
    "two patients mixed": (mixed_patients, {"mixed-patients"}),
}


def answer(engine: Engine, folder: Path) -> tuple[set[str], str]:
    """Codes, and all the words a client would see."""
    try:
        refusals = screen([folder], engine).report.refusals
    except InputError as error:
        return {error.code}, error.client_message
    return {str(refusal.code) for refusal in refusals}, " ".join(refusal.message for refusal in refusals)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_answered_with_its_code(engine: Engine, phantom_study: Path, tmp_path: Path, name: str) -> None:
    spoil, expected = CASES[name]
    spoil(phantom_study, tmp_path)
    started = time.monotonic()
    codes, words = answer(engine, tmp_path)
    assert codes == expected
    assert "SOMEBODY" not in words
    assert time.monotonic() - started < SECONDS_ALLOWED
