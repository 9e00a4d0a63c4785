"""Identifiers are the same in every output, and a damaged one is nobody's."""

from __future__ import annotations

import io
from pathlib import Path

import dicom_headers
import pydicom
import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from trabecula.imaging import tags
from trabecula.imaging.elements import Elements, identifier
from trabecula.imaging.facts import identifier_of
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import DicomOptions, read_source, to_dicom
from trabecula.outputs.dicom.header import clean_header
from trabecula.outputs.r4.filing import header_text

IDENTIFIERS = {"PatientID": "LO", "AccessionNumber": "SH", "IssuerOfPatientID": "LO"}
DAMAGED = ["AB\x07C", "AB\tC", "AB\nC", "AB\\C", "AB\0C", "\x01ABC", "ABC\x7f", "ABC\r\n"]


def header(keyword: str, vr: str, value: bytes, charset: bytes = b"ISO_IR 100") -> Elements:
    """A header with one element, as it is read from a file."""

    def element(tag: int, vr: str, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        number = Tag(tag)
        head = number.group.to_bytes(2, "little") + number.element.to_bytes(2, "little") + vr.encode()
        return head + len(value).to_bytes(2, "little") + value

    written = element(int(Tag("SpecificCharacterSet")), "CS", charset) + element(int(Tag(keyword)), vr, value)
    return Elements(read_dataset(DicomBytesIO(written), False, True))


@pytest.mark.parametrize("keyword", IDENTIFIERS)
@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_damaged_identifier_is_nobodys(keyword: str, damaged: str) -> None:
    source = header(keyword, IDENTIFIERS[keyword], damaged.encode("latin-1"))
    given_out = str(clean_header(source)[keyword].value)
    assert given_out == damaged.translate(dict.fromkeys(map(ord, "\x07\t\n\\\0\x01\x7f\r"), "\ufffd"))
    assert given_out not in ("ABC", "AB")


@pytest.mark.parametrize("keyword", IDENTIFIERS)
@given(value=st.binary(max_size=20), charset=st.sampled_from([b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b""]))
def test_every_output_says_the_same(keyword: str, value: bytes, charset: bytes) -> None:
    source = header(keyword, IDENTIFIERS[keyword], value, charset)
    imaging = identifier_of(source, int(Tag(keyword)))
    found = clean_header(source)
    assert (str(found[keyword].value) if keyword in found else "") == (imaging or "")
    assert header_text(imaging) == ((imaging or "") if (imaging or "").strip("\ufffd ") else None)


@given(st.text(max_size=12), st.text(max_size=12))
def test_one_becomes_another_only_by_losing_padding_or_by_being_damaged(one: str, another: str) -> None:
    if identifier(one) == identifier(another) and "\ufffd" not in identifier(one):
        assert one.strip(" \0") == another.strip(" \0")


def test_an_identifier_in_another_character_set_is_whole() -> None:
    kanji = "患者7".encode("iso2022_jp")
    assert identifier_of(header("PatientID", "LO", kanji, b"\\ISO 2022 IR 87"), tags.PATIENT_ID) == "患者7"
    assert identifier_of(header("PatientID", "LO", b"  ABC  "), tags.PATIENT_ID) == "ABC"
    assert identifier_of(header("PatientID", "LO", b""), tags.PATIENT_ID) is None


def test_other_texts_with_control_characters_are_left_out_and_names_show_them() -> None:
    assert "StudyDescription" not in clean_header(header("StudyDescription", "LO", b"CT\x07Thorax"))
    assert clean_header(header("StudyDescription", "LO", b"CT Thorax\r\n")).StudyDescription == "CT Thorax"
    assert clean_header(header("PatientName", "PN", b"Doe\x07^Jane")).PatientName == "Doe\ufffd^Jane"


def test_the_objects_say_what_the_report_says(tmp_path: Path) -> None:
    dicom_headers.write_headers(
        tmp_path, samples.geometry(), samples.STUDY_UID, samples.SERIES_UID, planes=2, PatientID="AB\x07C"
    )
    source = read_source([tmp_path], samples.SERIES_UID, ImagingLimits())
    assert source is not None
    for dataset in to_dicom(samples.screening(samples.refused()), source, DicomOptions()).datasets.values():
        assert read_back(dataset).PatientID == "AB\ufffdC"


def read_back(dataset: Dataset) -> Dataset:
    """Written to a file and read."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)
