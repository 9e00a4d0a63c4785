"""Every door of the running service has bounds: within them a request passes, beyond them it is refused with its code,
and the memory stays where it was. The table is docs/limits.md."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from live_service import LiveServer, StartServer

from trabecula.v1 import screening_pb2, screening_pb2_grpc

MIB = 1024 * 1024
FHIR = {"content-type": "application/fhir+json"}
STOW = {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
HOOK = {"hook": "patient-view", "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", "context": {"userId": "P/1"}}


@pytest.fixture
def service(start_server: StartServer, tmp_path: Path) -> LiveServer:
    users = tmp_path / "users.toml"
    users.write_text("", encoding="utf-8")
    return start_server(
        http_listen="127.0.0.1:0",
        auth="off",
        stow_in=True,
        users_file=users,
        max_instances=5,
        max_study_bytes=64 * MIB,
        dimse_max_instance_bytes=2 * MIB,
        max_concurrent_uploads=1,
    )


@pytest.fixture
def http(service: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.server.http_port}", timeout=30) as client:
        yield client


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


JSON_DOORS = ("/fhir/ImagingStudy/$screen-bone", "/fhir/Observation", "/fhir")


def test_json_has_a_depth_a_size_and_no_second_meaning(http: httpx.Client) -> None:
    found = [each["id"] for each in http.get("/cds-services").json()["services"]]
    doors = (f"/cds-services/{found[0]}", *JSON_DOORS)
    before = psutil.Process().memory_info().rss
    for door in doors:
        headers = {"content-type": "application/json"} if door.startswith("/cds") else FHIR
        for body in (nested(65), nested(100_000), b"[" * 500_000, b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff\xfe{}"):
            began = time.monotonic()
            answer = http.post(door, content=body, headers=headers)
            assert answer.status_code == 400, (door, body[:20], answer.text)
            assert time.monotonic() - began < 10
        too_large = http.post(door, content=b" " * (MIB + 1), headers=headers)
        assert too_large.status_code == 413, door
        assert too_large.json()["issue"][0]["code"] == "too-long"

        def without_length() -> Iterator[bytes]:
            for _ in range(64):
                yield b" " * 65_536

        assert http.post(door, content=without_length(), headers=headers).status_code == 413, door
        # What is compressed is not unpacked: a bomb is a body that cannot be read.
        bomb = gzip.compress(b" " * (50 * MIB))
        packed = http.post(door, content=bomb, headers={**headers, "content-encoding": "gzip"})
        assert packed.status_code in (400, 415), door
    assert psutil.Process().memory_info().rss - before < 128 * MIB


def test_a_number_as_long_as_the_body_is_no_work(http: httpx.Client) -> None:
    body = b'{"resourceType":"Parameters","parameter":[{"name":"x","valueInteger":' + b"9" * 500_000 + b"}]}"
    began = time.monotonic()
    assert http.post("/fhir/ImagingStudy/$screen-bone", content=body, headers=FHIR).status_code == 400
    assert time.monotonic() - began < 5


def test_addresses_and_headers_have_a_length(http: httpx.Client) -> None:
    assert http.get("/fhir/Observation?_count=1&code=" + "a" * 1900).status_code == 200
    assert http.get("/fhir/Observation?_id=" + "a" * 9000).status_code == 413
    assert http.get("/fhir/" + "a" * 9000).status_code == 413
    assert http.get("/fhir/metadata", headers={"x-long": "a" * 8000}).status_code == 200
    with suppress(httpx.RemoteProtocolError):  # or it is cut off before it was whole
        assert http.get("/fhir/metadata", headers={"x-long": "a" * 40_000}).status_code in (400, 413, 431)


def test_forms_of_the_pages_have_a_size(http: httpx.Client) -> None:
    fields = "&".join(f"f{number}=1" for number in range(201))
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert http.post("/login", content="user=a&password=b", headers=form).status_code == 401
    assert http.post("/login", content="user=" + "a" * 70_000, headers=form).status_code == 413
    assert http.post("/login", content=fields, headers=form).status_code in (400, 413)


def parts(number: int, size: int = 10) -> bytes:
    part = b"--b\r\ncontent-type: application/dicom\r\n\r\n" + b"." * size + b"\r\n"
    return part * number + b"--b--\r\n"


def test_stow_requests_have_so_many_parts_of_such_a_size(http: httpx.Client) -> None:
    before = psutil.Process().memory_info().rss
    assert http.post("/dicom-web/studies", content=parts(5), headers=STOW).status_code == 409  # none is DICOM
    for body in (parts(6), parts(200_000), parts(1, 3 * MIB)):
        answer = http.post("/dicom-web/studies", content=body, headers=STOW)
        assert answer.status_code == 400, answer.text
        assert "limit-exceeded" in answer.text
    assert http.post("/dicom-web/studies", content=b"x" * (65 * MIB), headers=STOW).status_code == 413
    assert psutil.Process().memory_info().rss - before < 256 * MIB


def test_only_so_many_stow_requests_are_under_way_at_once(service: LiveServer, http: httpx.Client) -> None:
    waiting = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"--b\r\ncontent-type: application/dicom\r\n\r\n"
        waiting.wait(20)
        yield b"...\r\n--b--\r\n"

    first: list[int] = []
    with httpx.Client(base_url=http.base_url, timeout=30) as other:
        sending = threading.Thread(
            target=lambda: first.append(other.post("/dicom-web/studies", content=slowly(), headers=STOW).status_code)
        )
        sending.start()
        time.sleep(1.0)
        second = http.post("/dicom-web/studies", content=parts(1), headers=STOW)
        waiting.set()
        sending.join(20)
    assert second.status_code == 503
    assert int(second.headers["retry-after"]) > 0
    assert first == [409]
    assert service.server.http_port


def test_grpc_metadata_messages_and_announcements_are_bounded(service: LiveServer) -> None:
    stub = screening_pb2_grpc.ScreeningServiceStub(grpc.insecure_channel(service.address))
    listing = screening_pb2.ListScreeningsRequest()
    stub.ListScreenings(listing, metadata=[("x-small", "a" * 1000)])
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListScreenings(listing, metadata=[("x-large", "a" * 40_000)])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListScreenings(screening_pb2.ListScreeningsRequest(page_token="a" * (5 * MIB)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for header in (
        screening_pb2.StudyHeader(expected_instances=6, total_bytes=10),
        screening_pb2.StudyHeader(expected_instances=1, total_bytes=65 * MIB),
        screening_pb2.StudyHeader(expected_instances=1, total_bytes=10, idempotency_key="a" * 129),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            stub.SubmitStudy(iter([screening_pb2.SubmitStudyRequest(header=header)]))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_connections_that_say_nothing_do_not_keep_others_out(service: LiveServer, http: httpx.Client) -> None:
    silent = [socket.create_connection(("127.0.0.1", service.server.http_port)) for _ in range(100)]
    try:
        assert http.get("/fhir/metadata").status_code == 200
    finally:
        for each in silent:
            each.close()


def test_a_hook_within_the_bounds_is_answered(http: httpx.Client) -> None:
    found = next(each for each in http.get("/cds-services").json()["services"] if each["hook"] == "patient-view")
    call = {**HOOK, "context": {"userId": "Practitioner/1", "patientId": "1"}, "prefetch": {}}
    answer = http.post(
        f"/cds-services/{found['id']}", content=json.dumps(call), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 412), answer.text
