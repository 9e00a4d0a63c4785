"""Structured logs: JSON lines on standard error, one event each, without patient data."""

from __future__ import annotations

import dataclasses
import logging
import sys
from typing import TextIO

import structlog

from trabecula.work.events import AttemptTimed, ServiceEvent, UploadEnded, WorkFault


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Set up structlog for the whole process; called once by ``trabecula serve`` and each of its children.

    Args:
        stream: where the lines go; standard error when None.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def log_event(event: ServiceEvent) -> None:
    """Listener that writes the service's events: the screening id, state and codes, nothing else."""
    log = structlog.get_logger()
    if isinstance(event, UploadEnded):
        log.info("upload ended", received_bytes=event.received_bytes, outcome=event.outcome)
        return
    if isinstance(event, WorkFault):
        log.error("store failed", screening_id=event.screening_id, fault=event.fault)
        return
    if isinstance(event, AttemptTimed):
        log.info("attempt timed", **{name: _rounded(value) for name, value in dataclasses.asdict(event).items()})
        return
    record = event.record
    facts: dict[str, object] = {"screening_id": record.screening_id, "state": record.state.value}
    if record.failure is not None:
        facts |= {"code": record.failure.code, "fault": event.fault}
    if event.report is not None:
        facts |= {
            "refusals": [refusal.code.value for refusal in event.report.refusals],
            "total_s": event.report.timings_s.get("total"),
        }
    (log.warning if record.failure is not None else log.info)("screening changed", **facts)


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
