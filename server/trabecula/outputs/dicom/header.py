"""A source header cleaned for reuse: what a result says of patient and study is what the images say, and valid.

Result objects repeat the Patient, General Study, Patient Study and Frame of Reference modules of their source
(PS3.3 C.7.1.1, C.7.2.1, C.7.2.2, C.7.4.1). Text is decoded in the source's character set and written in UTF-8
(``ISO_IR 192``). A value that its VR forbids is left out, never mended by guessing; identifiers alone go through
as they are, because a result that does not match its patient is worse than one with a long identifier. What no
identifier may hold shows as U+FFFD there, as in every other output: it never becomes another patient's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from trabecula.imaging import tags
from trabecula.imaging.elements import Elements
from trabecula.imaging.facts import identifier_of

UTF_8: Final = "ISO_IR 192"

REQUIRED: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "PositionReferenceIndicator",
)
"""Type 2: present even when empty."""
OPTIONAL: Final = (
    "IssuerOfPatientID",
    "PatientBirthTime",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "FrameOfReferenceUID",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionName",
    "StationName",
    "DeviceSerialNumber",
    "LossyImageCompression",
)
CODES: Final = ("DeidentificationMethodCodeSequence", "ProcedureCodeSequence")
"""Sequences of codes that are repeated."""
HEADER_TAGS: Final = tuple(
    int(tag_for_keyword(keyword) or 0)
    for keyword in (*REQUIRED, *OPTIONAL, *CODES, "PatientIdentityRemoved", "DeidentificationMethod")
)

_LENGTHS: Final = {"SH": 16, "LO": 64, "CS": 16, "ST": 1024, "LT": 10240, "DS": 16, "AS": 4}
_IDENTIFIERS: Final = frozenset({"PatientID", "AccessionNumber", "IssuerOfPatientID"})
_UID: Final = re.compile(r"[0-9.]{1,64}")
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_AGE: Final = re.compile(r"\d{3}[DWMY]")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CODE: Final = re.compile(r"[A-Z0-9_ ]{1,16}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PADDING: Final = " \0\t\n\f\r"
_NAME_DELIMITERS: Final = {0x5C, 0x5E, 0x3D}
_TEXT_DELIMITERS: Final = {0x5C, 0x09, 0x0A, 0x0C, 0x0D}


def clean_header(source: Elements) -> Dataset:
    """Patient, study and equipment of a source, and its Frame of Reference; ``StudyInstanceUID`` is left to callers."""
    header = Dataset()
    header.SpecificCharacterSet = UTF_8
    encodings = convert_encodings(list(source.texts(tags.CHARACTER_SET)) or None)
    for keyword in REQUIRED:
        setattr(header, keyword, _value(source, keyword, encodings) or "")
    for keyword in OPTIONAL:
        if value := _value(source, keyword, encodings):
            setattr(header, keyword, value)
    for keyword in CODES:
        if codes := _codes(source, keyword, encodings):
            setattr(header, keyword, codes)
    _deidentification(source, header, encodings)
    return header


def _deidentification(source: Elements, header: Dataset, encodings: list[str]) -> None:
    """PS3.3 C.7.1.1: who says that identity was removed says how."""
    removed = _value(source, "PatientIdentityRemoved", encodings)
    method = _value(source, "DeidentificationMethod", encodings)
    if removed in ("YES", "NO") and (removed == "NO" or method or "DeidentificationMethodCodeSequence" in header):
        header.PatientIdentityRemoved = removed
        if method:
            header.DeidentificationMethod = method
    elif "DeidentificationMethodCodeSequence" in header:
        del header.DeidentificationMethodCodeSequence


def _value(source: Elements, keyword: str, encodings: list[str]) -> str | None:
    tag = int(tag_for_keyword(keyword) or 0)
    vr = dictionary_VR(tag)
    if keyword in _IDENTIFIERS:
        return identifier_of(source, tag)
    text = _decoded(source.bytes(tag), vr, encodings)
    if keyword == "PatientName":
        return _CONTROLS.sub("\ufffd", text) or None
    return text if text and not _CONTROLS.search(text) and _valid(keyword, vr, text) else None


def _decoded(value: bytes, vr: str, encodings: list[str]) -> str:
    """The first value, without padding."""
    delimiters = _NAME_DELIMITERS if vr == "PN" else _TEXT_DELIMITERS
    text = decode_bytes(value, encodings, delimiters)
    if vr not in ("ST", "LT", "UT"):
        text = text.split("\\")[0]
    return text.strip(_PADDING)


def _valid(keyword: str, vr: str, text: str) -> bool:
    if keyword == "PatientSex":
        return text in ("M", "F", "O")
    if len(text) > _LENGTHS.get(vr, 1 << 16):
        return False
    check = _CHECKS.get(vr)
    return check is None or check(text)


def _is_date(text: str) -> bool:
    try:
        return len(text) == 8 and bool(date.fromisoformat(text))
    except ValueError:
        return False


_CHECKS: Final[dict[str, Callable[[str], bool]]] = {
    "UI": lambda text: _UID.fullmatch(text) is not None,
    "DA": _is_date,
    "TM": lambda text: _TIME.fullmatch(text) is not None,
    "AS": lambda text: _AGE.fullmatch(text) is not None,
    "DS": lambda text: _NUMBER.fullmatch(text) is not None,
    "CS": lambda text: _CODE.fullmatch(text) is not None,
}


def _codes(source: Elements, keyword: str, encodings: list[str]) -> list[Dataset]:
    found = []
    for item in source.items(int(tag_for_keyword(keyword) or 0)):
        code = Dataset()
        for name in ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"):
            if value := _value(item, name, encodings):
                setattr(code, name, value)
        if all(name in code for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")):
            found.append(code)
    return found
