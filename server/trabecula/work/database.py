"""The one door to PostgreSQL: engine, transactions, and the check that server and tables fit the program."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from trabecula.config import Settings
from trabecula.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseTooOld,
    SchemaOutdated,
)
from trabecula.work import embedded
from trabecula.work.direct import Direct
from trabecula.work.disk import make_private
from trabecula.work.driver_errors import translated_errors
from trabecula.work.embedded import EmbeddedServer
from trabecula.work.migrate import current_revision, head, is_current, upgrade

MINIMUM_VERSION: Final = 140000
"""``server_version_num`` of PostgreSQL 14."""
EMBEDDED_FOLDER: Final = "database"
_WATCH_S: Final = 0.5
_RECYCLE_S: Final = 3600
"""A connection that is older is opened anew, and what the server's process for it has gathered (caches of its
catalogue, plans) goes with it."""
_SINGLES_SHARE: Final = 4
"""One connection in so many is for single statements (:mod:`trabecula.work.direct`)."""
_DIALECT: Final = "postgresql+psycopg://"

_CONNECTION: Final[dict[str, str]] = {
    "application_name": "trabecula",
    "client_encoding": "utf8",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


@dataclass(frozen=True)
class Database:
    """An open database. Use :func:`open_database` to get one."""

    engine: AsyncEngine
    """For ``postgresql+psycopg``."""
    parameters: Mapping[str, str] = field(repr=False)
    """Connection parameters of libpq, for what speaks psycopg itself (LISTEN, the queue) and for pg_dump. May hold
    the password: never logged."""
    direct: Direct
    """For single statements that must be quick."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Raises:
            DatabaseUnavailable: when there is no connection to be had, or it is lost on the way. After a connection
                was lost the commit may have happened or not; what the block does must bear a repetition.
            Overloaded: when the server's disk is full.
        """
        with translated_errors():
            async with self.engine.begin() as connection:
                yield connection


@asynccontextmanager
async def open_database(settings: Settings, *, check_schema: bool = True) -> AsyncIterator[Database]:
    """The database of the settings, for the time of the block.

    Without ``database_url`` the PostgreSQL that comes with the program is started (or joined, when another process
    of the same ``state_dir`` has it already), its tables are brought up to date, and it is started again should it
    die meanwhile.

    Args:
        settings: ``database_*`` and ``state_dir`` are used.
        check_schema: whether tables older than the program are an error; ``trabecula db upgrade`` says no.

    Raises:
        ConfigurationError: if the URL cannot be read or holds a password.
        DatabaseUnavailable: if nothing answers.
        DatabaseStartFailed: if the server of the program cannot be started.
        DatabaseTooOld: for a server older than PostgreSQL 14.
        SchemaOutdated: if ``trabecula db upgrade`` has not been run.
    """
    async with AsyncExitStack() as stack:
        parameters = await _parameters(settings, stack)
        await asyncio.to_thread(_prepare, settings, parameters, check_schema)
        singles = max(1, settings.database_pool_size // _SINGLES_SHARE)
        engine = _engine(
            settings,
            parameters,
            pool_size=max(1, settings.database_pool_size - singles),
            max_overflow=settings.database_pool_overflow,
            pool_pre_ping=True,
        )
        stack.push_async_callback(engine.dispose)
        quick = _engine(
            settings,
            parameters,
            pool_size=singles,
            max_overflow=0,
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
        )
        stack.push_async_callback(quick.dispose)
        yield Database(engine, parameters, Direct(quick))


def _engine(settings: Settings, parameters: Mapping[str, str], **more: Any) -> AsyncEngine:
    return create_async_engine(
        _DIALECT,
        connect_args=dict(parameters),
        pool_timeout=settings.database_timeout_s,
        pool_recycle=_RECYCLE_S,
        pool_use_lifo=True,  # few warm connections rather than many that all hold the same caches
        **more,
    )


def sync_engine(parameters: Mapping[str, str]) -> Engine:
    """An engine for what runs in a thread of its own: migrations, checks, backups."""
    return create_engine(_DIALECT, connect_args=dict(parameters), pool_size=1, max_overflow=1)


def embedded_server(settings: Settings) -> EmbeddedServer:
    """The program's own server for a state folder."""
    return EmbeddedServer(settings.state_dir / EMBEDDED_FOLDER)


async def _parameters(settings: Settings, stack: AsyncExitStack) -> dict[str, str]:
    timeout = {"connect_timeout": str(max(2, round(settings.database_timeout_s)))}
    if settings.database_url is not None:
        return {**_CONNECTION, **timeout, **url_parameters(settings)}
    await asyncio.to_thread(make_private, settings.state_dir)
    server = embedded_server(settings)
    use = embedded.use(server)
    await asyncio.to_thread(use.__enter__)
    stack.push_async_callback(asyncio.to_thread, use.__exit__, None, None, None)
    watch = asyncio.create_task(_keep_running(server))
    stack.push_async_callback(_cancelled, watch)
    return {**_CONNECTION, **timeout, **server.parameters()}


def url_parameters(settings: Settings) -> dict[str, str]:
    """libpq's parameters of ``database_url`` and the password's file.

    Raises:
        ConfigurationError: if the URL cannot be read or holds a password, or the file cannot be read.
    """
    url = (settings.database_url or "").replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except ProgrammingError:
        raise ConfigurationError(setting="TRABECULA_DATABASE_URL", must_be="postgresql://user@host/name") from None
    if "password" in parameters:
        raise ConfigurationError(setting="TRABECULA_DATABASE_URL", must_be="without password; name its file instead")
    if settings.database_password_file is not None:
        try:
            parameters["password"] = settings.database_password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigurationError(setting="TRABECULA_DATABASE_PASSWORD_FILE") from error
    return parameters


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _keep_running(server: EmbeddedServer) -> None:
    while True:
        await asyncio.sleep(_WATCH_S)
        if server.running():
            continue
        try:
            await asyncio.to_thread(embedded.ensure_running, server)
        except DatabaseError as error:  # tried again at the next round
            structlog.get_logger().error("embedded PostgreSQL cannot be started", code=error.code, detail=str(error))
            await asyncio.sleep(2.0)


def _prepare(settings: Settings, parameters: Mapping[str, str], check_schema: bool) -> None:
    engine = sync_engine(parameters)
    try:
        with translated_errors(), engine.begin() as connection:
            version = connection.execute(text("SHOW server_version_num")).scalar_one()
            if int(version) < MINIMUM_VERSION:
                raise DatabaseTooOld(server_version_num=int(version), at_least=MINIMUM_VERSION)
            if not check_schema:
                return
            if settings.database_url is None:
                upgrade(connection)
            revision = current_revision(connection)
            if not is_current(revision):
                raise SchemaOutdated(revision=revision, needed=head())
    finally:
        engine.dispose()
