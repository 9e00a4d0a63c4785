"""Structured logs: JSON lines on standard error, one event each, without patient data."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


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
