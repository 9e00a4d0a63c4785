"""Certificates are renewed under a running service: the next connection meets the new one, open ones go on."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from live_service import StartServer, make_study

from trabecula import errors
from trabecula.config import Settings
from trabecula.service.client import Client, ClientTls
from trabecula.service.dimse.scp import _tls
from trabecula.service.http.options import server_tls

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Folder with ``<name>.crt`` and ``<name>.key``, each its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("NO openssl: TLS is not tested")
    for name in ("old", "new", "client", "stranger"):
        command = ["openssl", "req", "-x509", *CURVE, "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def put(folder: Path, name: str) -> tuple[Path, Path]:
    """Make the pair of that name the service's."""
    for kind in ("crt", "key"):
        shutil.copy(folder / f"{name}.{kind}", folder / f"service.{kind}")
    return folder / "service.crt", folder / "service.key"


def served_name(port: int) -> str:
    """Common name of the certificate that a new connection meets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as wrapped:
        encoded = wrapped.getpeercert(binary_form=True)
    assert encoded is not None
    return next(name for name in ("old", "new") if name.encode() in encoded)


def test_grpc_follows_certificate_and_clients_authority(start_server: StartServer, made: Path) -> None:
    certificate, key = put(made, "old")
    authority = made / "authority.crt"
    shutil.copy(made / "client.crt", authority)
    live = start_server(tls_certificate_file=certificate, tls_key_file=key, tls_client_ca_file=authority)
    address = f"localhost:{live.server.port}"

    def client(name: str, trusted: str) -> Client:
        return Client(address, ClientTls(made / f"{trusted}.crt", made / f"{name}.crt", made / f"{name}.key"))

    with client("client", "old") as held:
        held.submit(make_study(made / "study"))
        put(made, "new")
        with client("client", "new") as fresh:
            fresh.list()
        held.list()
        shutil.copy(made / "stranger.crt", authority)
        with client("stranger", "new") as let_in:
            let_in.list()
        with client("client", "new") as shut_out, pytest.raises(errors.TrabeculaError):
            shut_out.list()


def test_files_that_do_not_fit_change_nothing(start_server: StartServer, made: Path) -> None:
    certificate, key = put(made, "old")
    live = start_server(tls_certificate_file=certificate, tls_key_file=key)
    shutil.copy(made / "new.crt", certificate)  # its key comes later
    with Client(f"localhost:{live.server.port}", ClientTls(made / "old.crt")) as client:
        client.list()
    key.unlink()
    with Client(f"localhost:{live.server.port}", ClientTls(made / "old.crt")) as client:
        client.list()
    shutil.copy(made / "new.key", key)
    with Client(f"localhost:{live.server.port}", ClientTls(made / "new.crt")) as client:
        client.list()


def test_files_that_never_fitted_are_a_fault_at_the_start(start_server: StartServer, made: Path) -> None:
    with pytest.raises(errors.ConfigurationError):
        start_server(tls_certificate_file=made / "old.crt", tls_key_file=made / "new.key")


async def test_http_follows_its_certificate(made: Path) -> None:
    certificate, key = put(made, "old")
    tls = server_tls(replace(Settings(), http_tls_certificate_file=certificate, http_tls_key_file=key))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await asyncio.to_thread(served_name, port) == "old"
        shutil.copy(made / "new.crt", certificate)
        assert await asyncio.to_thread(served_name, port) == "old", "a certificate without its key"
        shutil.copy(made / "new.key", key)
        assert await asyncio.to_thread(served_name, port) == "new"


def let_in(port: int, folder: Path, name: str) -> bool:
    """Whether a client with that certificate gets a word through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as wrapped:
            wrapped.sendall(b"?")
            return wrapped.recv(1) == b"!"
    except (ssl.SSLError, ConnectionError):
        return False


async def test_the_dicom_port_follows_certificate_and_clients_authority(made: Path) -> None:
    certificate, key = put(made, "old")
    authority = made / "authority.crt"
    shutil.copy(made / "client.crt", authority)
    tls = _tls(
        replace(
            Settings(),
            dimse_tls_certificate_file=certificate,
            dimse_tls_key_file=key,
            dimse_tls_client_ca_file=authority,
        )
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"!")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    async with server:
        seen = [await asyncio.to_thread(let_in, port, made, name) for name in ("client", "stranger")]
        assert seen == [True, False]
        put(made, "new")
        shutil.copy(made / "stranger.crt", authority)
        seen = [await asyncio.to_thread(let_in, port, made, name) for name in ("client", "stranger")]
        assert seen == [False, True]
