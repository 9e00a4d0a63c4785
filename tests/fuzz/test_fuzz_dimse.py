"""The port of C-STORE under peers that do not keep to the protocol: others are served, and nothing stays open."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

import fuzz_dimse
import pytest
from fuzz_dimse import command, data, echo, item, pdu, request, silent_peers
from fuzz_service import running_service, standing
from live_service import LiveServer
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from trabecula.config import Settings
from trabecula.service.dimse import connections
from trabecula.service.logs import configure_logs

Open = Callable[..., LiveServer]


@pytest.fixture
def open_port(database_settings: Settings, tmp_path: Path) -> Iterator[Open]:
    """Starts the service with its DICOM port; settings by keyword."""
    configure_logs("critical")
    with ExitStack() as stack:

        def opened(**changes: object) -> LiveServer:
            chosen = {"dimse_listen": "127.0.0.1:0", "dimse_peers": "FUZZ@127.0.0.1", "dimse_quiet_s": 1.0, **changes}
            return stack.enter_context(running_service(database_settings, tmp_path, **chosen))

        yield opened


@pytest.fixture
def thrown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ended a thread."""
    found: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


def sound() -> bytes:
    return request(Random(1), "TRABECULA", "FUZZ", sound=True)


def until_closed(connection: socket.socket, within_s: float = 30.0) -> bool:
    """Whether the other side ends the connection."""
    connection.settimeout(within_s)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_odd_conversations_disturb_nobody(open_port: Open, thrown: list[Any]) -> None:
    live = open_port()
    tally = fuzz_dimse.DimseTally()
    fuzz_dimse.fuzz_dimse(live.server.dimse_port, 5, 40, tally)
    fuzz_dimse.until_released(tally, 30.0)
    assert dict(tally.findings) == {}
    assert tally.echoes == 4
    assert thrown == []
    assert standing(live) == []


@pytest.mark.parametrize(
    ("opening", "more"),
    [
        (pdu(1, b"", 0xFFFFFFF0), b"\0" * 65536),
        (sound(), pdu(4, b"", 0xFFFFFFF0) + b"\0" * 65536),
        (sound(), data(1, 1, b"\0" * 8192)),
    ],
    ids=["request of 4 GiB", "data of 4 GiB", "command set without end"],
)
def test_what_has_no_end_is_cut_off(open_port: Open, opening: bytes, more: bytes) -> None:
    live = open_port()
    assert fuzz_dimse._pour(live.server.dimse_port, opening, more, 64 << 20) < 64 << 20
    assert echo(live.server.dimse_port) == "served"


def test_connections_that_wait_take_nobodys_place(open_port: Open) -> None:
    port = open_port(dimse_max_associations=1).server.dimse_port
    with silent_peers(port, 4), silent_peers(port, 4, sound()[:3]), silent_peers(port, 4, sound()[:-40]):
        assert echo(port) == "served"


def test_a_refused_peer_that_stays_takes_nobodys_place(open_port: Open) -> None:
    port = open_port(dimse_max_associations=1).server.dimse_port
    with silent_peers(port, 4, request(Random(1), "TRABECULA", "STRANGER", sound=True)) as held:
        for each in held:
            assert each.recv(6)[:1] == b"\x03"  # A-ASSOCIATE-RJ
        assert echo(port) == "served"


def test_half_a_pdu_is_waited_for_a_while_and_no_longer(open_port: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ACSE_TIMEOUT_S", 0.5)
    port = open_port(dimse_idle_timeout_s=0.5).server.dimse_port
    half = data(1, 3, command(Random(1), sound=True))[:-9]
    for say, then in ((b"", b""), (sound()[:3], b""), (sound()[:-40], b""), (sound(), half)):
        with silent_peers(port, 1, say, then) as (connection,):
            assert until_closed(connection)


def test_bytes_that_dribble_do_not_hold_a_pdu_open(open_port: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ACSE_TIMEOUT_S", 1.0)
    port = open_port().server.dimse_port
    with silent_peers(port, 1, pdu(1, b"", 900_000)) as (connection,):
        started = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - started < 60:
                connection.sendall(b"\1")
                time.sleep(0.05)
        assert time.monotonic() - started < 60


def test_a_command_that_cannot_be_read_ends_the_association_alone(open_port: Open, thrown: list[Any]) -> None:
    port = open_port().server.dimse_port
    bad = command(Random(1), sound=True).replace(b"\0\0\0\1\2\0\0\0\x30\0", b"\0\0\0\1\1\0\0\0\x30")
    assert bad != command(Random(1), sound=True)
    with silent_peers(port, 1, sound(), data(1, 3, bad)) as (connection,):
        assert until_closed(connection)
    assert thrown == []
    assert echo(port) == "served"


def test_a_context_without_transfer_syntaxes_ends_the_connection_alone(open_port: Open, thrown: list[Any]) -> None:
    """pynetdicom takes the first one for granted."""
    port = open_port().server.dimse_port
    bare = item(0x20, bytes((1, 0, 0, 0)) + item(0x30, b"1.2.840.10008.1.1"))
    head = b"\0\1\0\0" + b"TRABECULA".ljust(16) + b"FUZZ".ljust(16) + b"\0" * 32
    said = pdu(1, head + item(0x10, b"1.2.840.10008.3.1.1.1") + bare + item(0x50, item(0x51, b"\0\0\x40\0")))
    with silent_peers(port, 1, said) as (connection,):
        assert until_closed(connection)
    tally = fuzz_dimse.DimseTally()
    fuzz_dimse.until_released(tally, 30.0)
    assert dict(tally.findings) == {}
    assert thrown == []
    assert echo(port) == "served"


def test_one_address_does_not_take_all_connections(open_port: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ACSE_TIMEOUT_S", 300.0)  # none goes by itself
    live = open_port(dimse_max_associations=2)
    with ExitStack() as stack:
        held = [
            stack.enter_context(
                socket.create_connection(
                    ("127.0.0.1", live.server.dimse_port), timeout=30, source_address=("127.0.0.2", 0)
                )
            )
            for _ in range(2 + connections.SPARE_OF_ADDRESS + 5)
        ]
        for each in held[-5:]:
            assert until_closed(each)
        assert echo(live.server.dimse_port) == "served"


def test_a_silent_connection_does_not_hold_up_the_handshake_of_others(open_port: Open, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    port = open_port(dimse_tls_certificate_file=certificate, dimse_tls_key_file=key).server.dimse_port
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    with silent_peers(port, 3), silent_peers(port, 3, b"\x16\x03\x01"), silent_peers(port, 3, sound()):
        entity = AE("FUZZ")
        entity.add_requested_context(Verification)
        entity.acse_timeout = entity.dimse_timeout = 30
        association = entity.associate("127.0.0.1", port, ae_title="TRABECULA", tls_args=(context, None))
        assert association.is_established
        status = association.send_c_echo()
        association.release()
        assert status.Status == 0
