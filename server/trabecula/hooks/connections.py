"""Connections for one statement, without the round trips of a transaction around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.work.database import Database, translated_errors

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


def each_by_itself(database: Database) -> Connect:
    """A way to connections whose every statement is committed by itself; of the database's own pool.

    A call of CDS Hooks has tens of milliseconds, and BEGIN and COMMIT are two round trips each time.
    """
    engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def connect() -> AsyncIterator[AsyncConnection]:
        with translated_errors():
            async with engine.connect() as connection:
                yield connection

    return connect
