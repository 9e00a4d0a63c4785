"""Structured logs: JSON lines on standard error, one event each, without patient data."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from trabecula.telemetry.context import current_trace, trace_id_of


def add_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: the trace of the request that is being served, unless the line names one itself."""
    identity = trace_id_of(current_trace())
    if identity is not None:
        event.setdefault("trace_id", identity)
    return event


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Set up structlog for the whole process; called once by ``trabecula serve`` and each of its children.

    Args:
        stream: where the lines go; standard error when None.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            add_trace,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
