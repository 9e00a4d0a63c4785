"""Delivery as the service runs it: tasks of the queue, and what retention has to respect."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, exists

from trabecula.delivery.deliverer import Deliverer
from trabecula.delivery.destinations import Destination
from trabecula.delivery.outbox import NOT_DONE, SEND_TASK
from trabecula.delivery.schema import delivery
from trabecula.delivery.ways import make_ways
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener
from trabecula.work.clock import utc_now
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.queue import Task
from trabecula.work.schema import screening

SWEEP_TASK: Final = "delivery.sweep"
EVERY_TEN_SECONDS: Final = "* * * * * */10"


def delivery_tasks(
    destinations: Sequence[Destination],
    database: Database,
    content: ContentStore,
    keys_dir: Path | None,
    tell: Listener = nobody,
    clock: Callable[[], datetime] = utc_now,
) -> Sequence[Task]:
    """The queue's tasks of delivery; none without destinations.

    Raises:
        DestinationsFileError: see :func:`trabecula.delivery.ways.make_ways`.
    """
    if not destinations:
        return ()
    ways = make_ways(destinations, database, content, keys_dir, clock)
    deliverer = Deliverer(database, ways, clock, random.SystemRandom().random, tell)

    async def send(destination: str) -> None:
        await deliverer.drain(destination)

    async def sweep(timestamp: int) -> None:  # noqa: ARG001 - what a periodic task is told
        await deliverer.sweep()

    return (Task(SEND_TASK, send), Task(SWEEP_TASK, sweep, cron=EVERY_TEN_SECONDS))


def keeps_screening() -> ColumnElement[bool]:
    """For retention: whether something of a screening has not been brought over; on rows of ``screening``."""
    return exists().where(delivery.c.screening_id == screening.c.id, delivery.c.state.in_(NOT_DONE))
