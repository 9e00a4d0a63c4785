"""A radiologist's decision reaches the PACS: Orthanc gets a new version of the SR, and nothing twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dicom_headers
import httpx
import pydicom
import pytest
import report_samples as samples
from fake_screens import fake_screen
from live_http import ISSUER, Issuer
from live_service import LiveServer, StartServer
from orthanc import MISSING, Orthanc, orthanc_missing, running_orthanc
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy import text

from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import DicomOptions
from trabecula.outputs.r4 import FhirOptions
from trabecula.service.client import Client
from trabecula.work.records import DocumentKind
from trabecula.work.runner import Perform, ThreadRunner, perform

AUDIENCE = "https://trabecula.test"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if orthanc_missing():
        pytest.skip(MISSING)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(running: Orthanc) -> Orthanc:
    for patient in running.call("GET", "/patients"):
        running.call("DELETE", f"/patients/{patient}")
    return running


def make_perform() -> Perform:
    return partial(perform, fake_screen, FhirOptions(), dicom=(DicomOptions(), ImagingLimits()))


@pytest.fixture
def issuer() -> Issuer:
    return Issuer.make()


StartSite = Callable[[int], LiveServer]


@pytest.fixture
def start_site(orthanc: Orthanc, start_server: StartServer, tmp_path: Path, issuer: Issuer) -> StartSite:
    """Starts the service with the PACS at this port; a second place wants the Segmentation alone."""
    file, keys = tmp_path / "destinations.toml", tmp_path / "jwks.json"
    keys.write_text(json.dumps(issuer.jwks))

    def start(pacs_port: int) -> LiveServer:
        file.write_text(f"""
[[destination]]
kind = "dimse"
name = "pacs"
host = "127.0.0.1"
port = {pacs_port}
ae_title = "ORTHANC"

[[destination]]
kind = "stow"
name = "segmentations"
base_url = "{orthanc.dicomweb}"
objects = ["seg"]
network = {{ private_networks = ["127.0.0.0/8"], plain_http = true }}
""")
        return start_server(
            ThreadRunner(make_perform, 1),
            destinations_file=file,
            http_listen="127.0.0.1:0",
            auth_issuers=ISSUER,
            auth_jwks=str(keys),
            auth_audience=AUDIENCE,
            grpc_auth="off",
            organization_name="Sample Hospital",
        )

    return start


def wait_for(what: Callable[[], Any], limit_s: float = 60.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return found


def rows(service: LiveServer, query: str) -> list[Any]:
    async def read() -> list[Any]:
        async with service.server.database.transaction() as connection:
            return list((await connection.execute(text(query))).all())

    return asyncio.run_coroutine_threadsafe(read(), service.loop).result(20)


def quiet(service: LiveServer) -> list[tuple[str, str, str]] | None:
    """(destination, topic, state) of all deliveries, oldest first, once none is under way."""
    found = rows(service, "SELECT destination, topic, state FROM delivery ORDER BY sequence, destination")
    done = found and not any(row.state in ("pending", "sending") for row in found)
    return [tuple(row) for row in found] if done else None


def instances(orthanc: Orthanc) -> list[dict[str, Any]]:
    return orthanc.instances(samples.STUDY_UID)


def documents(orthanc: Orthanc, folder: Path) -> list[pydicom.Dataset]:
    """The SRs in the PACS, in the order of their numbers."""
    folder.mkdir(exist_ok=True)
    found = []
    for each in instances(orthanc):
        file = folder / f"{each['id']}.dcm"
        file.write_bytes(httpx.get(f"{orthanc.url}/instances/{each['id']}/file").content)
        dataset = pydicom.dcmread(file)
        if dataset.SOPClassUID == Comprehensive3DSRStorage:
            dataset.filename = file
            found.append(dataset)
    return sorted(found, key=lambda each: int(each.InstanceNumber))


def screened(service: LiveServer, folder: Path) -> str:
    dicom_headers.write_headers(folder, samples.geometry(), samples.STUDY_UID, samples.SERIES_UID, planes=6)
    with Client(service.address) as client:
        screening_id = client.submit(sorted(folder.iterdir()))
        list(client.watch(screening_id))
    return screening_id


def decide(service: LiveServer, issuer: Issuer, screening_id: str, **body: Any) -> dict[str, Any]:
    token = issuer.token(AUDIENCE, "user/DiagnosticReport.ru", sub="dr-7", fhirUser="Practitioner/dr-7")
    answer = httpx.post(
        f"http://127.0.0.1:{service.server.http_port}/api/v1/results/{screening_id}/reviews",
        json={"reviewer_name": "Ada Lovelace", **body},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def predecessor(document: pydicom.Dataset) -> str:
    series = document.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    return str(series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def check_file(document: pydicom.Dataset) -> str:
    """No error of dciodvfy; the text of dsrdump."""
    for program in ("dciodvfy", "dsrdump"):
        if shutil.which(program) is None:
            pytest.skip(f"{program.upper()} MISSING: scripts/install-debian-packages.sh installs it")
    said = subprocess.run(["dciodvfy", str(document.filename)], capture_output=True, text=True, check=False)
    assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []
    dump = subprocess.run(["dsrdump", "+Pl", str(document.filename)], capture_output=True, text=True, check=True)
    return dump.stdout


@pytest.mark.slow
def test_each_decision_is_a_new_version_in_the_pacs(
    orthanc: Orthanc, start_site: StartSite, issuer: Issuer, tmp_path: Path
) -> None:
    service = start_site(orthanc.dicom_port)
    screening_id = screened(service, tmp_path / "study")
    wait_for(lambda: quiet(service))
    (machine,) = documents(orthanc, tmp_path / "pacs")
    assert (machine.PreliminaryFlag, machine.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    before = len(instances(orthanc))

    decide(service, issuer, screening_id, decision="accept", seen_version=0)
    wait_for(lambda: quiet(service))
    _, accepted = documents(orthanc, tmp_path / "pacs")
    assert (accepted.PreliminaryFlag, accepted.VerificationFlag) == ("FINAL", "VERIFIED")
    assert accepted.VerifyingObserverSequence[0].VerifyingObserverName == "Ada Lovelace^"
    assert accepted.VerifyingObserverSequence[0].VerifyingOrganization == "Sample Hospital"
    assert predecessor(accepted) == machine.SOPInstanceUID
    assert "Ada Lovelace" in check_file(accepted)

    corrections = {"left_out": {"T12": "metal beside it"}}
    decide(service, issuer, screening_id, decision="correct", seen_version=1, corrections=corrections)
    wait_for(lambda: quiet(service))
    *_, corrected = documents(orthanc, tmp_path / "pacs")
    assert predecessor(corrected) == accepted.SOPInstanceUID
    assert "metal beside it" in check_file(corrected)

    decide(service, issuer, screening_id, decision="reject", seen_version=2, comment="wrong patient")
    wait_for(lambda: quiet(service))
    *_, rejected = documents(orthanc, tmp_path / "pacs")
    assert predecessor(rejected) == corrected.SOPInstanceUID
    said = check_file(rejected)
    assert "rejected by a person" in said
    assert "wrong patient" in said
    assert "mg/cm3" not in said

    # Nothing but the new versions came: the Segmentation, the PDF and the picture were there already.
    assert len(instances(orthanc)) == before + 3
    found = wait_for(lambda: quiet(service))
    assert found == [
        ("pacs", "result", "delivered"),
        ("segmentations", "result", "delivered"),
        ("pacs", "sign-off", "delivered"),
        ("pacs", "correction", "delivered"),
        ("pacs", "correction", "delivered"),
    ]
    with Client(service.address) as client:
        client.save_document(screening_id, DocumentKind.DICOM_SR, tmp_path / "newest.dcm")
    assert pydicom.dcmread(tmp_path / "newest.dcm").SOPInstanceUID == rejected.SOPInstanceUID


@pytest.mark.slow
def test_a_decision_while_the_pacs_is_away_brings_everything_once_it_is_back(
    orthanc: Orthanc, start_site: StartSite, issuer: Issuer, tmp_path: Path
) -> None:
    """The newer version takes the place of the one that waits, with the Segmentation that it refers to."""
    away = start_site(1)
    screening_id = screened(away, tmp_path / "study")
    waiting = "SELECT count(*) FROM delivery WHERE destination = 'pacs' AND state = 'pending' AND failures > 0"
    wait_for(lambda: rows(away, waiting)[0][0] == 1)
    decide(away, issuer, screening_id, decision="accept", seen_version=0)
    away.stop(0.0)
    back = start_site(orthanc.dicom_port)
    assert documents(orthanc, tmp_path / "pacs") == []
    rows(back, "UPDATE delivery SET due_at = now() WHERE state = 'pending' RETURNING id")
    found = wait_for(lambda: quiet(back))
    states = [(topic, state) for destination, topic, state in found if destination == "pacs"]
    assert states == [("result", "superseded"), ("sign-off", "delivered")]
    (accepted,) = documents(orthanc, tmp_path / "pacs")
    assert accepted.VerificationFlag == "VERIFIED"
    assert len(instances(orthanc)) == 4
