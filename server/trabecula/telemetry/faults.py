"""Exceptions in words that may be logged."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb

from trabecula.errors import TrabeculaError


def describe_fault(error: BaseException) -> str:
    """Type and place of an exception, and the detail of our own. Never a foreign message: it may quote the study."""
    detail = [error.detail] if isinstance(error, TrabeculaError) and error.detail else []
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    return " ".join([type(error).__name__, *detail, *reversed(places[-6:])])
