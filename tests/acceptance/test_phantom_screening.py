"""A phantom with known densities goes through the whole chain."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from trabecula.assessment.assessment import Category
from trabecula.outputs.report_json import to_json
from trabecula.report import ReportStatus, Screening, ScreeningReport
from trabecula.screening import Engine, screen

BIAS_LIMIT_MG_CM3 = 6.0


@pytest.fixture(scope="module")
def screening(engine: Engine, phantom_study: Path) -> Screening:
    return screen([phantom_study], engine)


def test_every_target_level_is_found_and_named(screening: Screening) -> None:
    levels = [vertebra.level for vertebra in screening.report.vertebrae]
    assert {"T10", "T11", "T12", "L1", "L2"} <= set(levels)
    assert levels == sorted(levels, key=lambda level: level.ordinal)


def test_reported_density_matches_what_the_phantom_holds(screening: Screening, phantom_study: Path) -> None:
    truth = json.loads((phantom_study / "truth.json").read_text(encoding="utf-8"))
    asked = {vertebra["level"]: vertebra["vbmd_mg_cm3"] for vertebra in truth["vertebrae"]}
    used = [vertebra for vertebra in screening.report.vertebrae if vertebra.level in ("T11", "T12", "L1", "L2")]
    errors = [vertebra.vbmd_mg_cm3 - asked[vertebra.level] for vertebra in used if vertebra.vbmd_mg_cm3 is not None]
    assert len(errors) == 4
    assert abs(float(np.mean(errors))) < BIAS_LIMIT_MG_CM3
    assert max(np.abs(errors)) < 2 * BIAS_LIMIT_MG_CM3


def test_stated_uncertainty_covers_the_truth(screening: Screening, phantom_study: Path) -> None:
    truth = json.loads((phantom_study / "truth.json").read_text(encoding="utf-8"))
    asked = {vertebra["level"]: vertebra["vbmd_mg_cm3"] for vertebra in truth["vertebrae"]}
    for vertebra in screening.report.vertebrae:
        if vertebra.level in ("T11", "T12", "L1", "L2") and vertebra.vbmd_mg_cm3 is not None:
            assert vertebra.vbmd_standard_uncertainty_mg_cm3 is not None
            error = abs(vertebra.vbmd_mg_cm3 - asked[vertebra.level])
            assert error < 3 * vertebra.vbmd_standard_uncertainty_mg_cm3


def test_report_says_low_density_with_its_scale_and_method(screening: Screening) -> None:
    report = screening.report
    assert report.status is ReportStatus.REPORTED
    assert report.assessment is not None
    assert report.calibration is not None
    assert report.assessment.category in (
        Category.OSTEOPOROSIS_RANGE,
        Category.INDETERMINATE,
        Category.LOW_BONE_DENSITY_RANGE,
    )
    assert report.calibration.scale == "K2HPO4"
    assert report.calibration.method == "phantomless"
    assert "dxa-confirmation" in {recommendation.action for recommendation in report.recommendations}


def test_composition_is_measured_at_t12_and_near_the_truth(screening: Screening, phantom_study: Path) -> None:
    truth = json.loads((phantom_study / "truth.json").read_text(encoding="utf-8"))
    expected = next(row for row in truth["composition"] if row["level"] == "T12")
    measured = next(row for row in screening.report.composition if row.level == "T12")
    assert measured.muscle_area_cm2 == pytest.approx(expected["muscle_area_cm2"], rel=0.25)
    assert measured.sat_area_cm2 == pytest.approx(expected["subcutaneous_fat_area_cm2"], rel=0.25)


def test_timings_name_every_stage(screening: Screening) -> None:
    assert {"imaging", "segmentation", "bone", "calibration", "total"} <= set(screening.report.timings_s)


def comparable(report: ScreeningReport) -> Any:
    """The report without clock readings."""
    return json.loads(to_json(replace(report, created_at="", timings_s={})))


def assert_same_report(one: ScreeningReport, other: ScreeningReport) -> None:
    """Equal but for clock readings and the last digits of positions (a flipped file states another corner)."""
    _assert_same(comparable(one), comparable(other), "report")


def _assert_same(one: Any, other: Any, where: str) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            _assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            _assert_same(*pair, f"{where}[{index}]")
    elif isinstance(one, float) and isinstance(other, int | float):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4), where
    else:
        assert one == other, where


def rewrite(source: Path, target: Path, change: str) -> None:
    """The same patient written with other rows, columns or file order."""
    target.mkdir()
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.suffix != ".json")
    for index, path in enumerate(reversed(files) if change == "order" else files):
        dataset = pydicom.dcmread(path)
        if change == "rows":
            _flip(dataset, axis=0)
        elif change == "columns":
            _flip(dataset, axis=1)
        dataset.save_as(target / f"{index * 7919 % 100_003:06d}")


def _flip(dataset: FileDataset, axis: int) -> None:
    pixels = np.flip(dataset.pixel_array, axis)
    orientation = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
    # Row index runs along the second direction, column index along the first.
    direction, spacing, count = (
        (orientation[1], float(dataset.PixelSpacing[0]), dataset.Rows)
        if axis == 0
        else (orientation[0], float(dataset.PixelSpacing[1]), dataset.Columns)
    )
    position = np.array(dataset.ImagePositionPatient, dtype=float) + direction * spacing * (count - 1)
    orientation[1 - axis] *= -1
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.10g}" for value in orientation.ravel()]
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()


@pytest.mark.parametrize("change", ["order", "rows", "columns"])
def test_flips_and_file_order_change_nothing(
    engine: Engine, screening: Screening, phantom_study: Path, tmp_path: Path, change: str
) -> None:
    rewrite(phantom_study, tmp_path / change, change)
    report = screen([tmp_path / change], engine).report
    assert_same_report(report, screening.report)
    if change == "order":
        assert comparable(report) == comparable(screening.report)


def test_study_scattered_over_nested_folders_reads_the_same(
    engine: Engine, screening: Screening, phantom_study: Path, tmp_path: Path
) -> None:
    for index, path in enumerate(sorted(path for path in phantom_study.rglob("*.dcm"))):
        folder = tmp_path / f"part{index % 3}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"IM{index}")
    assert comparable(screen([tmp_path], engine).report) == comparable(screening.report)
