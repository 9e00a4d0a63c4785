"""How fast a PACS is asked, and what an outage costs."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.archive.driver import Driver, Rules
from trabecula.archive.executors.port import Ended
from trabecula.archive.ledger import Claim, ShardCounts, StudyState, open_ledger
from trabecula.archive.outage import Outage
from trabecula.archive.rate import TokenBucket
from trabecula.archive.reference import Reference
from trabecula.archive.results import StudyResult
from trabecula.archive.shards import Shard
from trabecula.errors import ArchiveRefused, ArchiveUnavailable, CampaignStopped, TrabeculaError, WorkerCrashed
from trabecula.telemetry.events import ModelLoaded


class Clock:
    """Time that passes when it is asked to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += max(seconds, 0.01)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 5), st.integers(1, 5), st.lists(st.floats(0, 20), min_size=1, max_size=40))
def test_no_window_holds_more_than_rate_and_burst(per_s: float, burst: int, pauses: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(per_s, burst, clock)
    taken: list[float] = []
    for pause in pauses:
        clock.now_s += pause
        while bucket.wait_s() == 0 and len(taken) < 200:
            bucket.take()
            taken.append(clock.now_s)
    for at, first in enumerate(taken):
        for later, last in enumerate(taken[at:], start=1):
            assert later <= burst + (last - first) * per_s + 1e-6


def test_a_token_comes_when_it_was_said() -> None:
    clock = Clock()
    bucket = TokenBucket(0.5, 1, clock)
    bucket.take()
    assert bucket.wait_s() == pytest.approx(2.0)
    clock.now_s += 2.0
    assert bucket.wait_s() == 0


class Pacs:
    """An executor whose studies come from a PACS that may be away."""

    def __init__(self, clock: Clock, *, away: tuple[float, float] = (0, 0), cursed: int = -1, workers: int = 2) -> None:
        self.clock, self.away, self.cursed, self.workers = clock, away, cursed, workers
        self.asked: list[tuple[float, int]] = []
        self.flying: list[Claim] = []
        self.fault: TrabeculaError = ArchiveUnavailable()

    def start(self) -> tuple[ModelLoaded, ...]:
        return ()

    @property
    def idle(self) -> int:
        return self.workers - len(self.flying)

    @property
    def busy(self) -> int:
        return len(self.flying)

    def submit(self, claim: Claim) -> None:
        assert self.idle
        self.asked.append((self.clock.now_s, claim.study_id))
        self.flying.append(claim)

    def wait(self, timeout_s: float) -> list[Ended]:  # noqa: ARG002 - an answer takes a second
        if not self.flying:
            return []
        claim = self.flying.pop(0)
        down = self.away[0] <= self.clock.now_s < self.away[1] or claim.study_id == self.cursed
        self.clock.now_s += 1.0
        return [Ended(claim, self.fault if down else StudyResult(None, {"n": claim.study_id}), 1.0)]

    def stop_running(self) -> None: ...

    def close(self) -> None: ...


def drive(
    folder: Path, pacs: Pacs, clock: Clock, studies: int, rules: Rules, pulls: TokenBucket | None = None
) -> ShardCounts:
    with open_ledger(folder, Shard(0, 1)) as ledger:
        ledger.add(Reference(study_uid=f"1.{number}") for number in range(studies))
        driver = Driver(ledger, pacs, folder, rules, pulls=pulls, outage=Outage(clock), now=clock, sleep=clock.sleep)
        try:
            driver.run()
        finally:
            counts = ledger.counts()
        return counts


def test_an_hour_without_pacs_kills_no_study(tmp_path: Path) -> None:
    clock = Clock()
    pacs = Pacs(clock, away=(5, 3600))
    counts = drive(tmp_path, pacs, clock, 12, Rules(patience_s=2 * 3600))
    assert counts.states[StudyState.DONE] == 12
    asked = [at for at, _ in pacs.asked if 10 < at < 3600]
    assert all(later - first >= 5 for first, later in pairwise(asked))
    assert 5 < len(asked) < 30, "while it is away it is asked now and then, by one worker"


def test_patience_has_an_end(tmp_path: Path) -> None:
    clock = Clock()
    with pytest.raises(CampaignStopped, match="archive-unavailable"):
        drive(tmp_path, Pacs(clock, away=(0, 1e9)), clock, 5, Rules(patience_s=600))
    assert clock.now_s < 1500


@pytest.mark.parametrize("fault", [ArchiveUnavailable(), ArchiveRefused(), WorkerCrashed("")])
def test_one_study_that_always_fails_is_dead_and_holds_nobody_up(tmp_path: Path, fault: TrabeculaError) -> None:
    clock = Clock()
    pacs = Pacs(clock, cursed=3)
    pacs.fault = fault
    counts = drive(tmp_path, pacs, clock, 8, Rules())
    assert counts.states[StudyState.DONE] == 7
    assert counts.dead == {fault.code: 1}
    assert Counter(study for _, study in pacs.asked)[3] == 3


def test_the_pacs_is_asked_no_faster_than_it_may_be(tmp_path: Path) -> None:
    clock = Clock()
    pacs = Pacs(clock)
    drive(tmp_path, pacs, clock, 12, Rules(), TokenBucket(1 / 60, 2, clock))
    times = [at for at, _ in pacs.asked]
    assert times[-1] >= 10 * 60 - 1
    assert times[-1] <= 11 * 60
    for first, third in zip(times, times[3:], strict=False):
        assert third - first >= 59


def test_files_do_not_wait_for_the_pacs(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path / "ledger", Shard(0, 1)) as ledger:
        ledger.add(Reference((name,)) for name in "012")
        bucket = TokenBucket(1 / 3600, 1, clock)
        bucket.take()
        Driver(ledger, Pacs(clock), tmp_path, Rules(), pulls=bucket, now=clock, sleep=clock.sleep).run()
    assert clock.now_s < 60
