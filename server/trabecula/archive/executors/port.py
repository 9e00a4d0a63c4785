"""What a campaign asks of an executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from trabecula.archive.ledger import Claim
from trabecula.archive.results import StudyResult
from trabecula.archive.study import MakeReadStudy
from trabecula.errors import TrabeculaError
from trabecula.telemetry.events import ModelLoaded

LOOK_S: Final = 0.5
"""Longest wait for an end before the driver looks around."""


@dataclass(frozen=True)
class WorkerLimits:
    """What one study may take, and how long a worker process lives."""

    timeout_s: float
    """From claim to end, pulling it from the PACS included."""
    memory_bytes: int | None
    """Resident, models included; None sets no limit."""
    recycle_after: int
    """Studies after which a worker process gives way to a fresh one."""


Outcome = StudyResult | TrabeculaError
"""A fault is told, not raised: it becomes a row of the ledger."""


@dataclass(frozen=True)
class Ended:
    """One attempt that is over."""

    claim: Claim
    outcome: Outcome
    seconds: float
    """Wall time of the attempt."""


class Executor(Protocol):
    """Exactly one study in flight in each worker."""

    def start(self) -> tuple[ModelLoaded, ...]:
        """Start the workers; what they have loaded.

        Raises:
            TrabeculaError: if none can be started.
        """

    @property
    def idle(self) -> int:
        """Workers without a study."""

    @property
    def busy(self) -> int:
        """Studies in flight."""

    def submit(self, claim: Claim) -> None:
        """Give a study to an idle worker; there must be one."""

    def wait(self, timeout_s: float) -> list[Ended]:
        """Attempts that have ended; waits for one, but no longer than that."""

    def stop_running(self) -> None:
        """End what is in flight at once: it comes out of :meth:`wait` as Cancelled."""

    def close(self) -> None:
        """End all workers."""


MakeExecutor = Callable[[MakeReadStudy, int, WorkerLimits], Executor]
"""Makes one with so many workers."""
