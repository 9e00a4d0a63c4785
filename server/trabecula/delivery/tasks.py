"""Delivery as the service runs it: tasks of the queue, logs, and what retention has to respect."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import ColumnElement, exists

from trabecula.delivery.deliverer import Deliverer
from trabecula.delivery.destinations import Destination
from trabecula.delivery.events import (
    DeliveryAttempted,
    DeliveryEvent,
    DeliveryListener,
    DestinationAnswers,
    DestinationRests,
)
from trabecula.delivery.outbox import NOT_DONE, SEND_TASK
from trabecula.delivery.schema import delivery
from trabecula.delivery.states import DeliveryStep
from trabecula.delivery.ways import make_ways
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.queue import Task
from trabecula.work.schema import screening

SWEEP_TASK: Final = "delivery.sweep"
EVERY_TEN_SECONDS: Final = "* * * * * */10"


def utc_now() -> datetime:
    return datetime.now(UTC)


def delivery_tasks(
    destinations: Sequence[Destination],
    database: Database,
    content: ContentStore,
    keys_dir: Path | None,
    listeners: Collection[DeliveryListener] = (),
    clock: Callable[[], datetime] = utc_now,
) -> Sequence[Task]:
    """The queue's tasks of delivery; none without destinations.

    Raises:
        DestinationsFileError: see :func:`trabecula.delivery.ways.make_ways`.
    """
    if not destinations:
        return ()
    ways = make_ways(destinations, database, content, keys_dir, clock)
    deliverer = Deliverer(database, ways, clock, random.SystemRandom().random, (log_delivery, *listeners))

    async def send(destination: str) -> None:
        await deliverer.drain(destination)

    async def sweep(timestamp: int) -> None:  # noqa: ARG001 - what a periodic task is told
        await deliverer.sweep()

    return (Task(SEND_TASK, send), Task(SWEEP_TASK, sweep, cron=EVERY_TEN_SECONDS))


def log_delivery(event: DeliveryEvent) -> None:
    """Listener that writes ids, states and codes; never what was sent or answered."""
    log = structlog.get_logger()
    match event:
        case DeliveryAttempted():
            facts = {
                "destination": event.destination,
                "delivery_id": event.delivery_id,
                "attempt": event.attempt,
                "step": event.step.value,
                "reason": event.reason,
                "status": event.status,
                "way": event.way,
                "seconds": round(event.seconds, 3),
            }
            well = event.step is DeliveryStep.DELIVER
            (log.info if well else log.warning)("delivery attempted", **facts)
        case DestinationRests():
            log.warning(
                "destination rests",
                destination=event.destination,
                failures=event.failures,
                seconds=round(event.seconds, 1),
            )
        case DestinationAnswers():
            log.info("destination answers again", destination=event.destination)
        case _:
            pass


def keeps_screening() -> ColumnElement[bool]:
    """For retention: whether something of a screening has not been brought over; on rows of ``screening``."""
    return exists().where(delivery.c.screening_id == screening.c.id, delivery.c.state.in_(NOT_DONE))
