"""A content store in object storage: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

Objects are named as in the folder store (``ab/ab12...``), so that either can be copied into the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import from_url

from trabecula.errors import ConfigurationError, ContentDamaged, ContentMissing, ContentUnavailable
from trabecula.texts import parse_toml
from trabecula.work.content import CHUNK_BYTES, StoredObject, put_blocking
from trabecula.work.disk import check_free, disk_full_is_overload
from trabecula.work.records import ContentRef
from trabecula.work.staging import Staging, StagingArea

T = TypeVar("T")
R = TypeVar("R")
REQUESTS_AT_ONCE: Final = 16
LISTED_AT_ONCE: Final = 1000
_KEY: Final = re.compile(r"[0-9a-f]{2}/([0-9a-f]{64})")
_RETRY: Final = {"max_retries": 5, "retry_timeout": timedelta(seconds=30)}
_SCHEMES: Final = ("s3://", "gs://", "az://")


def read_options(file: Path | None) -> dict[str, Any]:
    """Options of the object storage: tables ``store`` (endpoint, region, keys) and ``client`` of a TOML file, with
    the names of obstore.

    Raises:
        ConfigurationError: if the file cannot be read.
    """
    if file is None:
        return {}
    try:
        return parse_toml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(setting="TRABECULA_CONTENT_OPTIONS_FILE") from error


class ObjectContent:
    """A content store under a URL, with a local folder for files on their way in and out."""

    def __init__(self, url: str, options: dict[str, Any], scratch: Path) -> None:
        """Open it; nothing is asked of the storage yet.

        Args:
            url: ``s3://bucket/prefix``, ``gs://`` or ``az://``.
            options: as :func:`read_options` gives them.
            scratch: private folder, made if it is not there.

        Raises:
            ConfigurationError: for a URL or an option that cannot be used.
        """
        if not url.startswith(_SCHEMES):
            raise ConfigurationError(setting="TRABECULA_CONTENT_URL", must_be="s3://, gs:// or az://")
        try:
            self._store: Any = from_url(
                url,
                config=options.get("store"),
                client_options=options.get("client"),
                retry_config=_RETRY,  # type: ignore[call-overload]
            )
        except (BaseError, TypeError, ValueError) as error:
            raise ConfigurationError(
                setting="TRABECULA_CONTENT_URL or TRABECULA_CONTENT_OPTIONS_FILE", reason=type(error).__name__
            ) from error
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch.chmod(0o700)
        self.area = StagingArea(scratch)

    def stage(self) -> Staging:
        return self.area.stage(self)

    def check_room(self, needed_bytes: int) -> None:
        """Of the local folder: an object storage does not tell."""
        check_free(self.area.root, needed_bytes)

    async def put(self, content: bytes | Path) -> ContentRef:
        return await asyncio.to_thread(put_blocking, self, content)

    async def missing(self, refs: Sequence[ContentRef]) -> tuple[ContentRef, ...]:
        found = await _at_most(refs, self._has)
        return tuple(ref for ref, there in zip(refs, found, strict=True) if not there)

    async def read(self, ref: ContentRef, *, verify: bool = False) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        with _translated(ref):
            answer = await obstore.get_async(self._store, _key(ref.sha256))
            if answer.meta["size"] != ref.size_bytes:
                raise ContentDamaged(sha256=ref.sha256, size_bytes=answer.meta["size"])
            async for piece in answer.stream(min_chunk_size=CHUNK_BYTES):
                data = bytes(piece)
                if verify:
                    digest.update(data)
                yield data
        if verify and digest.hexdigest() != ref.sha256:
            raise ContentDamaged(sha256=ref.sha256)

    @asynccontextmanager
    async def local_files(self, refs: Sequence[ContentRef]) -> AsyncIterator[tuple[Path, ...]]:
        """Copies, checked against their hashes on the way; deleted after the block."""
        folder = await asyncio.to_thread(self._folder, sum(ref.size_bytes for ref in refs))
        paths = tuple(folder / f"{index:06d}" for index in range(len(refs)))

        async def fetch(each: tuple[ContentRef, Path]) -> None:
            ref, path = each
            with disk_full_is_overload(), _private(path) as stream:
                async for piece in self.read(ref, verify=True):
                    await asyncio.to_thread(stream.write, piece)

        try:
            await _at_most(tuple(zip(refs, paths, strict=True)), fetch)
            yield paths
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    async def delete_untouched(self, found: StoredObject) -> bool:
        key = _key(found.ref.sha256)
        try:
            with _translated(found.ref):
                # Whole seconds: a listing may know more of them than the answer about one object.
                now = (await obstore.head_async(self._store, key))["last_modified"].replace(microsecond=0)
                if now > found.modified_at:
                    return False
                await obstore.delete_async(self._store, key)
        except ContentMissing:
            return False
        return True

    async def objects(self) -> AsyncIterator[StoredObject]:
        with _translated():
            async for batch in obstore.list(self._store, chunk_size=LISTED_AT_ONCE):
                for each in batch:
                    if name := _KEY.fullmatch(each["path"]):
                        yield StoredObject(ContentRef(name[1], each["size"]), each["last_modified"])

    def clear_staging(self, untouched_s: float | None = None, *, dry_run: bool = False) -> int:
        return self.area.clear_leftovers(untouched_s, dry_run=dry_run)

    def flush(self, staged: Path, handle: int, ref: ContentRef) -> None:  # noqa: ARG002 - of the protocol
        """Upload one file. Also where it is there already: it counts as put now."""
        with _translated(ref):
            obstore.put(self._store, _key(ref.sha256), staged)

    def take_in(self, staged: list[tuple[Path, ContentRef]], pool: ThreadPoolExecutor) -> None:
        """Every file was uploaded when it was flushed."""

    async def _has(self, ref: ContentRef) -> bool:
        try:
            with _translated(ref):
                return bool((await obstore.head_async(self._store, _key(ref.sha256)))["size"] == ref.size_bytes)
        except ContentMissing:
            return False

    def _folder(self, needed_bytes: int) -> Path:
        self.check_room(needed_bytes)
        with disk_full_is_overload():
            return self.area.new_folder()


def _private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _key(sha256: str) -> str:
    key = f"{sha256[:2]}/{sha256}"
    if not _KEY.fullmatch(key):
        raise ContentMissing(sha256="not a SHA-256")
    return key


async def _at_most(items: Sequence[T], ask: Callable[[T], Awaitable[R]]) -> list[R]:
    """Ask for all, some at once; the first error ends the others."""
    places = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def one(item: T) -> R:
        async with places:
            return await ask(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


@contextmanager
def _translated(ref: ContentRef | None = None) -> Iterator[None]:
    """Errors of the storage as ours; their text may hold addresses and stays in the chain.

    Raises:
        ContentMissing: where it says that there is no such object.
        ContentUnavailable: for everything else.
    """
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise ContentMissing(sha256=ref.sha256 if ref else "") from error
    except (BaseError, PermissionError) as error:
        raise ContentUnavailable(type(error).__name__) from error
