"""Studies asked for by their UID: pulled from the archive by a worker, then screened like any other.

A request is a row and a job in one transaction, so it outlives every process. Whoever asks again while it is under way
joins it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from sqlalchemy import Row, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import AlreadyEnded, NotFound, TrabeculaError, Unforeseen
from trabecula.patient import PatientContext
from trabecula.record.schema import screen_request
from trabecula.telemetry.context import current_trace, in_trace
from trabecula.work.database import Database
from trabecula.work.queue import Task, defer, withdraw
from trabecula.work.records import ContentRef, ScreeningRecord, Source
from trabecula.work.store import ScreeningStore
from trabecula.work.submission import submission_of

PULL_TASK: Final = "archive.pull"
LOOK_AGAIN_S: Final = 0.5
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:study, 0))")


class StudyPuller(Protocol):
    """The way to the archive."""

    async def __call__(self, study_uid: str) -> Sequence[ContentRef]:
        """The instances of a study, in the content store.

        Raises:
            NotFound: if the archive does not have it.
            TrabeculaError: if the archive cannot be read.
        """


class RequestState(StrEnum):
    PULLING = "pulling"
    """Waiting for a worker, or on its way from the archive."""
    ACCEPTED = "accepted"
    """It became a screening, which has a state of its own."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class ScreenRequest:
    request_id: str
    study_uid: str
    force: bool
    requested_by: str
    requested_at: datetime
    state: RequestState = RequestState.PULLING
    screening_id: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None


@dataclass(frozen=True)
class Progress:
    """A request and the screening it became."""

    request: ScreenRequest
    screening: ScreeningRecord | None

    @property
    def ended(self) -> bool:
        if self.request.state is RequestState.ACCEPTED:
            return self.screening is None or self.screening.state.ended
        return self.request.state is not RequestState.PULLING


class ScreenRequests:
    """Asks for studies and tells how far they are."""

    def __init__(self, database: Database, store: ScreeningStore) -> None:
        self._database = database
        self._store = store

    async def start(self, study_uid: str, *, force: bool, requested_by: str) -> ScreenRequest:
        """Ask for a study; gives the request under way when there is one, unless forced."""
        fresh = ScreenRequest(str(uuid.uuid4()), study_uid, force, requested_by, datetime.now(UTC))
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, {"study": study_uid})
            if not force and (open_one := await self._under_way(connection, study_uid)) is not None:
                return open_one
            await connection.execute(insert(screen_request).values(**_as_row(fresh)))
            trace = current_trace()
            arguments = {"request_id": fresh.request_id} | ({} if trace is None else {"trace": trace})
            await defer(connection, PULL_TASK, arguments, lock=study_uid, queueing_lock=fresh.request_id)
        return fresh

    async def progress(self, request_id: str) -> Progress:
        """Raises NotFound."""
        async with self._database.transaction() as connection:
            request = await _read(connection, request_id)
        if request.screening_id is None:
            return Progress(request, None)
        try:
            return Progress(request, await self._store.get(request.screening_id))
        except NotFound:  # retention has taken the screening; its results may still be there
            return Progress(request, None)

    async def wait(self, request_id: str, limit_s: float) -> Progress:
        """The progress once it has ended, or after so long.

        Raises:
            NotFound: if there is no such request.
        """
        deadline = asyncio.get_running_loop().time() + limit_s
        while True:
            found = await self.progress(request_id)
            left = deadline - asyncio.get_running_loop().time()
            if found.ended or left <= 0:
                return found
            await asyncio.sleep(min(LOOK_AGAIN_S, left))

    async def cancel(self, request_id: str) -> None:
        """Take a request back, wherever it is; one that has ended stays.

        Raises:
            NotFound: if there is no such request.
        """
        async with self._database.transaction() as connection:
            request = await _read(connection, request_id, lock=True)
            if request.state is RequestState.PULLING:
                await withdraw(connection, request_id)
                await _write(connection, replace(request, state=RequestState.CANCELLED))
        if request.screening_id is not None:
            try:
                await self._store.cancel(request.screening_id)
            except (AlreadyEnded, NotFound):
                return

    async def _under_way(self, connection: AsyncConnection, study_uid: str) -> ScreenRequest | None:
        query = (
            select(screen_request)
            .where(
                screen_request.c.study_uid == study_uid,
                screen_request.c.state.in_([RequestState.PULLING.value, RequestState.ACCEPTED.value]),
            )
            .order_by(screen_request.c.requested_at.desc())
            .limit(1)
        )
        row = (await connection.execute(query)).first()
        if row is None:
            return None
        found = _of_row(row)
        if found.screening_id is None:
            return found
        try:
            return None if (await self._store.get(found.screening_id)).state.ended else found
        except NotFound:
            return None


class PullWork:
    """The worker's half: from a request to a screening."""

    def __init__(self, database: Database, store: ScreeningStore, pull: StudyPuller) -> None:
        self._database = database
        self._store = store
        self._pull = pull

    def task(self) -> Task:
        """For the queue."""
        return Task(PULL_TASK, self.run)

    async def run(self, request_id: str, trace: str | None = None) -> None:
        """Pull one study and hand it in. Run twice it hands in once: the request's id is the idempotency key.

        Args:
            trace: ``traceparent`` of the request.
        """
        async with self._database.transaction() as connection:
            request = await _read(connection, request_id)
        if request.state is not RequestState.PULLING:
            return
        try:
            instances = await self._pull(request.study_uid)
            patient = PatientContext()
            key = f"screen-bone:{request_id}"
            submission = submission_of(instances, patient, idempotency_key=key, source=Source.DICOMWEB)
            with in_trace(trace):
                record, _ = await self._store.accept(submission, instances, patient)
        except TrabeculaError as error:
            await self._end(request_id, error)
            return
        except Exception:
            await self._end(request_id, Unforeseen())
            raise
        await self._accepted(request_id, record)

    async def _accepted(self, request_id: str, record: ScreeningRecord) -> None:
        async with self._database.transaction() as connection:
            request = await _read(connection, request_id, lock=True)
            taken_back = request.state is RequestState.CANCELLED
            state = request.state if taken_back else RequestState.ACCEPTED
            await _write(connection, replace(request, state=state, screening_id=record.screening_id))
        if taken_back:
            try:
                await self._store.cancel(record.screening_id)
            except AlreadyEnded:
                return

    async def _end(self, request_id: str, error: TrabeculaError) -> None:
        async with self._database.transaction() as connection:
            request = await _read(connection, request_id, lock=True)
            if request.state is RequestState.PULLING:
                failed = replace(
                    request,
                    state=RequestState.FAILED,
                    failure_code=error.code,
                    failure_message=error.client_message,
                )
                await _write(connection, failed)


async def _read(connection: AsyncConnection, request_id: str, *, lock: bool = False) -> ScreenRequest:
    try:
        uuid.UUID(request_id)
    except ValueError:
        raise NotFound from None
    query = select(screen_request).where(screen_request.c.id == request_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    if row is None:
        raise NotFound
    return _of_row(row)


async def _write(connection: AsyncConnection, request: ScreenRequest) -> None:
    changes = {name: value for name, value in _as_row(request).items() if name != "id"}
    await connection.execute(update(screen_request).where(screen_request.c.id == request.request_id).values(**changes))


def _as_row(request: ScreenRequest) -> dict[str, Any]:
    return {
        "id": request.request_id,
        "study_uid": request.study_uid,
        "force": request.force,
        "requested_by": request.requested_by,
        "requested_at": request.requested_at,
        "state": request.state.value,
        "screening_id": request.screening_id,
        "failure_code": request.failure_code,
        "failure_message": request.failure_message,
    }


def _of_row(row: Row[Any]) -> ScreenRequest:
    return ScreenRequest(
        str(row.id),
        row.study_uid,
        row.force,
        row.requested_by or "",
        row.requested_at,
        RequestState(row.state),
        None if row.screening_id is None else str(row.screening_id),
        row.failure_code,
        row.failure_message,
    )
