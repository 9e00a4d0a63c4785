"""Studies by STOW-RS, from dicomweb-client and by hand."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import dicom_headers
import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from live_service import LiveServer, StartServer
from pydicom.dataset import FileDataset
from pydicom.uid import MRImageStorage, generate_uid

from trabecula.geometry import Geometry
from trabecula.service.client import Client

GRID = Geometry((3, 8, 8), np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])

QUIET_S = 2.0
"""More than a busy machine may pause between two instances."""


@pytest.fixture
def service(start_server: StartServer) -> LiveServer:
    return start_server(
        http_listen="127.0.0.1:0", auth="off", stow_in=True, dimse_quiet_s=QUIET_S, http_max_body_bytes=1000
    )


@pytest.fixture
def study(tmp_path: Path) -> list[FileDataset]:
    return dicom_headers.write_headers(tmp_path / "study", GRID, generate_uid(), generate_uid())


def base(service: LiveServer) -> str:
    return f"http://127.0.0.1:{service.server.http_port}/dicom-web"


def until_accepted(service: LiveServer) -> list[int]:
    """Instances of each screening."""
    for _ in range(100):
        with Client(service.address) as connected:
            if found := connected.list().summaries:
                return [summary.instances for summary in found]
        time.sleep(0.1)
    raise AssertionError("the study was not accepted in time")


def test_a_stored_study_is_screened_once(service: LiveServer, study: list[FileDataset]) -> None:
    client = DICOMwebClient(base(service))
    answer = client.store_instances(study)
    assert len(answer.ReferencedSOPSequence) == 3
    assert "FailedSOPSequence" not in answer
    assert until_accepted(service) == [3]
    client.store_instances(study, study_instance_uid=study[0].StudyInstanceUID)
    time.sleep(2 * QUIET_S)
    assert until_accepted(service) == [3]


def post(service: LiveServer, parts: list[bytes], path: str = "/studies", **headers: str) -> httpx.Response:
    body = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=x', **headers}
    return httpx.post(base(service) + path, content=body, headers=kind, timeout=60)


def test_each_instance_has_its_own_answer(service: LiveServer, study: list[FileDataset], tmp_path: Path) -> None:
    files = [path.read_bytes() for path in sorted((tmp_path / "study").iterdir())]
    other = study[0]
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = MRImageStorage
    other.save_as(tmp_path / "mr.dcm")
    answer = post(service, [files[1], (tmp_path / "mr.dcm").read_bytes(), b"no dicom"])
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert [item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]] == [0x0122, 0xC000]
    elsewhere = post(service, files[2:], "/studies/1.2.3")
    assert elsewhere.status_code == 409
    assert elsewhere.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]


def test_what_is_no_stow_request_is_refused(service: LiveServer, tmp_path: Path, study: list[FileDataset]) -> None:
    file = (tmp_path / "study" / "0000.dcm").read_bytes()
    assert post(service, [file], **{"content-type": "application/dicom"}).status_code == 415
    assert (
        post(service, [file], **{"content-type": 'multipart/related; type="text/xml"; boundary=x'}).status_code == 415
    )
    assert post(service, []).status_code == 400
    cut = httpx.post(
        base(service) + "/studies",
        content=b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file,
        headers={"content-type": 'multipart/related; type="application/dicom"; boundary=x'},
    )
    assert cut.status_code == 400
    assert post(service, [file], "/studies/..%2f").status_code == 404
    assert study


def test_a_service_that_stops_asks_to_try_again(service: LiveServer, tmp_path: Path, study: list[FileDataset]) -> None:
    assert study
    file = (tmp_path / "study" / "0000.dcm").read_bytes()

    async def stopping() -> None:
        service.server._stopped = True

    asyncio.run_coroutine_threadsafe(stopping(), service.loop).result(5)
    answer = post(service, [file])
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    service.server._stopped = False


def test_without_a_token_nothing_comes_in(start_server: StartServer, tmp_path: Path, study: list[FileDataset]) -> None:
    assert study
    guarded = start_server(
        http_listen="127.0.0.1:0", stow_in=True, auth_issuers="https://auth.test", auth_jwks="https://auth.test/k"
    )
    file = (tmp_path / "study" / "0000.dcm").read_bytes()
    assert post(guarded, [file]).status_code == 401
