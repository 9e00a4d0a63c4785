"""Agreement with the truth, in the terms of Bland and Altman, and whether the stated error is honest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from cohort.materials import FloatArray

COVERAGE_FACTOR: Final = 1.96
_FEWEST: Final = 8
"""Groups with fewer patients get no figures."""


@dataclass(frozen=True)
class Agreement:
    """Densities against truth, mg/cm3."""

    count: int
    bias: float
    bias_low: float
    """95 % confidence interval of the bias."""
    bias_high: float
    sd: float
    rmse: float
    limit_low: float
    """95 % limits of agreement."""
    limit_high: float
    covered: float | None
    """Share of patients whose stated 95 % interval holds the truth; None where no error is stated."""
    covered_low: float | None
    """95 % confidence interval of that share (Wilson)."""
    covered_high: float | None
    stated: float | None
    """Root mean square of the stated standard uncertainty."""


def agreement(errors: FloatArray, stated: FloatArray | None) -> Agreement | None:
    """None for a group too small to judge."""
    count = len(errors)
    if count < _FEWEST:
        return None
    bias, sd = float(errors.mean()), float(errors.std(ddof=1))
    half = 1.96 * sd / math.sqrt(count)
    covered = low = high = rms = None
    if stated is not None:
        hits = int((np.abs(errors) <= COVERAGE_FACTOR * stated).sum())
        covered, (low, high) = hits / count, wilson(hits, count)
        rms = float(np.sqrt(np.mean(stated**2)))
    return Agreement(
        count, bias, bias - half, bias + half, sd, float(np.sqrt(np.mean(errors**2))),
        bias - 1.96 * sd, bias + 1.96 * sd, covered, low, high, rms,
    )  # fmt: skip


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share."""
    z2 = 1.96**2
    centre = (hits + z2 / 2.0) / (count + z2)
    half = 1.96 * math.sqrt(hits * (count - hits) / count + z2 / 4.0) / (count + z2)
    return centre - half, centre + half


@dataclass(frozen=True)
class Comparison:
    """Two methods on the patients that both answered."""

    count: int
    rmse_ours: float
    rmse_theirs: float
    better: bool | None
    """None where the 95 % interval of the difference (bootstrap over patients) holds zero."""


def compare(ours: FloatArray, theirs: FloatArray, seed: int = 1) -> Comparison | None:
    """By root mean square error; ``ours`` and ``theirs`` are errors of the same patients in the same order."""
    count = len(ours)
    if count < _FEWEST:
        return None
    draws = np.random.default_rng(seed).integers(count, size=(2000, count))
    gain = np.sqrt((theirs[draws] ** 2).mean(axis=1)) - np.sqrt((ours[draws] ** 2).mean(axis=1))
    low, high = np.percentile(gain, [2.5, 97.5])
    better = True if low > 0 else False if high < 0 else None
    return Comparison(count, _rms(ours), _rms(theirs), better)


def rms_cv_percent(pairs: Sequence[tuple[float, float]]) -> float:
    """Root mean square coefficient of variation of repeated readings (Gluer 1995)."""
    squares = [(a - b) ** 2 / 2.0 / ((a + b) / 2.0) ** 2 for a, b in pairs]
    return 100.0 * math.sqrt(sum(squares) / len(squares))


def line_to_truth(values: FloatArray, truth: FloatArray) -> tuple[float, float]:
    """Slope and intercept of the straight line that brings a method closest to the truth."""
    slope, intercept = np.polyfit(values, truth, 1)
    return float(slope), float(intercept)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
