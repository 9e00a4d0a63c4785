"""Asynchronous calibration: the scanner's own history of phantom scans, its validity and its drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Final

import numpy as np

from trabecula.calibration.beam import switched
from trabecula.calibration.build import PhantomLine, build_from_phantom
from trabecula.calibration.calibration import CalibrationMethod, CorrectionName, CorrectionStep
from trabecula.calibration.ground import in_force
from trabecula.calibration.method import NotOffered, Scan, Verdict
from trabecula.calibration.model import Beam
from trabecula.calibration.scanner_history import PhantomScan, ScannerHistory, ScannerKey
from trabecula.calibration.synchronous import fit_notices, poor_fit
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import SpectralFilter
from trabecula.outcome import Refusal, RefusalCode, Stage

_YEAR_DAYS: Final = 365.25


class WhenStale(StrEnum):
    """What to do for a scanner that has a history which no longer holds."""

    REFUSE = "refuse"
    FALL_BACK = "fall-back"


class Standing(StrEnum):
    """How a scanner's history stands on a day."""

    CURRENT = "current"
    STALE = "stale"
    """The nearest phantom scan is too far away."""
    AFTER_MAINTENANCE = "after-maintenance"
    """There is no phantom scan between the same two maintenance events."""
    UNKNOWN_SCANNER = "unknown-scanner"


@dataclass(frozen=True)
class HistoryState:
    """What the history gives for one mode on one day."""

    standing: Standing
    nearest: PhantomScan | None
    days_away: int | None
    scans: int
    """Phantom scans in this mode since the last maintenance."""
    drift_hu_per_year: float
    drift_standard_uncertainty_hu_per_year: float
    drift_is_fitted: bool


def history_state(history: ScannerHistory, key: ScannerKey, day: date, constants: ClinicalConstants) -> HistoryState:
    """State on ``day``.

    Phantom scans after that day count as well (a retrospective study), as long as no maintenance lies between.
    """
    rule = constants.row("calibration.asynchronous")
    alike = history.of_mode(key, rule.number("kvp_tolerance"))
    events = sorted(m.day for m in history.maintenance if m.station_hash == key.station_hash)
    epoch = [scan for scan in alike if _epoch(scan.day, events) == _epoch(day, events)]
    drift, spread, fitted = _drift(epoch, constants)
    if not epoch:
        standing = Standing.AFTER_MAINTENANCE if alike else Standing.UNKNOWN_SCANNER
        return HistoryState(standing, None, None, 0, drift, spread, fitted)
    nearest = min(epoch, key=lambda scan: abs((scan.day - day).days))
    away = abs((nearest.day - day).days)
    standing = Standing.CURRENT if away <= rule.number("valid_days") else Standing.STALE
    return HistoryState(standing, nearest, away, len(epoch), drift, spread, fitted)


def _epoch(day: date, events: Sequence[date]) -> int:
    """How many maintenance events lie before; a phantom scan on the day of the event counts as after it."""
    return sum(event <= day for event in events)


def _drift(scans: Sequence[PhantomScan], constants: ClinicalConstants) -> tuple[float, float, bool]:
    """HU per year of the phantom's offset by linear regression; 0 with the usual spread where scans are too few."""
    rule = constants.row("calibration.asynchronous")
    usual = rule.number("drift_standard_uncertainty_hu_per_year")
    span = (scans[-1].day - scans[0].day).days if scans else 0
    if len(scans) < rule.number("least_scans_for_drift") or span < rule.number("least_days_for_drift"):
        return 0.0, usual, False
    years = np.array([(scan.day - scans[0].day).days / _YEAR_DAYS for scan in scans])
    offset = np.array([scan.fit.offset_hu for scan in scans])
    centred = years - years.mean()
    rate = float(centred @ offset / (centred @ centred))
    left = offset - offset.mean() - rate * centred
    error = math.sqrt(float(left @ left) / max(len(scans) - 2, 1) / float(centred @ centred))
    return rate, min(error, usual), True


@dataclass(frozen=True)
class Asynchronous:
    """The site's history as a method."""

    history: ScannerHistory
    when_stale: WhenStale = WhenStale.REFUSE

    @property
    def method(self) -> CalibrationMethod:
        return CalibrationMethod.ASYNCHRONOUS

    def calibrate(self, scan: Scan) -> Verdict:
        """Use the phantom scan nearest in time, moved by drift and to this patient's size.

        Not offered for a scanner or mode without history. A history that no longer holds is refused (with
        ``calibration-stale``) unless the site lets the next method take over.
        """
        key = ScannerKey.of(scan.acquisition)
        if key is None or scan.acquisition.acquired_at is None:
            return NotOffered("the header does not name scanner, tube voltage and date")
        day = date.fromisoformat(scan.acquisition.acquired_at[:10])
        state = history_state(self.history, key, day, scan.constants)
        if state.standing is Standing.UNKNOWN_SCANNER:
            return NotOffered("no phantom scans of this scanner at this tube voltage, filter and kernel")
        if state.standing is not Standing.CURRENT or state.nearest is None:
            return self._stale(state)
        problem = poor_fit(state.nearest.fit, scan.constants)
        return NotOffered(problem) if problem else _calibrated(scan, self.method, state, state.nearest, day)

    def _stale(self, state: HistoryState) -> NotOffered | Refusal:
        since = "since maintenance" if state.standing is Standing.AFTER_MAINTENANCE else "within the validity window"
        problem = f"the scanner has no phantom scan {since}"
        if self.when_stale is WhenStale.FALL_BACK:
            return NotOffered(problem)
        return Refusal(
            RefusalCode.CALIBRATION_STALE,
            Stage.CALIBRATION,
            f"Asynchronous calibration does not hold: {problem}.",
            "Scan the phantom and add it with `trabecula scanner add-phantom-scan`, or let the site's profile fall "
            "back on another method.",
        )


def _calibrated(scan: Scan, method: CalibrationMethod, state: HistoryState, nearest: PhantomScan, day: date) -> Verdict:
    years = (day - nearest.day).days / _YEAR_DAYS
    source = scan.constants["calibration.asynchronous"].source
    drift = switched(
        CorrectionStep(
            CorrectionName.DRIFT,
            state.drift_hu_per_year * years,
            "HU",
            f"{state.scans} phantom scans of this scanner" if state.drift_is_fitted else source,
            state.drift_standard_uncertainty_hu_per_year * abs(years),
        ),
        scan.site.without,
    )
    size = switched(_size_step(scan, nearest), scan.site.without)
    acting = in_force(drift)
    spread = scan.constants.row("calibration.phantom")
    line = PhantomLine(
        fit=replace(nearest.fit, offset_hu=nearest.fit.offset_hu + acting.amount),
        slope_relative_uncertainty=math.hypot(
            spread.number("relative_standard_uncertainty"), size.added_standard_uncertainty
        ),
        offset_uncertainty_hu=math.hypot(
            spread.number("offset_standard_uncertainty_hu"), acting.added_standard_uncertainty
        ),
        source=f"{nearest.phantom or 'phantom'} on {nearest.day.isoformat()}",
        slope_ratio=size.amount if size.applied else 1.0,
    )
    notices = fit_notices(nearest.fit, scan.constants)
    return build_from_phantom(scan, method, line, steps=(size, drift), notices=notices)


def _size_step(scan: Scan, nearest: PhantomScan) -> CorrectionStep:
    """Mineral slope in this patient over that at the phantom scan's own size, by the model's table."""
    tin = nearest.key.spectral_filter is SpectralFilter.TIN
    sizes = scan.ground.size.water_equivalent_diameter_cm, nearest.water_equivalent_diameter_cm
    patient, phantom = (scan.model.spectrum(Beam(nearest.key.kvp, tin, cm), 0.0).slope_hu_per_mg_cm3 for cm in sizes)
    spread = scan.constants.row("calibration.asynchronous").number("size_standard_uncertainty")
    table = f"mineral slope, {scan.model.use.name} {scan.model.use.version}"
    return CorrectionStep(CorrectionName.PATIENT_SIZE, patient / phantom, "1", table, spread)
