"""Bytes kept by their SHA-256: the interface, and a folder that keeps it.

Bytes are written and flushed before anybody learns their name, so a row that names them never lies. They are never
changed. The same bytes are kept once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from trabecula.errors import ContentDamaged, ContentMissing
from trabecula.work.disk import check_free, flush_folder
from trabecula.work.records import ContentRef
from trabecula.work.staging import Staging, StagingArea

STAGING_FOLDER: Final = "staging"
CHUNK_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredObject:
    """What a listing tells of one object."""

    ref: ContentRef
    modified_at: datetime
    """When it was last put, also when it was there already."""


class ContentStore(Protocol):
    """All that the program asks of a content store."""

    def stage(self) -> Staging:
        """Begin a submission of files that stream in; does not touch the disk yet."""

    def check_room(self, needed_bytes: int) -> None:
        """Raises Overloaded when so many bytes would not fit."""

    async def put(self, content: bytes | Path) -> ContentRef:
        """Keep bytes, or a copy of a file. They are durable on return; what is there already counts as put now.

        Raises:
            Overloaded: when there is no room.
        """

    async def missing(self, refs: Sequence[ContentRef]) -> tuple[ContentRef, ...]:
        """Those that are not there in full length."""

    def read(self, ref: ContentRef, *, verify: bool = False) -> AsyncIterator[bytes]:
        """The bytes, in pieces.

        Args:
            ref: of the object.
            verify: raise at the end if the bytes are not the ones that were put.

        Raises:
            ContentMissing: if it is not there.
            ContentDamaged: if its length, or with ``verify`` its hash, is another one.
        """

    def local_files(self, refs: Sequence[ContentRef]) -> AbstractAsyncContextManager[tuple[Path, ...]]:
        """Files with these bytes, in this order, for the time of the block; read only.

        Raises:
            ContentMissing: if one is not there.
            ContentDamaged: if one has another length.
        """

    async def delete_untouched(self, found: StoredObject) -> bool:
        """Delete an object unless it was put again since it was listed; whether it was deleted."""

    def clear_staging(self, untouched_s: float | None = None, *, dry_run: bool = False) -> int:
        """Delete what killed processes had staged; the bytes freed. Blocks.

        Args:
            untouched_s: also what other machines staged, if nothing was written there for so long.
            dry_run: only count.
        """

    def objects(self) -> AsyncIterator[StoredObject]:
        """All of them, in no order."""


async def read_all(store: ContentStore, ref: ContentRef, *, verify: bool = False) -> bytes:
    """The whole object in memory; for documents, not for pixels."""
    return b"".join([piece async for piece in store.read(ref, verify=verify)])


class FolderContent:
    """A content store in a private folder."""

    def __init__(self, folder: Path) -> None:
        """Open or make it.

        Args:
            folder: made private to the user (0700), as it holds patient data.
        """
        self.folder = folder
        for each in (folder, folder / STAGING_FOLDER):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            each.chmod(0o700)
        if not (folder / "ff").exists():
            for number in range(256):
                (folder / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)
            flush_folder(folder)
        self.area = StagingArea(folder / STAGING_FOLDER)

    def stage(self) -> Staging:
        return self.area.stage(self)

    def check_room(self, needed_bytes: int) -> None:
        check_free(self.folder, needed_bytes)

    async def put(self, content: bytes | Path) -> ContentRef:
        return await asyncio.to_thread(put_blocking, self, content)

    async def missing(self, refs: Sequence[ContentRef]) -> tuple[ContentRef, ...]:
        return await asyncio.to_thread(lambda: tuple(ref for ref in refs if not self._has(ref)))

    async def read(self, ref: ContentRef, *, verify: bool = False) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        try:
            stream = await asyncio.to_thread(self.path(ref.sha256).open, "rb")
        except FileNotFoundError:
            raise ContentMissing(sha256=ref.sha256) from None
        with stream:
            if os.fstat(stream.fileno()).st_size != ref.size_bytes:
                raise ContentDamaged(sha256=ref.sha256, size_bytes=os.fstat(stream.fileno()).st_size)
            while piece := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                if verify:
                    digest.update(piece)
                yield piece
        if verify and digest.hexdigest() != ref.sha256:
            raise ContentDamaged(sha256=ref.sha256)

    @asynccontextmanager
    async def local_files(self, refs: Sequence[ContentRef]) -> AsyncIterator[tuple[Path, ...]]:
        yield await asyncio.to_thread(lambda: tuple(self._checked(ref) for ref in refs))

    async def delete_untouched(self, found: StoredObject) -> bool:
        return await asyncio.to_thread(self._delete_untouched, found)

    def clear_staging(self, untouched_s: float | None = None, *, dry_run: bool = False) -> int:
        return self.area.clear_leftovers(untouched_s, dry_run=dry_run)

    async def objects(self) -> AsyncIterator[StoredObject]:
        shards = await asyncio.to_thread(lambda: sorted(self.folder.glob("[0-9a-f][0-9a-f]")))
        for shard in shards:
            for found in await asyncio.to_thread(_objects_in, shard):
                yield found

    def path(self, sha256: str) -> Path:
        """Where an object lies. Only a hash ever becomes part of a path.

        Raises:
            ContentMissing: for what is not the hexadecimal form of a SHA-256.
        """
        if not _NAME.fullmatch(sha256):
            raise ContentMissing(sha256="not a SHA-256")
        return self.folder / sha256[:2] / sha256

    def flush(self, staged: Path, handle: int, ref: ContentRef) -> None:  # noqa: ARG002 - of the protocol
        """Make one staged file's bytes durable."""
        os.fsync(handle)

    def take_in(self, staged: list[tuple[Path, ContentRef]], pool: ThreadPoolExecutor) -> None:
        """Give staged files their names; durable on return."""
        touched: set[Path] = set()
        for path, ref in staged:
            target = self.path(ref.sha256)
            if self._refreshed(target, ref):
                continue
            path.rename(target)
            touched.add(target.parent)
        for _ in pool.map(flush_folder, touched):
            pass

    def _refreshed(self, target: Path, ref: ContentRef) -> bool:
        """Whether it is there already; it counts as put now, which keeps it from the garbage collector."""
        try:
            if target.stat().st_size != ref.size_bytes:
                return False
            os.utime(target)
        except FileNotFoundError:
            return False
        return True

    def _delete_untouched(self, found: StoredObject) -> bool:
        path = self.path(found.ref.sha256)
        try:
            if _moment(path.stat()) != found.modified_at:
                return False
            path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _has(self, ref: ContentRef) -> bool:
        try:
            return self.path(ref.sha256).stat().st_size == ref.size_bytes
        except FileNotFoundError:
            return False

    def _checked(self, ref: ContentRef) -> Path:
        path = self.path(ref.sha256)
        try:
            size_bytes = path.stat().st_size
        except FileNotFoundError:
            raise ContentMissing(sha256=ref.sha256) from None
        if size_bytes != ref.size_bytes:
            raise ContentDamaged(sha256=ref.sha256, size_bytes=size_bytes)
        return path


def put_blocking(store: ContentStore, content: bytes | Path) -> ContentRef:
    """One object through staging."""
    staging = store.stage()
    try:
        if isinstance(content, bytes):
            staging.write(content)
        else:
            with content.open("rb") as stream:
                while piece := stream.read(CHUNK_BYTES):
                    staging.write(piece)
        staging.end_file()
        return staging.commit()[0]
    finally:
        staging.discard()


def _objects_in(shard: Path) -> list[StoredObject]:
    found = []
    with os.scandir(shard) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append(StoredObject(ContentRef(entry.name, status.st_size), _moment(status)))
    return found


def _moment(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)
