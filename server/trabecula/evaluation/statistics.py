"""Intervals for few scans: of a proportion, and of a mean over vertebrae that share a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from trabecula.geometry import FloatArray

Z_95: Final = 1.959964
"""97.5 % quantile of the normal distribution."""
FEWEST_FOR_BOOTSTRAP: Final = 5
"""With fewer scans no interval is given: resampling so few says nothing about other scans."""
_RESAMPLES: Final = 4000
_SEED: Final = 20260101


def wilson(successes: int, trials: int) -> tuple[float, float] | None:
    """95 % interval of a proportion (Wilson 1927, JASA 22:209-212); None without trials."""
    if trials == 0:
        return None
    share, z2 = successes / trials, Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap_mean(by_scan: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """95 % percentile interval of the mean of all values, scans drawn with replacement (Efron 1979, Ann Stat 7:1-26).

    Scans are drawn, not vertebrae: those of one scan err together. None with fewer than five scans. The same input
    gives the same interval.
    """
    scans = [np.asarray(values, dtype=np.float64) for values in by_scan if len(values)]
    if len(scans) < FEWEST_FOR_BOOTSTRAP:
        return None
    sums: FloatArray = np.array([values.sum() for values in scans])
    counts: FloatArray = np.array([len(values) for values in scans], dtype=np.float64)
    drawn = np.random.default_rng(_SEED).integers(len(scans), size=(_RESAMPLES, len(scans)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
