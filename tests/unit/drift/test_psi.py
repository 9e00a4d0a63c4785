"""The population stability index: what it is worth by its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.clinical import load_constants
from trabecula.drift.evaluate import DriftRules
from trabecula.drift.psi import by_chance, shares, stability_index

LEAST = 1e-4
PAIRS = st.integers(2, 12).flatmap(
    lambda bins: st.tuples(*(st.lists(st.integers(0, 500), min_size=bins, max_size=bins) for _ in range(2)))
)


@given(PAIRS)
def test_it_is_symmetric_and_never_negative(pair: tuple[list[int], list[int]]) -> None:
    one, other = ([count + (not any(counts)) for count in counts] for counts in pair)
    there, back = stability_index(one, other, LEAST), stability_index(other, one, LEAST)
    assert there == pytest.approx(back)
    assert there >= 0.0
    assert math.isfinite(there)


@given(st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(any), st.integers(1, 50))
def test_equal_shares_give_zero_whatever_the_number(counts: list[int], times: int) -> None:
    assert stability_index(counts, [times * count for count in counts], LEAST) == pytest.approx(0.0, abs=1e-12)


@given(st.integers(2, 12).flatmap(lambda bins: st.permutations(range(bins))))
def test_the_order_of_bins_does_not_matter(order: list[int]) -> None:
    one, other = [index + 1 for index in range(len(order))], [2 * len(order) - index for index in range(len(order))]
    mixed = stability_index([one[i] for i in order], [other[i] for i in order], LEAST)
    assert mixed == pytest.approx(stability_index(one, other, LEAST))


@given(st.floats(-1.0, 1.0), st.floats(0.1, 2.0))
def test_it_grows_with_the_shift(start: float, step: float) -> None:
    """A normal distribution moved away from the reference, by exact shares of ten bins."""

    def moved(by: float) -> float:
        edges = [-1.2816, -0.8416, -0.5244, -0.2533, 0.0, 0.2533, 0.5244, 0.8416, 1.2816]
        below = [0.0, *(0.5 * (1 + math.erf((edge - by) / math.sqrt(2))) for edge in edges), 1.0]
        return stability_index([0.1] * 10, list(np.diff(below)), LEAST)

    nearer = abs(start)
    assert moved(nearer) < moved(nearer + step)


def test_a_known_value() -> None:
    # (0.5 - 0.25) ln(0.5 / 0.25) + (0.5 - 0.75) ln(0.5 / 0.75)
    assert stability_index([50, 50], [25, 75], LEAST) == pytest.approx(0.25 * math.log(2) - 0.25 * math.log(2 / 3))


def test_an_empty_bin_counts_as_the_least_share() -> None:
    expected = (0.5 - 0.0001) * math.log(0.5 / 0.0001) + (0.5 - 1.0) * math.log(0.5 / 1.0)
    assert stability_index([1, 1], [0, 7], LEAST) == pytest.approx(expected)


@pytest.mark.parametrize("counts", [[0, 0], [-1, 2]])
def test_histograms_of_nothing_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        shares(counts)
    with pytest.raises(ValueError, match="different bins"):
        stability_index([1, 1], [1, 1, 1], LEAST)


def test_what_chance_gives_is_what_samples_of_one_distribution_give() -> None:
    random = np.random.default_rng(5)
    found = [
        stability_index(random.multinomial(1000, [0.1] * 10), random.multinomial(400, [0.1] * 10), LEAST)
        for _ in range(400)
    ]
    assert float(np.mean(found)) == pytest.approx(by_chance(10, 1000, 400), rel=0.05)


def test_chance_alone_stays_under_the_first_threshold_at_the_least_number() -> None:
    rules = DriftRules.of(load_constants())
    assert (rules.look_from, rules.act_above, rules.least_series) == (0.1, 0.25, 300)
    assert by_chance(rules.bins, rules.least_series, rules.least_series) < rules.look_from
