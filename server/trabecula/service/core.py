"""The service without a transport: submit, get, watch, list, cancel, documents.

Keeps nothing itself: what is true is in the store, so any number of processes may serve the same screenings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from trabecula.config import Settings
from trabecula.errors import Draining, InvalidRequest, NotReady, TrabeculaError
from trabecula.outputs import report_json
from trabecula.report import ScreeningReport
from trabecula.service.admission import Admission
from trabecula.service.intake import Intake, UploadMessage
from trabecula.service.upload import Upload
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener, UploadEnded
from trabecula.work.content import ContentStore, read_all
from trabecula.work.notices import Notices
from trabecula.work.packing import is_dicom, read_document
from trabecula.work.reading import Filters
from trabecula.work.records import DocumentKind, Priority, ScreeningRecord, Source
from trabecula.work.store import ScreeningStore

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 200
LOOK_AGAIN_S: Final = 1.0
"""What a missed notice costs a watcher."""


class ScreeningCore:
    """All the service does, as methods on values; raises only :class:`TrabeculaError`."""

    def __init__(
        self,
        store: ScreeningStore,
        content: ContentStore,
        notices: Notices,
        intake: Intake,
        settings: Settings,
        tell: Listener = nobody,
    ) -> None:
        self._store = store
        self._content = content
        self._notices = notices
        self._intake = intake
        self._door = Admission(store, settings)
        self._tell = tell
        self._draining = False

    def drain(self) -> None:
        """Take in nothing more."""
        self._draining = True

    async def submit(self, messages: AsyncIterator[UploadMessage], source: Source = Source.GRPC) -> ScreeningRecord:
        """Take in one study and queue it. It is durable when this returns.

        Raises:
            Draining, Overloaded: when there is no room.
            InputError: for an upload that breaks a limit or the protocol.
            UploadTimedOut: when the client falls silent.
            AlreadyExists: when the idempotency key was used with other content.
            DatabaseUnavailable: when the database does not answer.
        """
        upload: Upload | None = None
        outcome = "disconnected"
        try:
            self._check_open()
            with self._door.upload():
                await self._door.check(Priority.STAT)
                upload = await self._intake.begin(messages)
                await self._door.check(upload.header.priority)
                await self._intake.fill(upload, messages)
                study = await asyncio.to_thread(upload.finish, source)
                self._check_open()
                record, is_new = await self._store.accept(
                    study.submission, study.instances, study.patient, want_masks=study.want_masks
                )
            outcome = "accepted" if is_new else "repeated"
            return record
        except TrabeculaError as error:
            outcome = error.code
            raise
        finally:
            if upload is not None:
                await asyncio.shield(asyncio.to_thread(upload.discard))
            self._tell(UploadEnded(upload.received_bytes if upload else 0, outcome))

    async def get(self, screening_id: str) -> ScreeningRecord:
        """Raises NotFound."""
        return await self._store.get(screening_id)

    async def report(self, record: ScreeningRecord) -> ScreeningReport | None:
        """The report of a screening; None while there is none."""
        if DocumentKind.REPORT_JSON not in record.documents:
            return None
        ref = await self._store.document(record.screening_id, DocumentKind.REPORT_JSON)
        written = await read_all(self._content, ref)
        return await asyncio.to_thread(report_json.from_json, written.decode())

    async def watch(self, screening_id: str) -> AsyncIterator[ScreeningRecord]:
        """The record now and after every change, until it has ended. Fast changes may fold into one.

        Raises:
            NotFound: if there is no such screening.
        """
        told: ScreeningRecord | None = None
        with self._notices.watching(screening_id) as changed:
            while told is None or not told.state.ended:
                # Cleared before the record is read, so that no change falls between the two.
                changed.clear()
                record = await self._store.get(screening_id)
                if record != told:
                    told = record
                    yield record
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), LOOK_AGAIN_S)

    async def list(self, page_size: int, page_token: str, filters: Filters) -> tuple[tuple[ScreeningRecord, ...], str]:
        """One page, newest first, and the token of the next ("" at the end).

        Raises:
            InvalidRequest: for a page size or token that cannot be used.
        """
        if page_size > MAX_PAGE:
            raise InvalidRequest(field="page_size", at_most=MAX_PAGE)
        return await self._store.page(page_size or DEFAULT_PAGE, page_token, filters)

    async def cancel(self, screening_id: str) -> ScreeningRecord:
        """Stop a screening that is queued or running.

        Raises:
            NotFound: if there is no such screening.
            AlreadyEnded: if it has a result or failed.
        """
        return await self._store.cancel(screening_id)

    async def document(self, screening_id: str, kind: DocumentKind) -> tuple[int, AsyncIterator[bytes]]:
        """A document's size in bytes, and its bytes, in pieces.

        Raises:
            NotFound: if there is no such screening, or it has no such document.
            NotReady: if it has not ended.
        """
        record = await self._store.get(screening_id)
        if not record.state.ended:
            raise NotReady
        ref = await self._store.document(record.screening_id, kind)
        if is_dicom(kind):
            file = await read_document(self._content, kind, ref)
            return len(file), _one_piece(file)
        return ref.size_bytes, self._content.read(ref)

    def _check_open(self) -> None:
        if self._draining:
            raise Draining


async def _one_piece(file: bytes) -> AsyncIterator[bytes]:
    yield file
