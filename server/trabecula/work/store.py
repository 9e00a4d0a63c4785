"""Screenings on PostgreSQL. Every change is one transaction: the row, its step in ``transition``, the queue's job, and
what a result brings along; whoever watches is told at the commit.

Bytes are in the content store before a row that names them is committed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import (
    AlreadyExists,
    ContentUnavailable,
    DatabaseUnavailable,
    InputError,
    NotFound,
    NotReady,
    Overloaded,
    PixelsDeleted,
    TrabeculaError,
)
from trabecula.patient import PatientContext
from trabecula.report import ReportStatus
from trabecula.telemetry.context import current_trace
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener, SeriesMeasured
from trabecula.telemetry.facts import facts_of
from trabecula.telemetry.faults import describe_fault
from trabecula.work import reading
from trabecula.work.content import ContentStore
from trabecula.work.content_guard import hold
from trabecula.work.database import Database
from trabecula.work.queue import SCREEN_TASK, defer, withdraw
from trabecula.work.records import (
    ContentRef,
    DocumentKind,
    Failure,
    Job,
    ScreeningRecord,
    StageProgress,
    Submission,
)
from trabecula.work.rows import life_of, new_row, patient_from_row
from trabecula.work.runner import Completion, ResultSink
from trabecula.work.schema import document, instance, screening, transition
from trabecula.work.states import Event, State
from trabecula.work.telling import step_of

CHANNEL: Final = "trabecula_screening"
"""PostgreSQL notifications with the id of a screening that changed."""
STOP_CHANNEL: Final = "trabecula_stop"
"""Likewise, when it was running: its attempt is to stop, has ended or is lost."""
SHUTDOWN: Final = "shutdown"
"""Reason of an attempt that ended because its worker was asked to stop."""
BLAMELESS: Final = (SHUTDOWN, Overloaded.code, DatabaseUnavailable.code, ContentUnavailable.code)
"""Reasons that are not held against the study: it waits until there is room, or what was away is back."""
NO_ROOM_DELAY_S: Final = 15.0
RETRY_DELAYS_S: Final = (0.0, 10.0, 60.0)
"""What a study waits after its first, second ... attempt that was lost; the last one for all that follow."""
LONGEST_DELAY_S: Final = max(NO_ROOM_DELAY_S, *RETRY_DELAYS_S)


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


class ScreeningStore:
    """All that is known of screenings."""

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

    # Coming in

    async def accept(
        self,
        submission: Submission,
        instances: Iterable[ContentRef],
        patient: PatientContext,
        *,
        want_masks: bool = False,
    ) -> tuple[ScreeningRecord, bool]:
        """Keep a new study and enqueue it, or find the one with the same key and content.

        Args:
            instances: in the order they came; their bytes lie in the content store.

        Returns:
            The record, and whether it is a new one. It is durable when this returns.

        Raises:
            AlreadyExists: if the key was used with other content.
            ContentUnavailable: if bytes are not in the content store any more.
        """
        began_s = time.perf_counter()
        refs = tuple(instances)
        record = ScreeningRecord(str(uuid.uuid4()), submission, self._now(), trace=current_trace())
        async with self._database.transaction() as connection:
            known = await self._insert(connection, record, patient, want_masks)
            if known is not None:
                return known, False
            await self._hold(connection, refs)
            rows = [
                {
                    "screening_id": record.screening_id,
                    "index": index,
                    "sha256": ref.sha256,
                    "size_bytes": ref.size_bytes,
                }
                for index, ref in enumerate(refs)
            ]
            await connection.execute(insert(instance), rows)
            await _append(connection, record, "accept", record.submitted_at)
            await enqueue(connection, record)
        self._tell(step_of(record, accepted_s=time.perf_counter() - began_s))
        return record, True

    async def _hold(self, connection: AsyncConnection, refs: Sequence[ContentRef]) -> None:
        """Before a row names bytes: they are there, and are not collected before the commit."""
        if self._content is not None:
            await hold(connection, self._content, refs)

    async def _insert(
        self, connection: AsyncConnection, record: ScreeningRecord, patient: PatientContext, want_masks: bool
    ) -> ScreeningRecord | None:
        """None when the row is new, else the record that has the key. Waits for another transaction with the key."""
        row = new_row(record, patient, want_masks)
        statement = insert_or(screening).values(row).on_conflict_do_nothing(index_elements=["key_hash"])
        while not (await connection.execute(statement.returning(screening.c.id))).all():
            held = await connection.execute(
                select(screening.c.id).where(screening.c.key_hash == record.submission.key_hash)
            )
            known_id = held.scalar_one_or_none()
            if known_id is None:
                continue  # deleted in between: the key is free again
            known = await reading.read_record(connection, known_id)
            if known.submission.fingerprint != record.submission.fingerprint:
                raise AlreadyExists
            return known
        return None

    # Work

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
                await _notify(connection, claim.record.screening_id)
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
            record = await _running(connection, claim.record.screening_id, claim.record.attempt)
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
            record = await _running(connection, claim.record.screening_id, claim.record.attempt)
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
            record = await _running(connection, claim.record.screening_id, claim.record.attempt)
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
            record = await _running(connection, screening_id, attempt)
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
        lost = await _lost_attempts(connection, record.screening_id) + 1
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

    # What people ask for

    async def cancel(self, screening_id: str) -> ScreeningRecord:
        """Stop a screening that is queued or running; a running one is RUNNING until its worker has noticed.

        Raises:
            NotFound: if there is no such screening.
            AlreadyEnded: if it has a result or failed.
        """
        async with self._database.transaction() as connection:
            record = await reading.read_record(connection, screening_id, lock=True)
            changed = record.after(Event.CANCEL, self._now())
            if changed == record:
                return record
            await self._change(connection, record, Event.CANCEL)
            if changed.state is State.CANCELLED:
                await withdraw(connection, record.screening_id)
        if changed.state is not record.state:
            self._tell(step_of(changed))
        return changed

    async def revive(self, screening_id: str) -> ScreeningRecord:
        """Another try of a dead letter or a cancelled screening, with all its attempts.

        Raises:
            NotFound: if there is no such screening.
            AlreadyEnded: if it has a result.
            PixelsDeleted: if its images are not kept any more.
            NotReady: if it has not ended.
        """
        async with self._database.transaction() as connection:
            record = await reading.read_record(connection, screening_id, lock=True)
            if not record.state.ended:
                raise NotReady
            changed = record.after(Event.REVIVE, self._now())
            if record.pixels_deleted_at is not None:
                raise PixelsDeleted
            await self._change(connection, record, Event.REVIVE)
            await enqueue(connection, changed)
        self._tell(step_of(changed))
        return changed

    async def set_legal_hold(self, screening_id: str, hold: bool) -> ScreeningRecord:
        """Keep everything of a screening, or let retention have it again. Raises NotFound."""
        async with self._database.transaction() as connection:
            record = await reading.read_record(connection, screening_id, lock=True)
            if record.legal_hold == hold:
                return record
            changed = replace(record, legal_hold=hold)
            await connection.execute(
                update(screening).where(screening.c.id == record.screening_id).values(legal_hold=hold)
            )
            await _append(connection, changed, "hold" if hold else "release", self._now())
            await _notify(connection, record.screening_id)
        return changed

    # Reading

    async def get(self, screening_id: str) -> ScreeningRecord:
        """Raises NotFound."""
        async with self._database.transaction() as connection:
            return await reading.read_record(connection, screening_id)

    async def page(
        self,
        size: int,
        token: str = "",
        filters: reading.Filters = reading.Filters(),  # noqa: B008 - frozen
    ) -> tuple[tuple[ScreeningRecord, ...], str]:
        """One page, newest first, and the token of the next. Raises InvalidRequest for a token that is none."""
        async with self._database.transaction() as connection:
            return await reading.read_page(connection, size, token, filters)

    async def document(self, screening_id: str, kind: DocumentKind) -> ContentRef:
        """Raises NotFound."""
        async with self._database.transaction() as connection:
            return await reading.read_document(connection, screening_id, kind)

    async def steps(self, screening_id: str) -> tuple[reading.Step, ...]:
        """Every step of a screening, oldest first. Raises NotFound."""
        async with self._database.transaction() as connection:
            await reading.read_record(connection, screening_id)
            return await reading.read_steps(connection, screening_id)

    async def not_before(self, screening_id: str) -> datetime | None:
        """Before which no worker takes a queued screening; None when it waits for no moment."""
        async with self._database.transaction() as connection:
            return await reading.read_not_before(connection, screening_id)

    async def counts(self) -> dict[State, int]:
        """Screenings in each state."""
        async with self._database.transaction() as connection:
            return await reading.count_by_state(connection)

    async def load(self) -> reading.Load:
        """How much there is to do, and how long studies took."""
        async with self._database.transaction() as connection:
            return await reading.read_load(connection, self._now())

    # The one way a screening changes

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
        """Make a step of a record whose row is locked; raises as :meth:`ScreeningRecord.after` does."""
        at = self._now()
        changed = record.after(event, at, failure=failure, documents=documents)
        await connection.execute(
            update(screening).where(screening.c.id == record.screening_id).values(life_of(changed))
        )
        await _append(connection, changed, event.value, at, reason or (failure.code if failure else None))
        await _notify(connection, record.screening_id)
        if record.state is State.RUNNING:
            await _notify(connection, record.screening_id, STOP_CHANNEL)
        return changed


def failure_of(error: TrabeculaError) -> Failure:
    """What clients may know of an error."""
    return Failure(error.code, error.client_message, isinstance(error, InputError))


async def _running(connection: AsyncConnection, screening_id: str, attempt: int) -> ScreeningRecord | None:
    """The locked record, if this attempt is still the one that counts."""
    try:
        record = await reading.read_record(connection, screening_id, lock=True)
    except NotFound:
        return None
    return record if record.state is State.RUNNING and record.attempt == attempt else None


async def _lost_attempts(connection: AsyncConnection, screening_id: str) -> int:
    """Attempts since the last revival that took their worker with them; shutdowns do not count."""
    revived = select(func.coalesce(func.max(transition.c.id), 0)).where(
        transition.c.screening_id == screening_id, transition.c.event == Event.REVIVE.value
    )
    found = await connection.execute(
        select(func.count())
        .select_from(transition)
        .where(
            transition.c.screening_id == screening_id,
            transition.c.event == Event.REQUEUE.value,
            transition.c.reason.not_in(BLAMELESS),
            transition.c.id > revived.scalar_subquery(),
        )
    )
    return int(found.scalar_one())


async def _append(
    connection: AsyncConnection, record: ScreeningRecord, event: str, at: datetime, reason: str | None = None
) -> None:
    step: dict[str, Any] = {
        "screening_id": record.screening_id,
        "at": at,
        "event": event,
        "state": record.state.value,
        "attempt": record.attempt,
        "reason": reason,
    }
    await connection.execute(insert(transition).values(step))


async def enqueue(connection: AsyncConnection, record: ScreeningRecord, at: datetime | None = None) -> None:
    """One waiting job for each screening at most."""
    await defer(
        connection,
        SCREEN_TASK,
        {"screening_id": record.screening_id},
        queueing_lock=record.screening_id,
        priority=record.submission.priority,
        schedule_at=at,
    )


async def _notify(connection: AsyncConnection, screening_id: str, channel: str = CHANNEL) -> None:
    await connection.execute(text("SELECT pg_notify(:channel, :id)"), {"channel": channel, "id": screening_id})
