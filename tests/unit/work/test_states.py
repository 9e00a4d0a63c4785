"""The life of a screening, cell by cell."""

from __future__ import annotations

import pytest

from trabecula.errors import AlreadyEnded
from trabecula.work.states import TRANSITIONS, Event, IllegalTransition, State, next_state

# Kept apart from the table in the program on purpose. Rows: states; columns: events. A dot is illegal.
EXPECTED = """
           start    report    refuse   fail    requeue  cancel     stop       revive
queued     running  .         .        failed  .        cancelled  .          .
running    .        reported  refused  failed  queued   running    cancelled  .
reported   .        .         .        .       .        ended      .          ended
refused    .        .         .        .       .        ended      .          ended
failed     .        .         .        .       .        ended      .          queued
cancelled  .        .         .        .       .        cancelled  .          queued
"""


def cells() -> list[tuple[State, Event, str]]:
    head, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    return [
        (State(row[0]), Event(event), expected) for row in rows for event, expected in zip(head, row[1:], strict=True)
    ]


def test_every_cell_is_looked_at() -> None:
    assert {(state, event) for state, event, _ in cells()} == {(state, event) for state in State for event in Event}


@pytest.mark.parametrize(("state", "event", "expected"), cells())
def test_cell(state: State, event: Event, expected: str) -> None:
    if expected == ".":
        with pytest.raises(IllegalTransition):
            next_state(state, event)
    elif expected == "ended":
        with pytest.raises(AlreadyEnded):
            next_state(state, event)
    else:
        assert next_state(state, event) is State(expected)


def test_only_an_operator_leads_out_of_an_ended_state() -> None:
    leaving = {(state, event) for (state, event), after in TRANSITIONS.items() if state.ended and after is not state}
    assert leaving == {(State.FAILED, Event.REVIVE), (State.CANCELLED, Event.REVIVE)}


def test_a_result_is_never_left() -> None:
    assert not [event for state, event in TRANSITIONS if state in (State.REPORTED, State.REFUSED)]
