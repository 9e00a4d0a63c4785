"""Results to a PACS by C-STORE (PS3.4 B), with what each answer means for the delivery."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom import dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.destinations import DimseDestination
from trabecula.delivery.pacs.objects import ResultObject, result_objects
from trabecula.delivery.sending import Parcel, Sent
from trabecula.errors import DestinationsFileError
from trabecula.work.content import ContentStore

WAY: Final = "c-store"
STORAGE: Final = (
    SegmentationStorage,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
)
"""What is proposed, as user; ``docs/dicom-conformance.md`` is held to it."""
TRANSFER_SYNTAXES: Final = (ExplicitVRLittleEndian,)
_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)})
"""Stored, with a remark (PS3.7 C.4)."""
_RETRIED: Final = frozenset({0x0110, 0x0213, *range(0xA700, 0xA800)})
_PARKED: Final = {
    0x0105: "content-refused",
    0x0106: "content-refused",
    0x0117: "content-refused",
    0x0118: "sop-class-refused",
    0x0122: "sop-class-refused",
    0x0124: "forbidden",
}
_PERMANENT: Final = 1
"""Result of an A-ASSOCIATE-RJ that says so (PS3.8 9.3.4)."""


@dataclass(frozen=True)
class StoreOutcome:
    """What the PACS said of one object."""

    verdict: Verdict
    reason: str
    status: int | None = None


def outcome_of(status: int | None) -> StoreOutcome:
    """What a C-STORE status means; None is no answer."""
    if status is None:
        return StoreOutcome(Verdict.RETRY, "timed-out")
    if status == 0 or status in _WARNINGS:
        return StoreOutcome(Verdict.OK, "stored", status)
    if status in _RETRIED:
        return StoreOutcome(Verdict.RETRY, "out-of-resources", status)
    if status in _PARKED:
        return StoreOutcome(Verdict.PARK, _PARKED[status], status)
    return StoreOutcome(Verdict.PARK, "content-refused", status)


@dataclass(frozen=True)
class DimseSender:
    """Sends the results of a screening to one PACS; a :data:`trabecula.delivery.sending.Send`."""

    destination: DimseDestination
    content: ContentStore

    async def __call__(self, parcel: Parcel) -> Sent:
        """All objects on one association. Sending them again is harmless: their UIDs are the same.

        Raises:
            Setback: RETRY when the PACS cannot be reached or has no room, PARK when it refuses.
        """
        objects = await result_objects(parcel, self.content, self.destination.objects)
        return await asyncio.to_thread(send, objects, self.destination)


def send(objects: Sequence[ResultObject], destination: DimseDestination) -> Sent:
    """Send objects over one association. Blocks. Raises as :class:`DimseSender`."""
    association = _associate(objects, destination)
    try:
        left_out = frozenset(each.kind.value for each in objects if not _takes(association, each))
        if len(left_out) == len({each.kind for each in objects}):
            raise Setback(Verdict.PARK, "sop-class-refused")
        for each in objects:
            if each.kind.value not in left_out:
                _store(association, each)
    except BaseException:
        association.abort()
        raise
    association.release()
    return Sent(WAY, left_out)


def _associate(objects: Sequence[ResultObject], destination: DimseDestination) -> Association:
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it would log addresses and, at debug, data sets
    entity = AE(destination.calling_ae_title)
    entity.requested_contexts = requested_contexts(objects)
    limits = destination.limits
    entity.connection_timeout = entity.acse_timeout = limits.timeout_s
    entity.dimse_timeout = entity.network_timeout = limits.timeout_s
    tls = tls_context(destination)
    association = entity.associate(
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        tls_args=None if tls is None else (tls, destination.host),
    )
    if association.is_established:
        return association
    if association.is_rejected:
        answer = association.acceptor.primitive
        permanent = answer is not None and answer.result == _PERMANENT
        raise Setback(Verdict.PARK if permanent else Verdict.RETRY, "association-rejected")
    raise Setback(Verdict.RETRY, "connection")


def requested_contexts(objects: Sequence[ResultObject]) -> list[PresentationContext]:
    """A context for each class among the objects."""
    return [
        build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE if uid in {each.sop_class for each in objects}
    ]


def _takes(association: Association, each: ResultObject) -> bool:
    return any(
        context.abstract_syntax == each.sop_class and each.transfer_syntax in context.transfer_syntax
        for context in association.accepted_contexts
    )


def _store(association: Association, each: ResultObject) -> None:
    try:
        answer = association.send_c_store(dcmread(BytesIO(each.file)))
    except RuntimeError as error:  # the association has ended
        raise Setback(Verdict.RETRY, "connection") from error
    outcome = outcome_of(answer.get("Status"))
    if outcome.verdict is not Verdict.OK:
        raise Setback(outcome.verdict, outcome.reason, status=outcome.status)


def tls_context(destination: DimseDestination) -> ssl.SSLContext | None:
    if destination.tls_ca_file is None and destination.tls_certificate_file is None:
        return None
    try:
        ca_file = None if destination.tls_ca_file is None else str(destination.tls_ca_file)
        context = ssl.create_default_context(cafile=ca_file)
        if destination.tls_certificate_file is not None:
            context.load_cert_chain(destination.tls_certificate_file, destination.tls_key_file)
    except OSError as error:
        raise DestinationsFileError(name=destination.name, why="its TLS files cannot be used") from error
    return context
