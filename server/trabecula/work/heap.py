"""Heaps: the C library's in one place and given back to the system after a study, Python's gone through in part.

glibc gives threads heaps of their own, eight for each core, and keeps what is freed in each of them. A process whose
threads come and go, and which now and then needs hundreds of MiB for a moment, so ends up with several times the
memory it uses, and rises for hours until every heap has had its worst study. docs/durable-work.md has the figures.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Final

_M_ARENA_MAX: Final = -8
"""``malloc.h``."""


def share_one_heap() -> bool:
    """Let all threads of this process use one heap; call it before there are threads.

    The lock of that heap is rarely waited for, as Python code allocates under the interpreter's lock anyway.

    Returns:
        Whether the C library can do it (glibc can).
    """
    library = _glibc()
    return library is not None and library.mallopt(_M_ARENA_MAX, 1) == 1


def give_back() -> None:
    """Return free pages of the heap to the system: a few milliseconds. Does nothing without glibc."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def spare_what_stays() -> None:
    """Let the garbage collector pass over all that there is now: call it once a service has started.

    Modules and classes are some 350,000 objects that live as long as the process. Going through them stops every call
    for 100 ms and more, about once a minute under load; without them it takes a few.
    """
    gc.collect()
    gc.freeze()
