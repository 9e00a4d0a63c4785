"""From words of progress to stages."""

from __future__ import annotations

import pytest

from trabecula.outcome import Stage
from trabecula.telemetry.stages import OF_STAGE, Passage, StageWatch, WatchedStage, watched


class Told:
    """A watch on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.began: list[WatchedStage] = []
        self.ended: list[Passage] = []
        clock = lambda: self.now_s  # noqa: E731
        self.watch = StageWatch(self.began.append, self.ended.append, lambda: 1000.0 + self.now_s, clock)

    def after(self, seconds: float) -> StageWatch:
        self.now_s += seconds
        return self.watch


def test_every_stage_of_a_screening_is_watched_as_one() -> None:
    for stage in Stage:
        assert watched(stage, 0.0) in WatchedStage
    assert set(OF_STAGE) == set(Stage) - {Stage.IMAGING}


def test_headers_are_the_gate_and_pixels_the_decoding() -> None:
    assert watched(Stage.IMAGING, 0.3) is WatchedStage.GATE
    assert watched(Stage.IMAGING, 0.31) is WatchedStage.DECODE


def test_a_stage_lasts_from_its_first_word_to_its_last() -> None:
    told = Told()
    told.watch.heard(Stage.SEGMENTATION, 0.0)
    told.after(2.0).heard(Stage.SEGMENTATION, 0.5)
    told.after(3.0).heard(Stage.SEGMENTATION, 1.0)
    told.after(7.0).heard(Stage.BONE, 0.0)  # nobody's time
    assert told.began == [WatchedStage.SEGMENT, WatchedStage.MEASURE]
    assert told.ended == [Passage(WatchedStage.SEGMENT, 1100.0, 5.0)]
    assert told.watch.stage is WatchedStage.MEASURE


def test_a_stage_that_is_entered_twice_counts_with_its_sum() -> None:
    told = Told()
    for stage in (Stage.BONE, Stage.CALIBRATION, Stage.DENSITY, Stage.COMPOSITION):
        told.watch.heard(stage, 0.0)
        told.after(1.0).heard(stage, 1.0)
    told.watch.leave()
    assert told.watch.totals_s == {WatchedStage.MEASURE: 2.0, WatchedStage.CALIBRATE: 2.0}
    assert [each.stage for each in told.ended] == [WatchedStage.MEASURE, WatchedStage.CALIBRATE, WatchedStage.MEASURE]


def test_a_study_refused_at_the_gate_has_decoded_nothing() -> None:
    told = Told()
    told.watch.heard(Stage.IMAGING, 0.0)
    told.after(1.0).heard(Stage.IMAGING, 0.3)
    told.after(1.0).heard(Stage.IMAGING, 1.0)
    told.watch.leave()
    assert told.watch.totals_s == {WatchedStage.GATE: 2.0}


def test_what_fails_stays_where_it_was_and_counts_no_time() -> None:
    told = Told()
    told.watch.enter(WatchedStage.FETCH)
    assert told.watch.stage is WatchedStage.FETCH
    assert told.watch.totals_s == {}
    told.after(4.0).leave(now=True)
    assert told.watch.totals_s == {WatchedStage.FETCH: 4.0}
    assert told.watch.stage is None
    told.watch.leave()
    assert len(told.ended) == 1


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_one_word_alone_is_a_stage_without_time(fraction: float) -> None:
    told = Told()
    told.watch.heard(Stage.BONE, fraction)
    told.after(9.0).leave()
    assert told.ended == [Passage(WatchedStage.MEASURE, 1100.0, 0.0)]
