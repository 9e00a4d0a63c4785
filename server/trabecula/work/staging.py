"""Files on their way into the content store: written and hashed as they stream in, flushed in the background.

Each process stages in a folder of its own, on the file system of the objects, and holds a lock on it. What a killed
process left is known by its lock being free, and is cleared at the next start.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from trabecula.work.disk import disk_full_is_overload
from trabecula.work.records import ContentRef

FLUSHERS: Final = 4
"""Threads that wait for the disk; more gain nothing (docs/durable-work.md)."""
_LOCK_SUFFIX: Final = ".lock"


class Staging(Protocol):
    """The files of one submission, one after the other. Its methods block: call them off the event loop, from one
    thread at a time."""

    def write(self, data: bytes) -> None:
        """Append to the present file; the first bytes begin it. Raises Overloaded when there is no room."""

    def end_file(self) -> ContentRef:
        """End the present file. Its bytes become durable in the background."""

    def commit(self) -> tuple[ContentRef, ...]:
        """Wait until every file is durable in the store; what was staged, in order. Raises Overloaded when there is
        no room."""

    def discard(self) -> None:
        """Forget what was staged and not committed; may be called more than once, and after :meth:`commit`."""


class FileSink(Protocol):
    """Where a staged file goes."""

    def flush(self, staged: Path, handle: int, ref: ContentRef) -> None:
        """Make one file's bytes durable (in a thread of the pool)."""

    def take_in(self, staged: list[tuple[Path, ContentRef]], pool: ThreadPoolExecutor) -> None:
        """Make all of them objects of the store, durably; takes the files away."""


class FileStaging:
    """Staging in a folder of files, for a sink."""

    def __init__(self, area: StagingArea, sink: FileSink) -> None:
        """Makes nothing yet: the first bytes do."""
        self._area = area
        self._sink = sink
        self._folder: Path | None = None
        self._files: list[tuple[Path, ContentRef]] = []
        self._flushes: list[Future[None]] = []
        self._handle: int | None = None
        self._path = Path()
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        with disk_full_is_overload():
            handle = self._open()
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
        self._digest.update(data)
        self._size_bytes += len(data)

    def end_file(self) -> ContentRef:
        with disk_full_is_overload():
            handle = self._open()
        ref = ContentRef(self._digest.hexdigest(), self._size_bytes)
        self._handle, self._digest, self._size_bytes = None, hashlib.sha256(), 0
        self._files.append((self._path, ref))
        self._flushes.append(self._area.pool().submit(self._flush, self._path, handle, ref))
        return ref

    def commit(self) -> tuple[ContentRef, ...]:
        with disk_full_is_overload():
            for flush in self._flushes:
                flush.result()
            self._sink.take_in(self._files, self._area.pool())
        refs = tuple(ref for _, ref in self._files)
        self.discard()
        return refs

    def discard(self) -> None:
        for flush in self._flushes:
            flush.exception()  # its handle is closed before its file goes
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        self._flushes, self._files = [], []
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _open(self) -> int:
        if self._folder is None:
            self._folder = self._area.new_folder()
        if self._handle is None:
            self._path = self._folder / f"{len(self._files):06d}"
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return self._handle

    def _flush(self, path: Path, handle: int, ref: ContentRef) -> None:
        try:
            self._sink.flush(path, handle, ref)
        finally:
            os.close(handle)


class StagingArea:
    """The folder in which one process stages; made at first use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._guard = threading.Lock()
        self._folder: Path | None = None
        self._owner = 0
        self._lock_handle = -1
        self._pool: ThreadPoolExecutor | None = None

    def stage(self, sink: FileSink) -> FileStaging:
        """Begin a submission."""
        return FileStaging(self, sink)

    def new_folder(self) -> Path:
        """A private folder for one submission."""
        with self._guard:
            folder = self._open() / uuid.uuid4().hex
            folder.mkdir(mode=0o700)
            return folder

    def pool(self) -> ThreadPoolExecutor:
        """The threads that wait for the disk."""
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(FLUSHERS, thread_name_prefix="content-flush")
            return self._pool

    def close(self) -> None:
        """Give the folder up; nothing may be staged any more."""
        with self._guard:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None
            if self._folder is not None and self._owner == os.getpid():
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.with_suffix(_LOCK_SUFFIX).unlink(missing_ok=True)
                os.close(self._lock_handle)
            self._folder = None

    def clear_leftovers(self, untouched_s: float | None = None, *, dry_run: bool = False) -> int:
        """Delete what processes that are no more had staged; the bytes freed.

        Args:
            untouched_s: None looks at this machine's folders only, for a shared file system may not show the locks of
                others; a time also takes others' in which nothing was written for so long.
            dry_run: only count.
        """
        freed = 0
        for lock in sorted(self.root.glob(f"*{_LOCK_SUFFIX}")):
            if lock.name.startswith(_host()) or (untouched_s is not None and _idle_s(lock) > untouched_s):
                freed += _clear(lock, dry_run=dry_run)
        return freed

    def _open(self) -> Path:
        if self._folder is not None and self._owner == os.getpid():
            return self._folder
        self._pool = None  # threads do not live through a fork
        while True:
            folder = self.root / f"{_host()}{uuid.uuid4().hex}"
            lock = folder.with_suffix(_LOCK_SUFFIX)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:  # else it was cleared between these two lines
                break
            os.close(handle)
        folder.mkdir(mode=0o700)
        self._folder, self._owner, self._lock_handle = folder, os.getpid(), handle
        return folder


def _host() -> str:
    """Of this machine; a prefix of the folder's name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12] + "-"


def _idle_s(lock: Path) -> float:
    """Time since anything was written in a process's folder."""
    newest = 0.0
    for path in (lock, *lock.with_suffix("").rglob("*")):
        try:
            newest = max(newest, path.lstat().st_mtime)
        except FileNotFoundError:  # it is in use
            return 0.0
    return time.time() - newest


def _clear(lock: Path, *, dry_run: bool) -> int:
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = lock.with_suffix("")
        freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if not dry_run:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
    except BlockingIOError:
        return 0
    finally:
        os.close(handle)
    return freed
