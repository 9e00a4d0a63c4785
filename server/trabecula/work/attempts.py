"""Attempts at a study: how a worker begins one, gives signs of life, and ends it. Each is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import (
    NotFound,
    PixelsDeleted,
    TrabeculaError,
)
from trabecula.patient import PatientContext
from trabecula.report import ReportStatus
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener, SeriesMeasured
from trabecula.telemetry.facts import facts_of
from trabecula.telemetry.faults import describe_fault
from trabecula.work import reading
from trabecula.work.changes import (
    BLAMELESS,
    NO_ROOM_DELAY_S,
    RETRY_DELAYS_S,
    SHUTDOWN,
    change,
    enqueue,
    failure_of,
    lost_attempts,
    notify,
    running,
)
from trabecula.work.content import ContentStore
from trabecula.work.content_guard import hold
from trabecula.work.database import Database
from trabecula.work.records import (
    ContentRef,
    DocumentKind,
    Failure,
    Job,
    ScreeningRecord,
    StageProgress,
)
from trabecula.work.rows import patient_from_row
from trabecula.work.runner import Completion, ResultSink
from trabecula.work.schema import document, instance, screening
from trabecula.work.states import Event, State
from trabecula.work.telling import step_of


@dataclass(frozen=True)
class Claim:
    """One attempt at a study. Holds patient data; never logged."""

    record: ScreeningRecord
    instances: tuple[ContentRef, ...]
    patient: PatientContext
    want_masks: bool


@dataclass(frozen=True)
class Standing:
    """What an attempt hears when it gives a sign of life."""

    cancel_requested: bool
    overtaken: bool
    """Another attempt has begun, or the screening has ended: nothing that this one does counts any more."""


class Attempts:
    """What workers do with screenings."""

    def __init__(
        self,
        database: Database,
        *,
        content: ContentStore | None,
        max_attempts: int = 3,
        sinks: Sequence[ResultSink] = (),
        tell: Listener = nobody,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Args:
        content: where the bytes lie; None only where no new bytes are named (operators' tools, tests).
        max_attempts: how often a study may take its worker down before it is a dead letter.
        sinks: called inside the transaction that ends a screening with a result.
        tell: told of every change after its commit.
        """
        self._database = database
        self._content = content
        self._max_attempts = max_attempts
        self._sinks = tuple(sinks)
        self._tell = tell
        self._now = now

    async def claim(self, screening_id: str) -> Claim | None:
        """Begin an attempt; None when there is nothing to do (it runs elsewhere, has ended, or was deleted)."""
        async with self._database.transaction() as connection:
            try:
                record = await reading.read_record(connection, screening_id, lock=True)
            except NotFound:
                return None
            if record.state is not State.QUEUED:
                return None
            rows = await connection.execute(
                select(instance.c.sha256, instance.c.size_bytes)
                .where(instance.c.screening_id == screening_id)
                .order_by(instance.c.index)
            )
            refs = tuple(ContentRef(row.sha256, row.size_bytes) for row in rows)
            if not refs:
                changed = await self._change(connection, record, Event.FAIL, failure=failure_of(PixelsDeleted()))
                claim = None
            else:
                changed = await self._change(connection, record, Event.START)
                private = await connection.execute(
                    select(screening.c.patient, screening.c.want_masks).where(screening.c.id == screening_id)
                )
                row = private.mappings().one()
                claim = Claim(changed, refs, patient_from_row(row), row["want_masks"])
        self._tell(step_of(changed))
        return claim

    async def progress(self, claim: Claim, progress: StageProgress | None) -> Standing:
        """A sign of life of an attempt, with its progress when that has changed."""
        row_id = screening.c.id == claim.record.screening_id
        ours = (screening.c.state == State.RUNNING.value) & (screening.c.attempt == claim.record.attempt)
        async with self._database.transaction() as connection:
            if progress is None:
                found = await connection.execute(select(screening.c.cancel_requested).where(row_id & ours))
            else:
                found = await connection.execute(
                    update(screening)
                    .where(row_id & ours)
                    .values(progress_stage=progress.stage.value, progress_fraction=progress.fraction)
                    .returning(screening.c.cancel_requested)
                )
            wish = found.scalar_one_or_none()
            if progress is not None and wish is not None:
                await notify(connection, claim.record.screening_id)
        return Standing(cancel_requested=bool(wish), overtaken=wish is None)

    async def end_with_result(
        self, claim: Claim, job: Job, completion: Completion, documents: Mapping[DocumentKind, ContentRef]
    ) -> ScreeningRecord | None:
        """Keep a result with all that follows from it; None when the attempt was overtaken, and nothing has changed.

        Args:
            documents: their bytes lie in the content store.
        """
        event = Event.REPORT if completion.status is ReportStatus.REPORTED else Event.REFUSE
        async with self._database.transaction() as connection:
            record = await running(connection, claim.record.screening_id, claim.record.attempt)
            if record is None:
                return None
            await self._hold(connection, tuple(documents.values()))
            changed = await self._change(connection, record, event, documents=tuple(documents))
            rows = [
                {
                    "screening_id": record.screening_id,
                    "kind": kind.value,
                    "sha256": ref.sha256,
                    "size_bytes": ref.size_bytes,
                }
                for kind, ref in documents.items()
            ]
            if rows:
                await connection.execute(insert(document), rows)
            for sink in self._sinks:
                await sink(connection, changed, job, completion)
        self._tell(step_of(changed, report=completion.report))
        self._tell(SeriesMeasured(facts_of(completion.report)))
        return changed

    async def end_with_failure(self, claim: Claim, error: TrabeculaError, fault: str = "") -> ScreeningRecord | None:
        """A study that cannot be worked on: trying again would not help. None when overtaken."""
        async with self._database.transaction() as connection:
            record = await running(connection, claim.record.screening_id, claim.record.attempt)
            if record is None:
                return None
            changed = await self._change(
                connection, record, Event.FAIL, failure=failure_of(error), reason=fault or error.code
            )
        self._tell(step_of(changed, fault=fault or describe_fault(error)))
        return changed

    async def end_as_cancelled(self, claim: Claim) -> ScreeningRecord | None:
        """The attempt stopped because it was asked to. None when overtaken."""
        async with self._database.transaction() as connection:
            record = await running(connection, claim.record.screening_id, claim.record.attempt)
            if record is None:
                return None
            changed = await self._change(connection, record, Event.STOP)
        self._tell(step_of(changed))
        return changed

    async def give_back(
        self, screening_id: str, attempt: int, error: TrabeculaError | None, fault: str = ""
    ) -> ScreeningRecord | None:
        """An attempt ended without an answer: the next one is enqueued, or the study is a dead letter.

        Args:
            attempt: the one that ended.
            error: what took the worker; None for a shutdown, which is never held against the study.
            fault: for operators' logs.

        Returns:
            The record; None when another attempt has begun or the screening has ended.
        """
        async with self._database.transaction() as connection:
            record = await running(connection, screening_id, attempt)
            if record is None:
                return None
            reason = error.code if error is not None else SHUTDOWN
            if record.cancel_requested:
                changed = await self._change(connection, record, Event.STOP)
            elif error is None or reason in BLAMELESS:
                changed = await self._change(connection, record, Event.REQUEUE, reason=reason)
                await self._enqueue_after(connection, changed, NO_ROOM_DELAY_S if error is not None else 0.0)
            else:
                changed = await self._blame(connection, record, error)
        self._tell(step_of(changed, reason=reason, fault=fault or None))
        return changed

    async def _blame(
        self, connection: AsyncConnection, record: ScreeningRecord, error: TrabeculaError
    ) -> ScreeningRecord:
        """Another attempt, or the dead letter after the last one."""
        lost = await lost_attempts(connection, record.screening_id) + 1
        if lost >= self._max_attempts:
            error.fields["attempts"] = lost
            return await self._change(connection, record, Event.FAIL, failure=failure_of(error), reason=error.code)
        changed = await self._change(connection, record, Event.REQUEUE, reason=error.code)
        await self._enqueue_after(connection, changed, RETRY_DELAYS_S[min(lost, len(RETRY_DELAYS_S)) - 1])
        return changed

    async def _enqueue_after(self, connection: AsyncConnection, record: ScreeningRecord, delay_s: float) -> None:
        """By the clock of the database, which is the one that the queue compares with."""
        at = None
        if delay_s:
            moment = await connection.execute(
                text("SELECT now() + make_interval(secs => :delay_s)"), {"delay_s": delay_s}
            )
            at = moment.scalar_one()
        await enqueue(connection, record, at)

    async def _hold(self, connection: AsyncConnection, refs: Sequence[ContentRef]) -> None:
        """Before a row names bytes: they are there, and are not collected before the commit."""
        if self._content is not None:
            await hold(connection, self._content, refs)

    async def _change(
        self,
        connection: AsyncConnection,
        record: ScreeningRecord,
        event: Event,
        *,
        failure: Failure | None = None,
        documents: tuple[DocumentKind, ...] = (),
        reason: str | None = None,
    ) -> ScreeningRecord:
        """Now. Raises as :func:`change` does."""
        return await change(connection, record, event, self._now(), failure=failure, documents=documents, reason=reason)
