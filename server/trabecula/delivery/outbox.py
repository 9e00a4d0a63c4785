"""The outbox: deliveries as rows, each change by the table of states, inside the caller's transaction.

Order is kept within a chain, that is among the versions of one result at one destination: a newer version waits while
an older one is being sent, and takes over what an older one had not brought across.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import RowMapping, Select, and_, exists, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.delivery.resource_set import Json, dump, load, merged
from trabecula.delivery.schema import delivery, delivery_attempt
from trabecula.delivery.sending import Parcel
from trabecula.delivery.states import DeliveryState, DeliveryStep, next_delivery_state
from trabecula.work.queue import defer
from trabecula.work.records import ContentRef
from trabecula.work.schema import document, screening

SEND_TASK: Final = "delivery.send"
LEASE_MARGIN: Final = timedelta(seconds=60)
"""Beyond the longest attempt, so that a lease ends only when its worker is gone."""
_WAITING: Final = (DeliveryState.PENDING.value, DeliveryState.PARKED.value)
NOT_DONE: Final = (*_WAITING, DeliveryState.SENDING.value)


@dataclass(frozen=True)
class NewDelivery:
    """What one destination is to get."""

    destination: str
    chain: str
    """Id of the result (the report's screening id), whose versions keep their order."""
    screening_id: str | None
    topic: str
    """Why it goes out: ``result``, ``refusal``, ``sign-off`` ..."""
    resources: tuple[Json, ...] | None = None
    """For FHIR: the whole result as it is now (:func:`trabecula.delivery.resource_set.from_bundle`)."""


async def enqueue(connection: AsyncConnection, new: NewDelivery, now: datetime) -> str:
    """Put a delivery into the outbox; workers see it with the caller's commit. Gives its id.

    Versions of the same result that still wait for the same destination are superseded; whatever they would have
    brought and this one does not mention goes along with it.
    """
    await _lock_chain(connection, new.destination, new.chain)
    identity = str(uuid.uuid4())
    waiting = (await connection.execute(_chain(new.destination, new.chain, _WAITING))).mappings().all()
    resources = new.resources
    for each in reversed(waiting):
        resources = _merge(each["payload"], resources)
    await connection.execute(
        insert(delivery).values(
            id=identity,
            destination=new.destination,
            chain=new.chain,
            screening_id=new.screening_id,
            topic=new.topic,
            payload=None if resources is None else dump(resources),
            created_at=now,
            waiting_since=now,
            due_at=now,
        )
    )
    for each in waiting:
        await _supersede(connection, each, identity, now)
    await wake(connection, new.destination)
    return identity


async def wake(connection: AsyncConnection, destination: str) -> None:
    """Have a worker look after this destination; one job waits at most, one runs at most."""
    lock = f"delivery/{destination}"
    await defer(connection, SEND_TASK, {"destination": destination}, lock=lock, queueing_lock=lock)


def _merge(older: str | None, newer: Sequence[Json] | None) -> tuple[Json, ...] | None:
    if older is None or newer is None:
        return None if newer is None else tuple(newer)
    return merged(load(older), newer)


async def _supersede(connection: AsyncConnection, row: RowMapping, by: str, now: datetime) -> None:
    state = next_delivery_state(DeliveryState(row["state"]), DeliveryStep.SUPERSEDE)
    await _change(connection, row["id"], state, ended_at=now, superseded_by=by, payload=None)


async def _change(connection: AsyncConnection, identity: str, state: DeliveryState, **values: Any) -> None:
    await connection.execute(update(delivery).where(delivery.c.id == identity).values(state=state.value, **values))


def _chain(destination: str, chain: str, states: Sequence[str]) -> Select[Any]:
    """Rows of a chain in these states, oldest first, locked."""
    within = and_(delivery.c.destination == destination, delivery.c.chain == chain, delivery.c.state.in_(states))
    return select(delivery).where(within).order_by(delivery.c.sequence).with_for_update()


async def _lock_chain(connection: AsyncConnection, destination: str, chain: str) -> None:
    """What is done to a chain is done by one at a time, until the end of the transaction."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 6))"), {"key": f"delivery/{destination}/{chain}"}
    )


async def claim(
    connection: AsyncConnection, destination: str, now: datetime, longest_attempt_s: float
) -> Parcel | None:
    """Take the delivery that is due for longest and has no older one of its chain before it; None without any."""
    older = delivery.alias("older")
    before = exists().where(
        older.c.destination == delivery.c.destination,
        older.c.chain == delivery.c.chain,
        older.c.sequence < delivery.c.sequence,
        older.c.state.in_((DeliveryState.PENDING.value, DeliveryState.SENDING.value)),
    )
    due = and_(
        delivery.c.destination == destination,
        delivery.c.state == DeliveryState.PENDING.value,
        delivery.c.due_at <= now,
        ~before,
    )
    query = select(delivery).where(due).order_by(delivery.c.due_at, delivery.c.sequence).limit(1)
    row = (await connection.execute(query.with_for_update(skip_locked=True, of=delivery))).mappings().first()
    if row is None:
        return None
    attempt = row["attempt"] + 1
    state = next_delivery_state(DeliveryState(row["state"]), DeliveryStep.CLAIM)
    lease = now + timedelta(seconds=longest_attempt_s) + LEASE_MARGIN
    await _change(connection, row["id"], state, attempt=attempt, lease_until=lease)
    await connection.execute(insert(delivery_attempt).values(delivery_id=row["id"], attempt=attempt, started_at=now))
    return await _parcel(connection, row, attempt)


def _brought(row: RowMapping) -> Select[Any]:
    """Older versions of a delivery's result that its destination has taken."""
    return select(delivery.c.id).where(
        delivery.c.destination == row["destination"],
        delivery.c.chain == row["chain"],
        delivery.c.sequence < row["sequence"],
        delivery.c.state == DeliveryState.DELIVERED.value,
    )


async def _parcel(connection: AsyncConnection, row: RowMapping, attempt: int) -> Parcel:
    found = select(document.c.kind, document.c.sha256, document.c.size_bytes).where(
        document.c.screening_id == row["screening_id"]
    )
    kept = (await connection.execute(found.order_by(document.c.kind))).all() if row["screening_id"] else ()
    origin = select(screening.c.submitted_at, screening.c.traceparent).where(screening.c.id == row["screening_id"])
    came = (await connection.execute(origin)).one_or_none() if row["screening_id"] else None
    return Parcel(
        delivery_id=row["id"],
        destination=row["destination"],
        chain=row["chain"],
        screening_id=row["screening_id"],
        attempt=attempt,
        created_at=row["created_at"],
        resources=() if row["payload"] is None else load(row["payload"]),
        documents=tuple((each.kind, ContentRef(each.sha256, each.size_bytes)) for each in kept),
        topic=row["topic"],
        follows=bool((await connection.execute(select(exists(_brought(row))))).scalar_one()),
        received_at=None if came is None else came.submitted_at,
        trace=None if came is None else came.traceparent,
    )


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    step: DeliveryStep
    """DELIVER, DEFER or PARK."""
    reason: str | None = None
    status: int | None = None
    outcome: Json | None = None
    way: str | None = None
    left_out: tuple[str, ...] = ()
    delay_s: float = 0.0
    """For DEFER."""


async def finish(connection: AsyncConnection, parcel: Parcel, ending: Ending, now: datetime) -> DeliveryState | None:
    """End an attempt. None, and nothing changes, when its lease had ended and another worker took over."""
    await _lock_chain(connection, parcel.destination, parcel.chain)
    row = await _sending(connection, parcel)
    if row is None:
        return None
    state = next_delivery_state(DeliveryState.SENDING, ending.step)
    values: dict[str, Any] = {"lease_until": None, "reason": ending.reason, "status": ending.status}
    if ending.step is DeliveryStep.DELIVER:
        values |= {"ended_at": now, "payload": None, "way": ending.way, "left_out": list(ending.left_out)}
    else:
        values |= {"failures": row["failures"] + 1, "due_at": now + timedelta(seconds=ending.delay_s)}
    await _change(connection, parcel.delivery_id, state, **values)
    await _end_attempt(connection, parcel.delivery_id, parcel.attempt, ending, now)
    if state is DeliveryState.PARKED:
        await _hand_on(connection, parcel, now)
    return state


async def _sending(connection: AsyncConnection, parcel: Parcel) -> RowMapping | None:
    mine = and_(
        delivery.c.id == parcel.delivery_id,
        delivery.c.state == DeliveryState.SENDING.value,
        delivery.c.attempt == parcel.attempt,
    )
    return (await connection.execute(select(delivery).where(mine).with_for_update())).mappings().first()


async def _end_attempt(
    connection: AsyncConnection, delivery_id: str, attempt: int, ending: Ending, now: datetime
) -> None:
    this = and_(delivery_attempt.c.delivery_id == delivery_id, delivery_attempt.c.attempt == attempt)
    await connection.execute(
        update(delivery_attempt)
        .where(this)
        .values(
            ended_at=now, step=ending.step.value, reason=ending.reason, status=ending.status, outcome=ending.outcome
        )
    )


async def _hand_on(connection: AsyncConnection, parcel: Parcel, now: datetime) -> None:
    """A newer version that came while this one was being sent takes its content over."""
    rows = (await connection.execute(_chain(parcel.destination, parcel.chain, _WAITING))).mappings().all()
    newer = [each for each in rows if each["id"] != parcel.delivery_id]
    parked = next((each for each in rows if each["id"] == parcel.delivery_id), None)
    if parked is None or not newer or newer[0]["sequence"] < parked["sequence"]:
        return
    heir = newer[0]
    resources = _merge(parked["payload"], None if heir["payload"] is None else load(heir["payload"]))
    payload = None if resources is None else dump(resources)
    await connection.execute(update(delivery).where(delivery.c.id == heir["id"]).values(payload=payload))
    await _supersede(connection, parked, heir["id"], now)


async def lapse(connection: AsyncConnection, now: datetime) -> list[str]:
    """Put back what workers that are gone were sending; gives the destinations concerned."""
    gone = and_(delivery.c.state == DeliveryState.SENDING.value, delivery.c.lease_until < now)
    rows = (await connection.execute(select(delivery).where(gone).with_for_update(skip_locked=True))).mappings().all()
    for row in rows:
        state = next_delivery_state(DeliveryState.SENDING, DeliveryStep.LAPSE)
        values = {"lease_until": None, "due_at": now, "reason": "worker-lost", "failures": row["failures"] + 1}
        await _change(connection, row["id"], state, **values)
        ending = Ending(DeliveryStep.LAPSE, reason="worker-lost")
        await _end_attempt(connection, row["id"], row["attempt"], ending, now)
    return sorted({row["destination"] for row in rows})


async def due_destinations(connection: AsyncConnection, now: datetime) -> list[str]:
    """Destinations for which something is due."""
    due = and_(delivery.c.state == DeliveryState.PENDING.value, delivery.c.due_at <= now)
    query = select(delivery.c.destination).where(due).distinct().order_by(delivery.c.destination)
    return list((await connection.execute(query)).scalars())


async def has_open_deliveries(connection: AsyncConnection, screening_id: str) -> bool:
    """Whether something of a screening has not been brought over; retention then keeps it."""
    undone = exists().where(delivery.c.screening_id == screening_id, delivery.c.state.in_(NOT_DONE))
    return bool((await connection.execute(select(undone))).scalar_one())


async def sending_now(connection: AsyncConnection, destination: str) -> int:
    """Deliveries that some worker has in hand."""
    this = and_(delivery.c.destination == destination, delivery.c.state == DeliveryState.SENDING.value)
    return int((await connection.execute(select(func.count()).where(this))).scalar_one())


async def patience(connection: AsyncConnection, delivery_id: str) -> tuple[int, datetime]:
    """Failures so far, and since when it has been tried."""
    query = select(delivery.c.failures, delivery.c.waiting_since).where(delivery.c.id == delivery_id)
    row = (await connection.execute(query)).one()
    return int(row.failures), row.waiting_since
