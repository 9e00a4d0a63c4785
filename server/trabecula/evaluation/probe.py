"""Time and peak memory of a piece of work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    wall_s: float
    cpu_s: float
    """Processor time of the whole process meanwhile."""
    peak_memory_mib: float | None
    """Largest resident memory of the process meanwhile. Known on Linux alone, and only where the kernel lets the
    process reset its own mark (proc(5), ``clear_refs``)."""


def probed(work: Callable[[], T]) -> tuple[T, Cost]:
    """The work's value and its cost."""
    reset = _reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    value = work()
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return value, Cost(wall_s, cpu_s, _peak_mib() if reset else None)


def _reset_peak() -> bool:
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _peak_mib() -> float | None:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if found is None else float(found.split()[1]) / 1024.0
