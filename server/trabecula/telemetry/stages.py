"""The stages as operators watch them, and which of them a running screening is in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trabecula.outcome import Stage
from trabecula.progress import HEADERS_SHARE


class WatchedStage(StrEnum):
    """From the study's bytes to the delivered result, in the order they run."""

    FETCH = "fetch"
    """Making the study's files readable: a download, with object storage."""
    GATE = "gate"
    """Reading headers, choosing the series, and judging whether it can be used."""
    DECODE = "decode"
    """Pixels of the chosen series."""
    SEGMENT = "segment"
    MEASURE = "measure"
    """Bone, muscle and fat."""
    CALIBRATE = "calibrate"
    """Hounsfield units to density."""
    REPORT = "report"
    """Assessment, recommendations, documents, and the transaction that ends the screening."""
    DELIVER = "deliver"
    """One attempt to bring a result to one destination."""


OF_STAGE: Final = {
    Stage.SEGMENTATION: WatchedStage.SEGMENT,
    Stage.BONE: WatchedStage.MEASURE,
    Stage.CALIBRATION: WatchedStage.CALIBRATE,
    Stage.DENSITY: WatchedStage.CALIBRATE,
    Stage.COMPOSITION: WatchedStage.MEASURE,
    Stage.ASSESSMENT: WatchedStage.REPORT,
    Stage.RECOMMENDATION: WatchedStage.REPORT,
}
"""Without imaging, which is two: see :func:`watched`."""


def watched(stage: Stage, fraction: float) -> WatchedStage:
    """The stage that work is in, by its progress."""
    if stage is Stage.IMAGING:
        return WatchedStage.GATE if fraction <= HEADERS_SHARE else WatchedStage.DECODE
    return OF_STAGE[stage]


@dataclass(frozen=True)
class Passage:
    """One uninterrupted time in a stage."""

    stage: WatchedStage
    started_at_s: float
    """Seconds since 1970."""
    seconds: float


class StageWatch:
    """Follows one attempt from stage to stage; tells when each begins and ends.

    A stage ends with the last word of it, so that what lies between two stages belongs to none. Not for several
    threads at once: progress comes from one, and the rest before and after.
    """

    def __init__(
        self,
        began: Callable[[WatchedStage], None],
        ended: Callable[[Passage], None],
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._began = began
        self._ended = ended
        self._wall = wall
        self._now = now
        self._stage: WatchedStage | None = None
        self._started_at_s = self._started_s = self._last_s = 0.0
        self._total_s: dict[WatchedStage, float] = {}

    @property
    def stage(self) -> WatchedStage | None:
        """Where it is; after a failure, where that was."""
        return self._stage

    @property
    def totals_s(self) -> dict[WatchedStage, float]:
        """Seconds in each stage that has ended."""
        return dict(self._total_s)

    def heard(self, stage: Stage, fraction: float) -> None:
        """A word of progress."""
        place = watched(stage, fraction)
        if fraction >= 1.0 and place is WatchedStage.DECODE and self._stage is WatchedStage.GATE:
            place = WatchedStage.GATE  # refused before any pixel was decoded
        self.enter(place)

    def enter(self, stage: WatchedStage) -> None:
        """Work is in this stage now."""
        now = self._now()
        if stage is self._stage:
            self._last_s = now
            return
        self.leave()
        self._stage, self._started_at_s, self._started_s, self._last_s = stage, self._wall(), now, now
        self._began(stage)

    def leave(self, *, now: bool = False) -> None:
        """The stage has ended: with its last word, or at this moment."""
        if self._stage is None:
            return
        seconds = (self._now() if now else self._last_s) - self._started_s
        stage, self._stage = self._stage, None
        self._total_s[stage] = self._total_s.get(stage, 0.0) + seconds
        self._ended(Passage(stage, self._started_at_s, seconds))
