"""On a Ray cluster, or on one that is started here for the time of the run. Ray comes with the extra ``archive``.

Ray places the workers and says when one is lost; everything else is ours. An actor holds a
:class:`~trabecula.archive.executors.slot.WorkerSlot`, so that limits, crashes and recycling are those of the process
executor. Exactly one call is in flight in each actor, Ray retries nothing (retries are the ledger's), and only
references and result rows pass through it: the actor fetches the pixels.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog

from trabecula.archive.executors.port import Ended, WorkerLimits
from trabecula.archive.executors.slot import WorkerSlot
from trabecula.archive.ledger import Claim
from trabecula.archive.study import MakeReadStudy
from trabecula.config import harden_ray
from trabecula.errors import ExtraMissing, TrabeculaError, WorkerCrashed, WorkerNotStarted
from trabecula.telemetry.events import ModelLoaded

OBJECT_STORE_BYTES: Final = 100 << 20
"""Of a cluster started here: rows are small, and Ray takes a third of the memory unless told."""
JOIN_ATTEMPTS: Final = 3
START_ATTEMPTS: Final = 8
"""Of a cluster on this machine: Ray gives its own parts 15 to 30 s to start, too little on a busy machine."""
GRACE_S: Final = 300.0
"""Beyond a study's own time limit, until an actor that says nothing is given up."""
FAILED_STARTS: Final = 5
"""Actors that may fail to start one after the other."""


class RayWorker:
    """The actor: one worker slot on some machine."""

    def __init__(self, make: MakeReadStudy, limits: WorkerLimits) -> None:
        self._slot = WorkerSlot(make, limits)

    def start(self) -> tuple[ModelLoaded, ...] | TrabeculaError:
        """What it has loaded, or why it cannot."""
        try:
            return self._slot.start()
        except TrabeculaError as error:
            return error

    def run(self, claim: Claim) -> Ended:
        return self._slot.run(claim)

    def stop(self) -> None:
        self._slot.stop()


@dataclass(frozen=True)
class _Running:
    actor: Any
    claim: Claim
    began: float


class RayExecutor:
    """As many actors as workers."""

    def __init__(
        self,
        make: MakeReadStudy,
        workers: int,
        limits: WorkerLimits,
        *,
        address: str | None = None,
        cpus_per_worker: int = 1,
    ) -> None:
        """Args:
        address: of a cluster, in Ray's form; None starts one in this machine for the time of the run.
        cpus_per_worker: that each actor asks the cluster for.
        """
        self._make, self._workers, self._limits = make, workers, limits
        self._address, self._cpus = address, cpus_per_worker
        self._ray: Any = None
        self._actor_class: Any = None
        self._shared_make: Any = None
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._running: dict[Any, _Running] = {}
        self._failed_starts = 0
        self._stopped = False
        self._log = structlog.get_logger()

    def start(self) -> tuple[ModelLoaded, ...]:
        """Join or start the cluster and start the actors; returns when the first one has loaded its models.

        Raises:
            ExtraMissing: if Ray is not installed.
            WorkerNotStarted: if the cluster cannot be reached.
            TrabeculaError: if the models cannot be loaded.
        """
        harden_ray(own_cluster=self._address is None)
        try:
            self._ray = importlib.import_module("ray")
        except ImportError:
            raise ExtraMissing(extra="archive", for_="--executor ray") from None
        self._join()
        self._actor_class = self._ray.remote(
            num_cpus=self._cpus, max_restarts=0, max_task_retries=0, max_concurrency=2
        )(RayWorker)
        self._shared_make = self._ray.put(self._make)
        for _ in range(self._workers):
            self._add_actor()
        while True:
            loaded = self._take_started(self._limits.timeout_s)
            if loaded is not None:
                return loaded

    def _join(self) -> None:
        own = {
            "include_dashboard": False,
            "num_cpus": self._workers * self._cpus,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        common = {"log_to_driver": False, "configure_logging": False, "logging_level": "warning"}
        attempts = START_ATTEMPTS if self._address is None else JOIN_ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                if self._address is None:
                    self._ray.init(address="local", **own, **common)
                else:
                    self._ray.init(address=self._address, **common)
                return
            except Exception as error:  # Ray raises a plain Exception when its own start takes longer than 30 s
                self._ray.shutdown()
                self._log.warning("ray did not start", attempt=attempt, reason=type(error).__name__)
                if attempt == attempts:
                    raise WorkerNotStarted(f"ray: {type(error).__name__}") from error

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._running)

    def submit(self, claim: Claim) -> None:
        actor = self._idle.pop()
        self._running[actor.run.remote(claim)] = _Running(actor, claim, time.monotonic())

    def wait(self, timeout_s: float) -> list[Ended]:
        """See :class:`trabecula.archive.executors.port.Executor`.

        Raises:
            TrabeculaError: if no actor can be started any more.
        """
        waited = [*self._running, *self._starting]
        if not waited:
            return []
        done, _ = self._ray.wait(waited, num_returns=1, timeout=timeout_s)
        ended = [self._end_of(each) for each in done if each in self._running]
        if any(each in self._starting for each in done):
            self._take_started(0)
        return ended + self._overdue()

    def stop_running(self) -> None:
        self._stopped = True
        for each in self._running.values():
            each.actor.stop.remote()

    def close(self) -> None:
        if self._ray is None or not self._ray.is_initialized():
            return
        for actor in (*self._idle, *self._starting.values(), *(each.actor for each in self._running.values())):
            self._ray.kill(actor)
        self._ray.shutdown()

    def _add_actor(self) -> None:
        actor = self._actor_class.remote(self._shared_make, self._limits)
        self._starting[actor.start.remote()] = actor

    def _take_started(self, timeout_s: float) -> tuple[ModelLoaded, ...] | None:
        """Actors that have started by then become idle; what one of them has loaded, None when none has started.

        Raises:
            TrabeculaError: when too many in a row cannot.
        """
        done, _ = self._ray.wait(list(self._starting), num_returns=1, timeout=timeout_s)
        loaded = None
        for each in done:
            actor = self._starting.pop(each)
            try:
                said = self._ray.get(each)
            except self._ray.exceptions.RayError as error:
                said = WorkerNotStarted(f"ray: {type(error).__name__}")
            if isinstance(said, TrabeculaError):
                self._not_started(actor, said)
                continue
            self._failed_starts, loaded = 0, said
            self._idle.append(actor)
        return loaded

    def _not_started(self, actor: Any, error: TrabeculaError) -> None:
        self._ray.kill(actor)
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            raise error
        self._add_actor()

    def _end_of(self, reference: Any) -> Ended:
        running = self._running.pop(reference)
        try:
            ended: Ended = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return self._lost(running, type(error).__name__)
        self._idle.append(running.actor)
        return ended

    def _lost(self, running: _Running, why: str) -> Ended:
        """An actor, or its machine, is gone; another one takes its place."""
        self._ray.kill(running.actor)
        if not self._stopped:
            self._add_actor()
        return Ended(running.claim, WorkerCrashed(f"ray: {why}"), time.monotonic() - running.began)

    def _overdue(self) -> list[Ended]:
        latest = time.monotonic() - self._limits.timeout_s - GRACE_S
        late = [reference for reference, each in self._running.items() if each.began < latest]
        return [self._lost(self._running.pop(reference), "no answer") for reference in late]
