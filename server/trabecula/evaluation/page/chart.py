"""The reliability chart: how sure the level names are against how often they are right, as places on a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trabecula.evaluation.summary import ConfidenceBin

LEFT: Final = 46.0
BOTTOM: Final = 196.0
SIDE: Final = 180.0
"""Length of both axes; the chart is drawn on 250 x 230."""


@dataclass(frozen=True)
class Dot:
    """One stretch of confidence."""

    x: float
    y: float
    low_y: float
    high_y: float
    radius: float
    text: str


def reliability_chart(bins: Sequence[ConfidenceBin]) -> tuple[Dot, ...]:
    """Dots with 95 % intervals; their area goes with the number of vertebrae."""
    most = max((each.vertebrae for each in bins), default=1)
    return tuple(
        Dot(
            x=LEFT + SIDE * each.mean_confidence,
            y=BOTTOM - SIDE * each.right,
            low_y=BOTTOM - SIDE * each.interval[0],
            high_y=BOTTOM - SIDE * each.interval[1],
            radius=3.0 + 4.0 * (each.vertebrae / most) ** 0.5,
            text=f"{each.vertebrae} vertebrae: {each.mean_confidence:.0%} sure, {each.right:.0%} right",
        )
        for each in bins
    )
