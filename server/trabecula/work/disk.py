"""What every writer of durable files needs: flushed folders, and a full disk as an answer to the client."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trabecula.errors import Overloaded

DISK_FULL_RETRY_S: Final = 60.0
"""What a client is asked to wait when there is no room; operators or ``trabecula gc`` make some."""
_OPEN_TO_OTHERS: Final = 0o067
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable (fsync)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private(folder: Path) -> None:
    """Make a folder, and let nobody else in. The right to pass through, which an access list may give to the user
    that PostgreSQL runs as, shows as the group's and stays."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & _OPEN_TO_OTHERS:
        folder.chmod(0o700)


@contextmanager
def disk_full_is_overload() -> Iterator[None]:
    """ENOSPC and EDQUOT become :class:`Overloaded`; other faults of the disk stay what they are.

    Raises:
        Overloaded: with the delay after which to try again.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Overloaded("no room on the disk", retry_after_s=DISK_FULL_RETRY_S) from error
        raise


def check_free(folder: Path, needed_bytes: int) -> None:
    """Raises Overloaded when a file system has less room."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise Overloaded("no room on the disk", retry_after_s=DISK_FULL_RETRY_S)
