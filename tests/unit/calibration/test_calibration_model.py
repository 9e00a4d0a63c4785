"""The calibration graph: its table against first principles, its fit against numpy, its bundle's checks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.model import Beam, CalibrationModel, Line, Observation, load_calibration
from trabecula.errors import ModelChecksumMismatch, ModelError
from trabecula.segmentation.settings import RuntimeSettings

BUNDLE = "calibration-phantomless-v1"

PUBLISHED_SLOPES = [
    (80, False, 25, 1.875), (100, False, 20, 1.634), (100, False, 25, 1.564), (100, False, 30, 1.508),
    (110, False, 25, 1.464), (120, False, 20, 1.446), (120, False, 25, 1.382), (120, False, 30, 1.330),
    (120, False, 35, 1.286), (130, False, 25, 1.315), (140, False, 25, 1.257), (140, False, 30, 1.207),
    (100, True, 30, 1.249), (140, True, 30, 1.007), (150, True, 30, 0.971),
]  # fmt: skip
"""K2HPO4 HU per mg/cm3, computed independently of this project with the same recipe."""


@pytest.mark.parametrize(("kvp", "tin", "cm", "slope"), PUBLISHED_SLOPES)
def test_mineral_slope_agrees_with_independent_computation(
    model: CalibrationModel, kvp: float, tin: bool, cm: float, slope: float
) -> None:
    assert model.spectrum(Beam(kvp, tin, cm), 0.07).slope_hu_per_mg_cm3 == pytest.approx(slope, abs=0.003)


@pytest.mark.parametrize(
    ("kvp", "cm", "muscle", "blood"), [(80, 25, 45.3, 60.8), (120, 30, 43.0, 56.0), (140, 30, 42.4, 54.9)]
)
def test_tissues_agree_with_independent_computation(
    model: CalibrationModel, kvp: float, cm: float, muscle: float, blood: float
) -> None:
    tissues = model.spectrum(Beam(kvp, False, cm), 0.0).tissue_hu
    assert tissues[ReferenceTissue.PARASPINAL_MUSCLE] == pytest.approx(muscle, abs=0.15)
    assert tissues[ReferenceTissue.AORTIC_BLOOD] == pytest.approx(blood, abs=0.15)


def test_ratio_of_slopes_between_tube_voltages_is_the_physical_one(model: CalibrationModel) -> None:
    def slope(kvp: float) -> float:
        return model.spectrum(Beam(kvp, False, 25.0), 0.0).slope_hu_per_mg_cm3

    assert slope(100) / slope(140) == pytest.approx(1.245, abs=0.01)
    assert slope(80) / slope(120) == pytest.approx(1.36, abs=0.01)


@pytest.mark.parametrize(("kvp", "tin", "cm"), [(77.5, False, 18.75), (102.5, False, 33.75), (112.5, True, 26.25)])
def test_interpolation_between_grid_points_stays_close_to_the_full_computation(
    model: CalibrationModel, physics: ModuleType, kvp: float, tin: bool, cm: float
) -> None:
    row = dict(zip(physics.COLUMNS, physics.table_rows(physics.Tube.of(kvp, tin), np.array([cm]))[0], strict=True))
    looked_up = model.spectrum(Beam(kvp, tin, cm), 0.07)
    assert looked_up.slope_hu_per_mg_cm3 == pytest.approx(row["mineral-slope"], rel=0.003)
    assert looked_up.slope_standard_uncertainty == pytest.approx(0.07 * looked_up.slope_hu_per_mg_cm3)
    assert looked_up.iodine_hu_per_mg_ml == pytest.approx(row["iodine-slope"], rel=0.004)
    assert looked_up.red_marrow_hu == pytest.approx(row["red-marrow"], abs=0.15)
    assert looked_up.yellow_marrow_hu == pytest.approx(row["yellow-marrow"], abs=0.3)
    for tissue, hu in looked_up.tissue_hu.items():
        assert hu == pytest.approx(row[tissue.value], abs=0.3, rel=0.003)


def test_sizes_and_voltages_outside_the_table_take_its_edge(model: CalibrationModel) -> None:
    assert model.spectrum(Beam(120, False, 60), 0.0) == model.spectrum(Beam(120, False, 45), 0.0)
    assert model.spectrum(Beam(60, True, 5), 0.0) == model.spectrum(Beam(70, True, 15), 0.0)


def test_anchor_is_120_kv_behind_25_cm_of_water(model: CalibrationModel) -> None:
    assert model.anchor == model.spectrum(Beam(120, False, 25), 0.0)


def numpy_line(observations: list[Observation]) -> Line:
    """The same fit by the normal equations, written for this test."""
    x = np.array([o.measured_hu for o in observations])
    y = np.array([o.nominal_hu for o in observations])
    w = np.diag([1.0 / o.variance_hu2 for o in observations])
    design = np.stack([x, np.ones_like(x)], axis=1)
    covariance = np.linalg.inv(design.T @ w @ design)
    gain, offset = covariance @ design.T @ w @ y
    return Line(gain, offset, covariance[0, 0], covariance[1, 1], covariance[0, 1])


observation = st.builds(Observation, st.floats(-1100, 400), st.floats(-1100, 400), st.floats(1.0, 400.0))
apart = st.lists(observation, min_size=2, max_size=7).filter(
    lambda many: max(o.measured_hu for o in many) - min(o.measured_hu for o in many) > 50
)


@settings(deadline=None, max_examples=40)
@given(observations=apart)
def test_graph_fits_the_same_line_as_numpy(model: CalibrationModel, observations: list[Observation]) -> None:
    got, expected = model.fit(observations), numpy_line(observations)
    assert got.gain == pytest.approx(expected.gain, rel=1e-6, abs=1e-6)
    assert got.offset_hu == pytest.approx(expected.offset_hu, rel=1e-6, abs=1e-3)
    assert got.gain_variance == pytest.approx(expected.gain_variance, rel=1e-6)
    assert got.offset_variance_hu2 == pytest.approx(expected.offset_variance_hu2, rel=1e-6)
    assert got.covariance_hu == pytest.approx(expected.covariance_hu, rel=1e-5, abs=1e-9)


def test_covariance_of_the_line_is_what_repeated_fits_show(model: CalibrationModel) -> None:
    rng = np.random.default_rng(5)
    measured, sd = np.array([-1000.0, -105.0, 45.0, 50.0]), np.array([6.0, 7.0, 6.0, 8.0])
    lines = []
    for _ in range(3000):
        nominal = measured + rng.normal(0.0, sd)
        lines.append(model.fit([Observation(m, n, s * s) for m, n, s in zip(measured, nominal, sd, strict=True)]))
    seen = np.cov([[line.gain, line.offset_hu] for line in lines], rowvar=False)
    assert seen[0, 0] == pytest.approx(lines[0].gain_variance, rel=0.1)
    assert seen[1, 1] == pytest.approx(lines[0].offset_variance_hu2, rel=0.1)
    assert seen[0, 1] == pytest.approx(lines[0].covariance_hu, rel=0.15)
    at_bone = np.std([line.at(150.0) for line in lines])
    assert at_bone == pytest.approx(lines[0].variance_at(150.0) ** 0.5, rel=0.05)


def test_a_line_without_two_points_is_a_fault_not_a_number(model: CalibrationModel) -> None:
    with pytest.raises(ModelError):
        model.fit([])
    with pytest.raises(ModelError):
        model.fit([Observation(-100.0, -100.0, 4.0)])


@pytest.fixture
def models(tmp_path: Path, repository: Path) -> Path:
    shutil.copytree(repository / "models" / BUNDLE, tmp_path / BUNDLE)
    return tmp_path


def test_a_changed_model_file_is_not_loaded(models: Path) -> None:
    path = models / BUNDLE / "calibration.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelChecksumMismatch):
        load_calibration(models, RuntimeSettings())


@pytest.mark.parametrize("key", ["sha256", "columns", "kvp_range", "version"])
def test_an_incomplete_manifest_is_not_loaded(models: Path, key: str) -> None:
    path = models / BUNDLE / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelError):
        load_calibration(models, RuntimeSettings())


def test_none_or_two_calibration_bundles_are_a_fault(models: Path) -> None:
    shutil.copytree(models / BUNDLE, models / "another")
    with pytest.raises(ModelError, match="2 found"):
        load_calibration(models, RuntimeSettings())
    with pytest.raises(ModelError, match="0 found"):
        load_calibration(models / "nowhere", RuntimeSettings())


def test_the_report_can_name_the_model(model: CalibrationModel, repository: Path) -> None:
    manifest = json.loads((repository / "models" / BUNDLE / "manifest.json").read_text())
    assert (model.use.name, model.use.version, model.use.sha256) == (
        manifest["name"],
        manifest["version"],
        manifest["sha256"],
    )
