"""Single statements straight through the driver: as quick as they are said to be, and no less safe."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from database import DatabaseServer
from psycopg import AsyncConnection
from sqlalchemy import bindparam, literal, select, text

from trabecula.config import Settings
from trabecula.errors import DatabaseUnavailable, Overloaded
from trabecula.hooks.store import use_token
from trabecula.work.database import Database, open_database
from trabecula.work.direct import Statement

PID = Statement.of(text("SELECT pg_backend_pid() AS pid"))
SLEEP = Statement.of(text("SELECT pg_sleep(CAST(:length_s AS float8)), pg_backend_pid() AS pid"))


async def pid_of(database: Database) -> int:
    ((pid,),) = await database.direct.fetch(PID)
    return int(pid)


async def test_parameters_are_those_of_core_and_those_of_the_call(database: Database) -> None:
    found = await database.direct.fetch(
        Statement.of(select(literal(7).label("fixed"), (bindparam("more", type_=literal(1).type) + 1).label("more"))),
        more=41,
    )
    assert [(row.fixed, row.more) for row in found] == [(7, 42)]


async def test_what_is_not_given_is_an_error_and_leaves_the_connection_well(database: Database) -> None:
    pid = await pid_of(database)
    with pytest.raises(psycopg.ProgrammingError):
        await database.direct.fetch(SLEEP)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await database.direct.fetch(Statement.of(text("SELECT 1 / 0")))
    assert await pid_of(database) == pid


async def test_each_statement_is_committed_by_itself(database: Database) -> None:
    await database.direct.fetch(Statement.of(text("CREATE TABLE one (id int)")))
    async with database.transaction() as connection:
        await database.direct.fetch(Statement.of(text("INSERT INTO one VALUES (1)")))
        assert (await connection.execute(text("SELECT count(*) FROM one"))).scalar_one() == 1
        await connection.rollback()
    assert [row[0] for row in await database.direct.fetch(Statement.of(text("SELECT count(*) FROM one")))] == [1]


async def test_a_statement_is_one_round_trip(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await pid_of(database)
    waits = 0
    real = AsyncConnection.wait

    async def counted(self: Any, *rest: Any, **more: Any) -> Any:
        nonlocal waits
        waits += 1
        return await real(self, *rest, **more)

    monkeypatch.setattr(AsyncConnection, "wait", counted)
    await pid_of(database)
    assert waits == 1  # neither BEGIN nor COMMIT nor a check of the connection


async def test_connections_lost_while_idle_are_replaced(database: Database, database_server: DatabaseServer) -> None:
    sleeping = [database.direct.fetch(SLEEP, length_s=0.2) for _ in range(4)]
    before = {row[0].pid for row in await asyncio.gather(*sleeping)}
    assert len(before) > 1
    for pid in before:
        database_server.execute(f"SELECT pg_terminate_backend({pid})")
    after = {
        row[0].pid for row in await asyncio.gather(*(database.direct.fetch(SLEEP, length_s=0.2) for _ in range(4)))
    }
    assert not after & before


async def test_a_statement_that_loses_every_connection_is_told(database: Database) -> None:
    end = Statement.of(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with pytest.raises(DatabaseUnavailable):
        await database.direct.fetch(end)
    await pid_of(database)


async def test_a_full_disk_is_overload(database: Database) -> None:
    full = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"
    with pytest.raises(Overloaded):
        await database.direct.fetch(Statement.of(text(full)))


async def test_a_call_that_is_cancelled_leaves_nothing_behind(database: Database) -> None:
    for _ in range(10):
        task = asyncio.create_task(database.direct.fetch(SLEEP, length_s=60))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with asyncio.timeout(30):  # far less than the sleeps; every place in the pool is free
        await asyncio.gather(*(pid_of(database) for _ in range(20)))


async def test_both_kinds_of_connections_together_keep_to_the_setting(database_settings: Settings) -> None:
    settings = replace(database_settings, database_pool_size=4)
    count = text("SELECT pg_backend_pid() FROM pg_sleep(0.01)")

    async def whole(database: Database) -> int:
        async with database.transaction() as connection:
            return int((await connection.execute(count)).scalar_one())

    async with open_database(settings) as database:
        singles = [database.direct.fetch(SLEEP, length_s=0.01) for _ in range(20)]
        rows, pids = await asyncio.gather(
            asyncio.gather(*singles), asyncio.gather(*(whole(database) for _ in range(20)))
        )
    assert 1 < len({row[0].pid for row in rows} | set(pids)) <= 4


async def test_a_pool_of_single_statements_that_is_used_up_is_told(database_settings: Settings) -> None:
    settings = replace(database_settings, database_pool_size=1, database_timeout_s=0.1)
    async with open_database(settings) as database:
        await pid_of(database)
        slow = asyncio.create_task(database.direct.fetch(SLEEP, length_s=3))
        await asyncio.sleep(0.05)
        with pytest.raises(DatabaseUnavailable):
            await pid_of(database)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


REPLICA = """
import asyncio, json, sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from trabecula.config import Settings
from trabecula.hooks.store import use_token
from trabecula.work.database import open_database

async def main():
    async with open_database(Settings(database_url=sys.argv[1])) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        end = datetime.now(UTC) + timedelta(hours=1)
        tries = [use_token(database.direct, sha256(b"%d" % n).digest(), end) for n in range(200)]
        print(json.dumps(await asyncio.gather(*tries)), flush=True)

asyncio.run(main())
"""


async def test_a_token_is_good_once_for_processes_that_race(database: Database, database_settings: Settings) -> None:
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", REPLICA, str(database_settings.database_url)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert await other.stdout.readline() == b"ready\n"
    other.stdin.write(b"\n")
    end = datetime.now(UTC) + timedelta(hours=1)
    here = [use_token(database.direct, sha256(b"%d" % number).digest(), end) for number in range(200)]
    fresh_here = await asyncio.gather(*here)
    fresh_there = json.loads(await other.stdout.readline())
    assert await other.wait() == 0
    assert [a + b for a, b in zip(fresh_here, fresh_there, strict=True)] == [1] * 200
    assert not await use_token(database.direct, sha256(b"1").digest(), end)
