"""The life of a screening as one table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from trabecula.errors import AlreadyEnded, TrabeculaError


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    REPORTED = "reported"
    REFUSED = "refused"
    FAILED = "failed"
    """A dead letter: it ended without a result, and its failure says why."""
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self not in (State.QUEUED, State.RUNNING)


class Event(StrEnum):
    START = "start"
    """A worker took it: one more attempt."""
    REPORT = "report"
    REFUSE = "refuse"
    FAIL = "fail"
    """It cannot be read, or its last attempt failed."""
    REQUEUE = "requeue"
    """An attempt ended without an answer (crash, lost worker, shutdown) and another one is due."""
    CANCEL = "cancel"
    """Someone asked for it to stop."""
    STOP = "stop"
    """The worker noticed that it was asked to stop, or vanished after it was."""
    REVIVE = "revive"
    """An operator asked for another try."""


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.QUEUED, Event.START): State.RUNNING,
    (State.QUEUED, Event.FAIL): State.FAILED,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.REPORT): State.REPORTED,
    (State.RUNNING, Event.REFUSE): State.REFUSED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.REQUEUE): State.QUEUED,
    # The worker notices at its next sign of life, or finishes before it does.
    (State.RUNNING, Event.CANCEL): State.RUNNING,
    (State.RUNNING, Event.STOP): State.CANCELLED,
    (State.FAILED, Event.REVIVE): State.QUEUED,
    # Asking twice is no mistake.
    (State.CANCELLED, Event.CANCEL): State.CANCELLED,
    (State.CANCELLED, Event.REVIVE): State.QUEUED,
}
"""Every legal (state, event) cell. What is not here is illegal."""


class IllegalTransition(TrabeculaError):
    """The service made a step that the life of a screening does not know."""

    code = "illegal-transition"


def next_state(state: State, event: Event) -> State:
    """State after the event.

    Raises:
        AlreadyEnded: when a cancellation is asked of a screening that has ended, or another try of one with a result.
        IllegalTransition: for any other cell that is not in the table (a fault of the program, or a worker that was
            overtaken).
    """
    following = TRANSITIONS.get((state, event))
    if following is not None:
        return following
    if state.ended and event in (Event.CANCEL, Event.REVIVE):
        raise AlreadyEnded(state=state.value)
    raise IllegalTransition(state=state.value, event=event.value)
