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
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable (fsync)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
