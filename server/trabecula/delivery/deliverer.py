"""The worker's side: claim, send, end; again until nothing is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from trabecula.delivery import outbox
from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.backoff import Random, delay_s
from trabecula.delivery.destinations import Destination, Limits
from trabecula.delivery.fhir_sender import FhirSender
from trabecula.delivery.outbox import Ending
from trabecula.delivery.sending import TOPICS, Parcel, Send, Sent
from trabecula.delivery.standing import note_failure, note_success, read_breaker
from trabecula.delivery.states import DeliveryStep
from trabecula.errors import TrabeculaError
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import (
    DeliveryEnded,
    DeliveryOutcome,
    DestinationAnswers,
    DestinationKind,
    DestinationRests,
    Event,
    Listener,
)
from trabecula.telemetry.faults import describe_fault
from trabecula.work.database import Database

PASSING: Final = (Verdict.RETRY, Verdict.UNAUTHORIZED)
"""A token that is refused even when new may be taken a minute later."""
IN_ONE_JOB: Final = 200
"""Deliveries after which a job of the queue makes room for another destination's."""


@dataclass(frozen=True)
class Way:
    """A destination and how to send there."""

    destination: Destination
    send: Send

    @property
    def one_at_a_time(self) -> bool:
        """Whether two at once could make duplicates there."""
        return isinstance(self.send, FhirSender) and self.send.could_double


@dataclass
class Deliverer:
    """Sends what is due."""

    database: Database
    ways: Mapping[str, Way]
    clock: Callable[[], datetime]
    random: Random
    tell: Listener = nobody
    stopping: bool = field(default=False, init=False)
    _introduced: bool = field(default=False, init=False)

    def stop(self) -> None:
        """Begin nothing more."""
        self.stopping = True

    async def drain(self, destination: str, most: int = IN_ONE_JOB) -> int:
        """Send what is due for one destination, as many at a time as it may have; gives how many were tried.

        Body of the queue's task. It may run twice at once: a delivery is claimed by one.
        """
        way = self.ways.get(destination)
        if way is None:
            structlog.get_logger().warning(
                "deliveries for a destination that is not configured", destination=destination
            )
            return 0
        tried = 0
        while not self.stopping and tried < most:
            room = await self._room(way)
            parcels = [await self._claim(way) for _ in range(min(room, most - tried))]
            held = [parcel for parcel in parcels if parcel is not None]
            if not held:
                return tried
            async with asyncio.TaskGroup() as group:
                for parcel in held:
                    group.create_task(self._attempt(way, parcel))
            tried += len(held)
        async with self.database.transaction() as connection:
            if not self.stopping and destination in await outbox.due_destinations(connection, self.clock()):
                await outbox.wake(connection, destination)
        return tried

    async def sweep(self) -> None:
        """Put back what lost its worker, and wake whatever is due.

        The first one of a process also asks every FHIR server what it can do.
        """
        if not self._introduced:
            self._introduced = True
            await asyncio.gather(*(_ask(way.send) for way in self.ways.values()))
        async with self.database.transaction() as connection:
            await outbox.lapse(connection, self.clock())
            for name in await outbox.due_destinations(connection, self.clock()):
                if name in self.ways and not (await read_breaker(connection, name)).rests(self.clock()):
                    await outbox.wake(connection, name)

    async def attempt_delivery(self, destination: str) -> bool:
        """One attempt at the delivery that is due first; False when there is none, or the destination rests."""
        way = self.ways[destination]
        parcel = await self._claim(way) if await self._room(way) else None
        if parcel is None:
            return False
        await self._attempt(way, parcel)
        return True

    async def _room(self, way: Way) -> int:
        limits = way.destination.limits
        async with self.database.transaction() as connection:
            breaker = await read_breaker(connection, way.destination.name)
            busy = await outbox.sending_now(connection, way.destination.name)
        if breaker.rests(self.clock()):
            return 0
        most = 1 if breaker.trying(limits) or way.one_at_a_time else limits.concurrency
        return max(most - busy, 0)

    async def _claim(self, way: Way) -> Parcel | None:
        name, limits = way.destination.name, way.destination.limits
        async with self.database.transaction() as connection:
            return await outbox.claim(connection, name, self.clock(), limits.attempt_timeout_s)

    async def _attempt(self, way: Way, parcel: Parcel) -> None:
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(way.destination.limits.attempt_timeout_s):
                result: Sent | Setback = await way.send(parcel)
        except asyncio.CancelledError:  # the process stops; another one need not wait for the lease to end
            await asyncio.shield(self._put_back(parcel))
            raise
        except Setback as setback:
            result = setback
        except TimeoutError:
            result = Setback(Verdict.RETRY, "timed-out")
        except TrabeculaError as error:
            result = Setback(Verdict.RETRY, error.code)
        except Exception as error:  # one faulty delivery must not hold the others up, and has to be looked at
            structlog.get_logger().error("delivery fault", delivery_id=parcel.delivery_id, fault=describe_fault(error))
            result = Setback(Verdict.PARK, "unforeseen")
        await self._end(way, parcel, result, asyncio.get_running_loop().time() - started)

    async def _put_back(self, parcel: Parcel) -> None:
        async with self.database.transaction() as connection:
            await outbox.finish(connection, parcel, Ending(DeliveryStep.DEFER, "stopped"), self.clock())

    async def _end(self, way: Way, parcel: Parcel, result: Sent | Setback, seconds: float) -> None:
        name, limits, now = way.destination.name, way.destination.limits, self.clock()
        told: list[Event] = []
        async with self.database.transaction() as connection:
            failures, since = await outbox.patience(connection, parcel.delivery_id)
            ending = ending_of(result, limits, failures + 1, (now - since).total_seconds(), self.random)
            if await outbox.finish(connection, parcel, ending, now) is None:
                return
            if isinstance(result, Setback) and result.verdict in PASSING:
                breaker = await note_failure(connection, name, limits, now, result.retry_after_s)
                if breaker.closed_until is not None:
                    rest_s = (breaker.closed_until - now).total_seconds()
                    told.append(DestinationRests(name, breaker.failures, rest_s))
            elif _answered(result) and await note_success(connection, name):
                told.append(DestinationAnswers(name))
        for each in (_told(way.destination, parcel, ending, seconds, now), *told):
            self.tell(each)


OUTCOMES: Final = {
    DeliveryStep.DELIVER: DeliveryOutcome.DELIVERED,
    DeliveryStep.DEFER: DeliveryOutcome.ERROR,
    DeliveryStep.PARK: DeliveryOutcome.PARKED,
}


def _told(destination: Destination, parcel: Parcel, ending: Ending, seconds: float, now: datetime) -> DeliveryEnded:
    turnaround_s = None
    if ending.step is DeliveryStep.DELIVER and parcel.topic in TOPICS.values() and parcel.received_at is not None:
        turnaround_s = max(0.0, (now - parcel.received_at).total_seconds())
    return DeliveryEnded(
        destination=destination.name,
        kind=DestinationKind(destination.kind),
        delivery_id=parcel.delivery_id,
        attempt=parcel.attempt,
        outcome=OUTCOMES[ending.step],
        reason=ending.reason,
        status=ending.status,
        way=ending.way,
        seconds=seconds,
        screening_id=parcel.screening_id,
        turnaround_s=turnaround_s,
        trace=parcel.trace,
    )


async def _ask(send: Send) -> None:
    """Learn what a FHIR server can do; when it does not say now, the first delivery asks again."""
    if isinstance(send, FhirSender):
        with suppress(Setback):
            await send.experience(fresh=True)


def _answered(result: Sent | Setback) -> bool:
    """Whether the destination itself gave an answer, good or bad."""
    return isinstance(result, Sent) or result.status is not None


def ending_of(result: Sent | Setback, limits: Limits, failures: int, waited_s: float, random: Random) -> Ending:
    """What follows from an attempt.

    Args:
        failures: failed attempts since it came or was released, this one included if it failed.
        waited_s: time since it came or was released.
    """
    if isinstance(result, Sent):
        return Ending(DeliveryStep.DELIVER, way=result.way, left_out=tuple(sorted(result.left_out)))
    if result.verdict not in PASSING:
        return Ending(DeliveryStep.PARK, result.reason, result.status, result.outcome)
    if waited_s > limits.give_up_after_s:
        return Ending(DeliveryStep.PARK, "gave-up", result.status, result.outcome)
    wait = delay_s(limits, failures, random, result.retry_after_s)
    return Ending(DeliveryStep.DEFER, result.reason, result.status, result.outcome, delay_s=wait)
