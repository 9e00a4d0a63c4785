"""Results at rest: small, a DICOM file still, and given out as the bytes that were made."""

import io

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from trabecula.errors import ContentDamaged
from trabecula.work import packing
from trabecula.work.packing import packed, unpacked

MASK = bytes(200_000) + b"\x0f\xf0" * 50 + bytes(200_000)


def made(pixels: bytes, syntax: str = ExplicitVRLittleEndian, name: str = "A^B") -> bytes:
    """A file as the result writers make them."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", generate_uid(entropy_srcs=["x"])
    dataset.PatientName = name
    dataset.add_new(0x7FE00010, "OB", pixels)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_mask_takes_a_hundredth():
    file = made(MASK)
    assert len(packed(file)) < len(file) / 100


def test_what_is_kept_is_a_dicom_file_with_the_same_data():
    kept = pydicom.dcmread(io.BytesIO(packed(made(MASK))))
    assert kept.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert kept.PixelData == MASK
    assert len(packed(made(MASK))) % 2 == 0


@given(pixels=st.binary(max_size=3000), name=st.text(st.characters(codec="ascii", categories=["L"]), max_size=40))
def test_what_comes_out_is_what_was_made(pixels: bytes, name: str):
    file = made(pixels + b"\0" * (len(pixels) % 2), name=name)
    assert packed(file) != file
    assert len(packed(file)) % 2 == 0
    assert unpacked(packed(file)) == file


@pytest.mark.parametrize("file", [b"", b"%PDF-1.7", made(MASK, ImplicitVRLittleEndian), made(b"\0\0")[:140]])
def test_what_is_no_such_file_stays_as_it_is(file: bytes):
    assert packed(file) == file
    assert unpacked(file) == file


def test_results_kept_before_this_version_stay_as_they_are():
    file = made(MASK)
    assert unpacked(file) == file


@given(st.data())
def test_damaged_bytes_are_said_to_be_damaged(data: st.DataObject):
    kept = packed(made(MASK))
    cut = data.draw(st.integers(400, len(kept) - 4))
    with pytest.raises(ContentDamaged):
        unpacked(kept[:cut])


def test_what_grows_beyond_any_result_is_damaged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "MOST_UNPACKED_BYTES", len(MASK) // 2)
    with pytest.raises(ContentDamaged):
        unpacked(packed(made(MASK)))
