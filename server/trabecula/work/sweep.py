"""Keeping queue and screenings of one mind: jobs of vanished workers are rescued, what is open gets a job.

A worker counts as vanished when its heartbeat stands still, by this process's own steady clock: a jump of the
database's clock rescues nobody. Whatever the sweep does twice, or two sweeps do at once, changes nothing: a screening
changes under its lock and fence alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import DatabaseUnavailable, WorkerLost
from trabecula.telemetry.faults import describe_fault
from trabecula.work import reading
from trabecula.work.changes import LONGEST_DELAY_S, enqueue
from trabecula.work.database import Database
from trabecula.work.queue import SCREEN_TASK
from trabecula.work.states import State
from trabecula.work.store import ScreeningStore

MAX_RESCUES: Final = 10
"""A job of another kind that took so many workers with it is kept as failed."""

_DOING: Final = text("""
SELECT job.id, job.task_name, job.attempts, job.queueing_lock, job.worker_id, worker.last_heartbeat, screening.attempt
FROM procrastinate_jobs job LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
LEFT JOIN screening ON CAST(screening.id AS text) = job.queueing_lock AND screening.state = 'running'
WHERE job.status = 'doing'
""")
_WITHOUT_JOB: Final = text("""
SELECT CAST(id AS text) AS id, state, attempt FROM screening
WHERE state IN ('queued', 'running') AND NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs job
    WHERE job.queueing_lock = CAST(screening.id AS text) AND job.status IN ('todo', 'doing'))
""")
_WITHOUT_SCREENING: Final = text("""
DELETE FROM procrastinate_jobs job WHERE job.task_name = :task AND job.status = 'todo' AND NOT EXISTS (
    SELECT 1 FROM screening WHERE CAST(screening.id AS text) = job.queueing_lock AND state IN ('queued', 'running'))
""")
_TOO_FAR: Final = text("""
UPDATE procrastinate_jobs SET scheduled_at = now()
WHERE task_name = :task AND status = 'todo' AND scheduled_at > now() + make_interval(secs => :longest_s)
""")
"""The database's clock was ahead when the study was put back; it does not wait for hours because of that."""
_DROP: Final = text("DELETE FROM procrastinate_jobs WHERE id = :id AND status = 'doing'")
_AGAIN: Final = text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)")
_FAILED: Final = text("SELECT procrastinate_finish_job_v1(:id, 'failed', false)")
_PRUNE: Final = text("""
DELETE FROM procrastinate_workers worker WHERE id = :id AND last_heartbeat = :beat
AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs job WHERE job.worker_id = worker.id AND job.status = 'doing')
""")


@dataclass(frozen=True)
class _Doing:
    """A job that a worker holds, or held."""

    job_id: int
    task: str
    attempts: int
    screening_id: str
    worker_id: int | None
    heartbeat: datetime | None
    attempt: int | None
    """Of its screening, seen at the same moment; None unless that was running. What was rescued by another sweep
    since, and is worked on again, has a higher one and is left alone."""


class StandingStill:
    """Tells for how long each thing has been seen to be the same.

    Time in which nobody looked counts for little: while the database was away, or this process was held up, others
    could not write either, and are not to be taken for dead at the first look after it.
    """

    def __init__(self, longest_pause_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        longest_pause_s: what the time between two looks counts at most.
        """
        self._longest_pause_s = longest_pause_s
        self._now = now
        self._looked_at_s = now()
        self._watched_s = 0.0
        self._since: dict[Hashable, tuple[Hashable, float]] = {}

    def look(self) -> None:
        """Begin a round of looking."""
        before, self._looked_at_s = self._looked_at_s, self._now()
        self._watched_s += min(self._looked_at_s - before, self._longest_pause_s)

    def seconds(self, thing: Hashable, value: Hashable) -> float:
        known = self._since.get(thing)
        if known is None or known[0] != value:
            self._since[thing] = (value, self._watched_s)
            return 0.0
        return self._watched_s - known[1]

    def forget_all_but(self, kept: set[Hashable]) -> None:
        self._since = {thing: seen for thing, seen in self._since.items() if thing in kept}


class Sweep:
    """One for each process that works."""

    def __init__(
        self,
        database: Database,
        store: ScreeningStore,
        stalled_after_s: float,
        *,
        lost: Callable[[int, int], bool] = lambda _worker, _job: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        stalled_after_s: how long a heartbeat may stand still.
        lost: whether a worker (id) of this very process holds a job (id) that it does not work on.
        """
        self._database = database
        self._store = store
        self._stalled_after_s = stalled_after_s
        self._every_s = max(0.2, min(5.0, stalled_after_s / 4))
        self._lost = lost
        self._still = StandingStill(2 * self._every_s, now)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="sweep")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
            except DatabaseUnavailable:
                pass  # the next round will see
            except Exception as error:  # a fault here must not end the rescue of everything else
                structlog.get_logger().error("sweep failed", fault=describe_fault(error))
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Look once."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_DOING)).all()
            without_job = (await connection.execute(_WITHOUT_JOB)).all()
            await connection.execute(_WITHOUT_SCREENING, {"task": SCREEN_TASK})
            await connection.execute(_TOO_FAR, {"task": SCREEN_TASK, "longest_s": 2 * LONGEST_DELAY_S})
            beats = (await connection.execute(text("SELECT id, last_heartbeat FROM procrastinate_workers"))).all()
        self._still.look()
        doing = [_Doing(*row) for row in rows]
        things: set[Hashable] = {("worker", row.id) for row in beats}
        things |= {("job", each.job_id) for each in doing} | {("open", row.id) for row in without_job}
        dead = [each for each in doing if self._is_dead(each)]
        living = {each.screening_id for each in doing if each not in dead}
        for each in dead:
            await self._rescue(each, held_elsewhere=each.screening_id in living)
        for row in without_job:
            await self._reopen(row.id, State(row.state), row.attempt)
        for row in beats:
            if self._still.seconds(("worker", row.id), row.last_heartbeat) > self._stalled_after_s:
                async with self._database.transaction() as connection:
                    await connection.execute(_PRUNE, {"id": row.id, "beat": row.last_heartbeat})
        self._still.forget_all_but(things)

    def _is_dead(self, each: _Doing) -> bool:
        if each.worker_id is None:  # its worker signed off, or was pruned
            return self._still.seconds(("job", each.job_id), None) >= self._every_s
        if self._lost(each.worker_id, each.job_id):
            return self._still.seconds(("job", each.job_id), "lost") >= self._every_s
        return self._still.seconds(("worker", each.worker_id), each.heartbeat) > self._stalled_after_s

    async def _rescue(self, job: _Doing, *, held_elsewhere: bool) -> None:
        log = structlog.get_logger()
        if job.task != SCREEN_TASK:
            log.warning("job rescued", task=job.task, attempts=job.attempts)
            async with self._database.transaction() as connection:
                again = _AGAIN if job.attempts < MAX_RESCUES else _FAILED
                await connection.execute(again, {"id": job.job_id})
            return
        log.warning("screening rescued", screening_id=job.screening_id)
        if not held_elsewhere and job.attempt is not None:
            await self._store.give_back(job.screening_id, job.attempt, WorkerLost())
        async with self._database.transaction() as connection:
            await connection.execute(_DROP, {"id": job.job_id})

    async def _reopen(self, screening_id: str, state: State, attempt: int) -> None:
        """An open screening that no job stands for, seen in two rounds."""
        if self._still.seconds(("open", screening_id), (state, attempt)) < self._every_s:
            return
        structlog.get_logger().warning("screening had no job", screening_id=screening_id, state=state.value)
        if state is State.RUNNING:
            await self._store.give_back(screening_id, attempt, WorkerLost())
            return
        async with self._database.transaction() as connection:
            await self._enqueue_if_queued(connection, screening_id)

    @staticmethod
    async def _enqueue_if_queued(connection: AsyncConnection, screening_id: str) -> None:
        record = await reading.read_record(connection, screening_id, lock=True)
        if record.state is State.QUEUED:
            await enqueue(connection, record)
