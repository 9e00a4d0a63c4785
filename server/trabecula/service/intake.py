"""The stream of an upload's messages into the content store. Knows no transport."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator

from trabecula.config import Settings
from trabecula.errors import UploadIncomplete, UploadOutOfOrder, UploadTimedOut
from trabecula.service.upload import Upload, UploadChunk, UploadHeader, check_header
from trabecula.work.content import ContentStore

UploadMessage = UploadHeader | UploadChunk


class Intake:
    """Takes uploads in: :meth:`begin`, :meth:`fill`, then ``upload.finish`` and, always, ``upload.discard`` (both in a
    thread)."""

    def __init__(self, content: ContentStore, settings: Settings) -> None:
        self._content = content
        self._settings = settings
        self._uploads: weakref.WeakSet[Upload] = weakref.WeakSet()

    async def begin(self, messages: AsyncIterator[UploadMessage]) -> Upload:
        """Read the header and see that there is room for what it announces, beside what other uploads announced.

        Raises:
            InputError: for a header that cannot be accepted.
            Overloaded: when the disk has no room for it.
            UploadTimedOut: when the client falls silent.
        """
        header = await self._next(messages)
        if header is None:
            raise UploadIncomplete(instances=0)
        if not isinstance(header, UploadHeader):
            raise UploadOutOfOrder(expected="header")
        check_header(header, self._settings)
        self._content.check_room(header.total_bytes + sum(upload.missing_bytes for upload in self._uploads))
        upload = Upload(header, self._content.stage())
        self._uploads.add(upload)
        return upload

    async def fill(self, upload: Upload, messages: AsyncIterator[UploadMessage]) -> None:
        """Read all pieces up to the end of the stream.

        Raises:
            InputError: for a piece that breaks a limit or the protocol.
            Overloaded: when the disk is full.
            UploadTimedOut: when the client falls silent.
        """
        while (message := await self._next(messages)) is not None:
            if not isinstance(message, UploadChunk):
                raise UploadOutOfOrder(expected="chunk")
            await asyncio.to_thread(upload.write, message)

    async def _next(self, messages: AsyncIterator[UploadMessage]) -> UploadMessage | None:
        limit_s = self._settings.upload_idle_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await anext(messages, None)
        except TimeoutError:
            raise UploadTimedOut(limit_s=limit_s) from None
