"""Results are kept deflated; everybody who asks for them gets them as every archive and viewer reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dicom_headers
import pydicom
import pytest
import report_samples as samples
from dicomweb_client.api import DICOMwebClient
from fake_screens import fake_screen
from live_service import StartServer
from orthanc import MISSING, Orthanc, orthanc_missing, running_orthanc
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from trabecula.delivery.destinations import DimseDestination, Limits, Network, StowDestination
from trabecula.delivery.sending import Parcel
from trabecula.delivery.ways import make_ways
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import DicomOptions, ObjectKind, read_source, to_dicom
from trabecula.outputs.r4 import FhirOptions
from trabecula.service.client import Client
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.packing import is_dicom, packed
from trabecula.work.records import DocumentKind
from trabecula.work.runner import Perform, ThreadRunner, perform


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if orthanc_missing():
        pytest.skip(MISSING)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    dicom_headers.write_headers(tmp_path / "study", samples.geometry(), samples.STUDY_UID, samples.SERIES_UID)
    return tmp_path / "study"


def made_of(headers: Path) -> dict[ObjectKind, bytes]:
    source = read_source([headers], samples.SERIES_UID, ImagingLimits())
    assert source is not None
    return to_dicom(samples.screening(), source).files()


def make_perform() -> Perform:
    return partial(perform, fake_screen, FhirOptions(), dicom=(DicomOptions(), ImagingLimits()))


def test_a_caller_gets_the_file_and_the_store_keeps_it_small(
    headers: Path, start_server: StartServer, tmp_path: Path
) -> None:
    live = start_server(ThreadRunner(make_perform, 1))
    with Client(live.address) as client:
        last = list(client.watch(client.submit(sorted(headers.iterdir()))))[-1]
        given = tmp_path / "seg.dcm"
        client.save_document(last.screening_id, DocumentKind.DICOM_SEG, given)
        page = tmp_path / "report.json"
        client.save_document(last.screening_id, DocumentKind.REPORT_JSON, page)
    assert page.read_bytes().startswith(b"{")

    async def kept() -> dict[DocumentKind, bytes]:
        record = await live.server.store.get(last.screening_id)
        content = live.server.content
        refs = {kind: await live.server.store.document(record.screening_id, kind) for kind in record.documents}
        return {kind: b"".join([piece async for piece in content.read(ref)]) for kind, ref in refs.items()}

    files = asyncio.run_coroutine_threadsafe(kept(), live.loop).result(60)
    seg = pydicom.dcmread(given)
    assert seg.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert seg.PixelData == pydicom.dcmread(_stream(made_of(headers)[ObjectKind.SEG])).PixelData
    assert files[DocumentKind.DICOM_SEG] == packed(given.read_bytes())
    assert len(files[DocumentKind.DICOM_SEG]) < len(given.read_bytes()) / 2
    for kind, file in files.items():
        deflated = DeflatedExplicitVRLittleEndian.encode() in file[:400]
        assert deflated == is_dicom(kind), kind


@pytest.mark.parametrize("way", ["dimse", "stow"])
async def test_a_pacs_gets_the_objects_as_they_were_made(
    way: str, orthanc: Orthanc, headers: Path, database: Database, content: FolderContent
) -> None:
    for patient in orthanc.call("GET", "/patients"):
        orthanc.call("DELETE", f"/patients/{patient}")
    files = made_of(headers)
    documents = [(f"{kind.value}.dcm", await content.put(packed(file))) for kind, file in files.items()]
    limits = Limits(timeout_s=60.0)
    destination = (
        DimseDestination("dimse", "pacs", "127.0.0.1", orthanc.dicom_port, "ORTHANC", limits=limits)
        if way == "dimse"
        else StowDestination(
            "stow",
            "pacs",
            orthanc.dicomweb,
            network=Network(private_networks=("127.0.0.0/8",), plain_http=True),
            limits=limits,
        )
    )
    send = make_ways([destination], database, content, None, lambda: datetime.now(UTC))["pacs"].send
    sent = await send(Parcel("d", "pacs", "c", "s", 1, datetime.now(UTC), documents=tuple(documents)))
    assert sent.left_out == frozenset()
    client = DICOMwebClient(orthanc.dicomweb)
    for file in files.values():
        made = pydicom.dcmread(_stream(file))
        found = await asyncio.to_thread(
            client.retrieve_instance,
            made.StudyInstanceUID,
            made.SeriesInstanceUID,
            made.SOPInstanceUID,
            media_types=(("application/dicom", "*"),),
        )
        assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert found == made


def _stream(file: bytes) -> pydicom.filebase.DicomBytesIO:
    return pydicom.filebase.DicomBytesIO(file)
