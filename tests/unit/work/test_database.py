"""The door to PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from database import DatabaseServer
from sqlalchemy import text

from trabecula.config import Settings
from trabecula.errors import ConfigurationError, DatabaseTooOld, DatabaseUnavailable, Overloaded, SchemaOutdated
from trabecula.work import database as module
from trabecula.work.database import Database, open_database, url_parameters
from trabecula.work.migrate import current_revision, downgrade, head, is_current, revisions
from trabecula.work.queue import defer


async def test_a_fresh_database_is_at_the_programs_revision(database: Database) -> None:
    async with database.transaction() as connection:
        assert await connection.run_sync(current_revision) == head()


async def test_tables_of_the_queue_are_there(database: Database) -> None:
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM procrastinate_jobs"))).scalar_one() == 0


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE half_done (id int)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT to_regclass('half_done')"))).scalar_one() is None


async def test_tables_that_are_older_than_the_program_are_told(database: Database, database_settings: Settings) -> None:
    async with database.transaction() as connection:
        await connection.run_sync(downgrade, revisions()[-2])
    with pytest.raises(SchemaOutdated) as caught:
        async with open_database(database_settings):
            pass
    assert caught.value.fields == {"revision": revisions()[-2], "needed": head()}
    assert "trabecula db upgrade" in caught.value.client_message
    async with open_database(database_settings, check_schema=False):
        pass


def test_tables_of_a_later_release_will_do() -> None:
    assert is_current(head())
    assert is_current(f"{int(head()) + 1:04}")
    assert not is_current(None)


async def test_a_server_that_is_too_old_is_told(database_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MINIMUM_VERSION", 990000)
    with pytest.raises(DatabaseTooOld):
        async with open_database(database_settings):
            pass


@pytest.mark.parametrize("where", ["postgresql://127.0.0.1:9/x", "postgresql:///x?host=/nonexistent"])
async def test_a_database_that_does_not_answer_is_told(where: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with open_database(Settings(database_url=where, database_timeout_s=2.0)):
            pass


async def test_a_connection_lost_on_the_way_is_told_and_the_next_one_works(
    database: Database, database_server: DatabaseServer
) -> None:
    async def lose() -> None:
        async with database.transaction() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            database_server.execute(f"SELECT pg_terminate_backend({pid})")
            await connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        await lose()
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1"))


async def test_a_connection_lost_while_a_job_is_enqueued_is_told(
    database: Database, database_server: DatabaseServer
) -> None:
    async def lose() -> None:
        async with database.transaction() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            database_server.execute(f"SELECT pg_terminate_backend({pid})")
            await defer(connection, "test.nothing", {})

    with pytest.raises(DatabaseUnavailable):
        await lose()


async def test_a_pool_that_is_used_up_is_told(database_settings: Settings) -> None:
    settings = replace(database_settings, database_pool_size=1, database_pool_overflow=0, database_timeout_s=0.1)
    async with open_database(settings) as database, database.transaction():
        with pytest.raises(DatabaseUnavailable):
            async with database.transaction():
                pass


async def test_a_burst_opens_no_connection_twice(database_settings: Settings) -> None:
    async def used(database: Database) -> int:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(0.002)"))
            return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())

    async with open_database(database_settings) as database:
        pids = [await asyncio.gather(*(used(database) for _ in range(100))) for _ in range(3)]
    assert len({pid for each in pids for pid in each}) <= Settings().database_pool_size


async def test_a_full_disk_of_the_database_is_overload(database: Database) -> None:
    with pytest.raises(Overloaded):
        async with database.transaction() as connection:
            await connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"))


@pytest.mark.parametrize("url", ["postgresql://me:secret@host/db", "postgresql://host/db?password=secret"])
def test_a_password_in_the_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        url_parameters(Settings(database_url=url))
    assert "secret" not in str(caught.value)


def test_the_password_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter 2\n")
    settings = Settings(database_url="postgresql+psycopg://me@host:6000/db?sslmode=verify-full")
    assert url_parameters(replace(settings, database_password_file=file)) == {
        "user": "me",
        "host": "host",
        "port": "6000",
        "dbname": "db",
        "sslmode": "verify-full",
        "password": "hunter 2",
    }
    with pytest.raises(ConfigurationError):
        url_parameters(replace(settings, database_password_file=tmp_path / "none"))
    with pytest.raises(ConfigurationError):
        url_parameters(Settings(database_url="mysql://host/db"))
