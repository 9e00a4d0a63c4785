"""The loop of a campaign: claim, run, settle; one study in flight in each worker, every end a row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from trabecula.archive.executors.port import LOOK_S, Ended, Executor
from trabecula.archive.ledger import Ledger, StudyState, to_line
from trabecula.archive.outage import Outage
from trabecula.archive.parts import LINES, write_parts
from trabecula.archive.rate import TokenBucket
from trabecula.archive.results import StudyResult
from trabecula.errors import CampaignStopped, Cancelled, InputError, NotFound, TrabeculaError

FLUSH_S: Final = 300.0
"""Results go into a part file at least so often while studies end."""


@dataclass(frozen=True)
class Rules:
    """What a campaign may do."""

    attempts: int = 3
    """Attempts of one study before it is dead."""
    drain_s: float = 25.0
    """What studies in flight get to end, when the driver is asked to stop."""
    patience_s: float = 3600.0
    """How long PACS, root or disk may be away before the driver gives up."""
    dead_in_a_row: int = 100
    """Studies that may die one after the other before the driver stops: then something else is wrong than a study."""


@dataclass
class Progress:
    """How far a driver is; told after each end."""

    total: int
    states: Counter[StudyState]
    this_run: Counter[StudyState] = field(default_factory=Counter)
    """Ends of this run alone."""
    busy: int = 0
    held_up_by: str | None = None
    """Code of the outage that holds the campaign up."""

    @property
    def ended(self) -> int:
        return sum(number for state, number in self.states.items() if state.ended)


Tell = Callable[[Progress], None]


class Driver:
    """One shard's driver."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        folder: Path,
        rules: Rules,
        *,
        pulls: TokenBucket | None = None,
        outage: Outage | None = None,
        tell: Tell = lambda _: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Args:
        executor: started.
        folder: of the shard, for part files.
        pulls: how often a study may be asked of the PACS; None sets no limit.
        """
        self._ledger = ledger
        self._executor = executor
        self._folder = folder
        self._rules = rules
        self._pulls = pulls
        self._outage = outage or Outage(now)
        self._tell = tell
        self._now = now
        self._asked_to_stop = False
        self._sleep = sleep
        self._dead_in_a_row = 0
        self._unwritten = ledger.count_unwritten()
        self._flushed_at = now()
        counts = ledger.counts()
        self._progress = Progress(counts.total, Counter(counts.states))
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """Ask it to end soon; from a signal handler or another thread."""
        self._asked_to_stop = True  # a plain word: an event's lock might be held by whom the signal interrupts

    def run(self) -> Progress:
        """Work until every study has ended.

        Raises:
            CampaignStopped: when it was asked to stop, or gave up; what has ended is kept.
        """
        reason: str | None = None
        try:
            while reason is None and self._go_on():
                self._fill()
                self._settle_all(self._executor.wait(LOOK_S))
                if not self._executor.busy and self._ledger.next() is not None:
                    self._sleep(self._pause_s())
                reason = self._reason_to_stop()
            if reason is not None:
                self._drain()
        finally:
            write_parts(self._folder, self._ledger, rest=True)
        if reason is not None:
            raise CampaignStopped(reason=reason)
        return self._progress

    def _go_on(self) -> bool:
        return bool(self._executor.busy) or self._ledger.next() is not None

    def _reason_to_stop(self) -> str | None:
        if self._asked_to_stop:
            return "asked-to-stop"
        if self._dead_in_a_row >= self._rules.dead_in_a_row:
            return f"{self._dead_in_a_row}-studies-in-a-row-died"
        if self._outage.lasted_s > self._rules.patience_s:
            return self._outage.code
        return None

    def _fill(self) -> None:
        """A study for each idle worker, as far as PACS and outage allow."""
        while self._executor.idle and not self._asked_to_stop and self._outage.may_take(self._executor.busy):
            reference = self._ledger.next()
            if reference is None:
                return
            if reference.is_pull and self._pulls is not None:
                if self._pulls.wait_s() > 0:
                    return
                self._pulls.take()
            claim = self._ledger.claim()
            if claim is None:
                return
            self._executor.submit(claim)
            self._count(StudyState.WAITING, StudyState.CLAIMED)

    def _pause_s(self) -> float:
        """How long to do nothing when nothing runs and something waits."""
        if not self._outage.may_take(0):
            return LOOK_S
        return min(LOOK_S, self._pulls.wait_s() if self._pulls is not None else 0.0)

    def _settle_all(self, ended: list[Ended]) -> None:
        for each in ended:
            self._settle(each)
        full = self._unwritten >= LINES or (self._unwritten and self._now() - self._flushed_at > FLUSH_S)
        if full:
            write_parts(self._folder, self._ledger, rest=self._unwritten < LINES)
            self._unwritten, self._flushed_at = self._ledger.count_unwritten(), self._now()
        self._progress.busy, self._progress.held_up_by = self._executor.busy, self._outage.code
        self._tell(self._progress)

    def _settle(self, ended: Ended) -> None:
        if isinstance(ended.outcome, StudyResult):
            self._outage.read()
            self._keep(ended, ended.outcome)
        else:
            self._failed(ended, ended.outcome)

    def _keep(self, ended: Ended, result: StudyResult) -> None:
        state = StudyState.DONE if result.refusal is None else StudyState.REFUSED
        line = to_line(dict(result.row))
        self._ledger.settle(ended.claim, state, code=result.refusal, seconds=ended.seconds, result=line)
        self._unwritten += 1
        self._dead_in_a_row = 0
        self._count(StudyState.CLAIMED, state)

    def _failed(self, ended: Ended, error: TrabeculaError) -> None:
        if isinstance(error, Cancelled) or self._outage.failed(ended.claim.study_id, error):
            self._ledger.release(ended.claim)
            self._count(StudyState.CLAIMED, StudyState.WAITING)
            return
        hopeless = isinstance(error, InputError | NotFound)
        dead = hopeless or ended.claim.attempt >= self._rules.attempts
        state = StudyState.DEAD if dead else StudyState.WAITING
        self._ledger.settle(ended.claim, state, code=error.code, seconds=ended.seconds, result=None)
        self._dead_in_a_row += dead
        self._count(StudyState.CLAIMED, state)
        # the study by its number in the ledger: its reference may say who the patient is
        self._log.warning(
            "archived study failed",
            study=ended.claim.study_id,
            attempt=ended.claim.attempt,
            code=error.code,
            detail=error.detail,
            dead=dead,
        )

    def _count(self, before: StudyState, after: StudyState) -> None:
        self._progress.states[before] -= 1
        self._progress.states[after] += 1
        if after.ended:
            self._progress.this_run[after] += 1

    def _drain(self) -> None:
        """Let what is in flight end for a while, then put the rest back."""
        until = self._now() + self._rules.drain_s
        while self._executor.busy and self._now() < until:
            self._settle_all(self._executor.wait(LOOK_S))
        self._executor.stop_running()
        until = self._now() + self._rules.drain_s
        while self._executor.busy and self._now() < until:
            self._settle_all(self._executor.wait(LOOK_S))
