"""The round trip with a real PACS: Orthanc sends a study, gets the results back, and gives them out again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dicom_headers
import pydicom
import pytest
import report_samples as samples
from dicomweb_client.api import DICOMwebClient
from fake_screens import fake_screen
from highdicom.sr import Comprehensive3DSR
from live_service import LiveServer, StartServer
from orthanc import MISSING, Orthanc, free_port, orthanc_missing, running_orthanc
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from sqlalchemy import text
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.archive import open_archive
from trabecula.delivery.destinations import DimseDestination, Limits, Network, StowDestination, parse_destinations
from trabecula.delivery.pacs import DicomwebArchive
from trabecula.delivery.pacs.pull import PullLimits
from trabecula.delivery.sending import Parcel, Send
from trabecula.delivery.ways import make_ways
from trabecula.errors import ArchiveUnavailable, InvalidRequest, LimitExceeded, NotFound
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import DicomOptions, ObjectKind, read_source, to_dicom
from trabecula.outputs.r4 import FhirOptions
from trabecula.service.client import Client
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.records import DocumentKind
from trabecula.work.runner import Perform, ThreadRunner, perform

KINDS = {
    ObjectKind.SEG: DocumentKind.DICOM_SEG,
    ObjectKind.SR: DocumentKind.DICOM_SR,
    ObjectKind.PDF: DocumentKind.DICOM_PDF,
    ObjectKind.SC: DocumentKind.DICOM_SC,
}
RESULTS = {SegmentationStorage, Comprehensive3DSRStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage}
PLANES = 6
QUIET_S = 4.0
"""More than a busy machine may pause between two instances."""
LOOPBACK = Network(private_networks=("127.0.0.0/8",), plain_http=True)
LIMITS = Limits(timeout_s=20.0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if orthanc_missing():
        pytest.skip(MISSING)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(running: Orthanc) -> Orthanc:
    """The PACS, empty."""
    for patient in running.call("GET", "/patients"):
        running.call("DELETE", f"/patients/{patient}")
    return running


@pytest.fixture
def study(orthanc: Orthanc, tmp_path: Path) -> Path:
    """A study that lies in the PACS: a few header-only CT instances of the sample report's series."""
    folder = tmp_path / "study"
    dicom_headers.write_headers(folder, samples.geometry(), samples.STUDY_UID, samples.SERIES_UID, planes=PLANES)
    orthanc.take(folder)
    return folder


def make_perform() -> Perform:
    """A screening chain that gives the sample result, with DICOM objects."""
    return partial(perform, fake_screen, FhirOptions(), dicom=(DicomOptions(), ImagingLimits()))


def destinations(orthanc: Orthanc) -> str:
    return f"""
[[destination]]
kind = "dimse"
name = "pacs-dimse"
host = "127.0.0.1"
port = {orthanc.dicom_port}
ae_title = "ORTHANC"
objects = ["seg", "sr"]

[[destination]]
kind = "stow"
name = "pacs-web"
base_url = "{orthanc.dicomweb}"
network = {{ private_networks = ["127.0.0.0/8"], plain_http = true }}
"""


@pytest.fixture
def service(orthanc: Orthanc, start_server: StartServer, tmp_path: Path) -> LiveServer:
    """The whole service: C-STORE in, work, deliveries to the PACS by both ways."""
    file = tmp_path / "destinations.toml"
    file.write_text(destinations(orthanc))
    return start_server(
        ThreadRunner(make_perform, 1),
        dimse_listen="127.0.0.1:0",
        dimse_peers="ORTHANC@127.0.0.0/8",
        dimse_quiet_s=QUIET_S,
        destinations_file=file,
    )


def wait_for(what: Callable[[], Any], limit_s: float = 120.0, tell: Callable[[], object] = lambda: "") -> Any:
    """What comes true at last; ``tell`` says how things stand when it does not."""
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"it did not happen in time: {tell()}"
        time.sleep(0.2)
    return found


def results_in(orthanc: Orthanc) -> list[dict[str, Any]]:
    """Instances of the study that the scanner did not make."""
    client = DICOMwebClient(orthanc.dicomweb)
    found = client.search_for_instances(samples.STUDY_UID, fields=["SOPClassUID"])
    datasets = [pydicom.Dataset.from_json(each) for each in found]
    return [each for each in datasets if each.SOPClassUID in RESULTS]


def numbers(dataset: pydicom.Dataset) -> dict[str, float]:
    document = Comprehensive3DSR.from_dataset(dataset)
    found = {}
    for group in document.content.get_volumetric_roi_measurement_groups():
        for one in group.get_measurements():
            if one.name.value == "vbmd-trabecular":
                found[group.finding_sites[0].value.meaning.split()[0]] = float(one.value)
    return found


@pytest.mark.slow
def test_a_study_goes_round(orthanc: Orthanc, study: Path, service: LiveServer) -> None:
    assert len(list(study.iterdir())) == PLANES
    sent = orthanc.forward(samples.STUDY_UID, service.server.dimse_port)
    assert sent["FailedInstancesCount"] == 0
    wait_for(lambda: len(results_in(orthanc)) == len(RESULTS), tell=lambda: standing(service))
    client = DICOMwebClient(orthanc.dicomweb)
    by_class = {each.SOPClassUID: each for each in results_in(orthanc)}
    assert set(by_class) == RESULTS
    found = by_class[Comprehensive3DSRStorage]
    document = client.retrieve_instance(found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID)
    assert numbers(document) == {each.level.value: each.vbmd_mg_cm3 for each in samples.reported().vertebrae}
    assert document.PreliminaryFlag == "PRELIMINARY"
    deliveries = wait_for(lambda: delivered(service), tell=lambda: standing(service))
    assert deliveries == {"pacs-dimse": "delivered", "pacs-web": "delivered"}

    # the same study again: no second screening, no second result
    orthanc.forward(samples.STUDY_UID, service.server.dimse_port)
    time.sleep(1.5 * QUIET_S)
    with Client(service.address) as connected:
        assert len(connected.list().summaries) == 1
    assert len(results_in(orthanc)) == len(RESULTS)


def standing(service: LiveServer) -> list[Any]:
    """Destination, state, attempts and last reason of every delivery."""

    async def read() -> list[Any]:
        query = text("SELECT destination, state, attempt, reason FROM delivery")
        async with service.server.database.transaction() as connection:
            return list((await connection.execute(query)).all())

    return asyncio.run_coroutine_threadsafe(read(), service.loop).result(60)


def delivered(service: LiveServer) -> dict[str, str] | None:
    """States of all deliveries by destination, once none is under way."""
    rows = standing(service)
    open_ones = [row for row in rows if row.state in ("pending", "sending")]
    return None if open_ones or not rows else {row.destination: row.state for row in rows}


# The senders by themselves


@pytest.fixture
async def parcel(content: FolderContent, tmp_path: Path) -> Parcel:
    """The sample result's objects in the content store."""
    folder = tmp_path / "sample"
    dicom_headers.write_headers(folder, samples.geometry(), samples.STUDY_UID, samples.SERIES_UID)
    source = read_source([folder], samples.SERIES_UID, ImagingLimits())
    assert source is not None
    files = to_dicom(samples.screening(), source).files()
    documents = [(KINDS[kind].value, await content.put(data)) for kind, data in files.items()]
    return Parcel("d", "pacs", "c", "s", 1, datetime.now(UTC), documents=tuple(documents))


def dimse(port: int, **changes: Any) -> DimseDestination:
    made = DimseDestination("dimse", "pacs", "127.0.0.1", port, "ORTHANC", limits=LIMITS)
    return replace(made, **changes)


def stow(base_url: str, **changes: Any) -> StowDestination:
    return replace(StowDestination("stow", "pacs", base_url, network=LOOPBACK, limits=LIMITS), **changes)


def way(destination: DimseDestination | StowDestination, database: Database, content: FolderContent) -> Send:
    ways = make_ways([destination], database, content, None, lambda: datetime.now(UTC))
    return ways["pacs"].send


@pytest.mark.parametrize("kind", ["dimse", "stow"])
async def test_objects_are_sent_and_sent_again(
    kind: str, orthanc: Orthanc, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    destination = dimse(orthanc.dicom_port) if kind == "dimse" else stow(orthanc.dicomweb)
    send = way(destination, database, content)
    first = await send(parcel)
    assert first.left_out == frozenset()
    assert await send(parcel) == first
    found = await asyncio.to_thread(results_in, orthanc)
    assert {each.SOPClassUID for each in found} == RESULTS
    assert len(found) == len(RESULTS)


async def test_only_wanted_objects_go(
    orthanc: Orthanc, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    wanted = parse_destinations(
        {"destination": [{"kind": "stow", "name": "pacs", "base_url": orthanc.dicomweb, "objects": ["sr"],
                          "network": {"private_networks": ["127.0.0.0/8"], "plain_http": True}}]}
    )[0]  # fmt: skip
    assert isinstance(wanted, StowDestination)
    await way(wanted, database, content)(parcel)
    found = await asyncio.to_thread(results_in, orthanc)
    assert [each.SOPClassUID for each in found] == [Comprehensive3DSRStorage]


@pytest.mark.parametrize("kind", ["dimse", "stow"])
async def test_a_pacs_that_is_down_is_tried_again(
    kind: str, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    port = free_port()
    destination = dimse(port) if kind == "dimse" else stow(f"http://127.0.0.1:{port}/dicom-web")
    with pytest.raises(Setback) as caught:
        await way(destination, database, content)(parcel)
    assert (caught.value.verdict, caught.value.reason) == (Verdict.RETRY, "connection")


async def test_a_pacs_that_does_not_know_its_title_parks(
    orthanc: Orthanc, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    with pytest.raises(Setback) as caught:
        await way(dimse(orthanc.dicom_port, ae_title="SOMEONE"), database, content)(parcel)
    assert (caught.value.verdict, caught.value.reason) == (Verdict.PARK, "association-rejected")


async def test_a_wrong_address_parks(
    orthanc: Orthanc, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    with pytest.raises(Setback) as caught:
        await way(stow(f"{orthanc.url}/elsewhere"), database, content)(parcel)
    assert (caught.value.verdict, caught.value.reason) == (Verdict.PARK, "not-found")


async def test_a_screening_without_objects_parks(
    orthanc: Orthanc, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    with pytest.raises(Setback) as caught:
        await way(stow(orthanc.dicomweb), database, content)(replace(parcel, documents=()))
    assert caught.value.reason == "no-dicom-results"


# Pulling


def archive(base_url: str, content: FolderContent, **changes: int) -> DicomwebArchive:
    limits = replace(PullLimits(1000, 1 << 30), **changes)
    return open_archive(stow(base_url), content, limits, None, lambda: datetime.now(UTC))


async def test_a_study_is_pulled_whole(orthanc: Orthanc, study: Path, content: FolderContent) -> None:
    refs = await archive(orthanc.dicomweb, content)(samples.STUDY_UID)
    sent = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, study.iterdir())}
    async with content.local_files(refs) as paths:
        pulled = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, paths)}
    assert pulled.keys() == sent.keys()
    for uid, dataset in sent.items():
        assert pulled[uid].to_json_dict() == dataset.to_json_dict()


async def test_what_is_no_ct_stays_in_the_archive(
    orthanc: Orthanc, study: Path, parcel: Parcel, database: Database, content: FolderContent
) -> None:
    await way(stow(orthanc.dicomweb), database, content)(parcel)
    assert len(await archive(orthanc.dicomweb, content)(samples.STUDY_UID)) == len(list(study.iterdir()))


async def test_pulling_knows_what_is_not_there_and_what_is_too_much(
    orthanc: Orthanc, study: Path, content: FolderContent
) -> None:
    assert study.is_dir()
    with pytest.raises(NotFound):
        await archive(orthanc.dicomweb, content)("1.2.3.4")
    with pytest.raises(InvalidRequest):
        await archive(orthanc.dicomweb, content)("1.2/../../system")
    with pytest.raises(LimitExceeded):
        await archive(orthanc.dicomweb, content, max_instances=PLANES - 1)(samples.STUDY_UID)
    with pytest.raises(LimitExceeded):
        await archive(orthanc.dicomweb, content, max_study_bytes=2000)(samples.STUDY_UID)
    with pytest.raises(ArchiveUnavailable):
        await archive(f"http://127.0.0.1:{free_port()}", content)(samples.STUDY_UID)


@pytest.mark.slow
def test_the_command_line_fetches_and_submits(
    orthanc: Orthanc, study: Path, service: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study.is_dir()
    monkeypatch.setenv("TRABECULA_DESTINATIONS_FILE", str(tmp_path / "destinations.toml"))
    monkeypatch.setenv("TRABECULA_DICOMWEB_ARCHIVE", "pacs-web")
    run = CliRunner()
    command = ["submit", "--from-pacs", samples.STUDY_UID, "--server", service.address, "--quiet", "--json"]
    done = run.invoke(app, command)
    assert done.exit_code == 0, done.output
    with Client(service.address) as connected:
        assert [summary.instances for summary in connected.list().summaries] == [PLANES]
    assert run.invoke(app, ["submit", "--from-pacs", "1.2.3", "--server", service.address]).exit_code == 1
    assert run.invoke(app, ["submit", "--server", service.address]).exit_code == 2
    assert orthanc.instances(samples.STUDY_UID)
