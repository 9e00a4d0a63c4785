"""One worker: a child process that reads one study after the other, and is replaced when it dies, has to be stopped, or
has done its share. The same on one machine and inside an actor of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from trabecula.archive.executors.port import Ended, WorkerLimits
from trabecula.archive.ledger import Claim
from trabecula.archive.reference import Reference
from trabecula.archive.results import StudyResult
from trabecula.archive.study import MakeReadStudy
from trabecula.errors import Cancelled, TrabeculaError, WorkerNotStarted
from trabecula.progress import no_progress
from trabecula.telemetry.events import ModelLoaded
from trabecula.work.process_runner import Child
from trabecula.work.runner import Control


class WorkerSlot:
    """Blocking; :meth:`run` by one thread at a time, :meth:`stop` and :meth:`close` by any."""

    def __init__(self, make: MakeReadStudy, limits: WorkerLimits, now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        make: loads the models in the child.
        """
        self._make = make
        self._limits = limits
        self._now = now
        self._lock = threading.Lock()
        self._child: Child[Reference, StudyResult] | None = None
        self._control: Control | None = None
        self._done = 0
        self._stopped = False

    def start(self) -> tuple[ModelLoaded, ...]:
        """Start the child; what it has loaded.

        Raises:
            ModelError: if it cannot load its models.
            WorkerCrashed: if it dies or hangs.
        """
        child: Child[Reference, StudyResult] = Child(self._make, self._limits.memory_bytes)
        with self._lock:
            self._child, self._done = child, 0
        loaded = child.wait_ready()
        if self._stopped:
            child.kill()
            raise Cancelled
        return loaded

    def run(self, claim: Claim) -> Ended:
        """Read one study; a fault is in the answer."""
        began = self._now()
        try:
            child = self._ready_child()
        except Cancelled as error:
            return Ended(claim, error, self._now() - began)
        except TrabeculaError as error:
            self._end_child()
            return Ended(claim, WorkerNotStarted(f"{error.code} {error.detail}".strip()), self._now() - began)
        control = Control(self._limits.timeout_s, no_progress)
        with self._lock:
            self._control = control
        if self._stopped:
            control.stop()
        outcome: StudyResult | TrabeculaError
        try:
            outcome = child.run(claim.reference, control)
        except TrabeculaError as error:
            outcome = error
        with self._lock:
            self._control = None
        self._done += 1
        if not child.usable or self._done >= self._limits.recycle_after:
            self._end_child()
        return Ended(claim, outcome, self._now() - began)

    def stop(self) -> None:
        """End the study in flight; nothing is run any more."""
        self._stopped = True
        with self._lock:
            control = self._control
        if control is not None:
            control.stop()

    def close(self) -> None:
        """End the child."""
        self.stop()
        self._end_child()

    def _ready_child(self) -> Child[Reference, StudyResult]:
        if self._stopped:
            raise Cancelled
        if self._child is None:
            self.start()
        assert self._child is not None  # noqa: S101 - start() sets it or raises
        return self._child

    def _end_child(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.kill()
