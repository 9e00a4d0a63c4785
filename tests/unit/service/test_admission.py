"""Who is turned away, and for how long."""

from __future__ import annotations

import pytest

from trabecula.service.admission import LONGEST_RETRY_S, NOTHING_SEEN_RETRY_S, places, retry_after_s
from trabecula.work.reading import Load
from trabecula.work.records import Priority
from trabecula.work.states import State


def load(mean_run_s: float | None, running: int = 1) -> Load:
    return Load({State.QUEUED: 0, State.RUNNING: running}, None, mean_run_s)


@pytest.mark.parametrize("capacity", [1, 2, 16, 64])
def test_archive_work_is_turned_away_first_and_urgent_work_last(capacity: int) -> None:
    archive, routine, stat = (places(priority, capacity) for priority in sorted(Priority))
    assert 1 <= archive <= routine == capacity < stat
    assert archive <= (capacity + 1) // 2


def test_the_delay_is_the_time_until_there_is_a_place() -> None:
    assert retry_after_s(load(8.0), excess=1) == 8.0
    assert retry_after_s(load(8.0), excess=3) == 24.0
    assert retry_after_s(load(8.0, running=4), excess=2) == 4.0


def test_the_delay_is_bounded_and_never_nothing() -> None:
    assert retry_after_s(load(None), excess=5) == NOTHING_SEEN_RETRY_S
    assert retry_after_s(load(0.001), excess=1) == 1.0
    assert retry_after_s(load(500.0), excess=100) == LONGEST_RETRY_S
    assert retry_after_s(load(8.0, running=0), excess=1) == 8.0
