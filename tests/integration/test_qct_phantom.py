"""QCT rods under the patient, from DICOM to density: in the same scan, and through the scanner's history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from true_anatomy import true_anatomy
from typer.testing import CliRunner

from trabecula.anatomy import Level
from trabecula.bone.measure import measure_vertebrae
from trabecula.calibration.calibrate import calibrate, load_calibration
from trabecula.calibration.calibration import Calibration, CalibrationMethod
from trabecula.calibration.density import measure_density
from trabecula.calibration.scanner_history import read_history
from trabecula.calibration.site_file import read_profile
from trabecula.cli.app import app
from trabecula.clinical import load_constants
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy
from trabecula.phantom.spec import PhantomSpec, Rods
from trabecula.phantom.write import SERIES_FOLDER, write_phantom
from trabecula.segmentation.settings import RuntimeSettings

ASKED = {Level.T12: 96.0, Level.L1: 82.0}
SITE = """
methods = ["{method}"]

[[phantom]]
kind = "mindways-model-3-ct"
serial = "4541A"
scale = "K2HPO4"
form = "mindways"
rod_radius_mm = 8.0
rods = [
    {{ name = "A", density = -51.83, water_equivalent = 1012.25 }},
    {{ name = "B", density = -53.40, water_equivalent = 1056.95 }},
    {{ name = "C", density = 58.88, water_equivalent = 1103.57 }},
    {{ name = "D", density = 157.05, water_equivalent = 1119.52 }},
    {{ name = "E", density = 375.83, water_equivalent = 923.20 }},
]
"""


def trabecula(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.slow
def test_rods_calibrate_the_scan_they_are_in_and_later_ones(tmp_path: Path, repository: Path) -> None:
    spec = PhantomSpec(
        vbmd_mg_cm3=ASKED,
        top=Level.T12,
        bottom=Level.L1,
        slice_mm=4.0,
        matrix=224,
        noise_hu=12.0,
        kvp=100.0,
        scanner_gain=1.012,
        scanner_offset_hu=-5.0,
        rods=Rods.MINDWAYS3,
    )
    truth = write_phantom(spec, tmp_path / "scan", labels=True)
    files = {method: tmp_path / f"{method}.toml" for method in ("synchronous-phantom", "asynchronous")}
    for method, path in files.items():
        path.write_text(SITE.format(method=method))
    history = tmp_path / "scanners.json"

    code, shown, _ = trabecula(
        "scanner", "add-phantom-scan", tmp_path / "scan" / SERIES_FOLDER, "--history", history,
        "--calibration-file", files["synchronous-phantom"], "--json", "--quiet",
    )  # fmt: skip
    assert code == 0
    added = json.loads(shown)
    assert added["r_squared"] > 0.999
    assert added["kvp"] == 100.0

    study = read_study([tmp_path / "scan" / SERIES_FOLDER], ImagingLimits())
    assert isinstance(study, CtStudy)
    anatomy = true_anatomy(tmp_path / "scan", study.volume, truth)
    constants = load_constants()
    model = load_calibration(repository / "models", RuntimeSettings())
    vertebrae = measure_vertebrae(study.volume, anatomy, constants)
    assert isinstance(vertebrae, tuple)
    for method, path in files.items():
        profile = read_profile(path, read_history(history))
        calibration = calibrate(study.volume, anatomy, study.acquisition, model, constants, profile)
        assert isinstance(calibration, Calibration)
        assert calibration.method is CalibrationMethod(method)
        _, summary = measure_density(vertebrae, calibration, constants)
        assert summary.vbmd_mean_mg_cm3 == pytest.approx(89.0, abs=3.5)

    day, station = added["day"], added["station_hash"]
    assert trabecula("scanner", "check", "--history", history, "--on", day)[0] == 0
    code, shown, complaint = trabecula("scanner", "check", "--history", history, "--on", "2031-01-01", "--json")
    assert code == 3
    assert "calibration-stale" in complaint
    assert [state["standing"] for state in json.loads(shown)] == ["stale"]
    later = f"{day[:8]}28"
    assert (
        trabecula("scanner", "add-maintenance", station, later, "--history", history, "--what", "tube change")[0] == 0
    )
    code, shown, _ = trabecula("scanner", "check", "--history", history, "--on", later, "--json")
    assert code == 3
    assert [state["standing"] for state in json.loads(shown)] == ["after-maintenance"]
    code, shown, _ = trabecula("scanner", "list", "--history", history, "--json")
    assert code == 0
    assert [event["what"] for event in json.loads(shown)["maintenance"]] == ["tube change"]
