"""Telling a study that fails from a place that is down.

A PACS that is away for a night would otherwise use up the attempts of every study in the manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from trabecula.errors import (
    ArchiveRefused,
    ArchiveUnavailable,
    ConfigurationError,
    Overloaded,
    TrabeculaError,
    WorkerNotStarted,
)

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
_OF_THE_PLACE: Final = (ArchiveUnavailable, ArchiveRefused, ConfigurationError, Overloaded, WorkerNotStarted)


class Outage:
    """After a fault of the place one study at a time is tried, with growing pauses, until one is read."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        first_pause_s: float = FIRST_PAUSE_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self._now = now
        self._first_s = first_pause_s
        self._longest_s = longest_pause_s
        self._began: float | None = None
        self._pause_s = first_pause_s
        self._until = 0.0
        self._first_study: int | None = None
        self._certain = False
        self.code: str | None = None
        """What is wrong; None when nothing is."""

    @property
    def lasted_s(self) -> float:
        """Since the first fault; 0 when nothing is wrong."""
        return 0.0 if self._began is None else self._now() - self._began

    def may_take(self, busy: int) -> bool:
        """Whether another study may be taken while so many are in flight."""
        return self._began is None or (busy == 0 and self._now() >= self._until)

    def failed(self, study_id: int, error: TrabeculaError) -> bool:
        """Note a fault; whether the study keeps its attempt, because two of them have failed since one was read."""
        if not isinstance(error, _OF_THE_PLACE):
            self.read()  # the place gave the study, or what there is of it
            return False
        if self._began is None:
            self._began, self._first_study = self._now(), study_id
        else:
            self._pause_s = min(self._longest_s, 2 * self._pause_s)
        if study_id != self._first_study or isinstance(error, WorkerNotStarted | ConfigurationError):
            self._certain = True
        self._until = self._now() + self._pause_s
        self.code = error.code
        return self._certain

    def read(self) -> None:
        """A study was read: nothing is wrong any more."""
        self._began, self._pause_s, self._certain, self.code = None, self._first_s, False, None
