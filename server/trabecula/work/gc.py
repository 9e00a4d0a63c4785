"""Retention: what is deleted, when, and in which order.

1. Pixels and patient context go a set time after the end of a screening, once nothing waits for them any more.
2. Results stay, unless a time is set for them as well.
3. Bytes that no row names go after a time of grace; so do leftovers of killed uploads, and finished jobs.

Rows go first and their bytes after them, so a collection may be cut at any moment: the next one goes on where it was.
A legal hold keeps everything of a screening.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import ColumnElement, delete, insert, not_, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.config import Settings
from trabecula.work.content import ContentStore, StoredObject
from trabecula.work.content_guard import collect_alone
from trabecula.work.database import Database
from trabecula.work.queue import Task
from trabecula.work.schema import instance, screening, transition

SCREENINGS_AT_ONCE: Final = 200
OBJECTS_AT_ONCE: Final = 1000
JOBS_AT_ONCE: Final = 1000
COLLECTION_TASK: Final = "maintenance.gc"
PIXELS_DELETED: Final = "pixels-deleted"
"""Step in ``transition``; the state stays what it was."""

Session = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
Forget = Callable[[AsyncConnection, Sequence[str]], Awaitable[None]]


@dataclass(frozen=True)
class RetentionPolicy:
    """How long what is kept."""

    pixel_s: float
    result_s: float | None
    grace_s: float
    """For bytes that no row names."""
    job_s: float


@dataclass(frozen=True)
class RetentionRules:
    """What other packages have to say."""

    blockers: tuple[ColumnElement[bool], ...] = ()
    """Conditions on ``screening.c.id``, EXISTS mostly; a screening for which one holds is kept whole."""
    forget: tuple[Forget, ...] = ()
    """Called in the transaction that deletes results, with the screenings' ids, before their rows go."""


@dataclass(frozen=True)
class Collected:
    """What one collection deleted, or would delete."""

    pixels: int
    """Screenings whose images and patient context went."""
    results: int
    """Screenings that went altogether."""
    objects: int
    object_bytes: int
    staging_bytes: int
    jobs: int
    dry_run: bool


def policy_of(settings: Settings) -> RetentionPolicy:
    """The operator's choice."""
    return RetentionPolicy(
        settings.pixel_retention_s, settings.result_retention_s, settings.content_grace_s, settings.job_retention_s
    )


def collection_task(database: Database, content: ContentStore, policy: RetentionPolicy, rules: RetentionRules) -> Task:
    """The collection as work of the queue, once an hour over all processes."""

    async def run(timestamp: int) -> None:  # noqa: ARG001 - of the queue
        done = await collect(database, content, policy, rules)
        structlog.get_logger().info("collected", **asdict(done))

    return Task(COLLECTION_TASK, run, cron="17 * * * *")


async def collect(
    database: Database,
    content: ContentStore,
    policy: RetentionPolicy,
    rules: RetentionRules = RetentionRules(),
    *,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Callable[[str, int], None] = lambda _step, _number: None,
) -> Collected:
    """Delete what has had its time.

    Args:
        database: of the screenings.
        content: of their bytes.
        policy: how long what is kept.
        rules: of other packages.
        dry_run: do it in a transaction that is rolled back, and touch no bytes.
        now: the moment it is reckoned from; the clock's when None.
        progress: told the step (``pixels``, ``results``, ``objects``, ``jobs``) and how many of it were looked at or
            deleted.

    Raises:
        DatabaseUnavailable: when the database went away; what was deleted so far stays deleted.
    """
    moment = now or datetime.now(UTC)
    async with _sessions(database, dry_run) as session:
        pixels = await _in_batches(
            session, lambda each: _expire_pixels(each, policy, rules, moment), lambda n: progress("pixels", n)
        )
        results = await _in_batches(
            session, lambda each: _expire_results(each, policy, rules, moment), lambda n: progress("results", n)
        )
        objects, object_bytes = await _collect_objects(
            database, content, session, moment - timedelta(seconds=policy.grace_s), dry_run, progress
        )
        before = moment - timedelta(seconds=policy.job_s)
        jobs = await _in_batches(session, lambda each: _expire_jobs(each, before), lambda n: progress("jobs", n))
    staging_bytes = await asyncio.to_thread(content.clear_staging, policy.grace_s, dry_run=dry_run)
    return Collected(pixels, results, objects, object_bytes, staging_bytes, jobs, dry_run)


@asynccontextmanager
async def _sessions(database: Database, dry_run: bool) -> AsyncIterator[Session]:
    """A transaction for each batch; in a dry run the same one for all, rolled back."""
    if not dry_run:
        yield database.transaction
        return
    async with database.engine.connect() as connection:

        @asynccontextmanager
        async def same() -> AsyncIterator[AsyncConnection]:
            yield connection

        yield same
        await connection.rollback()


async def _in_batches(
    session: Session, batch: Callable[[AsyncConnection], Awaitable[int]], progress: Callable[[int], None]
) -> int:
    total = 0
    while True:
        async with session() as connection:
            number = await batch(connection)
        if number == 0:
            return total
        total += number
        progress(total)


async def _expired(
    connection: AsyncConnection, rules: RetentionRules, before: datetime, *more: ColumnElement[bool]
) -> list[str]:
    """Locked screenings that ended before the moment and that nothing holds; what others have locked waits."""
    found = await connection.execute(
        select(screening.c.id)
        .where(
            screening.c.ended_at < before,
            screening.c.legal_hold.is_(False),
            *(not_(blocker) for blocker in rules.blockers),
            *more,
        )
        .order_by(screening.c.ended_at)
        .limit(SCREENINGS_AT_ONCE)
        .with_for_update(skip_locked=True, of=screening)
    )
    return [row.id for row in found]


async def _expire_pixels(
    connection: AsyncConnection, policy: RetentionPolicy, rules: RetentionRules, moment: datetime
) -> int:
    before = moment - timedelta(seconds=policy.pixel_s)
    ids = await _expired(connection, rules, before, screening.c.pixels_deleted_at.is_(None))
    if not ids:
        return 0
    await connection.execute(delete(instance).where(instance.c.screening_id.in_(ids)))
    changed = await connection.execute(
        update(screening)
        .where(screening.c.id.in_(ids))
        .values(pixels_deleted_at=moment, patient=null())
        .returning(screening.c.id, screening.c.state, screening.c.attempt)
    )
    steps = [
        {"screening_id": row.id, "at": moment, "event": PIXELS_DELETED, "state": row.state, "attempt": row.attempt}
        for row in changed
    ]
    await connection.execute(insert(transition), steps)
    return len(ids)


async def _expire_results(
    connection: AsyncConnection, policy: RetentionPolicy, rules: RetentionRules, moment: datetime
) -> int:
    if policy.result_s is None:
        return 0
    ids = await _expired(connection, rules, moment - timedelta(seconds=policy.result_s))
    if not ids:
        return 0
    for forget in rules.forget:
        await forget(connection, ids)
    await connection.execute(delete(screening).where(screening.c.id.in_(ids)))
    return len(ids)


_OLD_JOBS: Final = text(
    "DELETE FROM procrastinate_jobs WHERE id IN (SELECT job.id FROM procrastinate_jobs AS job"
    " JOIN procrastinate_events AS event ON event.job_id = job.id"
    " WHERE job.status IN ('succeeded', 'failed', 'cancelled', 'aborted')"
    " GROUP BY job.id HAVING max(event.at) < :before ORDER BY job.id LIMIT :limit)"
)


async def _expire_jobs(connection: AsyncConnection, before: datetime) -> int:
    done = await connection.execute(_OLD_JOBS, {"before": before, "limit": JOBS_AT_ONCE})
    return done.rowcount


async def _collect_objects(
    database: Database,
    content: ContentStore,
    session: Session,
    before: datetime,
    dry_run: bool,
    progress: Callable[[str, int], None],
) -> tuple[int, int]:
    number = size_bytes = looked_at = 0
    async for batch in _batches(content.objects()):
        looked_at += len(batch)
        progress("objects", looked_at)
        old = [found for found in batch if found.modified_at < before]
        async with session() as connection:
            unnamed = await _unnamed(connection, old)
        if unnamed and not dry_run:
            unnamed = await _delete_unnamed(database, content, unnamed)
        number += len(unnamed)
        size_bytes += sum(found.ref.size_bytes for found in unnamed)
    return number, size_bytes


async def _delete_unnamed(
    database: Database, content: ContentStore, candidates: list[StoredObject]
) -> list[StoredObject]:
    async with collect_alone(database) as connection:
        return [found for found in await _unnamed(connection, candidates) if await content.delete_untouched(found)]


async def _batches(objects: AsyncIterator[StoredObject]) -> AsyncIterator[list[StoredObject]]:
    batch: list[StoredObject] = []
    async for found in objects:
        batch.append(found)
        if len(batch) == OBJECTS_AT_ONCE:
            yield batch
            batch = []
    yield batch


_NAMING_COLUMNS: Final = text(
    "SELECT quote_ident(c.table_name), quote_ident(c.column_name) FROM information_schema.columns AS c"
    " JOIN information_schema.tables AS t USING (table_schema, table_name)"
    " WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'"
    " AND c.column_name LIKE '%sha256' AND c.data_type IN ('character varying', 'text')"
)


async def _unnamed(connection: AsyncConnection, candidates: list[StoredObject]) -> list[StoredObject]:
    """Those that no row names, in any column of any table whose name ends in ``sha256``.

    The columns are looked up in the database, not in the code: a collector of the previous release spares what only
    the tables of the next one name.
    """
    if not candidates:
        return []
    columns = (await connection.execute(_NAMING_COLUMNS)).all()
    query = " UNION ".join(
        f"SELECT {column} FROM {table} WHERE {column} = ANY(:hashes)"  # noqa: S608 - by quote_ident  # nosec B608
        for table, column in columns
    )
    hashes = [found.ref.sha256 for found in candidates]
    named = set((await connection.execute(text(query), {"hashes": hashes})).scalars())
    return [found for found in candidates if found.ref.sha256 not in named]
