"""Two lives as tables: a result's on its way to a signature, and a recalled patient's on the way to a DXA."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from trabecula.errors import InvalidStep


class ReviewStatus(StrEnum):
    """Status of a result, as FHIR's DiagnosticReport.status spells it."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    CORRECTED = "corrected"
    """Changed after it had been signed."""
    ENTERED_IN_ERROR = "entered-in-error"


class Decision(StrEnum):
    """What a radiologist does with a result."""

    ACCEPT = "accept"
    CORRECT = "correct"
    REJECT = "reject"


REVIEWS: Final[dict[tuple[ReviewStatus, Decision], ReviewStatus]] = {
    (ReviewStatus.PRELIMINARY, Decision.ACCEPT): ReviewStatus.FINAL,
    # Nobody has seen a signed version before, so the first one is final, with the corrections in it.
    (ReviewStatus.PRELIMINARY, Decision.CORRECT): ReviewStatus.FINAL,
    (ReviewStatus.PRELIMINARY, Decision.REJECT): ReviewStatus.ENTERED_IN_ERROR,
    (ReviewStatus.FINAL, Decision.CORRECT): ReviewStatus.CORRECTED,
    (ReviewStatus.FINAL, Decision.REJECT): ReviewStatus.ENTERED_IN_ERROR,
    (ReviewStatus.CORRECTED, Decision.CORRECT): ReviewStatus.CORRECTED,
    (ReviewStatus.CORRECTED, Decision.REJECT): ReviewStatus.ENTERED_IN_ERROR,
}
"""Every legal (status, decision) cell. A rejected result stays so: the study is screened anew."""


class TaskState(StrEnum):
    """Where a patient proposed for a confirming DXA is."""

    PROPOSED = "proposed"
    CONTACTED = "contacted"
    BOOKED = "booked"
    DONE = "done"
    """A DXA result has come."""
    DECLINED = "declined"
    CLOSED = "closed"
    """Ended without a DXA, for the reason in its last step."""

    @property
    def open(self) -> bool:
        """Whether the programme still waits for something."""
        return self in (TaskState.PROPOSED, TaskState.CONTACTED, TaskState.BOOKED)


class TaskEvent(StrEnum):
    CONTACT = "contact"
    """Somebody was reached, or reached again."""
    BOOK = "book"
    DXA_RESULT = "dxa-result"
    DECLINE = "decline"
    CLOSE = "close"
    REOPEN = "reopen"
    WITHDRAW = "withdraw"
    """The result that proposed it was rejected."""


_WAITING: Final = (TaskState.PROPOSED, TaskState.CONTACTED, TaskState.BOOKED)

TASKS: Final[dict[tuple[TaskState, TaskEvent], TaskState]] = {
    **{(state, TaskEvent.CONTACT): TaskState.CONTACTED for state in (*_WAITING, TaskState.DECLINED)},
    **{(state, TaskEvent.BOOK): TaskState.BOOKED for state in (*_WAITING, TaskState.DECLINED)},
    **{(state, TaskEvent.DECLINE): TaskState.DECLINED for state in _WAITING},
    **{(state, TaskEvent.CLOSE): TaskState.CLOSED for state in (*_WAITING, TaskState.DECLINED)},
    # A DXA that was made counts, whatever the programme thought of the patient before.
    **{(state, TaskEvent.DXA_RESULT): TaskState.DONE for state in TaskState},
    **{(state, TaskEvent.REOPEN): TaskState.PROPOSED for state in (TaskState.DECLINED, TaskState.CLOSED)},
    **{(state, TaskEvent.WITHDRAW): TaskState.CLOSED for state in (*_WAITING, TaskState.DECLINED)},
    (TaskState.DONE, TaskEvent.WITHDRAW): TaskState.DONE,
    (TaskState.CLOSED, TaskEvent.WITHDRAW): TaskState.CLOSED,
}
"""Every legal (state, event) cell."""


def next_status(status: ReviewStatus, decision: Decision) -> ReviewStatus:
    """Status after a decision. Raises InvalidStep for a cell that is not in the table."""
    following = REVIEWS.get((status, decision))
    if following is None:
        raise InvalidStep(status=status.value, step=decision.value)
    return following


def next_task_state(state: TaskState, event: TaskEvent) -> TaskState:
    """State after an event. Raises InvalidStep for a cell that is not in the table."""
    following = TASKS.get((state, event))
    if following is None:
        raise InvalidStep(status=state.value, step=event.value)
    return following
