"""Which of a screening's documents go to a PACS, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom import dcmread

from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.destinations import DicomObject
from trabecula.delivery.sending import TOPICS, Parcel
from trabecula.work.content import ContentStore
from trabecula.work.packing import read_document
from trabecula.work.records import DocumentKind

KINDS: Final = {
    DicomObject.SR: DocumentKind.DICOM_SR,
    DicomObject.SEG: DocumentKind.DICOM_SEG,
    DicomObject.PDF: DocumentKind.DICOM_PDF,
    DicomObject.SC: DocumentKind.DICOM_SC,
}


@dataclass(frozen=True)
class ResultObject:
    """One object as a DICOM file. Holds patient data; never logged."""

    kind: DicomObject
    sop_class: str
    sop_uid: str
    transfer_syntax: str
    file: bytes


async def result_objects(
    parcel: Parcel, content: ContentStore, wanted: Sequence[DicomObject]
) -> tuple[ResultObject, ...]:
    """The objects that a destination wants and the screening has, the Segmentation first: the SR refers to it.

    Of a later version that a person's decision made, only the SR, where the earlier one has arrived.

    Raises:
        Setback: PARK when there is none, or one cannot be read.
    """
    documents = dict(parcel.documents)
    if parcel.follows and parcel.topic not in TOPICS.values():
        # A decision makes a new SR; what else there is lies there already.
        wanted = [kind for kind in wanted if kind is DicomObject.SR]
    order = [kind for kind in (DicomObject.SEG, DicomObject.SR, DicomObject.PDF, DicomObject.SC) if kind in wanted]
    found = [(kind, documents[KINDS[kind].value]) for kind in order if KINDS[kind].value in documents]
    if not found:
        raise Setback(Verdict.PARK, "no-dicom-results")
    return tuple([_object(kind, await read_document(content, KINDS[kind], ref)) for kind, ref in found])


def _object(kind: DicomObject, file: bytes) -> ResultObject:
    header = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    syntax = str(header.file_meta.TransferSyntaxUID)
    return ResultObject(kind, str(header.SOPClassUID), str(header.SOPInstanceUID), syntax, file)
