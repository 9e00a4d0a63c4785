"""The one way a screening changes: its row, its step in ``transition``, the queue's job; who watches is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import ContentUnavailable, DatabaseUnavailable, InputError, NotFound, Overloaded, TrabeculaError
from trabecula.work import reading
from trabecula.work.queue import SCREEN_TASK, defer
from trabecula.work.records import DocumentKind, Failure, ScreeningRecord
from trabecula.work.rows import life_of
from trabecula.work.schema import screening, transition
from trabecula.work.states import Event, State

CHANNEL: Final = "trabecula_screening"
"""PostgreSQL notifications with the id of a screening that changed."""
STOP_CHANNEL: Final = "trabecula_stop"
"""Likewise, when it was running: its attempt is to stop, has ended or is lost."""
SHUTDOWN: Final = "shutdown"
"""Reason of an attempt that ended because its worker was asked to stop."""
BLAMELESS: Final = (SHUTDOWN, Overloaded.code, DatabaseUnavailable.code, ContentUnavailable.code)
"""Reasons that are not held against the study: it waits until there is room, or what was away is back."""
NO_ROOM_DELAY_S: Final = 15.0
RETRY_DELAYS_S: Final = (0.0, 10.0, 60.0)
"""What a study waits after its first, second ... attempt that was lost; the last one for all that follow."""
LONGEST_DELAY_S: Final = max(NO_ROOM_DELAY_S, *RETRY_DELAYS_S)


async def change(
    connection: AsyncConnection,
    record: ScreeningRecord,
    event: Event,
    at: datetime,
    *,
    failure: Failure | None = None,
    documents: tuple[DocumentKind, ...] = (),
    reason: str | None = None,
) -> ScreeningRecord:
    """Make a step of a record whose row is locked; raises as :meth:`ScreeningRecord.after` does."""
    changed = record.after(event, at, failure=failure, documents=documents)
    await connection.execute(update(screening).where(screening.c.id == record.screening_id).values(life_of(changed)))
    await append(connection, changed, event.value, at, reason or (failure.code if failure else None))
    await notify(connection, record.screening_id)
    if record.state is State.RUNNING:
        await notify(connection, record.screening_id, STOP_CHANNEL)
    return changed


def failure_of(error: TrabeculaError) -> Failure:
    """What clients may know of an error."""
    return Failure(error.code, error.client_message, isinstance(error, InputError))


async def running(connection: AsyncConnection, screening_id: str, attempt: int) -> ScreeningRecord | None:
    """The locked record, if this attempt is still the one that counts."""
    try:
        record = await reading.read_record(connection, screening_id, lock=True)
    except NotFound:
        return None
    return record if record.state is State.RUNNING and record.attempt == attempt else None


async def lost_attempts(connection: AsyncConnection, screening_id: str) -> int:
    """Attempts since the last revival that took their worker with them; shutdowns do not count."""
    revived = select(func.coalesce(func.max(transition.c.id), 0)).where(
        transition.c.screening_id == screening_id, transition.c.event == Event.REVIVE.value
    )
    found = await connection.execute(
        select(func.count())
        .select_from(transition)
        .where(
            transition.c.screening_id == screening_id,
            transition.c.event == Event.REQUEUE.value,
            transition.c.reason.not_in(BLAMELESS),
            transition.c.id > revived.scalar_subquery(),
        )
    )
    return int(found.scalar_one())


async def append(
    connection: AsyncConnection, record: ScreeningRecord, event: str, at: datetime, reason: str | None = None
) -> None:
    step: dict[str, Any] = {
        "screening_id": record.screening_id,
        "at": at,
        "event": event,
        "state": record.state.value,
        "attempt": record.attempt,
        "reason": reason,
    }
    await connection.execute(insert(transition).values(step))


async def enqueue(connection: AsyncConnection, record: ScreeningRecord, at: datetime | None = None) -> None:
    """One waiting job for each screening at most."""
    await defer(
        connection,
        SCREEN_TASK,
        {"screening_id": record.screening_id},
        queueing_lock=record.screening_id,
        priority=record.submission.priority,
        schedule_at=at,
    )


async def notify(connection: AsyncConnection, screening_id: str, channel: str = CHANNEL) -> None:
    await connection.execute(text("SELECT pg_notify(:channel, :id)"), {"channel": channel, "id": screening_id})
