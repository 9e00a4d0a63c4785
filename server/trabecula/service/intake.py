"""Receiving one study: who may come in, and the stream of messages into an upload. Knows no transport."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from trabecula.config import Settings
from trabecula.errors import Overloaded, UploadIncomplete, UploadOutOfOrder, UploadTimedOut
from trabecula.service.upload import ReceivedStudy, StudyUpload, Upload, UploadChunk, UploadHeader, check_header
from trabecula.work.content import ContentStore
from trabecula.work.records import Priority, Source

RETRY_AFTER_S: Final = 15.0
"""What a client that found no room is asked to wait."""

UploadMessage = UploadHeader | UploadChunk


class Intake:
    """Takes uploads into a spool folder, a limited number at a time."""

    def __init__(self, spool: Path, settings: Settings) -> None:
        self._spool = spool
        self._settings = settings
        self.open_uploads = 0
        self._promised_bytes = 0
        """What open uploads have announced; they share the room on the disk."""

    def clear(self) -> None:
        """Delete whatever an earlier run left."""
        shutil.rmtree(self._spool, ignore_errors=True)
        self._spool.mkdir(mode=0o700, parents=True)

    def check_room(self, waiting: int) -> None:
        """Refuse a new upload when it could not be queued.

        Raises:
            Overloaded: with the time after which to try again.
        """
        settings = self._settings
        full = self.open_uploads >= settings.max_concurrent_uploads
        if full or waiting + self.open_uploads >= settings.queue_capacity:
            raise Overloaded(retry_after_s=RETRY_AFTER_S)

    async def begin(self, messages: AsyncIterator[UploadMessage]) -> Upload:
        """Read the header and make room for what it announces.

        Raises:
            InputError: for a header that cannot be accepted.
            Overloaded: when the disk has no room for it.
            UploadTimedOut: when the client falls silent.
        """
        header = await self._header(messages)
        if shutil.disk_usage(self._spool).free < header.total_bytes:
            raise Overloaded("no room on the disk", retry_after_s=RETRY_AFTER_S)
        return await asyncio.to_thread(Upload, header, self._spool / uuid.uuid4().hex)

    async def receive(
        self,
        messages: AsyncIterator[UploadMessage],
        content: ContentStore,
        *,
        priority: Priority = Priority.ROUTINE,
        source: Source = Source.GRPC,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ReceivedStudy:
        """One whole study, durable in the content store; when it fails, nothing of it stays.

        Args:
            messages: of the client.
            content: where the bytes go.
            priority: of the submission.
            source: of the submission.
            progress: told the bytes received so far after each piece.

        Raises:
            InputError: for an upload that breaks a limit or the protocol.
            Overloaded: when the disk has no room for it.
            UploadTimedOut: when the client falls silent.
        """
        self.open_uploads += 1
        upload: StudyUpload | None = None
        promised_bytes = 0
        try:
            header = await self._header(messages)
            promised_bytes = header.total_bytes
            self._promised_bytes += promised_bytes
            content.check_room(self._promised_bytes)
            upload = StudyUpload(header, content.stage())
            while (message := await self._next(messages)) is not None:
                if not isinstance(message, UploadChunk):
                    raise UploadOutOfOrder(expected="chunk")
                await asyncio.to_thread(upload.write, message)
                progress(upload.received_bytes)
            return await asyncio.to_thread(upload.finish, priority=priority, source=source)
        finally:
            self._promised_bytes -= promised_bytes
            self.open_uploads -= 1
            if upload is not None:
                await asyncio.shield(asyncio.to_thread(upload.discard))

    async def fill(self, upload: Upload, messages: AsyncIterator[UploadMessage]) -> None:
        """Read all pieces up to the end of the stream.

        Raises:
            InputError: for a piece that breaks a limit or the protocol.
            UploadTimedOut: when the client falls silent.
        """
        while (message := await self._next(messages)) is not None:
            if not isinstance(message, UploadChunk):
                raise UploadOutOfOrder(expected="chunk")
            await asyncio.to_thread(upload.write, message)

    async def _header(self, messages: AsyncIterator[UploadMessage]) -> UploadHeader:
        header = await self._next(messages)
        if header is None:
            raise UploadIncomplete(instances=0)
        if not isinstance(header, UploadHeader):
            raise UploadOutOfOrder(expected="header")
        check_header(header, self._settings)
        return header

    async def _next(self, messages: AsyncIterator[UploadMessage]) -> UploadMessage | None:
        limit_s = self._settings.upload_idle_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await anext(messages, None)
        except TimeoutError:
            raise UploadTimedOut(limit_s=limit_s) from None
