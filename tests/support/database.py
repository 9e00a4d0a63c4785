"""A real PostgreSQL for tests: one embedded server for the session, one migrated database for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import psycopg

from trabecula.config import Settings
from trabecula.work import embedded
from trabecula.work.database import Database, open_database, sync_engine
from trabecula.work.embedded import EmbeddedServer
from trabecula.work.migrate import upgrade

TEMPLATE = "template_trabecula"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class DatabaseServer:
    """A running server with a migrated template."""

    parameters: dict[str, str]

    def url(self, name: str) -> str:
        """As ``TRABECULA_DATABASE_URL`` takes it."""
        return "postgresql:///?" + urlencode({**self.parameters, "dbname": name})

    def create(self, template: str = TEMPLATE) -> str:
        """A new database; its name."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, sql: str) -> None:
        with psycopg.connect(**self.parameters, autocommit=True) as connection:
            connection.execute(sql)


def running_server() -> Iterator[DatabaseServer]:
    """Body of the session's fixture. Durability is off: tests do not pull the plug.

    ``TRABECULA_TEST_POSTGRES`` names the folder of another PostgreSQL's programs to run the tests against.
    """
    other = os.environ.get("TRABECULA_TEST_POSTGRES")
    folder = Path(tempfile.mkdtemp(prefix="trabecula-test-"))
    overrides = (("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"))
    server = EmbeddedServer(folder / "database", overrides, Path(other) if other else None)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(embedded.use(server))
        running = DatabaseServer(server.parameters())
        running.execute(f"CREATE DATABASE {TEMPLATE}")
        engine = sync_engine({**running.parameters, "dbname": TEMPLATE})
        with engine.begin() as connection:
            upgrade(connection)
        engine.dispose()
        yield running


@asynccontextmanager
async def fresh_database(server: DatabaseServer) -> AsyncIterator[tuple[Database, Settings]]:
    """A migrated, empty database, gone after the block."""
    name = server.create()
    settings = Settings(database_url=server.url(name))
    try:
        async with open_database(settings) as opened:
            yield opened, settings
    finally:
        server.drop(name)
