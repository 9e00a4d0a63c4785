"""Which predicted vertebra lies over which of the reference."""

from __future__ import annotations

import numpy as np

from trabecula.anatomy import LabelArray, Level, VertebraPart, vertebra_label
from trabecula.evaluation.matching import match_vertebrae


def column(first: Level, count: int, *, start: int = 4, height: int = 10) -> LabelArray:
    """Bodies on top of each other, head at the high end of k."""
    labels = np.zeros((height * count + 20, 12, 12), dtype=np.uint8)
    for n in range(count):
        level = Level.from_ordinal(first.ordinal + n)
        k = labels.shape[0] - 10 + start - height * (n + 1)
        labels[k : k + height - 2, 3:9, 3:9] = vertebra_label(level, VertebraPart.BODY)
    return labels


def test_equal_labels_match_by_name() -> None:
    labels = column(Level.T9, 5)
    assert match_vertebrae(labels, labels) == {
        level: level for level in (Level.T9, Level.T10, Level.T11, Level.T12, Level.L1)
    }


def test_names_do_not_matter() -> None:
    matched = match_vertebrae(column(Level.T10, 4), column(Level.T9, 4))
    assert matched == {Level.T9: Level.T10, Level.T10: Level.T11, Level.T11: Level.T12, Level.T12: Level.L1}


def test_a_small_shift_still_matches() -> None:
    matched = match_vertebrae(column(Level.T9, 4, start=6), column(Level.T9, 4))
    assert matched == {level: level for level in (Level.T9, Level.T10, Level.T11, Level.T12)}


def test_a_merged_pair_matches_one_of_the_two() -> None:
    labels = column(Level.T9, 4)
    merged = labels.copy()
    merged[merged == vertebra_label(Level.T10, VertebraPart.BODY)] = vertebra_label(Level.T11, VertebraPart.BODY)
    matched = match_vertebrae(merged, labels)
    assert len(matched) == 3
    assert sorted(matched.values(), key=lambda level: level.ordinal) == [Level.T9, Level.T11, Level.T12]


def test_bodies_that_hardly_touch_are_not_the_same() -> None:
    assert match_vertebrae(column(Level.T9, 1, start=10), column(Level.T9, 1)) == {}


def test_posterior_elements_alone_match_nothing() -> None:
    labels = column(Level.T9, 3)
    assert match_vertebrae(np.where(labels > 0, labels + 32, 0).astype(np.uint8), labels) == {}
