"""What operators see of the outbox and ask of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.delivery.outbox import wake
from trabecula.delivery.schema import delivery, delivery_attempt
from trabecula.delivery.sending import DeliveryRow
from trabecula.delivery.standing import reopen
from trabecula.delivery.states import DeliveryState, DeliveryStep, next_delivery_state
from trabecula.errors import DeliveryNotFound

OPEN_STATES = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.PARKED)


@dataclass(frozen=True)
class Filter:
    """Which deliveries; None and empty mean any."""

    destination: str | None = None
    states: Collection[DeliveryState] = ()
    reason: str | None = None
    screening_id: str | None = None
    since: datetime | None = None
    """Made at this time or later."""


@dataclass(frozen=True)
class AttemptRow:
    """One attempt."""

    attempt: int
    started_at: datetime
    ended_at: datetime | None
    step: str | None
    reason: str | None
    status: int | None
    outcome: dict[str, Any] | None
    """The server's OperationOutcome; may quote patient data: for the operator's eyes."""


async def list_deliveries(connection: AsyncConnection, wanted: Filter, limit: int) -> list[DeliveryRow]:
    """Newest first."""
    query = _filtered(select(*_shown()), wanted).order_by(delivery.c.sequence.desc()).limit(limit)
    return [_row(each) for each in (await connection.execute(query)).mappings()]


async def count_deliveries(connection: AsyncConnection, wanted: Filter) -> int:
    return int((await connection.execute(_filtered(select(func.count()), wanted))).scalar_one())


async def read_delivery(
    connection: AsyncConnection, delivery_id: str, *, lock: bool = False
) -> tuple[DeliveryRow, list[AttemptRow]]:
    """A delivery and its attempts, oldest first.

    Raises:
        DeliveryNotFound: if there is none with that id.
    """
    query = select(*_shown()).where(delivery.c.id == delivery_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).mappings().first()
    if row is None:
        raise DeliveryNotFound
    found = select(delivery_attempt).where(delivery_attempt.c.delivery_id == delivery_id)
    attempts = (await connection.execute(found.order_by(delivery_attempt.c.attempt))).mappings()
    names = AttemptRow.__dataclass_fields__
    return _row(row), [AttemptRow(**{name: each[name] for name in names}) for each in attempts]


async def retry_delivery(connection: AsyncConnection, delivery_id: str, now: datetime) -> DeliveryRow:
    """Try it now, with all its patience anew.

    Raises:
        DeliveryNotFound, DeliveryBusy, DeliveryEnded: when it cannot be.
    """
    row, _ = await read_delivery(connection, delivery_id, lock=True)
    state = next_delivery_state(row.state, DeliveryStep.RELEASE)
    values = {"state": state.value, "due_at": now, "waiting_since": now, "failures": 0}
    await connection.execute(update(delivery).where(delivery.c.id == delivery_id).values(**values))
    await reopen(connection, row.destination)
    await wake(connection, row.destination)
    return (await read_delivery(connection, delivery_id))[0]


async def cancel_delivery(connection: AsyncConnection, delivery_id: str, now: datetime) -> DeliveryRow:
    """See that it is not sent; what it held is forgotten. Raises as :func:`retry_delivery`."""
    row, _ = await read_delivery(connection, delivery_id, lock=True)
    state = next_delivery_state(row.state, DeliveryStep.CANCEL)
    if state is not row.state:
        values = {"state": state.value, "ended_at": now, "payload": None}
        await connection.execute(update(delivery).where(delivery.c.id == delivery_id).values(**values))
    return (await read_delivery(connection, delivery_id))[0]


@dataclass(frozen=True)
class OutboxStands:
    """How much waits for a destination."""

    destination: str
    counts: Mapping[DeliveryState, int]
    """Of PENDING, SENDING and PARKED."""
    oldest_s: float
    """Age of the oldest that is pending or being sent; 0 when there is none."""


async def outbox_stands(connection: AsyncConnection, now: datetime, destinations: Sequence[str]) -> list[OutboxStands]:
    """Counts and ages for each of these destinations, and for any other that has something open."""
    open_ones = delivery.c.state.in_([each.value for each in OPEN_STATES])
    oldest = func.min(delivery.c.created_at)
    query = select(delivery.c.destination, delivery.c.state, func.count().label("number"), oldest.label("oldest"))
    rows = (await connection.execute(query.where(open_ones).group_by(delivery.c.destination, delivery.c.state))).all()
    names = dict.fromkeys((*destinations, *(row.destination for row in rows)))
    return [_stands(name, [row for row in rows if row.destination == name], now) for name in names]


def _stands(name: str, rows: Sequence[Any], now: datetime) -> OutboxStands:
    counts = dict.fromkeys(OPEN_STATES, 0) | {DeliveryState(row.state): int(row.number) for row in rows}
    moving = [row.oldest for row in rows if row.state != DeliveryState.PARKED.value]
    return OutboxStands(name, counts, max(((now - each).total_seconds() for each in moving), default=0.0))


def _shown() -> list[Any]:
    return [column for column in delivery.c if column.name not in ("payload", "waiting_since")]


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    if wanted.destination is not None:
        query = query.where(delivery.c.destination == wanted.destination)
    if wanted.states:
        query = query.where(delivery.c.state.in_([each.value for each in wanted.states]))
    if wanted.reason is not None:
        query = query.where(delivery.c.reason == wanted.reason)
    if wanted.screening_id is not None:
        query = query.where(delivery.c.screening_id == wanted.screening_id)
    if wanted.since is not None:
        query = query.where(delivery.c.created_at >= wanted.since)
    return query


def _row(row: RowMapping) -> DeliveryRow:
    values = {name: row[name] for name in DeliveryRow.__dataclass_fields__ if name in row}
    return DeliveryRow(
        **{
            **values,
            "delivery_id": row["id"],
            "state": DeliveryState(row["state"]),
            "left_out": tuple(row["left_out"] or ()),
        }
    )
