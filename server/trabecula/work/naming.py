"""Which bytes the tables name. A table names an object of the content store by its columns ``sha256`` and
``size_bytes``; the columns are looked up in the database, so that tables of a later release count too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.work.records import ContentRef

_TABLES: Final = text(
    "SELECT quote_ident(c.table_name) FROM information_schema.columns AS c"
    " JOIN information_schema.columns AS size USING (table_schema, table_name)"
    " JOIN information_schema.tables AS t USING (table_schema, table_name)"
    " WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
    " AND c.column_name = 'sha256' AND size.column_name = 'size_bytes' ORDER BY 1"
)
_OPEN_ONLY: Final = " WHERE screening_id IN (SELECT id FROM screening WHERE ended_at IS NULL)"


async def named_refs(connection: AsyncConnection, *, with_pixels: bool = True) -> AsyncIterator[ContentRef]:
    """Every object that a row names, once, in the order of the hashes.

    Args:
        connection: its transaction decides what is seen.
        with_pixels: False leaves out the instances of screenings that have ended.
    """
    tables = (await connection.execute(_TABLES)).scalars().all()
    if not tables:
        return
    parts = (
        f"SELECT sha256, size_bytes FROM {table}"  # noqa: S608 - quoted by quote_ident  # nosec B608
        + (_OPEN_ONLY if table == "instance" and not with_pixels else "")
        for table in tables
    )
    rows = await connection.stream(text(" UNION ".join(parts) + " ORDER BY 1"))
    async for row in rows:
        yield ContentRef(row.sha256, row.size_bytes)


_OPEN_WITHOUT_JOB: Final = text(
    "SELECT count(*) FROM screening WHERE ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs AS job"
    " WHERE job.task_name = :task AND job.status IN ('todo', 'doing')"
    " AND job.args ->> 'screening_id' = CAST(screening.id AS text))"
)


async def open_without_job(connection: AsyncConnection, task: str) -> int:
    """Screenings that have not ended and that no job of the queue will end."""
    return int((await connection.execute(_OPEN_WITHOUT_JOB, {"task": task})).scalar_one())
