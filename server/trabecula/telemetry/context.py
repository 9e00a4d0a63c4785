"""Which trace the running task belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context/), version 00."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_CURRENT: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)


def read_traceparent(text: str | None) -> str | None:
    """A caller's ``traceparent`` when it is one, else None: what a header says is never kept unchecked."""
    if text is None or len(text) != 55 or (match := _TRACEPARENT.fullmatch(text)) is None:
        return None
    return None if set(match[1]) == {"0"} or set(match[2]) == {"0"} else text


def trace_id_of(traceparent: str | None) -> str | None:
    """The 32 hexadecimal digits that all spans of a trace share."""
    return None if traceparent is None else traceparent[3:35]


def current_trace() -> str | None:
    """``traceparent`` of the request that the running task serves."""
    return _CURRENT.get()


@contextmanager
def in_trace(traceparent: str | None) -> Iterator[None]:
    """Have :func:`current_trace` give this within the block."""
    token = _CURRENT.set(traceparent)
    try:
        yield
    finally:
        _CURRENT.reset(token)
