"""The life of a screening, cell by cell."""

from __future__ import annotations

import pytest

from trabecula.errors import AlreadyEnded
from trabecula.service.states import TRANSITIONS, Event, IllegalTransition, State, next_state

# Kept apart from the table in the program on purpose. Rows: states; columns: events. A dot is illegal.
EXPECTED = """
           start    report    refuse   fail    cancel     stop
queued     running  .         .        failed  cancelled  .
running    .        reported  refused  failed  running    cancelled
reported   .        .         .        .       ended      .
refused    .        .         .        .       ended      .
failed     .        .         .        .       ended      .
cancelled  .        .         .        .       cancelled  .
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


def test_states_without_a_way_out_are_the_ended_ones() -> None:
    leaving = {state for (state, _), following in TRANSITIONS.items() if following is not state}
    assert {state for state in State if not state.ended} == leaving
