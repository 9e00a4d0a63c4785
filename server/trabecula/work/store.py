"""Screenings on PostgreSQL: how they come in, what people ask for, what is known of them; :mod:`.attempts` is what
workers do. Every change is one transaction: the row, its step in ``transition``, the queue's job, and what a result
brings along; whoever watches is told at the commit.

Bytes are in the content store before a row that names them is committed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import (
    AlreadyExists,
    NotReady,
    PixelsDeleted,
)
from trabecula.patient import PatientContext
from trabecula.telemetry.context import current_trace
from trabecula.work import reading
from trabecula.work.attempts import Attempts
from trabecula.work.changes import append, enqueue, notify
from trabecula.work.queue import withdraw
from trabecula.work.records import (
    ContentRef,
    DocumentKind,
    ScreeningRecord,
    Submission,
)
from trabecula.work.rows import new_row
from trabecula.work.schema import instance, screening
from trabecula.work.states import Event, State
from trabecula.work.telling import step_of


class ScreeningStore(Attempts):
    """All that is known of screenings."""

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
            await append(connection, record, "accept", record.submitted_at)
            await enqueue(connection, record)
        self._tell(step_of(record, accepted_s=time.perf_counter() - began_s))
        return record, True

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
            await append(connection, changed, "hold" if hold else "release", self._now())
            await notify(connection, record.screening_id)
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
