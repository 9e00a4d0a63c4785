"""Intervals against published and hand-worked values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.evaluation.statistics import bootstrap_mean, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_agrees_with_published_values(successes: int, trials: int, low: float, high: float) -> None:
    """The last row is Newcombe 1998, Stat Med 17:857-872, table I, method 3."""
    assert wilson(successes, trials) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_wilson_without_trials_says_nothing() -> None:
    assert wilson(0, 0) is None


@given(st.integers(1, 200), st.data())
def test_wilson_holds_the_share(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = wilson(successes, trials)
    assert interval is not None
    assert interval[0] - 1e-9 <= successes / trials <= interval[1] + 1e-9


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap_mean([[2.0, 2.0]] * 6) == (pytest.approx(2.0), pytest.approx(2.0))


def test_bootstrap_wants_five_scans_however_many_vertebrae_they_have() -> None:
    assert bootstrap_mean([[1.0] * 50, [2.0] * 50, [3.0] * 50, [4.0] * 50, []]) is None


def test_bootstrap_draws_scans_not_vertebrae() -> None:
    """Within a scan all vertebrae agree: the interval is that of the scans, as wide as with one vertebra each."""
    means = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    many = bootstrap_mean([[mean] * 40 for mean in means])
    few = bootstrap_mean([[mean] for mean in means])
    assert many == few
    assert many is not None
    assert many[1] - many[0] > 2.0


def test_bootstrap_is_repeatable() -> None:
    scans = [[0.1, 0.4], [0.9], [0.3, 0.3, 0.2], [0.5], [0.8, 0.1]]
    assert bootstrap_mean(scans) == bootstrap_mean(scans)
