"""Odd calls and requests to the live service: gRPC, HTTP by its OpenAPI document, mutated bodies, raw bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_grpc
import fuzz_http
import fuzz_sockets
import grpc
import httpx
import pytest
from fuzz_service import running_service, standing
from live_service import LiveServer

from trabecula.config import Settings
from trabecula.service.auth.local_users import Role, users_entry
from trabecula.service.http.openapi import OPENAPI_PATH, openapi_document, served
from trabecula.service.logs import configure_logs


@pytest.fixture
def live(database_settings: Settings, tmp_path: Path) -> Iterator[LiveServer]:
    """Every door open: gRPC, operators' gRPC, HTTP with STOW, programme API, CDS Hooks and pages."""
    configure_logs("error")
    users = tmp_path / "users.toml"
    users.write_text(users_entry("anna", "Anna", [Role.RADIOLOGIST], "secret-secret"))
    with running_service(
        database_settings,
        tmp_path,
        http_listen="127.0.0.1:0",
        auth="off",
        stow_in=True,
        dimse_quiet_s=1.0,
        users_file=users,
        fhir_patient_identifier_system="urn:oid:1.2.3",
        reflection=True,
        public_base_url="http://127.0.0.1",
    ) as running:
        yield running


def base(live: LiveServer) -> str:
    return f"http://127.0.0.1:{live.server.http_port}"


def test_no_call_and_no_request_meets_an_unforeseen_fault(live: LiveServer) -> None:
    calls = asyncio.run(fuzz_grpc.fuzz_rpcs(live.address, live.admin_address, 5, 150))
    assert dict(calls.findings) == {}
    assert calls.calls == 150
    requests = fuzz_http.HttpTally()
    fuzz_http.fuzz_bodies(base(live), 5, 120, requests)
    fuzz_http.fuzz_sockets(base(live), 5, 60, requests)
    assert dict(requests.findings) == {}
    assert requests.requests > 150
    assert standing(live) == []
    assert httpx.get(f"{base(live)}/healthz").status_code == 200


def test_odd_frames_and_half_requests_disturb_nobody(live: LiveServer) -> None:
    tally = fuzz_sockets.SocketTally()
    http, rpc = ("127.0.0.1", live.server.http_port), ("127.0.0.1", live.server.port)
    fuzz_sockets.fuzz_sockets(http, rpc, 5, 30, tally)
    assert dict(tally.findings) == {}
    assert (tally.connections, tally.served) == (60, 2)
    assert standing(live) == []


def test_bytes_that_are_no_message_are_the_clients_fault(live: LiveServer) -> None:
    with grpc.insecure_channel(live.address) as channel:
        service = "/trabecula.v1.ScreeningService"
        calls: tuple[Any, ...] = (
            lambda: channel.unary_unary(f"{service}/GetScreening")(b"\xff\xff"),
            lambda: list(channel.unary_stream(f"{service}/WatchScreening")(b"\xff\xff")),
            lambda: channel.stream_unary(f"{service}/SubmitStudy")(iter([b"\xff\xff"])),
            lambda: channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff"),
            lambda: list(
                channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")(
                    iter([b"\xff\xff"])
                )
            ),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
            assert "class" not in refused.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        (
            "/fhir/PlanDefinition/opportunistic-ct-bone/$apply",
            b'{"resourceType": "Parameters", "parameter": [{"name": ["subject"]}]}',
            "application/fhir+json",
            400,
        ),
        ("/dicom-web/studies", b"--a--", f'multipart/related; type="application/dicom"; boundary={"a" * 300}', 415),
        ("/fhir", b'{"a":' * 5000, "application/fhir+json", 400),
    ],
    ids=["name is a list", "boundary without end", "nested too deeply"],
)
def test_kept_requests(live: LiveServer, path: str, body: bytes, kind: str, status: int) -> None:
    answer = httpx.post(f"{base(live)}{path}", content=body, headers={"content-type": kind}, timeout=30)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_the_document_names_every_address_that_programs_use(live: LiveServer) -> None:
    """And no other: what is served and what OpenAPI says are the same, pages for people apart."""
    document = httpx.get(f"{base(live)}{OPENAPI_PATH}").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    app = _routes()
    ours = ("/fhir", "/cds-services", "/api/", "/dicom-web", "/.well-known", "/healthz", "/readyz", OPENAPI_PATH)
    assert described == {(method, path) for method, path in served(app) if path.startswith(ours)}
    assert openapi_document(app)["paths"] == document["paths"]


def _routes() -> Any:
    """Of the application that is served."""
    import gc

    from starlette.applications import Starlette

    apps = [each for each in gc.get_objects() if isinstance(each, Starlette)]
    return max(apps, key=lambda each: len(each.routes)).routes


def test_the_document_is_openapi(live: LiveServer) -> None:
    document = httpx.get(f"{base(live)}{OPENAPI_PATH}").json()
    from schemathesis.openapi import from_dict

    operations = [each.ok() for each in from_dict(document).get_all_operations()]
    assert len(operations) == sum(len(methods) for methods in document["paths"].values())
    assert json.dumps(document)
