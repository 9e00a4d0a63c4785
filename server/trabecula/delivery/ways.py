"""How to send to each destination of the site's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import dcmread

from trabecula.delivery.deliverer import Way
from trabecula.delivery.destinations import (
    Destination,
    DimseDestination,
    FhirDestination,
    SmartAuth,
    StowDestination,
    WebDestination,
)
from trabecula.delivery.fhir_client import FhirClient
from trabecula.delivery.fhir_sender import FhirSender, LoadPdf
from trabecula.delivery.pacs import DimseSender, StowSender
from trabecula.delivery.sending import Parcel, Send
from trabecula.delivery.smart import TokenSource
from trabecula.delivery.standing import DatabaseExperiences, DatabaseMemory
from trabecula.delivery.transport import Transport, open_client
from trabecula.errors import DestinationsFileError
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.packing import read_document
from trabecula.work.records import DocumentKind

Clock = Callable[[], datetime]

MOST_DOCUMENT_BYTES: Final = 20 * 1024 * 1024
"""A larger document does not go into a FHIR resource."""


def make_ways(
    destinations: Sequence[Destination],
    database: Database,
    content: ContentStore,
    keys_dir: Path | None,
    clock: Clock,
) -> Mapping[str, Way]:
    """Ways by name. To be called where the event loop runs; opens no connection yet.

    Args:
        destinations: as :func:`trabecula.delivery.destinations.read_destinations` gives them.
        database: keeps what is learnt of destinations.
        content: has the documents.
        keys_dir: folder of signing keys for destinations that name none.
        clock: current time.

    Raises:
        DestinationsFileError: if a file that an entry names cannot be used, or it asks for keys and there is no folder.
    """
    return {each.name: Way(each, _send(each, database, content, keys_dir, clock)) for each in destinations}


def _send(
    destination: Destination, database: Database, content: ContentStore, keys_dir: Path | None, clock: Clock
) -> Send:
    if isinstance(destination, DimseDestination):
        return DimseSender(destination, content)
    if isinstance(destination, StowDestination):
        transport = web_transport(destination)
        tokens = token_source(destination, transport, keys_dir, clock)
        return StowSender(destination, content, transport, clock, tokens)
    return FhirSender(
        destination=destination,
        client=fhir_client(destination, keys_dir, clock),
        memory=DatabaseMemory(database, destination.name),
        experiences=DatabaseExperiences(database),
        load_pdf=_pdf_loader(content),
        clock=clock,
    )


def fhir_client(destination: FhirDestination, keys_dir: Path | None, clock: Clock) -> FhirClient:
    """The client of a FHIR destination. Raises as :func:`make_ways`."""
    transport = web_transport(destination)
    return FhirClient(destination.base_url, transport, clock, token_source(destination, transport, keys_dir, clock))


def web_transport(destination: WebDestination) -> Transport:
    """HTTP to a destination. Raises as :func:`make_ways`."""
    try:
        return Transport(open_client(destination), destination.limits)
    except OSError as error:  # ssl.SSLError is one
        raise DestinationsFileError(name=destination.name, why="ca_file cannot be used") from error


def token_source(
    destination: WebDestination, transport: Transport, keys_dir: Path | None, clock: Clock
) -> TokenSource | None:
    """Access tokens for a destination that wants them. Raises as :func:`make_ways`."""
    auth = destination.auth
    if not isinstance(auth, SmartAuth):
        return None
    folder = auth.key_folder or keys_dir
    if folder is None:
        raise DestinationsFileError(name=destination.name, why="needs key_folder or TRABECULA_CLIENT_KEYS_DIR")
    return TokenSource(destination.base_url, auth, folder, transport, clock)


def _pdf_loader(content: ContentStore) -> LoadPdf:
    async def load(parcel: Parcel) -> bytes | None:
        found = dict(parcel.documents).get(DocumentKind.DICOM_PDF.value)
        if found is None or found.size_bytes > MOST_DOCUMENT_BYTES:
            return None
        file = await read_document(content, DocumentKind.DICOM_PDF, found)
        return None if len(file) > MOST_DOCUMENT_BYTES else await asyncio.to_thread(encapsulated_pdf, file)

    return load


def encapsulated_pdf(file: bytes) -> bytes | None:
    """The PDF inside an Encapsulated PDF object (PS3.3 A.45.1); None when it holds none."""
    data = dcmread(BytesIO(file))
    pdf = bytes(data.get("EncapsulatedDocument", b""))
    # Elements are of even length; the true one stands beside it in newer objects
    length = int(data.get("EncapsulatedDocumentLength", 0)) or len(pdf)
    return pdf[:length] if pdf.startswith(b"%PDF") else None
