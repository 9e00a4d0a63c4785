"""Sign-off and recall, cell by cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula.errors import InvalidStep
from trabecula.programme.states import (
    Decision,
    ReviewStatus,
    TaskEvent,
    TaskState,
    next_status,
    next_task_state,
)

# Kept apart from the tables in the program on purpose. A dot is illegal.
REVIEWS = """
                   accept   correct    reject
preliminary        final    final      entered-in-error
final              .        corrected  entered-in-error
corrected          .        corrected  entered-in-error
entered-in-error   .        .          .
"""

TASKS = """
            contact    book     dxa-result  decline   close    reopen    withdraw
proposed    contacted  booked   done        declined  closed   .         closed
contacted   contacted  booked   done        declined  closed   .         closed
booked      contacted  booked   done        declined  closed   .         closed
done        .          .        done        .         .        .         done
declined    contacted  booked   done        .         closed   proposed  closed
closed      .          .        done        .         .        proposed  closed
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    head, *rows = [line.split() for line in table.strip().splitlines()]
    return [(row[0], event, expected) for row in rows for event, expected in zip(head, row[1:], strict=True)]


def test_every_cell_is_looked_at() -> None:
    assert {(s, e) for s, e, _ in cells(REVIEWS)} == {(s.value, d.value) for s in ReviewStatus for d in Decision}
    assert {(s, e) for s, e, _ in cells(TASKS)} == {(s.value, e.value) for s in TaskState for e in TaskEvent}


@pytest.mark.parametrize(("status", "decision", "expected"), cells(REVIEWS))
def test_decision_on_a_result(status: str, decision: str, expected: str) -> None:
    if expected == ".":
        with pytest.raises(InvalidStep):
            next_status(ReviewStatus(status), Decision(decision))
    else:
        assert next_status(ReviewStatus(status), Decision(decision)).value == expected


@pytest.mark.parametrize(("state", "event", "expected"), cells(TASKS))
def test_step_of_a_recall(state: str, event: str, expected: str) -> None:
    if expected == ".":
        with pytest.raises(InvalidStep):
            next_task_state(TaskState(state), TaskEvent(event))
    else:
        assert next_task_state(TaskState(state), TaskEvent(event)).value == expected


def documented(page: str, first: str) -> dict[tuple[str, str], str]:
    """A table of the page whose head begins with ``first``, by row and column; empty cells left out."""
    lines = iter(page.splitlines())
    head = next(line for line in lines if line.startswith(f"| {first} |"))
    columns = [cell.strip() for cell in head.strip("|").split("|")][1:]
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        row, *rest = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        found |= {(row, column): cell for column, cell in zip(columns, rest, strict=True) if cell}
    return found


def test_the_page_shows_the_tables_as_they_are(repository: Path) -> None:
    page = (repository / "docs" / "programme.md").read_text(encoding="utf-8")
    tables = ("status", cells(REVIEWS)), ("state", cells(TASKS))
    for first, expected in tables:
        assert documented(page, first) == {(row, column): cell for row, column, cell in expected if cell != "."}
