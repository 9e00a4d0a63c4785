"""Population stability index of two histograms.

PSI = sum over bins of (p - q) ln(p / q): the symmetric Kullback-Leibler divergence (Jeffreys) of the shares p and q.
It is 0 for equal shares and does not depend on which of the two is called the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def shares(counts: Sequence[float]) -> tuple[float, ...]:
    """Counts as shares of their sum.

    Raises:
        ValueError: if a count is negative, or all are zero.
    """
    total = math.fsum(counts)
    if total <= 0.0 or any(count < 0.0 for count in counts):
        raise ValueError("counts must not be negative, and not all zero")
    return tuple(count / total for count in counts)


def stability_index(reference: Sequence[float], observed: Sequence[float], least_share: float) -> float:
    """PSI of two histograms over the same bins.

    Args:
        reference: counts or shares.
        observed: likewise.
        least_share: what a bin counts for at least, so that an empty one has a logarithm.

    Raises:
        ValueError: if they have different bins, or one of them holds nothing.
    """
    if len(reference) != len(observed):
        raise ValueError("histograms over different bins")
    pairs = zip(shares(reference), shares(observed), strict=True)
    floored = ((max(p, least_share), max(q, least_share)) for p, q in pairs)
    return math.fsum((p - q) * math.log(p / q) for p, q in floored)


def by_chance(bins: int, reference: float, observed: float) -> float:
    """PSI to expect of two samples of one distribution: (bins - 1) (1/n + 1/m), as for chi-square.

    Yurdakul 2018, "Statistical Properties of Population Stability Index" (Western Michigan University, dissertation
    3208); recalled.
    """
    return (bins - 1) * (1.0 / reference + 1.0 / observed)
