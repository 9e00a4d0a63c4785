"""The command line: exit codes, what goes to which stream, what is written where."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from fake_screens import fake_screen
from live_service import make_study
from typer.testing import CliRunner

from trabecula import assets, phantom
from trabecula.cli import phantom as phantom_command
from trabecula.cli.app import app
from trabecula.errors import ModelError
from trabecula.outputs.report_json import from_json
from trabecula.patient import Sex
from trabecula.service import engine

Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``trabecula`` with a fake screening chain."""
    monkeypatch.setattr(engine, "load_screen", lambda _: fake_screen)
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


def study(tmp_path: Path, order: bytes = b"report") -> Path:
    make_study(tmp_path / "study", order)
    return tmp_path / "study"


def test_json_is_the_report_and_nothing_else_on_standard_output(run: Run, tmp_path: Path) -> None:
    result = run("screen", study(tmp_path), "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0
    report = from_json(result.stdout)
    assert report.vertebrae
    assert (tmp_path / "out" / "report.json").read_text() == result.stdout
    assert "segmentation" in result.stderr


def test_quiet_says_nothing_about_progress(run: Run, tmp_path: Path) -> None:
    result = run("screen", study(tmp_path), "--json", "--quiet")
    assert result.stderr == ""


def test_the_table_shows_levels_category_and_limits_of_use(run: Run, tmp_path: Path) -> None:
    result = run("screen", study(tmp_path), "--quiet")
    report = from_json(run("screen", study(tmp_path), "--json").stdout)
    assert result.exit_code == 0
    assert report.assessment is not None
    words = " ".join(result.stdout.split())
    for expected in ("T11", "T12", "mg/cm3 K2HPO4", " ± ", report.assessment.statement, report.limits_of_use[-1]):
        assert expected in words
    assert "\x1b[" not in result.stdout


def test_out_holds_the_three_documents_and_says_so(run: Run, tmp_path: Path) -> None:
    result = run("screen", study(tmp_path), "--out", tmp_path / "deep" / "out")
    names = {path.name for path in (tmp_path / "deep" / "out").iterdir()}
    assert names == {"report.json", "report.html", "bundle.json"}
    assert all(f"out/{name}" in result.stdout for name in names)


def test_masks_are_written_when_asked_for(run: Run, tmp_path: Path) -> None:
    run("screen", study(tmp_path), "--masks", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "anatomy.nii.gz").exists()
    assert (tmp_path / "out" / "anatomy.labels.json").exists()


def test_masks_without_a_folder_are_wrong_usage(run: Run, tmp_path: Path) -> None:
    assert run("screen", study(tmp_path), "--masks").exit_code == 2


def test_a_refusal_exits_with_3_and_is_a_report_too(run: Run, tmp_path: Path) -> None:
    result = run("screen", study(tmp_path, b"refuse"), "--json", "--out", tmp_path / "out")
    assert result.exit_code == 3
    refusal = json.loads(result.stdout)["refusals"][0]
    assert (tmp_path / "out" / "bundle.json").exists()
    shown = " ".join(run("screen", study(tmp_path, b"refuse")).stdout.split())
    assert refusal["code"] in shown
    assert refusal["remedy"] in shown


def test_bad_input_exits_with_4_and_tells_code_and_remedy(run: Run, tmp_path: Path) -> None:
    result = run("screen", study(tmp_path, b"text"), "--json")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "no-dicom-found" in result.stderr
    assert "Send the DICOM instances of one CT study." in result.stderr


def test_models_that_cannot_be_loaded_exit_with_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise ModelError("no coarse model", model="coarse")

    monkeypatch.setattr(engine, "load_screen", broken)
    result = CliRunner().invoke(app, ["screen", str(study(tmp_path))])
    assert result.exit_code == 1
    assert "model-unusable" in result.stderr
    assert "no coarse model" in result.stderr


def test_wrong_usage_exits_with_2(run: Run) -> None:
    assert run("screen").exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("phantom", "out", "--kernel", "blurry").exit_code == 2


def test_a_wrong_setting_exits_with_1(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRABECULA_WORKERS", "none")
    result = run("screen", study(tmp_path))
    assert result.exit_code == 1
    assert "TRABECULA_WORKERS" in result.stderr


def test_the_patient_file_reaches_the_report(run: Run, tmp_path: Path) -> None:
    (tmp_path / "patient.json").write_text('{"age_years": 44, "sex": "male"}')
    report = from_json(run("screen", study(tmp_path), "--json", "--patient", tmp_path / "patient.json").stdout)
    assert (report.patient.age_years, report.patient.sex) == (44, Sex.MALE)


def test_a_patient_file_that_cannot_be_used_exits_with_4(run: Run, tmp_path: Path) -> None:
    (tmp_path / "patient.json").write_text("SECRET NAME")
    result = run("screen", study(tmp_path), "--patient", tmp_path / "patient.json")
    assert result.exit_code == 4
    assert "invalid-patient-context" in result.stderr
    assert "SECRET" not in result.output


def test_a_folder_that_cannot_be_written_exits_with_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("screen", study(tmp_path), "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "file-system" in result.stderr


def test_models_are_listed_shown_and_verified(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "models" / "one"
    bundle.mkdir(parents=True)
    content = (assets.models_dir() / "calibration-mass-attenuation-v1" / "calibration.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(content)
    digest = "b1c8af92efb98dba30a47b8d3a1d1c0f6a1c1e3e5e1a8f1d3a9c4e6a7e0b1c2d"
    manifest = {"name": "one", "version": "1.0", "kind": "coarse", "file": "model.onnx", "sha256": digest}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    models_dir = ("--models-dir", tmp_path / "models")

    assert "one" in run("models", "list", *models_dir).stdout
    assert json.loads(run("models", "show", "one", *models_dir).stdout) == manifest
    assert run("models", "show", "two", *models_dir).exit_code == 1
    broken = run("models", "verify", *models_dir)
    assert broken.exit_code == 1
    assert "model-checksum-mismatch" in broken.stderr

    import hashlib

    (bundle / "manifest.json").write_text(json.dumps({**manifest, "sha256": hashlib.sha256(content).hexdigest()}))
    assert run("models", "verify", *models_dir).exit_code == 0


def test_phantom_words_are_those_of_the_phantom() -> None:
    pairs = [
        (phantom_command.FilterWord, phantom.Filter),
        (phantom_command.KernelWord, phantom.Kernel),
        (phantom_command.ContrastWord, phantom.ContrastPhase),
        (phantom_command.RodWord, phantom.Rods),
    ]
    for words, kind in pairs:
        assert list(get_args(words)) == [member.value for member in kind]


def test_phantom_options_reach_the_spec(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[phantom.PhantomSpec] = []
    monkeypatch.setattr(phantom, "write_phantom", lambda spec, *_, **__: specs.append(spec))
    options = "--vbmd T11=95,T12=92 --kvp 100 --filter sn --size-cm 33 --slice-mm 2 --kernel sharp --noise-hu 25"
    options += " --contrast portal --rods mindways3 --fracture L1=grade2 --hardware --seed 7"
    result = run("phantom", tmp_path / "out", *options.split())
    assert result.exit_code == 0, result.output
    spec = specs[0]
    assert {level.value: density for level, density in spec.vbmd_mg_cm3.items()} == {"T11": 95.0, "T12": 92.0}
    assert (spec.kvp, spec.size_cm, spec.slice_mm, spec.noise_hu, spec.seed) == (100, 33, 2, 25, 7)
    assert spec.spectral_filter is phantom.Filter.TIN
    assert spec.kernel is phantom.Kernel.SHARP
    assert spec.contrast is phantom.ContrastPhase.PORTAL
    assert spec.rods is phantom.Rods.MINDWAYS3
    assert {level.value for level in spec.fractures} == {"L1"}
    assert spec.hardware == phantom.DEFAULT_HARDWARE_LEVELS


def test_a_phantom_that_cannot_be_made_exits_with_4(run: Run, tmp_path: Path) -> None:
    result = run("phantom", tmp_path / "out", "--vbmd", "S1=90")
    assert result.exit_code == 4
    assert "invalid-phantom-spec" in result.stderr


def test_help_documents_the_exit_codes(run: Run) -> None:
    for command in ([], ["screen"], ["submit"]):
        text = " ".join(run(*command, "--help").stdout.split())
        assert "3 refused, with a coded reason" in text
        assert "4 the input cannot be used" in text


HEAVY = ("numpy", "scipy", "grpc", "pydicom", "onnxruntime", "pydantic", "fhir", "matplotlib", "structlog")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, trabecula.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_help_answers_quickly() -> None:
    """Processor time, so that a busy machine does not count."""
    code = "import resource, subprocess, sys\n"
    code += "subprocess.run([sys.executable, '-m', 'trabecula.cli', '--help'], stdout=subprocess.DEVNULL, check=True)\n"
    code += "used = resource.getrusage(resource.RUSAGE_CHILDREN)\nprint(used.ru_utime + used.ru_stime)"
    started = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.0, f"{run.stdout} s of processor, {time.perf_counter() - started:.1f} s in all"
