"""Why no row ever names bytes that the garbage collector took.

The collector deletes bytes that no row names. A study being accepted names bytes that are not in a row *yet*. Between
the two stands one advisory lock:

* Whoever commits a row that names bytes calls :func:`hold` first, in the same transaction: it takes the lock shared,
  and then looks whether every object is there. The lock is held until the commit.
* The collector takes the lock alone (:func:`collect_alone`), reads which bytes are named, and deletes the others
  before it lets go.

So of a row and a collection one comes wholly before the other. Row first: the collector sees the committed row and
keeps the bytes (it reads after the lock was given, in READ COMMITTED, so with a snapshot that holds the row).
Collector first: the row's transaction looks after the deletion, finds the bytes missing, and is rolled back; the
client sends them again. Bytes put meanwhile are young and not collected at all; the lock is for those that were
there already, old and unnamed, when a client sent them once more.

A backup holds the lock shared for its whole run, so nothing it has yet to copy goes away, and studies are accepted
all the while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import ContentUnavailable
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.records import ContentRef

LOCK: Final = 0x7472_6162_636F_6E74
"""Key of the advisory lock."""
_TRY_AGAIN_S: Final = 0.05


async def hold(connection: AsyncConnection, content: ContentStore, refs: Sequence[ContentRef]) -> None:
    """Call before a row that names these bytes is written: they are there, and stay until the commit.

    Raises:
        ContentUnavailable: if one is not there (any more): put it again.
    """
    await connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})
    missing = await content.missing(refs)
    if missing:
        raise ContentUnavailable("collected before it was named", objects=len(missing))


@asynccontextmanager
async def hold_all(database: Database) -> AsyncIterator[None]:
    """Nothing is collected during the block."""
    async with database.engine.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})
        yield


@asynccontextmanager
async def collect_alone(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction during which nobody names bytes. Keep it short: accepting waits for it.

    The lock is asked for again and again rather than waited for, because those who want it shared would queue up
    behind one who waits.
    """
    while True:
        async with database.transaction() as connection:
            got = await connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCK})
            if got.scalar_one():
                yield connection
                return
        await asyncio.sleep(_TRY_AGAIN_S)
