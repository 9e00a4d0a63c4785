"""Patient data that nobody could mistake for anything else, and a search for it in whatever form it may have leaked."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

UID_ROOT: Final = "1.2.826.0.1.3680043.10.9177.47110815"

CANARIES: Final[Mapping[str, str]] = {
    "PatientName": "QZFAMILY^QZGIVEN^QZMIDDLE",
    "PatientID": "QZPID-0815",
    "PatientBirthDate": "19470811",
    "AccessionNumber": "QZACCESSION",
    "OtherPatientIDs": "QZOTHERID",
    "OtherPatientNames": "QZOTHERNAME^QZOTHERGIVEN",
    "PatientAddress": "QZSTREET 12",
    "PatientTelephoneNumbers": "QZPHONE 555",
    "PatientMotherBirthName": "QZMOTHER",
    "PatientComments": "QZCOMMENT",
    "AdditionalPatientHistory": "QZHISTORY",
    "MedicalRecordLocator": "QZLOCATOR",
    "EthnicGroup": "QZETHNIC",
    "Occupation": "QZOCCUPATION",
    "ReferringPhysicianName": "QZREFERRER^QZREFGIVEN",
    "PerformingPhysicianName": "QZPERFORMER",
    "OperatorsName": "QZOPERATOR",
    "InstitutionName": "QZINSTITUTION",
    "InstitutionAddress": "QZINSTADDRESS",
    "InstitutionalDepartmentName": "QZDEPARTMENT",
    "StationName": "QZSTATION",
    "DeviceSerialNumber": "QZSERIAL",
    "StudyID": "QZSTUDYID",
    "StudyDescription": "QZSTUDYDESC",
    "SeriesDescription": "QZSERIESDESC",
    "ProtocolName": "QZPROTOCOL",
    "ImageComments": "QZIMAGECOMMENT",
    "IssuerOfPatientID": "QZISSUER",
    "AdmissionID": "QZADMISSION",
    "RequestedProcedureDescription": "QZREQDESC",
    "StudyInstanceUID": f"{UID_ROOT}.1",
    "SeriesInstanceUID": f"{UID_ROOT}.2",
    "SOPInstanceUID": f"{UID_ROOT}.3",
    "FrameOfReferenceUID": f"{UID_ROOT}.4",
}
"""By DICOM attribute. Every text of a request starts with QZ too, so that one short word finds them all."""

BIRTH_DATES: Final = ("19470811", "1947-08-11", "11.08.1947")
WORD: Final = re.compile(rb"QZ[A-Z]{4,}", re.IGNORECASE)


@dataclass(frozen=True)
class Leak:
    """Something that should not be where it is."""

    where: str
    form: str
    context: str

    def __str__(self) -> str:
        return f"{self.where}: {self.form} in ...{self.context}..."


def words() -> tuple[str, ...]:
    """The single words of all canaries: parts of names stand alone too."""
    found = {part for value in CANARIES.values() for part in re.split(r"[\^ ]", value) if part.startswith("QZ")}
    return tuple(sorted({*found, "QZREQUEST", CANARIES["PatientID"]}))


def needles() -> dict[bytes, str]:
    """Lower-case byte strings to look for, and what each is."""
    found: dict[bytes, str] = {}
    for text in (*words(), UID_ROOT, *BIRTH_DATES):
        for form, data in _forms(text):
            found.setdefault(data.lower(), form)
    return found


def _forms(text: str) -> Iterator[tuple[str, bytes]]:
    yield f"{text} in clear", text.encode()
    yield f"{text} reversed", text[::-1].encode()
    for codec in ("utf-16-le", "utf-16-be"):
        yield f"{text} as {codec}", text.encode(codec)
    yield f"{text} as hex", text.encode().hex().encode()
    yield f"{text} percent-encoded", "".join(f"%{byte:02x}" for byte in text.encode()).encode()
    yield f"{text} quoted for an address", quote(text, safe="").encode()
    yield f"{text} with JSON escapes", "".join(f"\\u{ord(char):04x}" for char in text).encode()
    yield f"{text} with HTML references", "".join(f"&#{ord(char)};" for char in text).encode()
    yield f"{text} escaped for HTML", html.escape(text).encode()
    yield f"{text} as bytes in Python", repr(text.encode()).encode()[2:-1]
    yield f"{text} in JSON", json.dumps(text).encode()[1:-1]
    for shift in range(3):
        # base64 depends on where in the whole the text begins; the ends mix with what stands around it
        coded = base64.b64encode(b"\0" * shift + text.encode()).decode().rstrip("=")
        yield f"{text} in base64", coded[(0, 2, 3)[shift] : -1].encode()


_NEEDLES: Final = needles()
# One expression for the text in lower case; base64 of lower-cased text is compared in lower case, which is as rare.
_ANY: Final = re.compile(b"|".join(re.escape(each) for each in sorted(_NEEDLES, key=len, reverse=True)))


def leaks(where: str, data: bytes | str) -> list[Leak]:
    """Every canary in the data, in any form, at most one of each."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    lower = raw.lower()
    found: dict[str, Leak] = {}
    for match in _ANY.finditer(lower):
        _note(found, where, _NEEDLES[match[0]], raw, match.start(), match.end())
    for match in WORD.finditer(raw):
        _note(found, where, f"{match[0].decode()} in clear", raw, match.start(), match.end())
    return list(found.values())


def _note(found: dict[str, Leak], where: str, form: str, raw: bytes, start: int, end: int) -> None:
    context = raw[max(0, start - 120) : end + 60].decode("utf-8", "replace").replace("\n", " ")
    found.setdefault(form, Leak(where, form, context))
