"""Standard error of the real program: one JSON object a line, whatever is done to it, and nothing of what was sent."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from database import DatabaseServer
from live_service import make_study, wait_until

from trabecula.errors import TrabeculaError
from trabecula.service.client import Client, ClientTls

CANARY = b"CANARY^PATIENT"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The program, and the file that its standard error goes to; ended by SIGTERM."""
    ready, log = folder / "port", folder / "stderr"
    environment = os.environ | {f"TRABECULA_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "trabecula.cli", "serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--state-dir", str(folder / "state"), *arguments], stderr=stream, text=True, env=environment
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, 120)
        yield process, log
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def events(log: Path) -> list[dict[str, Any]]:
    """Every line as a JSON object; fails on any that is none."""
    text = log.read_text()
    assert CANARY.decode() not in text
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"event", "level", "timestamp"} <= each.keys() for each in found)
    return found


def port_of(log: Path, name: str) -> int:
    return int(next(each[name] for each in events(log) if each["event"] == "serving"))


def knock(port: int, rubbish: bytes, tls: bool = False) -> None:
    """Send bytes that no server understands and wait a moment for whatever it says."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        door = raw
        if tls:
            context = ssl._create_unverified_context()  # noqa: S323 - what knocks is no client
            context.set_alpn_protocols(["h2"])
            door = context.wrap_socket(raw, server_hostname="localhost")
        door.settimeout(0.5)
        door.sendall(rubbish)
        door.recv(4096)


def certificate(folder: Path) -> tuple[Path, Path]:
    key, made = folder / "tls.key", folder / "tls.crt"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key)]
    subprocess.run([*new, "-out", str(made), *subject], check=True, capture_output=True)
    return made, key


def test_every_line_is_json_whatever_is_sent_and_whoever_is_cut_off(
    tmp_path: Path, database_server: DatabaseServer
) -> None:
    made, key = certificate(tmp_path)
    name = database_server.create()
    with serving(
        tmp_path,
        "--role",
        "api",
        "--database-url",
        database_server.url(name),
        tls_certificate_file=str(made),
        tls_key_file=str(key),
        http_listen="127.0.0.1:0",
        http_public_url="https://trabecula.example",
        dimse_listen="127.0.0.1:0",
        dimse_peers="PEER@127.0.0.1",
    ) as (process, log):
        doors = {each: port_of(log, each) for each in ("port", "http_port", "dimse_port")}
        for port in doors.values():
            for rubbish in (
                CANARY,
                b"\x00" * 64 + CANARY,
                b"GET /" + CANARY + b" HTTP/9.9\r\n\r\n",
                b"\x16\x03\x01" + CANARY,
            ):
                knock(port, rubbish)
        knock(doors["port"], CANARY + b"\x00" * 100, tls=True)
        database_server.execute(CUT.format(name))
        make_study(tmp_path / "study", CANARY)
        with suppress(TrabeculaError), Client(f"localhost:{doors['port']}", ClientTls(made)) as client:
            client.submit([tmp_path / "study" / "0.dcm"])
        database_server.execute(CUT.format(name))
        time.sleep(1.5)
        assert process.poll() is None
    said = events(log)
    assert said[-1]["event"] == "stopped"
    libraries = [each for each in said if each["event"] == "library"]
    print(json.dumps(libraries, indent=1))
    assert {each["logger"].partition(".")[0] for each in libraries} >= {"grpc", "uvicorn"}
    database_server.drop(name)


@pytest.mark.slow
def test_worker_and_its_children_write_json_too(
    tmp_path: Path, repository: Path, database_server: DatabaseServer
) -> None:
    """The real models; the database goes away, and the child is killed as by a fault in a decoder."""
    if not list((repository / "models").glob("*/model.onnx")):
        pytest.skip("NO MODELS in models/")
    name = database_server.create()
    with serving(tmp_path, "--database-url", database_server.url(name)) as (process, log):
        database_server.execute(CUT.format(name))
        make_study(tmp_path / "study", CANARY)
        with Client(f"127.0.0.1:{port_of(log, 'port')}") as client:
            ended = list(client.watch(client.submit([tmp_path / "study" / "0.dcm"])))[-1]
        assert ended.failure.code == "no-dicom-found"
        children = psutil.Process(process.pid).children(recursive=True)
        for child in [each for each in children if "multiprocessing.spawn" in " ".join(each.cmdline())]:
            child.send_signal(signal.SIGABRT)
        database_server.execute(CUT.format(name))
        time.sleep(3.0)
    assert events(log)[-1]["event"] == "stopped"
    assert process.returncode == 0
    database_server.drop(name)


def test_a_start_that_fails_says_so_as_an_event(tmp_path: Path) -> None:
    with serving(tmp_path, "--role", "api", "--database-url", "postgresql://nobody@127.0.0.1:1/none") as (process, log):
        assert process.wait(60) == 1
    said = events(log)[-1]
    assert said["event"] == "cannot serve"
    assert said["level"] == "critical"
    assert said["code"]
