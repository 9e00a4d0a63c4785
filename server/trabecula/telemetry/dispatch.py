"""From those who do the work to those who watch it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from trabecula.telemetry.events import Event, Listener
from trabecula.telemetry.faults import describe_fault


class Dispatcher:
    """Tells every listener of every event. A listener that fails harms neither the work nor the other listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)

    def __call__(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # whoever watches must not stop what is watched
                structlog.get_logger().error("listener failed", told=type(event).__name__, fault=describe_fault(error))


def nobody(event: Event) -> None:
    """Listener of work that nobody watches."""
