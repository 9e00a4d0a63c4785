"""Single statements straight through the driver, for calls that have tens of milliseconds.

SQLAlchemy's execution of a statement on asyncio costs several times what the driver itself needs, and a transaction on
a connection that is checked first costs four round trips where a statement that commits by itself costs one. What is
asked for is still written as SQLAlchemy Core, and compiled once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.expression import ClauseElement

from trabecula.work.driver_errors import is_lost, translated_errors

_DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class Statement:
    """SQL as psycopg takes it, with named parameters."""

    sql: bytes
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are the same every time."""

    @classmethod
    def of(cls, statement: ClauseElement) -> Statement:
        """Compile a statement of SQLAlchemy Core.

        A ``bindparam`` without a value is given with each execution, in the driver's own types (JSON as
        :class:`psycopg.types.json.Json`).
        """
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        return cls(str(compiled).encode(), fixed)


class Direct:
    """Executes statements, each committed by itself, on a few connections of their own."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Args:
        engine: its connections commit each statement (``AUTOCOMMIT``), need nothing done when they are given back
            (``pool_reset_on_return=None``, no overflow), and are not checked before use.
        """
        self._engine = engine

    async def fetch(self, statement: Statement, **parameters: Any) -> list[Any]:
        """Execute; gives the rows as named tuples, none where the statement returns nothing.

        A connection that turns out to be lost (the server was started again since) is replaced and the statement
        executed once more: it must bear a repetition, for it may have been committed the first time.

        Raises:
            DatabaseUnavailable: when there is no connection to be had, or it is lost once more.
            Overloaded: when the server's disk is full.
        """
        given = {**statement.fixed, **parameters}
        with translated_errors():
            try:
                return await _execute(await self._engine.raw_connection(), statement.sql, given)
            except _ConnectionLost:
                await self._engine.dispose()  # those that lay idle meanwhile are lost too
            return await _execute(await self._engine.raw_connection(), statement.sql, given)


async def _execute(pooled: PoolProxiedConnection, sql: bytes, parameters: Mapping[str, Any]) -> list[Any]:
    driver: psycopg.AsyncConnection[Any] = pooled.driver_connection  # type: ignore[assignment] # it was just taken
    try:
        cursor = driver.cursor(row_factory=namedtuple_row)
        await cursor.execute(sql, parameters)
        return await cursor.fetchall() if cursor.description else []
    except psycopg.OperationalError as error:
        if not (driver.closed or is_lost(error)):
            raise
        await driver.close()
        raise _ConnectionLost(str(error)) from error
    finally:
        # Left in the middle of a statement, by a cancellation: closed, and found to be so by whoever has it next.
        if driver.info.transaction_status is not TransactionStatus.IDLE:
            await driver.close()
        pooled.close()


class _ConnectionLost(psycopg.OperationalError):
    """On a connection that was open when the statement was begun."""
