"""The scanner's own history: validity, maintenance, drift, refusal when stale, and the file it is kept in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trabecula.calibration.asynchronous import Asynchronous, Standing, WhenStale, history_state
from trabecula.calibration.calibrate import calibrate_findings
from trabecula.calibration.calibration import Calibration, CalibrationMethod, CorrectionName, DensityScale
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.hu_only import HuOnly
from trabecula.calibration.model import Beam, CalibrationModel
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.phantom_fit import PhantomFit
from trabecula.calibration.profile import CalibrationProfile
from trabecula.calibration.scanner_history import (
    Maintenance,
    PhantomScan,
    ScannerHistory,
    ScannerKey,
    read_history,
    write_history,
)
from trabecula.clinical import ClinicalConstants
from trabecula.errors import SiteFileError
from trabecula.imaging.study import KernelClass, SpectralFilter
from trabecula.outcome import Refusal, RefusalCode

KEY = ScannerKey("0123456789abcdef", 120.0, SpectralFilter.NONE, KernelClass.SOFT)
DAY = date(2026, 6, 15)
FIT = PhantomFit(DensityScale.K2HPO4, 1.36, 4.0, 1e-6, 0.04, -1e-4, 0.9995, 0.8)


def scan(days_before: int, offset_hu: float = 4.0, key: ScannerKey = KEY, cm: float = 28.0) -> PhantomScan:
    return PhantomScan(key, DAY - timedelta(days=days_before), replace(FIT, offset_hu=offset_hu), cm, "phantom 1")


def serviced(days_before: int) -> Maintenance:
    return Maintenance(KEY.station_hash, DAY - timedelta(days=days_before), "tube change")


@pytest.mark.parametrize(
    ("history", "standing"),
    [
        (ScannerHistory((scan(10),)), Standing.CURRENT),
        (ScannerHistory((scan(89),)), Standing.CURRENT),
        (ScannerHistory((scan(95),)), Standing.STALE),
        (ScannerHistory((scan(10),), (serviced(5),)), Standing.AFTER_MAINTENANCE),
        (ScannerHistory((scan(10),), (serviced(10),)), Standing.CURRENT),
        (ScannerHistory((scan(10), scan(2)), (serviced(5),)), Standing.CURRENT),
        (ScannerHistory((scan(-20),)), Standing.CURRENT),
        (ScannerHistory((scan(-20),), (serviced(-10),)), Standing.AFTER_MAINTENANCE),
        (ScannerHistory((scan(10),), (Maintenance("another scanner", DAY, "x"),)), Standing.CURRENT),
        (ScannerHistory((scan(10, key=replace(KEY, kvp=100.0)),)), Standing.UNKNOWN_SCANNER),
        (ScannerHistory((scan(10, key=replace(KEY, kernel_class=KernelClass.SHARP)),)), Standing.UNKNOWN_SCANNER),
        (ScannerHistory((scan(10, key=replace(KEY, spectral_filter=SpectralFilter.TIN)),)), Standing.UNKNOWN_SCANNER),
        (ScannerHistory(), Standing.UNKNOWN_SCANNER),
    ],
)
def test_how_a_history_stands(constants: ClinicalConstants, history: ScannerHistory, standing: Standing) -> None:
    assert history_state(history, KEY, DAY, constants).standing is standing


@given(rate=st.floats(-4.0, 4.0))
def test_drift_is_found_from_the_phantom_scans(constants: ClinicalConstants, rate: float) -> None:
    history = ScannerHistory(tuple(scan(days, 4.0 - rate * days / 365.25) for days in range(5, 190, 30)))
    state = history_state(history, KEY, DAY, constants)
    assert state.drift_is_fitted
    assert state.drift_hu_per_year == pytest.approx(rate, abs=0.01)


def calibrated(
    history: ScannerHistory,
    model: CalibrationModel,
    constants: ClinicalConstants,
    acquired: Any,
    profile: CalibrationProfile | None = None,
    **changes: object,
) -> Calibration | Refusal:
    usual = {"station_hash": KEY.station_hash, "acquired_at": f"{DAY.isoformat()}T08:00:00"} | changes
    profile = profile or CalibrationProfile(methods=(Asynchronous(history),))
    return calibrate_findings(ScanFindings({}, PatientSize(28.0, False)), acquired(**usual), model, constants, profile)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(density=st.floats(20.0, 250.0), offset=st.floats(-12.0, 12.0))
def test_the_line_of_the_nearest_phantom_scan_is_used(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, density: float, offset: float
) -> None:
    history = ScannerHistory((scan(80, 0.0), scan(3, offset)))
    calibration = calibrated(history, model, constants, acquired)
    assert isinstance(calibration, Calibration)
    assert calibration.method is CalibrationMethod.ASYNCHRONOUS
    shown = 1.36 * density + offset + calibration.marrow_correction_hu
    assert calibration.density_mg_cm3(shown) == pytest.approx(density, abs=0.01)


def test_drift_since_the_phantom_scan_is_a_step_and_moves_density(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    rate = -6.0
    history = ScannerHistory(tuple(scan(days, 4.0 - rate * days / 365.25) for days in range(60, 260, 30)))
    calibration = calibrated(history, model, constants, acquired)
    assert isinstance(calibration, Calibration)
    step = next(s for s in calibration.corrections if s.name is CorrectionName.DRIFT)
    assert step.amount == pytest.approx(rate * 60 / 365.25, abs=0.05)
    assert -calibration.offset_hu == pytest.approx(4.0, abs=0.05)


def test_a_bigger_patient_than_the_phantom_scan_has_a_smaller_slope(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    calibration = calibrated(ScannerHistory((scan(3, cm=22.0),)), model, constants, acquired)
    assert isinstance(calibration, Calibration)
    big, small = (model.spectrum(Beam(120.0, False, cm), 0.0).slope_hu_per_mg_cm3 for cm in (28.0, 22.0))
    assert calibration.slope_hu_per_mg_cm3 == pytest.approx(1.36 * big / small)
    assert calibration.slope_hu_per_mg_cm3 < 1.36


@pytest.mark.parametrize("history", [ScannerHistory((scan(200),)), ScannerHistory((scan(10),), (serviced(5),))])
def test_a_history_that_no_longer_holds_is_refused_with_its_code(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, history: ScannerHistory
) -> None:
    outcome = calibrated(history, model, constants, acquired)
    assert isinstance(outcome, Refusal)
    assert outcome.code is RefusalCode.CALIBRATION_STALE
    both = CalibrationProfile(methods=(Asynchronous(history), HuOnly()))
    assert isinstance(calibrated(history, model, constants, acquired, both), Refusal)


def test_the_next_method_takes_over_only_where_the_site_says_so(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    stale = Asynchronous(ScannerHistory((scan(200),)), WhenStale.FALL_BACK)
    profile = CalibrationProfile(methods=(stale, HuOnly()))
    outcome = calibrated(stale.history, model, constants, acquired, profile)
    assert isinstance(outcome, Calibration)
    assert outcome.method is CalibrationMethod.HU_ONLY
    assert [v.method for v in outcome.alternatives] == [CalibrationMethod.ASYNCHRONOUS]
    assert "validity window" in outcome.alternatives[0].because


def test_a_scan_of_an_unknown_scanner_goes_to_the_next_method(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any
) -> None:
    history = ScannerHistory((scan(3),))
    profile = CalibrationProfile(methods=(Asynchronous(history), HuOnly()))
    for change in ({"station_hash": "other"}, {"acquired_at": None}, {"kvp": 100.0}):
        outcome = calibrated(history, model, constants, acquired, profile, **change)
        assert isinstance(outcome, Calibration)
        assert outcome.method is CalibrationMethod.HU_ONLY


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    history = ScannerHistory((scan(30), scan(3, -2.5)), (serviced(10),))
    path = tmp_path / "site" / "scanners.json"
    write_history(history, path)
    assert read_history(path) == history
    assert read_history(tmp_path / "none.json") == ScannerHistory()


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "phantom_scans": [], "maintenance": []}', '{"format": 1}'])
def test_another_file_is_an_error_and_no_empty_history(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scanners.json"
    path.write_text(text)
    with pytest.raises(SiteFileError):
        read_history(path)
