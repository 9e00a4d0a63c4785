"""The two charts of the page, as places on a drawing; the template draws them as SVG."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

from trabecula.anatomy import Level
from trabecula.assessment.assessment import ReadingKind
from trabecula.calibration.calibration import Calibration
from trabecula.outputs.page import words
from trabecula.report import ScreeningReport

COVERAGE: Final = 2.0
"""Coverage factor of the interval drawn: about 95 % of a normal distribution."""


@dataclass(frozen=True)
class Axis:
    """A straight scale from values to places on the drawing."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where ``value`` is drawn, held inside the axis."""
        fraction = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + fraction * (self.end - self.start), 2)


@dataclass(frozen=True)
class Zone:
    """A stretch of the density axis between two cut-offs."""

    start: float
    end: float
    tone: str
    label: str


@dataclass(frozen=True)
class DensityChart:
    """One density with its interval on an axis with the cut-offs it was compared with."""

    zones: tuple[Zone, ...]
    cutoffs: tuple[tuple[float, str], ...]
    """(place, text)"""
    ends: tuple[tuple[float, str], ...]
    point: float
    interval: tuple[float, float] | None
    description: str


def density_chart(report: ScreeningReport) -> DensityChart | None:
    """Chart of the density that decides; None when there is no density."""
    key = key_density(report)
    if key is None:
        return None
    value, error = key.value_mg_cm3, key.standard_uncertainty_mg_cm3
    cutoffs = [] if report.assessment is None else list(report.assessment.density_cutoffs_mg_cm3)
    reach = max([value + COVERAGE * (error or 0.0), 200.0, *cutoffs])
    axis = Axis(0.0, math.ceil(reach / 20) * 20, 20, 620)
    interval = None if error is None else (value - COVERAGE * error, value + COVERAGE * error)
    text = f"{value:.1f} mg/cm³ on an axis from 0 to {axis.high:.0f}"
    if cutoffs:
        text += f" with cut-offs at {' and '.join(f'{cutoff:g}' for cutoff in cutoffs)}"
    return DensityChart(
        zones=_zones(axis, cutoffs),
        cutoffs=tuple((axis.place(cutoff), f"{cutoff:g}") for cutoff in cutoffs),
        ends=((axis.place(axis.low), f"{axis.low:g}"), (axis.place(axis.high), f"{axis.high:g}")),
        point=axis.place(value),
        interval=None if interval is None else (axis.place(interval[0]), axis.place(interval[1])),
        description=text,
    )


def _zones(axis: Axis, cutoffs: list[float]) -> tuple[Zone, ...]:
    edges = [axis.low, *cutoffs, axis.high]
    names = [("rest", "")] * (len(edges) - 1)
    if len(cutoffs) == 2:
        names = [("lowest", "osteoporosis range"), ("low", "low range"), ("rest", "above the low range")]
    pairs = zip(itertools.pairwise(edges), names, strict=True)
    return tuple(Zone(axis.place(start), axis.place(end), tone, label) for (start, end), (tone, label) in pairs)


@dataclass(frozen=True)
class KeyDensity:
    """The density that the cut-offs were compared with."""

    value_mg_cm3: float
    standard_uncertainty_mg_cm3: float | None
    levels: tuple[Level, ...]
    direct: bool
    """Read by the cut-offs of its own level, not as lumbar equivalent."""


def key_density(report: ScreeningReport) -> KeyDensity | None:
    """The reading that decides; the lumbar equivalent where no reading says so; None when there is no density."""
    density = report.density
    if density is None or density.lumbar_equivalent_mg_cm3 is None:
        return None
    readings = () if report.assessment is None else report.assessment.readings
    decides = next((reading for reading in readings if reading.decides), None)
    if decides is not None:
        direct = decides.kind is ReadingKind.DIRECT
        return KeyDensity(decides.value_mg_cm3, decides.standard_uncertainty_mg_cm3, decides.levels, direct)
    error = density.lumbar_equivalent_standard_uncertainty_mg_cm3
    return KeyDensity(density.lumbar_equivalent_mg_cm3, error, density.levels_used, direct=False)


@dataclass(frozen=True)
class Reference:
    """One reference tissue on both panels of the calibration chart."""

    name: str
    used: bool
    x: float
    y: float
    row: float
    residual: float
    bar: tuple[float, float]
    residual_text: str
    outside: bool
    """The residual lies past the end of its axis."""


@dataclass(frozen=True)
class CalibrationChart:
    """Left: measured and nominal HU with the fitted line. Right: what the line leaves over."""

    references: tuple[Reference, ...]
    line: tuple[float, float, float, float]
    """x1, y1, x2, y2"""
    ticks_x: tuple[tuple[float, str], ...]
    ticks_y: tuple[tuple[float, str], ...]
    residual_ticks: tuple[tuple[float, str], ...]
    residual_zero: float
    height: float
    description: str


def calibration_chart(calibration: Calibration | None) -> CalibrationChart | None:
    """Chart of a calibration; None when no reference tissue was measured."""
    if calibration is None or not calibration.references:
        return None
    values = [v for r in calibration.references for v in (r.hu_measured, r.hu_nominal)]
    low, high = min(-1100.0, *values), max(200.0, *values)
    x, y = Axis(low, high, 58, 300), Axis(low, high, 222, 16)
    residuals = [_residual(calibration, index) for index in range(len(calibration.references))]
    reach = _reach(calibration, residuals)
    r = Axis(-reach, reach, 452, 620)
    references = tuple(
        Reference(
            name=words.TISSUES[reference.tissue],
            used=reference.used,
            x=x.place(reference.hu_measured),
            y=y.place(reference.hu_nominal),
            row=34 + 42 * index,
            residual=r.place(residual),
            bar=(
                r.place(residual - reference.standard_deviation_hu),
                r.place(residual + reference.standard_deviation_hu),
            ),
            residual_text=f"{'+' if residual > 0 else ''}{words.number(residual, 0)}",
            outside=abs(residual) > reach,
        )
        for index, (reference, residual) in enumerate(zip(calibration.references, residuals, strict=True))
    )
    used = sum(reference.used for reference in calibration.references)
    return CalibrationChart(
        references=references,
        line=_line(calibration, x, y),
        ticks_x=tuple((x.place(tick), words.number(tick, 0)) for tick in (-1000, -500, 0)),
        ticks_y=tuple((y.place(tick), words.number(tick, 0)) for tick in (-1000, -500, 0)),
        residual_ticks=tuple((r.place(tick), words.number(tick, 0)) for tick in (-reach, 0, reach)),
        residual_zero=r.place(0),
        height=max(262.0, 60.0 + 42 * len(references)),
        description=f"{used} of {len(references)} reference tissues used; fitted line: "
        f"{calibration.gain:.3f} times measured HU {calibration.offset_hu:+.1f}",
    )


def _residual(calibration: Calibration, index: int) -> float:
    reference = calibration.references[index]
    return calibration.gain * reference.hu_measured + calibration.offset_hu - reference.hu_nominal


def _reach(calibration: Calibration, residuals: list[float]) -> float:
    """Half width of the residual axis: what the references in use need, in steps of 10 HU."""
    pairs = zip(calibration.references, residuals, strict=True)
    needed = [abs(residual) + reference.standard_deviation_hu for reference, residual in pairs if reference.used]
    return max(20.0, math.ceil(max(needed, default=0.0) / 10) * 10)


def _line(calibration: Calibration, x: Axis, y: Axis) -> tuple[float, float, float, float]:
    """The fitted line, cut where it leaves the drawing."""
    ends = []
    for measured in (x.low, x.high):
        nominal = min(max(calibration.gain * measured + calibration.offset_hu, y.low), y.high)
        ends.append((x.place((nominal - calibration.offset_hu) / calibration.gain), y.place(nominal)))
    (x1, y1), (x2, y2) = ends
    return x1, y1, x2, y2
