"""Private folders for running work, gone with it; those of a killed process are cleared by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Scratch:
    """A folder of this process under a folder that several processes share."""

    def __init__(self, parent: Path) -> None:
        """Make it, and delete those whose process is gone.

        Args:
            parent: made private to the user (0700), as documents hold patient data.
        """
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent.chmod(0o700)
        for each in parent.glob("*.lock"):
            _clear_if_abandoned(each)
        self._lock = parent / f"{uuid.uuid4().hex}.lock"
        self._folder = self._lock.with_suffix("")
        self._handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._folder.mkdir(mode=0o700)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder for the time of the block."""
        made = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def close(self) -> None:
        """Delete it; may be called more than once."""
        if self._handle < 0:
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = -1


def _clear_if_abandoned(lock: Path) -> None:
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
    finally:
        os.close(handle)
