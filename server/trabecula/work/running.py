"""Everything that works in one process: the queue's workers, the sweep, and the study's runner."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener
from trabecula.work.changes import STOP_CHANNEL
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.notices import Notices
from trabecula.work.queue import SCREEN_TASK, SCREENING_QUEUE, Task, make_app, queues_of
from trabecula.work.queue_worker import QueueWorker
from trabecula.work.runner import Runner
from trabecula.work.scratch import Scratch
from trabecula.work.store import ScreeningStore
from trabecula.work.sweep import Sweep
from trabecula.work.worker import ScreeningWorker

OTHER_TASKS_AT_ONCE: Final = 4
"""Deliveries and housekeeping wait for others most of the time."""
PUT_BACK_S: Final = 10.0
"""What running studies get to stop and be put back, once their time to end is over."""


@dataclass(frozen=True)
class WorkLimits:
    """What an operator may choose of the work. Times in seconds."""

    workers: int
    screening_timeout_s: float
    heartbeat_s: float
    stalled_after_s: float


class Work:
    """Takes jobs from :meth:`start` until :meth:`stop`."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        store: ScreeningStore,
        runner: Runner,
        limits: WorkLimits,
        scratch: Path,
        tasks: Sequence[Task] = (),
        tell: Listener = nobody,
    ) -> None:
        """Args:
        scratch: folder for what running studies write; other processes may share it.
        tasks: of the other queues.
        """
        self._runner = runner
        self._scratch = Scratch(scratch)
        self._notices = Notices(database.parameters, STOP_CHANNEL)
        limit_s = limits.screening_timeout_s
        self._screenings = ScreeningWorker(store, content, runner, self._scratch, limit_s, self._notices.watching, tell)
        screen = Task(SCREEN_TASK, self._screenings.run)
        self._app = make_app(database.parameters, tasks, with_context=[screen])
        self._queues = [QueueWorker(self._app, [SCREENING_QUEUE], limits.workers, limits.heartbeat_s)]
        if tasks:
            self._queues.append(QueueWorker(self._app, queues_of(tasks), OTHER_TASKS_AT_ONCE, limits.heartbeat_s))
        self._sweep = Sweep(database, store, limits.stalled_after_s, lost=self._lost)

    async def start(self) -> None:
        """Load the models, then take jobs.

        Raises:
            ModelError: if the models cannot be loaded.
        """
        await self._runner.start()
        await self._app.open_async()
        self._notices.start()
        for queue in self._queues:
            queue.start()
        self._sweep.start()

    async def stop(self, drain_s: float) -> None:
        """Take no more jobs, let those that run end for so long, put back the rest, and close."""
        for queue in self._queues:
            queue.stop()
        await self._wait(drain_s)
        self._screenings.stop_all()
        await self._wait(PUT_BACK_S)
        await self._sweep.close()
        for queue in self._queues:
            await queue.close()
        await self._runner.close()
        await self._notices.close()
        await self._app.close_async()
        self._scratch.close()

    async def _wait(self, timeout_s: float) -> None:
        await asyncio.gather(*(queue.wait(timeout_s) for queue in self._queues))

    def _lost(self, worker_id: int, job_id: int) -> bool:
        """A job that this process has taken, but whose taking it never heard of (the connection was lost)."""
        return any(queue.worker_id == worker_id and not queue.holds(job_id) for queue in self._queues)
