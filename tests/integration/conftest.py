"""A live service on the loopback interface."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_screens import make_fake_perform
from live_service import LiveServer, StartServer

from trabecula.config import Role, Settings
from trabecula.service.client import Client
from trabecula.service.logs import configure_logs
from trabecula.service.server import Server
from trabecula.work.runner import Runner, ThreadRunner


@pytest.fixture(autouse=True)
def service_logs() -> None:
    """Logs go where the service sends them, not to standard output."""
    configure_logs("info")


@pytest.fixture
def start_server(tmp_path: Path, database_settings: Settings) -> Iterator[StartServer]:
    """Starts services with a fake screening chain on this test's database; settings by keyword."""
    started: list[tuple[LiveServer, threading.Thread]] = []

    def start(runner: Runner | None = None, **changes: object) -> LiveServer:
        settings = replace(
            database_settings,
            listen="127.0.0.1:0",
            state_dir=tmp_path / "state",
            heartbeat_s=0.5,
            stalled_after_s=2.0,
        )
        settings = replace(settings, **changes)  # type: ignore[arg-type]
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        async def make() -> Server:
            ready = runner or ThreadRunner(make_fake_perform, settings.workers)
            server = Server(settings, None if settings.role in (Role.API, Role.ADMIN) else ready)
            await server.start()
            return server

        live = LiveServer(asyncio.run_coroutine_threadsafe(make(), loop).result(60), loop, settings)
        started.append((live, thread))
        return live

    yield start
    for live, thread in reversed(started):
        live.stop(0.0)
        live.loop.call_soon_threadsafe(live.loop.stop)
        thread.join(10)
        live.loop.close()


@pytest.fixture
def service(start_server: StartServer) -> LiveServer:
    return start_server()


@pytest.fixture
def client(service: LiveServer) -> Iterator[Client]:
    with Client(service.address) as connected:
        yield connected
