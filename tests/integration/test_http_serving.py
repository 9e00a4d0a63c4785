"""The HTTP door itself: TLS, dribbling clients, a taken port, the service around it."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from live_service import StartServer
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from trabecula.config import Settings
from trabecula.errors import ConfigurationError
from trabecula.service.http import serving
from trabecula.service.http.guard import Guard, Limits
from trabecula.service.http.options import server_tls
from trabecula.service.http.serving import HttpServer, bound


async def hello(request: Request) -> Response:  # noqa: ARG001
    return PlainTextResponse("hello")


def guarded(*, tls: bool = False) -> Starlette:
    middleware = [Middleware(Guard, limits=Limits(1000, 1.0), tls=tls)]
    return Starlette(routes=[Route("/", hello, methods=["GET"])], middleware=middleware)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    import ipaddress

    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest_asyncio.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A plain server that is impatient."""
    monkeypatch.setattr(serving, "HEADER_S", 0.3)
    server = HttpServer(guarded(), bound("127.0.0.1:0"))
    await server.start()
    yield server.port
    await server.stop()


async def test_tls_of_today_and_nothing_older(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    tls = server_tls(replace(Settings(), http_tls_certificate_file=certificate, http_tls_key_file=key))
    server = HttpServer(guarded(tls=True), bound("127.0.0.1:0"), tls)
    await server.start()
    try:
        trusting = ssl.create_default_context(cafile=str(certificate))
        async with httpx.AsyncClient(verify=trusting) as client:
            response = await client.get(f"https://127.0.0.1:{server.port}/")
        assert response.text == "hello"
        assert "max-age" in response.headers["strict-transport-security"]
        old = ssl.create_default_context(cafile=str(certificate))
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with httpx.AsyncClient(verify=old) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"https://127.0.0.1:{server.port}/")
    finally:
        await server.stop()


def test_tls_files_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    certificate, _ = write_certificate(tmp_path)
    for key in (certificate, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError):
            server_tls(replace(Settings(), http_tls_certificate_file=certificate, http_tls_key_file=key))


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_who_dribbles_is_let_go(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(100), 3) == b""
    writer.close()


async def test_who_pauses_between_requests_is_let_go_too(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await reader.readuntil(b"hello")
    writer.write(b"GET / HTTP/1.1\r\nHo")
    while chunk := await asyncio.wait_for(reader.read(1000), 3):
        answer += chunk
    assert answer.count(b"HTTP/1.1 200") == 1
    writer.close()


async def test_a_long_head_is_refused(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(1000), 3)
    assert answer.startswith(b"HTTP/1.1 4")
    writer.close()


def test_a_taken_port_is_named(port_taken: int) -> None:
    with pytest.raises(ConfigurationError):
        bound(f"127.0.0.1:{port_taken}")


@pytest.fixture
def port_taken() -> object:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_one_process_speaks_grpc_and_http(start_server: StartServer) -> None:
    live = start_server(http_listen="127.0.0.1:0", auth="off")
    base = f"http://127.0.0.1:{live.server.http_port}"
    assert live.server.port
    assert httpx.get(f"{base}/readyz").json()["status"] == "ok"
    assert httpx.get(f"{base}/fhir/metadata").json()["kind"] == "instance"
    live.stop(0.0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/healthz")


def test_without_an_address_nothing_is_served(start_server: StartServer) -> None:
    assert start_server().server.http_port == 0


def test_answers_do_not_wait_for_a_delayed_acknowledgement() -> None:
    listening = bound("127.0.0.1:0")
    try:
        assert listening.proto == socket.IPPROTO_TCP
    finally:
        listening.close()
