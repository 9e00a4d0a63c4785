"""Reading screenings: one, a page, the counts. Nothing here changes a row."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import InvalidRequest, NotFound
from trabecula.work.records import ContentRef, DocumentKind, Priority, ScreeningRecord, Source
from trabecula.work.rows import record_from_row
from trabecula.work.schema import document, screening, transition
from trabecula.work.states import State

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Filters:
    """What a list is narrowed to; an empty part narrows nothing."""

    states: tuple[State, ...] = ()
    priorities: tuple[Priority, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Step:
    """One row of ``transition``."""

    at: datetime
    event: str
    state: State
    """After the step."""
    attempt: int
    reason: str | None


@dataclass(frozen=True)
class Load:
    """How much there is to do."""

    jobs: dict[State, int]
    """Open screenings by state."""
    oldest_age_s: float | None
    """Of the open screenings; None when there is none."""
    mean_run_s: float | None
    """Of the newest ended ones, from start to end; None when none was seen."""


def check_id(screening_id: str) -> str:
    """Raises NotFound for what cannot be an id."""
    try:
        return str(uuid.UUID(screening_id))
    except ValueError:
        raise NotFound from None


async def read_record(connection: AsyncConnection, screening_id: str, *, lock: bool = False) -> ScreeningRecord:
    """Raises NotFound. With ``lock`` the row is held to the end of the transaction."""
    query = select(screening).where(screening.c.id == check_id(screening_id))
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise NotFound
    kinds = await connection.execute(select(document.c.kind).where(document.c.screening_id == row["id"]))
    return record_from_row(row, kinds.scalars().all())


async def read_page(
    connection: AsyncConnection, size: int, token: str, filters: Filters
) -> tuple[tuple[ScreeningRecord, ...], str]:
    """One page, newest first, and the token of the next ("" at the end).

    Raises:
        InvalidRequest: for a token that this service did not give.
    """
    newest = (screening.c.submitted_at.desc(), screening.c.id.desc())
    query = select(screening).where(*_conditions(filters)).order_by(*newest).limit(size + 1)
    if token:
        at, last = _read_token(token)
        shown_last = tuple_(literal(at, screening.c.submitted_at.type), literal(last, screening.c.id.type))
        query = query.where(tuple_(screening.c.submitted_at, screening.c.id) < shown_last)
    rows = (await connection.execute(query)).mappings().all()
    shown = rows[:size]
    found = await connection.execute(
        select(document.c.screening_id, document.c.kind).where(
            document.c.screening_id.in_([row["id"] for row in shown])
        )
    )
    kinds: dict[str, list[str]] = {}
    for screening_id, kind in found:
        kinds.setdefault(screening_id, []).append(kind)
    records = tuple(record_from_row(row, kinds.get(row["id"], ())) for row in shown)
    return records, _make_token(records[-1]) if len(rows) > size else ""


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.states:
        conditions.append(screening.c.state.in_([state.value for state in filters.states]))
    if filters.priorities:
        conditions.append(screening.c.priority.in_([int(priority) for priority in filters.priorities]))
    if filters.sources:
        conditions.append(screening.c.source.in_([source.value for source in filters.sources]))
    return conditions


def _make_token(record: ScreeningRecord) -> str:
    return f"{(record.submitted_at - _EPOCH) // _MICROSECOND:x}.{record.screening_id}"


def _read_token(token: str) -> tuple[datetime, str]:
    moment, _, last = token.partition(".")
    try:
        return _EPOCH + int(moment, 16) * _MICROSECOND, str(uuid.UUID(last))
    except (ValueError, OverflowError):
        raise InvalidRequest(field="page_token") from None


async def read_document(connection: AsyncConnection, screening_id: str, kind: DocumentKind) -> ContentRef:
    """Raises NotFound."""
    found = await connection.execute(
        select(document.c.sha256, document.c.size_bytes).where(
            document.c.screening_id == check_id(screening_id), document.c.kind == kind.value
        )
    )
    row = found.one_or_none()
    if row is None:
        raise NotFound(document=kind.value)
    return ContentRef(row.sha256, row.size_bytes)


async def read_steps(connection: AsyncConnection, screening_id: str) -> tuple[Step, ...]:
    """Every step of a screening, oldest first."""
    columns = (transition.c.at, transition.c.event, transition.c.state, transition.c.attempt, transition.c.reason)
    rows = await connection.execute(
        select(*columns).where(transition.c.screening_id == check_id(screening_id)).order_by(transition.c.id)
    )
    return tuple(Step(row.at, row.event, State(row.state), row.attempt, row.reason) for row in rows)


async def read_not_before(connection: AsyncConnection, screening_id: str) -> datetime | None:
    """When the waiting job of a screening may start; None when it may at once, or none waits."""
    found = await connection.execute(
        text("SELECT scheduled_at FROM procrastinate_jobs WHERE queueing_lock = :id AND status = 'todo'"),
        {"id": check_id(screening_id)},
    )
    moment: datetime | None = found.scalar_one_or_none()
    return moment


async def count_by_state(connection: AsyncConnection, states: Collection[State] = ()) -> dict[State, int]:
    """Screenings in each state; states without one are there with 0."""
    wanted = tuple(states) or tuple(State)
    rows = await connection.execute(
        select(screening.c.state, func.count())
        .where(screening.c.state.in_([state.value for state in wanted]))
        .group_by(screening.c.state)
    )
    found = {row[0]: int(row[1]) for row in rows}
    return {state: found.get(state.value, 0) for state in wanted}


async def read_load(connection: AsyncConnection, now: datetime, seen: int = 20) -> Load:
    """What waits and runs, and how long the last ``seen`` studies took."""
    jobs = await count_by_state(connection, (State.QUEUED, State.RUNNING))
    open_rows = screening.c.state.in_([state.value for state in jobs])
    oldest = (await connection.execute(select(func.min(screening.c.submitted_at)).where(open_rows))).scalar_one()
    newest = (
        select(screening.c.started_at, screening.c.ended_at)
        .where(screening.c.state.in_([State.REPORTED.value, State.REFUSED.value]))
        .order_by(screening.c.submitted_at.desc())
        .limit(seen)
    )
    spans: Sequence[Any] = (await connection.execute(newest)).all()
    runs_s = [max(0.0, (row.ended_at - row.started_at).total_seconds()) for row in spans if row.started_at]
    return Load(
        jobs=jobs,
        oldest_age_s=None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        mean_run_s=sum(runs_s) / len(runs_s) if runs_s else None,
    )
