"""The listener that writes events into the log: ids of this service, states, codes and times, nothing else."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import structlog

from trabecula.telemetry import events
from trabecula.telemetry.context import trace_id_of
from trabecula.telemetry.events import DeliveryOutcome, Event

_DIGITS = 4


def log_event(event: Event) -> None:
    """Write an event."""
    _write(event)


def _log(trace: str | None = None) -> Any:
    identity = trace_id_of(trace)
    log = structlog.get_logger()
    return log if identity is None else log.bind(trace_id=identity)


@singledispatch
def _write(event: Event) -> None:
    """Events that would only fill the log: their figures are metrics."""


@_write.register
def _(event: events.ScreeningQueued) -> None:
    facts: dict[str, object] = {"screening_id": event.screening_id, "state": "queued", "attempt": event.attempt}
    if event.reason is not None:
        facts |= {"reason": event.reason, "fault": event.fault}
    _log(event.trace).info("screening changed", **facts)


@_write.register
def _(event: events.AttemptStarted) -> None:
    _log(event.trace).info(
        "screening changed",
        screening_id=event.screening_id,
        state="running",
        attempt=event.attempt,
        waited_s=round(event.waited_s, _DIGITS),
    )


@_write.register
def _(event: events.StageStarted) -> None:
    _log().debug("stage started", screening_id=event.screening_id, attempt=event.attempt, stage=event.stage.value)


@_write.register
def _(event: events.StageEnded) -> None:
    passage = event.passage
    facts = {"screening_id": event.screening_id, "attempt": event.attempt, "stage": passage.stage.value}
    _log().debug("stage ended", **facts, seconds=round(passage.seconds, _DIGITS))


@_write.register
def _(event: events.StageFailed) -> None:
    facts = {"screening_id": event.screening_id, "attempt": event.attempt, "stage": event.stage.value}
    _log().warning("stage failed", **facts, reason=event.reason)


@_write.register
def _(event: events.AttemptEnded) -> None:
    stages = {f"{stage.value}_s": round(seconds, _DIGITS) for stage, seconds in event.stages_s.items()}
    _log(event.trace).info("attempt timed", screening_id=event.screening_id, attempt=event.attempt, **stages)


@_write.register
def _(event: events.ResultKept) -> None:
    _log().info(
        "result kept",
        screening_id=event.screening_id,
        attempt=event.attempt,
        documents_s=round(event.documents_s, _DIGITS),
        keep_s=round(event.keep_s, _DIGITS),
        commit_s=round(event.commit_s, _DIGITS),
    )


@_write.register
def _(event: events.ScreeningEnded) -> None:
    facts: dict[str, object] = {
        "screening_id": event.screening_id,
        "state": event.outcome.value,
        "attempt": event.attempt,
        "total_s": round(event.turnaround_s, _DIGITS),
    }
    if event.failure is not None:
        facts |= {"code": event.failure, "fault": event.fault}
    if event.refusals:
        facts |= {"refusals": list(event.refusals)}
    log = _log(event.trace)
    (log.warning if event.failure is not None else log.info)("screening changed", **facts)


@_write.register
def _(event: events.WorkFault) -> None:
    _log().error("store failed", screening_id=event.screening_id, fault=event.fault)


@_write.register
def _(event: events.UploadEnded) -> None:
    _log().info("upload ended", received_bytes=event.received_bytes, outcome=event.outcome)


@_write.register
def _(event: events.DeliveryEnded) -> None:
    log = _log(event.trace)
    well = event.outcome is DeliveryOutcome.DELIVERED
    (log.info if well else log.warning)(
        "delivery attempted",
        destination=event.destination,
        delivery_id=event.delivery_id,
        screening_id=event.screening_id,
        attempt=event.attempt,
        outcome=event.outcome.value,
        reason=event.reason,
        status=event.status,
        way=event.way,
        seconds=round(event.seconds, 3),
    )


@_write.register
def _(event: events.DestinationRests) -> None:
    seconds = round(event.seconds, 1)
    _log().warning("destination rests", destination=event.destination, failures=event.failures, seconds=seconds)


@_write.register
def _(event: events.DestinationAnswers) -> None:
    _log().info("destination answers again", destination=event.destination)


@_write.register
def _(event: events.ModelLoaded) -> None:
    facts = {"model": event.name, "version": event.version, "digest": event.digest}
    _log().info("model loaded", **facts, seconds=round(event.seconds, 3))
