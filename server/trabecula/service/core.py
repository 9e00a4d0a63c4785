"""The service without a transport: submit, get, watch, list, cancel, documents.

Lives on one event loop; only :mod:`trabecula.service.work` and the disk are reached through threads.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from trabecula.config import Settings
from trabecula.errors import (
    Cancelled,
    Draining,
    InputError,
    Interrupted,
    InvalidRequest,
    NotReady,
    TrabeculaError,
    Unforeseen,
)
from trabecula.outcome import Stage
from trabecula.report import ReportStatus, ScreeningReport
from trabecula.service.documents import read_report
from trabecula.service.events import (
    EventListener,
    ScreeningChanged,
    ServiceEvent,
    UploadEnded,
    WorkFault,
    describe_fault,
)
from trabecula.service.intake import Intake, UploadMessage
from trabecula.service.records import DocumentKind, Failure, Job, ScreeningRecord, StageProgress
from trabecula.service.states import Event, State
from trabecula.service.store import ScreeningStore
from trabecula.service.upload import Upload
from trabecula.service.work import Completion, Control, Runner

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 200
SPOOL_FOLDER: Final = "spool"
RETENTION_ROUND_S: Final = 600.0


class _Live:
    """A screening that has not ended: what to poke, and whom to wake."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.control: Control | None = None


class ScreeningCore:
    """All the service does, as methods on values; raises only :class:`TrabeculaError`."""

    def __init__(
        self,
        store: ScreeningStore,
        runner: Runner,
        settings: Settings,
        listeners: Collection[EventListener] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._runner = runner
        self._settings = settings
        self._listeners = tuple(listeners)
        self._now = now
        self._intake = Intake(settings.state_dir / SPOOL_FOLDER, settings)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._live: dict[str, _Live] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []

    # Life of the service

    async def start(self) -> None:
        """Tidy up after the last run, load the models, begin to work.

        Raises:
            ModelError: if the models cannot be loaded.
        """
        await asyncio.to_thread(self._intake.clear)
        for record in list(self._store.newest_first((State.QUEUED, State.RUNNING))):
            self._advance(record, Event.FAIL, failure=_failure(Interrupted()), fault="Interrupted")
        await self._runner.start()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._settings.workers)]
        self._tasks.append(asyncio.create_task(self._forget_old_results()))

    async def drain(self, timeout_s: float) -> None:
        """Take no new work, and wait for the accepted work to end."""
        self._draining = True
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._live and (left := deadline - asyncio.get_running_loop().time()) > 0:
            waiting = self._signal(next(iter(self._live)))
            try:
                await asyncio.wait_for(waiting.wait(), left)
            except TimeoutError:
                break

    async def close(self) -> None:
        """Stop at once; what has not ended fails as interrupted."""
        self._draining = True
        for screening_id, live in list(self._live.items()):
            if live.control is not None:
                live.control.stop()
            self._end(screening_id, Event.FAIL, failure=_failure(Interrupted()), fault="Interrupted")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.close()
        await asyncio.to_thread(self._intake.clear)

    # What clients ask

    async def submit(self, messages: AsyncIterator[UploadMessage]) -> ScreeningRecord:
        """Take in one study and queue it.

        Raises:
            Draining, Overloaded: when there is no room.
            InputError: for an upload that breaks a limit or the protocol.
            UploadTimedOut: when the client falls silent.
            AlreadyExists: when the idempotency key was used with other content.
        """
        if self._draining:
            raise Draining
        running = min(len(self._live), self._settings.workers)
        self._intake.check_room(waiting=len(self._live) - running)
        self._intake.open_uploads += 1
        upload: Upload | None = None
        kept = False
        outcome = "disconnected"
        try:
            upload = await self._intake.begin(messages)
            await self._intake.fill(upload, messages)
            record, kept = self._accept(upload)
            outcome = "accepted" if kept else "repeated"
            return record
        except TrabeculaError as error:
            outcome = error.code
            raise
        finally:
            self._intake.open_uploads -= 1
            if upload is not None and not kept:
                await asyncio.shield(asyncio.to_thread(upload.discard))
            self._tell(UploadEnded(upload.received_bytes if upload else 0, outcome))

    def get(self, screening_id: str) -> ScreeningRecord:
        """Raises NotFound."""
        return self._store.get(screening_id)

    async def report(self, screening_id: str) -> ScreeningReport | None:
        """The report; None while there is none. Raises NotFound."""
        record = self._store.get(screening_id)
        if DocumentKind.REPORT_JSON not in record.documents:
            return None
        return await asyncio.to_thread(read_report, self._store.document(screening_id, DocumentKind.REPORT_JSON))

    async def watch(self, screening_id: str) -> AsyncIterator[ScreeningRecord]:
        """The record now and after every change, until it has ended. Fast changes may fold into one.

        Raises:
            NotFound: if there is no such screening.
        """
        while True:
            record = self._store.get(screening_id)
            if record.state.ended:
                yield record
                return
            # The signal is taken together with the record, so that no change falls between them.
            changed = self._signal(screening_id)
            yield record
            await changed.wait()

    def list(
        self, page_size: int, page_token: str, states: Collection[State]
    ) -> tuple[tuple[ScreeningRecord, ...], str]:
        """One page, newest first, and the token of the next ("" at the end).

        Raises:
            InvalidRequest: for a page size or token that cannot be used.
        """
        if page_size > MAX_PAGE:
            raise InvalidRequest(field="page_size", at_most=MAX_PAGE)
        size = page_size or DEFAULT_PAGE
        records = self._store.newest_first(states)
        if page_token:
            # The token is the id of the last record shown.
            for record in records:
                if record.screening_id == page_token:
                    break
            else:
                raise InvalidRequest(field="page_token")
        page = tuple(islice(records, size + 1))
        more = len(page) > size
        return page[:size], page[size - 1].screening_id if more else ""

    def cancel(self, screening_id: str) -> ScreeningRecord:
        """Stop a screening that is queued or running.

        Raises:
            NotFound: if there is no such screening.
            AlreadyEnded: if it has a result or failed.
        """
        record = self._advance(self._store.get(screening_id), Event.CANCEL)
        live = self._live.get(screening_id)
        if live is not None and live.control is not None:
            live.control.stop()
        elif live is not None:
            self._drop(screening_id)
        return record

    def document(self, screening_id: str, kind: DocumentKind) -> Path:
        """Path of a document.

        Raises:
            NotFound: if there is no such screening, or it has no such document.
            NotReady: if it has not ended.
        """
        if not self._store.get(screening_id).state.ended:
            raise NotReady
        return self._store.document(screening_id, kind)

    # Work

    def _accept(self, upload: Upload) -> tuple[ScreeningRecord, bool]:
        """The record, and whether its upload is needed; without an await, so that two equal keys cannot race."""
        submission = upload.finish()
        if self._draining:
            raise Draining
        fresh = ScreeningRecord(str(uuid.uuid4()), submission, self._now())
        record = self._store.add(fresh)
        if record.screening_id != fresh.screening_id:
            return record, False
        results = self._store.results_dir(record.screening_id)
        job = Job(record.screening_id, upload.folder, results, upload.header.patient, upload.header.want_masks)
        self._live[record.screening_id] = _Live(job)
        self._queue.put_nowait(record.screening_id)
        self._tell(ScreeningChanged(record))
        return record, True

    async def _work(self) -> None:
        while True:
            screening_id = await self._queue.get()
            live = self._live.get(screening_id)
            if live is None:
                continue
            try:
                await self._run(live)
            except Exception as error:
                # The work's own faults end in its record; this one is the store's. The next study is served.
                self._tell(WorkFault(screening_id, describe_fault(error)))
                self._drop(screening_id)

    async def _run(self, live: _Live) -> None:
        """Run one job to its end, whatever that is."""
        screening_id = live.job.screening_id
        live.control = self._control(screening_id)
        self._advance(self._store.get(screening_id), Event.START)
        try:
            done = await self._runner.run(live.job, live.control)
        except Cancelled:
            self._end(screening_id, Event.STOP)
        except TrabeculaError as error:
            self._end(screening_id, Event.FAIL, failure=_failure(error), fault=describe_fault(error))
        except Exception as error:
            self._end(screening_id, Event.FAIL, failure=_failure(Unforeseen()), fault=describe_fault(error))
        else:
            event = Event.REPORT if done.status is ReportStatus.REPORTED else Event.REFUSE
            self._end(screening_id, event, done=done)

    def _control(self, screening_id: str) -> Control:
        loop = asyncio.get_running_loop()

        def listen(stage: Stage, fraction: float) -> None:
            loop.call_soon_threadsafe(self._progress, screening_id, StageProgress(stage, fraction))

        return Control(self._settings.screening_timeout_s, listen)

    def _progress(self, screening_id: str, progress: StageProgress) -> None:
        if screening_id in self._live:
            self._keep(replace(self._store.get(screening_id), progress=progress))

    # Records

    def _end(
        self,
        screening_id: str,
        event: Event,
        *,
        done: Completion | None = None,
        failure: Failure | None = None,
        fault: str | None = None,
    ) -> None:
        if screening_id not in self._live:
            return
        record = self._store.get(screening_id).after(
            event, self._now(), failure=failure, documents=done.documents if done else ()
        )
        self._keep(record)
        self._drop(screening_id)
        self._tell(ScreeningChanged(record, fault, done.report if done else None))

    def _advance(
        self, record: ScreeningRecord, event: Event, *, failure: Failure | None = None, fault: str | None = None
    ) -> ScreeningRecord:
        following = record.after(event, self._now(), failure=failure)
        self._keep(following)
        if following.state is not record.state:
            self._tell(ScreeningChanged(following, fault))
        return following

    def _keep(self, record: ScreeningRecord) -> None:
        try:
            self._store.put(record)
        finally:
            changed = self._changed.pop(record.screening_id, None)
            if changed is not None:
                changed.set()

    def _signal(self, screening_id: str) -> asyncio.Event:
        """Set at the next change of the record."""
        return self._changed.setdefault(screening_id, asyncio.Event())

    def _drop(self, screening_id: str) -> None:
        """The upload is no longer needed."""
        live = self._live.pop(screening_id, None)
        if live is None:
            return
        delete = partial(shutil.rmtree, live.job.spool, ignore_errors=True)
        asyncio.get_running_loop().run_in_executor(None, delete)

    def _tell(self, event: ServiceEvent) -> None:
        for listener in self._listeners:
            listener(event)

    async def _forget_old_results(self) -> None:
        while True:
            oldest = self._now() - timedelta(seconds=self._settings.retention_s)
            self._store.forget_ended_before(oldest)
            await asyncio.sleep(RETENTION_ROUND_S)


def _failure(error: TrabeculaError) -> Failure:
    return Failure(error.code, error.client_message, isinstance(error, InputError))
