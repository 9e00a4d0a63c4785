"""The main job as a newcomer meets it: one command, the real models, the real service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trabecula.outputs.report_json import from_json


@pytest.mark.slow
def test_the_demo_shows_a_result_and_leaves_its_documents(tmp_path: Path, repository: Path) -> None:
    if len(list((repository / "models").glob("*/model.onnx"))) < 2:
        pytest.skip("NO SEGMENTATION MODELS in models/")
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "trabecula.cli", "demo", "--out", str(out), "--slice-mm", "2.5", "--matrix", "256"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)

    assert run.returncode == 0, run.stderr
    assert re.search(r"\d+ files: \d+\.\d MB", run.stderr)
    assert "segmentation" in run.stderr
    report = from_json((out / "report.json").read_text(encoding="utf-8"))
    truth = json.loads((out / "study" / "truth.json").read_text(encoding="utf-8"))
    made = {vertebra["level"]: vertebra["vbmd_mg_cm3"] for vertebra in truth["vertebrae"]}
    found = {each.level.value: each.vbmd_mg_cm3 for each in report.vertebrae if each.vbmd_mg_cm3 is not None}
    # Wide on purpose: how near the densities come is for the tests of the measurement to say.
    assert found["T12"] == pytest.approx(made["T12"], abs=30)
    assert "T12" in run.stdout
    assert json.loads((out / "bundle.json").read_text(encoding="utf-8"))["type"] == "transaction"
    assert "<svg" in (out / "report.html").read_text(encoding="utf-8")
    for name in ("report.html", "report.json", "bundle.json"):
        assert (out / name).as_posix() in run.stdout
    log = (out / "server.log").read_text(encoding="utf-8")
    assert '"event": "stopped"' in log
    assert report.study is not None
    assert report.study.study_instance_uid not in log
    assert (report.study.patient_id or "no id") not in log
