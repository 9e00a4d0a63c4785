"""How a running screening tells its caller where it is, how the caller stops it, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from trabecula.outcome import Stage

ProgressListener = Callable[[Stage, float], None]
"""Called with the stage and the fraction of that stage done (0 .. 1), at least at its start and end and
between inference tiles. It may raise :class:`trabecula.errors.Cancelled`; stages let that through."""

HEADERS_SHARE: Final = 0.3
"""Up to this fraction of the imaging stage headers are read and the series is chosen; beyond, pixels are decoded."""


def no_progress(stage: Stage, fraction: float) -> None:
    """Listener for callers that do not care."""


class StageClock:
    """Wall time of the stages of one screening; announces each stage's start and end to the listener."""

    def __init__(self, listener: ProgressListener, now: Callable[[], float] = time.perf_counter) -> None:
        self._listener = listener
        self._now = now
        self._started_s = now()
        self._stages_s: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[ProgressListener]:
        """Time a stage; gives the listener for progress inside it."""
        self._listener(stage, 0.0)
        started_s = self._now()
        yield self._listener
        self._stages_s[stage.value] = self._now() - started_s
        self._listener(stage, 1.0)

    def timings_s(self) -> dict[str, float]:
        """Seconds by stage, in running order, and ``total`` since the clock was made."""
        return {**self._stages_s, "total": self._now() - self._started_s}
