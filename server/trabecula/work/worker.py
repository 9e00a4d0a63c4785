"""Working on screenings: one attempt from claim to end, whatever that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import structlog
from procrastinate import JobContext

from trabecula.errors import (
    Cancelled,
    ContentUnavailable,
    DatabaseUnavailable,
    ModelError,
    Overloaded,
    SiteFileError,
    TrabeculaError,
    Unforeseen,
    WorkerCrashed,
)
from trabecula.outcome import Stage
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import (
    AttemptEnded,
    Listener,
    ResultKept,
    StageEnded,
    StageFailed,
    StageStarted,
    WorkFault,
)
from trabecula.telemetry.faults import describe_fault
from trabecula.telemetry.stages import StageWatch, WatchedStage
from trabecula.work.attempts import Claim
from trabecula.work.content import ContentStore
from trabecula.work.records import ContentRef, DocumentKind, Job, StageProgress
from trabecula.work.runner import Completion, Control, Runner
from trabecula.work.scratch import Scratch
from trabecula.work.store import ScreeningStore

SIGN_OF_LIFE_S: Final = 0.5
"""How often an attempt writes its progress, when there is any."""
LOOK_S: Final = 5.0
"""How often it looks whether it should stop, where notifications do not arrive: PgBouncer swallows them."""
STEADY_FOR_S: Final = 600.0
"""How long a finished attempt waits for the database to take its end."""
STEADY_PAUSE_S: Final = 1.0
WORTH_ANOTHER_TRY: Final = (
    WorkerCrashed,
    Overloaded,
    DatabaseUnavailable,
    ContentUnavailable,
    ModelError,
    SiteFileError,
)
"""What may go better next time; any other error of ours says something about the study itself."""

T = TypeVar("T")
Hear = Callable[[str], AbstractContextManager[asyncio.Event]]


class Halt(StrEnum):
    """Why a running attempt is stopped."""

    CANCEL = "cancel"
    SHUTDOWN = "shutdown"
    OVERTAKEN = "overtaken"


@dataclass
class _Attempt:
    claim: Claim
    control: Control
    watch: StageWatch
    progress: StageProgress | None = None
    halt: Halt | None = field(default=None)

    def stop(self, why: Halt) -> None:
        if self.halt is None:
            self.halt = why
        self.control.stop()


class ScreeningWorker:
    """The function behind the queue's screening jobs."""

    def __init__(
        self,
        store: ScreeningStore,
        content: ContentStore,
        runner: Runner,
        scratch: Scratch,
        limit_s: float,
        hear: Hear,
        tell: Listener = nobody,
    ) -> None:
        """Args:
        limit_s: how long one attempt may take.
        hear: gives an event that is set when the attempt at a screening should look whether it is to go on.
        """
        self._hear = hear
        self._store = store
        self._content = content
        self._runner = runner
        self._scratch = scratch
        self._limit_s = limit_s
        self._tell = tell
        self._running: dict[int, _Attempt] = {}
        self._stopping = False

    @property
    def running(self) -> int:
        """Studies worked on now."""
        return len(self._running)

    def stop_all(self) -> None:
        """Put back what runs, at once, and begin nothing more."""
        self._stopping = True
        for attempt in self._running.values():
            attempt.stop(Halt.SHUTDOWN)

    async def run(self, context: JobContext, screening_id: str) -> None:
        """One job of the queue."""
        claim = None if self._stopping else await self._steadily(lambda: self._store.claim(screening_id))
        if claim is not None:
            await self._run_claimed(context.job.id or 0, claim)

    async def _run_claimed(self, job_id: int, claim: Claim) -> None:
        loop, watch = asyncio.get_running_loop(), self._watch(claim)

        def listen(stage: Stage, fraction: float) -> None:
            watch.heard(stage, fraction)
            loop.call_soon_threadsafe(setattr, attempt, "progress", StageProgress(stage, fraction))

        attempt = _Attempt(claim, Control(self._limit_s, listen), watch)
        self._running[job_id] = attempt
        if self._stopping:
            attempt.stop(Halt.SHUTDOWN)
        minding = asyncio.create_task(self._mind(attempt), name="mind attempt")
        try:
            await self._attempt(attempt, minding)
        except DatabaseUnavailable as error:  # the sweep finds it once the database is back
            self._tell(WorkFault(claim.record.screening_id, describe_fault(error)))
        finally:
            await _stopped(minding)
            self._running.pop(job_id, None)
            record = claim.record
            self._tell(AttemptEnded(record.screening_id, record.attempt, watch.totals_s, record.trace))

    def _watch(self, claim: Claim) -> StageWatch:
        """Tells of the attempt's stages."""
        identity, number, tell = claim.record.screening_id, claim.record.attempt, self._tell
        return StageWatch(
            lambda stage: tell(StageStarted(identity, number, stage)),
            lambda passage: tell(StageEnded(identity, number, passage)),
        )

    def _failed(self, attempt: _Attempt, error: TrabeculaError) -> None:
        """Tell where the attempt has failed."""
        # between two words of progress nothing is known but that the study has been fetched
        record, stage = attempt.claim.record, attempt.watch.stage or WatchedStage.GATE
        self._tell(StageFailed(record.screening_id, record.attempt, stage, error.code))

    async def _attempt(self, attempt: _Attempt, minding: asyncio.Task[None]) -> None:
        """Work, then end the screening or put it back."""
        claim, store = attempt.claim, self._store
        screening_id, number = claim.record.screening_id, claim.record.attempt
        try:
            await self._work(attempt, minding)
        except Cancelled:
            if attempt.halt is Halt.CANCEL:
                await self._steadily(lambda: store.end_as_cancelled(claim))
            elif attempt.halt is not Halt.OVERTAKEN:
                await self._steadily(lambda: store.give_back(screening_id, number, None))
        except WORTH_ANOTHER_TRY as error:
            lost, fault = error, describe_fault(error)
            self._failed(attempt, error)
            await self._steadily(lambda: store.give_back(screening_id, number, lost, fault))
        except TrabeculaError as error:
            failed, fault = error, describe_fault(error)
            self._failed(attempt, error)
            await self._steadily(lambda: store.end_with_failure(claim, failed, fault))
        except Exception as error:  # of the disk, the content store or a sink: not the study's fault
            unforeseen, fault = Unforeseen(), describe_fault(error)
            self._failed(attempt, unforeseen)
            await self._steadily(lambda: store.give_back(screening_id, number, unforeseen, fault))

    async def _work(self, attempt: _Attempt, minding: asyncio.Task[None]) -> None:
        claim, watch = attempt.claim, attempt.watch
        watch.enter(WatchedStage.FETCH)
        with self._scratch.folder() as results:
            async with self._content.local_files(claim.instances) as files:
                watch.leave(now=True)
                began_s = time.perf_counter()
                job = Job(claim.record.screening_id, files, results, claim.patient, claim.want_masks)
                completion = await self._runner.run(job, attempt.control)
            watch.enter(WatchedStage.REPORT)
            worked_s = time.perf_counter()
            await _stopped(minding)
            documents = await self._keep(completion, results)
            kept_s = time.perf_counter()
            ended = await self._steadily(lambda: self._store.end_with_result(claim, job, completion, documents))
            watch.leave(now=True)
        if ended is None:
            structlog.get_logger().warning("overtaken", screening_id=claim.record.screening_id)
            return
        documents_s = max(0.0, worked_s - began_s - completion.report.timings_s.get("total", 0.0))
        commit_s = time.perf_counter() - kept_s
        record = claim.record
        self._tell(ResultKept(record.screening_id, record.attempt, documents_s, kept_s - worked_s, commit_s))

    async def _keep(self, completion: Completion, results: Path) -> dict[DocumentKind, ContentRef]:
        kinds = completion.documents
        refs = await asyncio.gather(*(self._content.put(results / kind.value) for kind in kinds))
        return dict(zip(kinds, refs, strict=True))

    async def _mind(self, attempt: _Attempt) -> None:
        """Write progress, hear of cancellation and of other attempts; the work goes on while the database is away."""
        with self._hear(attempt.claim.record.screening_id) as called:
            called.set()  # of what happened before anybody listened
            told: StageProgress | None = None
            looked_s = time.monotonic()
            while True:
                # Not wait_for: cancelled while the event is set, it would go on.
                with suppress(TimeoutError):
                    async with asyncio.timeout(SIGN_OF_LIFE_S):
                        await called.wait()
                now = attempt.progress
                if not called.is_set() and now == told and time.monotonic() - looked_s < LOOK_S:
                    continue
                called.clear()
                looked_s = time.monotonic()
                try:
                    standing = await self._store.progress(attempt.claim, now if now != told else None)
                except DatabaseUnavailable:
                    continue
                told = now
                if standing.overtaken:
                    attempt.stop(Halt.OVERTAKEN)
                elif standing.cancel_requested:
                    attempt.stop(Halt.CANCEL)

    async def _steadily(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for the database when it is away. What is called bears a repetition, by the fence."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + STEADY_FOR_S
        while True:
            try:
                return await call()
            except DatabaseUnavailable:
                if self._stopping or loop.time() > give_up:
                    raise
            await asyncio.sleep(STEADY_PAUSE_S)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
