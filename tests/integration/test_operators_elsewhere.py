"""``trabecula gc`` and ``trabecula db`` with ``--server``: a running service's answers, as the database gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from database import DatabaseServer
from live_service import LiveServer, StartServer, make_study
from typer.testing import CliRunner, Result

from trabecula.cli.app import app
from trabecula.config import Role
from trabecula.service.client import Client


def trabecula(service: LiveServer, *arguments: object) -> Result:
    return CliRunner().invoke(app, [*(str(each) for each in arguments), "--server", service.admin_address])


@pytest.fixture
def operated(start_server: StartServer, tmp_path: Path) -> LiveServer:
    """A service with one screening that has ended."""
    service = start_server(admin_listen="127.0.0.1:0", backup_dir=tmp_path / "backups", pixel_retention_s=0.0)
    with Client(service.address) as client:
        list(client.watch(client.submit(make_study(tmp_path / "fine", files=3))))
    return service


def test_collection(operated: LiveServer) -> None:
    would = json.loads(trabecula(operated, "gc", "--dry-run", "--json").stdout)
    assert (would["pixels"], would["dry_run"]) == (1, True)
    assert "would be deleted" in trabecula(operated, "gc", "--dry-run").stdout
    did = json.loads(trabecula(operated, "gc", "--json").stdout)
    assert (did["pixels"], did["dry_run"]) == (1, False)
    assert json.loads(trabecula(operated, "gc", "--json").stdout)["pixels"] == 0


def test_check_is_the_one_that_runs_beside_the_database(operated: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    through = trabecula(operated, "db", "check", "--deep", "--json")
    assert through.exit_code == 0
    monkeypatch.setenv("TRABECULA_DATABASE_URL", str(operated.settings.database_url))
    monkeypatch.setenv("TRABECULA_STATE_DIR", str(operated.settings.state_dir))
    beside = CliRunner().invoke(app, ["db", "check", "--deep", "--json"])
    assert json.loads(through.stdout) == json.loads(beside.stdout)
    operated.kept()[0].unlink()
    broken = trabecula(operated, "db", "check")
    assert broken.exit_code == 3
    assert "database-check" in broken.stderr


def test_backup_by_name_and_restore_into_an_empty_database(
    operated: LiveServer, start_server: StartServer, database_server: DatabaseServer, tmp_path: Path
) -> None:
    made = json.loads(trabecula(operated, "db", "backup", "one.tar", "--json").stdout)
    assert (made["name"], made["screenings"], made["left_out"]) == ("one.tar", 1, [])
    assert (tmp_path / "backups" / "one.tar").stat().st_size > made["bytes"] > 0
    again = trabecula(operated, "db", "backup", "one.tar")
    assert (again.exit_code, "backup-exists" in again.stderr) == (1, True)
    in_use = trabecula(operated, "db", "restore", "one.tar")
    assert (in_use.exit_code, "database-in-use" in in_use.stderr) == (1, True)
    fresh = start_server(
        role=Role.ADMIN,
        admin_listen="127.0.0.1:0",
        backup_dir=tmp_path / "backups",
        state_dir=tmp_path / "new",
        database_url=database_server.url(database_server.create("template0")),
    )
    assert trabecula(fresh, "db", "check").exit_code == 3
    restored = trabecula(fresh, "db", "restore", "one.tar")
    assert restored.stdout.startswith("restored: 1 screenings"), restored.stderr
    assert trabecula(fresh, "db", "check").exit_code == 0
    assert "already" in trabecula(fresh, "db", "upgrade").stdout


def test_upgrade_of_an_empty_database(
    start_server: StartServer, database_server: DatabaseServer, tmp_path: Path
) -> None:
    empty = database_server.url(database_server.create("template0"))
    service = start_server(role=Role.ADMIN, admin_listen="127.0.0.1:0", state_dir=tmp_path / "new", database_url=empty)
    assert json.loads(trabecula(service, "db", "upgrade", "--json").stdout)["before"] is None
    assert "already" in trabecula(service, "db", "upgrade").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("backup", "folder/one.tar"),
        ("backup", "../one.tar"),
        ("restore", "one.tar", "--replace"),
        ("restore", "one.tar", "--verify"),
        ("upgrade", "--to", "0001"),
    ],
)
def test_what_a_service_is_not_asked_for_is_wrong_usage(operated: LiveServer, arguments: tuple[str, ...]) -> None:
    assert trabecula(operated, "db", *arguments).exit_code == 2


def test_a_service_that_is_not_there_is_said() -> None:
    lost = CliRunner().invoke(app, ["gc", "--server", "127.0.0.1:1"])
    assert (lost.exit_code, "service-unreachable" in lost.stderr) == (1, True)
