"""A wish to cancel reaches a running attempt by a notification, over processes; polling is the net below it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from database import DatabaseServer
from fake_screens import make_light_perform
from live_service import LiveServer, StartServer, make_study, wait_until

from trabecula.config import Role
from trabecula.service.client import Client
from trabecula.v1 import screening_pb2 as pb
from trabecula.work import worker
from trabecula.work.process_runner import ProcessRunner

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'LISTEN%'"


def running(client: Client, folder: Path, order: bytes = b"silent") -> str:
    screening_id = client.submit(make_study(folder, order))
    wait_until(lambda: client.get(screening_id)[0].state == pb.SCREENING_STATE_RUNNING)
    return screening_id


def cancelled_after_s(client: Client, screening_id: str) -> float:
    asked = time.perf_counter()
    client.cancel(screening_id)
    assert list(client.watch(screening_id))[-1].state == pb.SCREENING_STATE_CANCELLED
    return time.perf_counter() - asked


@pytest.fixture
def far_apart(start_server: StartServer) -> LiveServer:
    """Accepted by one service, worked on by another; the child says nothing that could carry the wish."""
    start_server(ProcessRunner(make_light_perform, 1), role=Role.WORKER)
    return start_server(role=Role.API)


def test_a_cancel_does_not_wait_for_the_next_look(far_apart: LiveServer, tmp_path: Path) -> None:
    with Client(far_apart.address) as client:
        took_s = [cancelled_after_s(client, running(client, tmp_path / str(n))) for n in range(4)]
    assert statistics.median(took_s) < 1.0  # a look comes every five seconds


def test_after_the_listener_was_cut_off_a_cancel_is_heard_at_once_again(
    far_apart: LiveServer, database_server: DatabaseServer, tmp_path: Path
) -> None:
    with Client(far_apart.address) as client:
        screening_id = running(client, tmp_path / "one")
        name = str(far_apart.settings.database_url).rpartition("dbname=")[2].partition("&")[0]
        database_server.execute(CUT.format(name))
        client.cancel(screening_id)  # while nobody listens: whoever listens again looks once
        asked = time.perf_counter()
        assert list(client.watch(screening_id))[-1].state == pb.SCREENING_STATE_CANCELLED
        assert time.perf_counter() - asked < 4.0
        time.sleep(1.5)
        assert cancelled_after_s(client, running(client, tmp_path / "two")) < 1.0


def test_without_notifications_the_next_look_finds_it(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind PgBouncer in transaction mode, where LISTEN is accepted and nothing ever comes."""
    monkeypatch.setattr(worker, "LOOK_S", 1.0)
    monkeypatch.setattr("trabecula.work.running.STOP_CHANNEL", "a_channel_that_nobody_notifies")
    service = start_server(ProcessRunner(make_light_perform, 1))
    with Client(service.address) as client:
        took_s = cancelled_after_s(client, running(client, tmp_path / "one"))
    assert took_s < 3.0


def test_a_silent_study_does_not_trouble_the_database(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_server(ProcessRunner(make_light_perform, 1))
    store, looks = service.server.store, []
    progress = store.progress

    async def counted(*arguments: object) -> object:
        looks.append(time.monotonic())
        return await progress(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "progress", counted)
    with Client(service.address) as client:
        screening_id = running(client, tmp_path / "one")
        time.sleep(3.0)
        assert len(looks) <= 2
        client.cancel(screening_id)
        list(client.watch(screening_id))
