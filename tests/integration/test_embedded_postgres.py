"""The PostgreSQL that comes with the program: private, shared by the processes of one state folder, hard to lose."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from trabecula.config import Settings
from trabecula.errors import DatabaseStartFailed, DatabaseUnavailable
from trabecula.work import embedded
from trabecula.work.database import Database, embedded_server, open_database
from trabecula.work.direct import Statement

USER_SCRIPT = """
import asyncio, sys
from pathlib import Path
from trabecula.config import Settings
from trabecula.work.database import open_database

async def main() -> None:
    async with open_database(Settings(state_dir=Path(sys.argv[1]))):
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A state folder with a path short enough for a socket, and its server gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="trabecula-embedded-"))
    made = Settings(state_dir=folder / "state")
    yield made
    server = embedded_server(made)
    if server.running():
        embedded.stop(server)
    shutil.rmtree(folder, ignore_errors=True)


def another_process(settings: Settings) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER_SCRIPT, str(settings.state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def postmaster(settings: Settings) -> int:
    return int((embedded_server(settings).data / "postmaster.pid").read_text().split("\n")[0])


async def answers(database: Database) -> bool:
    async with database.transaction() as connection:
        return bool((await connection.execute(text("SELECT true"))).scalar_one())


async def test_nobody_else_gets_in(settings: Settings) -> None:
    settings.state_dir.mkdir(mode=0o755)
    async with open_database(settings) as database:
        parameters = dict(database.parameters)
        server = embedded_server(settings)
        async with database.transaction() as connection:
            assert (await connection.execute(text("SHOW listen_addresses"))).scalar_one() == ""
        del parameters["passfile"]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(**parameters | {"password": "guess"})
        rules = [line for line in (server.data / "pg_hba.conf").read_text().splitlines() if line.strip()[:1] not in "#"]
        assert {line.split()[-1] for line in rules} == {"scram-sha-256"}
        assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert settings.state_dir.stat().st_mode & 0o067 == 0
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        assert server.password_file.read_text().strip().split(":")[-1] not in repr(database)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user")
async def test_another_user_cannot_even_reach_the_socket(settings: Settings) -> None:
    async with open_database(settings) as database:
        folder = Path(database.parameters["host"])
        for above in (folder.parent, folder.parent.parent, folder.parent.parent.parent):
            above.chmod(0o755)  # what is left is the socket's own folder
        probe = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        tried = subprocess.run(
            ["/usr/bin/python3", "-c", probe, str(folder / ".s.PGSQL.5432")],
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
        )
        assert b"PermissionError" in tried.stderr


async def test_the_servers_log_holds_no_values(settings: Settings) -> None:
    async with open_database(settings) as database:
        for statement in (
            "SELECT CAST('Jane Doe' AS int)",
            "INSERT INTO screening (id, state) VALUES ('9f6a7c1e-0000-4000-8000-000000000000', 'Jane Doe')",
        ):
            with pytest.raises(Exception, match="Jane Doe"):
                async with database.transaction() as connection:
                    await connection.execute(text(statement))
        logs = list((embedded_server(settings).data / "log").iterdir())
        written = "".join(log.read_text() for log in logs)
        assert "INSERT INTO" not in written
        assert {stat.S_IMODE(log.stat().st_mode) for log in logs} == {0o600}


async def test_processes_share_it_and_the_last_one_stops_it(settings: Settings) -> None:
    other = another_process(settings)
    pid = postmaster(settings)
    async with open_database(settings) as database:
        assert postmaster(settings) == pid
        other.communicate("\n", timeout=20)
        assert await answers(database)
    assert not embedded_server(settings).running()


async def test_another_container_with_the_same_folder_is_refused_while_one_uses_it(settings: Settings) -> None:
    other = another_process(settings)
    pid = postmaster(settings)
    place = embedded_server(settings).folder / "place"
    place.write_text("another container")
    with pytest.raises(DatabaseStartFailed) as caught:
        async with open_database(settings):
            pass
    assert caught.value.fields["reason"] == "in-use-elsewhere"
    assert postmaster(settings) == pid
    other.communicate("\n", timeout=20)
    async with open_database(settings) as database:  # it is nobody's any more: a pod that was moved
        assert await answers(database)


async def test_after_a_kill_it_goes_on_and_the_next_start_joins_it(settings: Settings) -> None:
    other = another_process(settings)
    pid = postmaster(settings)
    other.kill()
    other.wait()
    assert embedded_server(settings).running()
    async with open_database(settings) as database:
        assert postmaster(settings) == pid
        assert await answers(database)
    assert not embedded_server(settings).running()


async def test_a_killed_server_is_started_again_under_the_program(settings: Settings) -> None:
    single = Statement.of(text("SELECT 1"))
    async with open_database(settings) as database:
        assert await answers(database)
        assert await database.direct.fetch(single) == [(1,)]
        os.kill(postmaster(settings), signal.SIGKILL)
        deadline = time.monotonic() + 120
        while True:
            try:
                assert await answers(database)
                break
            except DatabaseUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
        # Its connection is of the server that was killed: the statement finds another one by itself.
        assert await database.direct.fetch(single) == [(1,)]


async def test_a_first_start_that_was_cut_short_is_done_again(settings: Settings) -> None:
    server = embedded_server(settings)
    server.folder.mkdir(parents=True)
    (server.folder / "data.new").mkdir()
    (server.folder / "data.new" / "PG_VERSION").write_text("18\n")
    async with open_database(settings) as database:
        assert await answers(database)


async def test_a_state_folder_with_a_long_path_has_its_socket_elsewhere(settings: Settings) -> None:
    long = Settings(state_dir=settings.state_dir / ("long" * 25))
    server = embedded_server(long)
    assert len(str(server.socket)) < 100
    async with open_database(long) as database:
        assert await answers(database)
    shutil.rmtree(server.socket)


async def test_a_socket_folder_of_somebody_else_is_refused(settings: Settings) -> None:
    long = Settings(state_dir=settings.state_dir / ("long" * 25))
    server = embedded_server(long)
    server.socket.symlink_to(settings.state_dir.parent)
    try:
        with pytest.raises(DatabaseStartFailed):
            async with open_database(long):
                pass
    finally:
        server.socket.unlink()
