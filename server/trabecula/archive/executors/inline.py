"""In the driver's own process: for a few studies, and for looking into one. A study that kills its process kills the
driver; time is looked at between the stages, memory not at all."""

from __future__ import annotations

import time

from trabecula.archive.executors.port import Ended, WorkerLimits
from trabecula.archive.ledger import Claim
from trabecula.archive.study import MakeReadStudy, ReadStudy
from trabecula.progress import no_progress
from trabecula.telemetry.events import ModelLoaded
from trabecula.work.runner import Control, outcome


class InlineExecutor:
    """One worker: the thread that asks."""

    def __init__(self, make: MakeReadStudy, limits: WorkerLimits) -> None:
        self._make = make
        self._limits = limits
        self._read: ReadStudy | None = None
        self._waiting: list[Claim] = []

    def start(self) -> tuple[ModelLoaded, ...]:
        self._read = self._make()
        return self._read.models

    @property
    def idle(self) -> int:
        return 1 - len(self._waiting)

    @property
    def busy(self) -> int:
        return len(self._waiting)

    def submit(self, claim: Claim) -> None:
        self._waiting.append(claim)

    def wait(self, timeout_s: float) -> list[Ended]:  # noqa: ARG002 - it is never waited for anybody else
        if self._read is None or not self._waiting:
            return []
        claim = self._waiting.pop()
        began = time.monotonic()
        done = outcome(self._read, claim.reference, Control(self._limits.timeout_s, no_progress).progress)
        return [Ended(claim, done, time.monotonic() - began)]

    def stop_running(self) -> None:
        """Nothing runs while anybody could ask."""

    def close(self) -> None:
        """There is nothing to end."""
