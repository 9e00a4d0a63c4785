"""``trabecula health``: what engines and people ask."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest
from live_service import StartServer
from typer.testing import CliRunner, Result

from trabecula.cli.app import app


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["health", *arguments])


def test_a_service_that_is_ready_gives_0_and_one_that_drains_1(start_server: StartServer) -> None:
    live = start_server(health_listen="127.0.0.1:0")
    server = f"127.0.0.1:{live.server.health_port}"
    for service in ("ready", "startup", "alive"):
        answered = ask("--server", server, "--service", service)
        assert (answered.exit_code, answered.stdout) == (0, f"{service}: SERVING\n")
    assert json.loads(ask("--server", server, "--json").stdout) == {"service": "ready", "status": "SERVING"}
    live.stop(0.0)
    assert ask("--server", server).exit_code == 1


def test_all_addresses_means_this_machine(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    live = start_server(health_listen="127.0.0.1:0")
    monkeypatch.setenv("TRABECULA_HEALTH_LISTEN", f"0.0.0.0:{live.server.health_port}")
    assert ask().exit_code == 0


def test_nobody_there_is_1_and_no_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRABECULA_HEALTH_LISTEN", raising=False)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        free = taken.getsockname()[1]
    nobody = ask("--server", f"127.0.0.1:{free}", "--timeout-s", "1")
    assert nobody.exit_code == 1
    assert "SERVING" not in nobody.stdout
    unset = ask()
    assert unset.exit_code == 1
    assert "TRABECULA_HEALTH_LISTEN" in unset.stderr
    assert ask("--service", "other").exit_code == 2
