"""The platform's health port: what the kubelet's probes hear, and when."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from database import DatabaseServer
from fake_screens import make_fake_perform
from grpc_health.v1 import health_pb2, health_pb2_grpc
from live_service import StartServer, make_study, wait_until

from trabecula.config import Settings, load_settings
from trabecula.errors import ConfigurationError
from trabecula.service import health
from trabecula.service.client import Client
from trabecula.service.server import Server
from trabecula.work.runner import Perform, ThreadRunner

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def ask(port: int, service: str) -> int:
    """As the kubelet does: no TLS, one unary Check."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return int(health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status)


def standing(port: int) -> list[int]:
    return [ask(port, name) for name in ("", "startup", "ready")]


@pytest.mark.parametrize("role", ["all", "api", "worker"])
def test_every_role_answers_probes(start_server: StartServer, role: str) -> None:
    live = start_server(role=role, health_listen="127.0.0.1:0")
    assert standing(live.server.health_port) == [SERVING, SERVING, SERVING]
    with pytest.raises(grpc.RpcError) as caught:
        ask(live.server.health_port, "something.else")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]


def test_it_is_off_unless_asked_for(start_server: StartServer) -> None:
    assert start_server().server.health_port == 0


def test_while_models_load_it_is_alive_and_not_started(database_settings: Settings, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    loading, loaded = threading.Event(), threading.Event()

    def slow() -> Perform:
        loading.set()
        assert loaded.wait(30)
        return make_fake_perform()

    async def run() -> list[list[int]]:
        settings = replace(
            database_settings, listen="127.0.0.1:0", state_dir=tmp_path, health_listen=f"127.0.0.1:{port}"
        )
        server = Server(settings, ThreadRunner(slow, 1))
        starting = asyncio.create_task(server.start())
        await asyncio.to_thread(loading.wait, 30)
        seen = [await asyncio.to_thread(standing, port)]
        loaded.set()
        await starting
        seen.append(await asyncio.to_thread(standing, port))
        await server.stop(0.0)
        return seen

    assert asyncio.run(run()) == [[SERVING, NOT_SERVING, NOT_SERVING], [SERVING, SERVING, SERVING]]


def test_a_draining_service_is_alive_and_not_ready_while_its_study_still_runs(
    start_server: StartServer, tmp_path: Path
) -> None:
    live = start_server(health_listen="127.0.0.1:0")
    port = live.server.health_port
    with Client(live.address) as client:
        client.submit(make_study(tmp_path / "study", b"brief"))
        wait_until(lambda: live.server._work is not None and live.server._work._screenings.running == 1)
        stopping = threading.Thread(target=live.stop, args=(10.0,))
        stopping.start()
        wait_until(lambda: ask(port, "ready") == NOT_SERVING)
        assert stopping.is_alive()
        assert standing(port) == [SERVING, SERVING, NOT_SERVING]
        stopping.join(30)


def test_it_is_not_ready_while_the_database_is_away(
    start_server: StartServer, database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY_S", 0.1)
    live = start_server(health_listen="127.0.0.1:0", database_timeout_s=1.0)
    port, name = live.server.health_port, live.server.database.parameters["dbname"]
    database_server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
    database_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
    try:
        wait_until(lambda: ask(port, "ready") == NOT_SERVING, 20)
        assert [ask(port, ""), ask(port, "startup")] == [SERVING, SERVING]
    finally:
        database_server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
    wait_until(lambda: ask(port, "ready") == SERVING, 20)


def test_a_taken_address_is_a_fault_of_the_settings(start_server: StartServer) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, pytest.raises(ConfigurationError):
        start_server(health_listen=f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(ConfigurationError):
        load_settings({"TRABECULA_HEALTH_LISTEN": "8081"})
