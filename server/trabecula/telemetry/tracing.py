"""Spans of requests, with or without a collector to send them to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from trabecula.telemetry.context import in_trace, read_traceparent
from trabecula.telemetry.events import Event


class RequestSpan(Protocol):
    """The span of the request that is being served."""

    def named(self, name: str) -> None:
        """By its route's pattern, once that is known; never by an address."""

    def ended(self, code: str, *, fault: bool) -> None:
        """With this status; ``fault`` where it is the service's own."""


class Tracing(Protocol):
    """Where spans go."""

    def request(self, name: str, traceparent: str | None) -> AbstractContextManager[RequestSpan]:
        """Serve a request within the block: what happens there belongs to its trace.

        Args:
            traceparent: as the caller sent it, unchecked.
        """

    def __call__(self, event: Event) -> None:
        """Listener: spans of the work."""

    def close(self) -> None:
        """Send what is left; blocks for some seconds at most."""


class _NoSpan:
    def named(self, name: str) -> None:
        """Nothing is kept."""

    def ended(self, code: str, *, fault: bool) -> None:
        """Nothing is kept."""


class NoTracing:
    """Sends nothing; a caller's trace still goes with the screening and into the log."""

    @contextmanager
    def request(self, name: str, traceparent: str | None) -> Iterator[RequestSpan]:  # noqa: ARG002
        with in_trace(read_traceparent(traceparent)):
            yield _NoSpan()

    def __call__(self, event: Event) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""
