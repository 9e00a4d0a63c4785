"""Nothing in the service's process grows with the calls and studies it has seen."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import deque
from pathlib import Path
from typing import Any

import httpx
from fake_screens import make_light_perform
from live_service import StartServer, make_study

from trabecula.service.client import Client
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.process_runner import ProcessRunner

WARM_UP = 6
"""Connections, statements and metrics come into being."""
ROUNDS = 6
Container = dict[Any, Any] | list[Any] | set[Any] | deque[Any]


def test_no_container_grows_with_calls_and_studies(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(ProcessRunner(make_light_perform, 1), http_listen="127.0.0.1:0", auth="off")
    orders = (b"report", b"refuse", b"text")
    studies = [make_study(tmp_path / order.decode(), order) for order in orders]
    base = f"http://127.0.0.1:{service.server.http_port}"

    def go_round() -> None:
        with Client(service.address) as client, httpx.Client(base_url=base) as http:
            for study in studies:
                screening_id = client.submit(study)
                summary = list(client.watch(screening_id))[-1]
                assert summary.state != pb.SCREENING_STATE_QUEUED
                client.get(screening_id)
                next(iter(client.watch(screening_id)))
            client.list()
            for path in ("/fhir/metadata", "/fhir/DiagnosticReport?_count=5", "/cds-services"):
                assert http.get(path).status_code == 200

    def grown(among: list[Container]) -> list[Container]:
        held = [(each, len(each)) for each in among]
        for _ in range(ROUNDS):
            go_round()
        gc.collect()
        return [each for each, before in held if len(each) >= before + ROUNDS]

    for _ in range(WARM_UP):
        go_round()
    gc.collect()
    suspects = grown([each for each in gc.get_objects() if isinstance(each, dict | list | set | deque)])
    leaks = grown(suspects) if suspects else []  # a queue that was full at one moment is none
    assert [describe(each) for each in leaks if not is_bounded(each)] == []


def is_bounded(container: Container) -> bool:
    """asyncio's timers, which go when they are due or are half of their heap (procrastinate sets some of a minute), and
    the calls that its loop does next; what only weak references are held to; psycopg's prepared statements, at most a
    hundred for each connection."""
    entries = list(container)
    calls = all(isinstance(each, asyncio.Handle) for each in entries)
    weak = all(isinstance(each, weakref.ref) for each in entries)
    statements = all(isinstance(each, tuple) and isinstance(each[0], bytes) for each in entries)
    recent = isinstance(container, set) and all(isinstance(each, int) for each in entries)
    return calls or weak or statements or recent


def describe(container: Container) -> str:
    """Its type, length and some of what it holds."""
    some = ", ".join(repr(each)[:80] for each in list(container)[-3:])
    return f"{type(container).__name__} of {len(container)}: {some}"
