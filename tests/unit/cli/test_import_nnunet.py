"""``trabecula models import-nnunet`` where something is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trabecula.cli.app import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    made.mkdir()
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "vertebrae_T12": 1}}
    (made / "dataset.json").write_text(json.dumps(dataset))
    (made / "plans.json").write_text(json.dumps({"dataset_name": "Dataset001_Made"}))
    return made


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["models", "import-nnunet", *map(str, arguments)])
    return result.exit_code, result.output


def test_without_torch_the_extra_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    code, said = run(folder, "--labels", "totalsegmentator-total", "--out", tmp_path / "bundle")
    assert code == 1
    assert "extra-missing" in said
    assert "trabecula[nnunet]" in said
    assert not (tmp_path / "bundle").exists()


def test_a_map_that_does_not_fit_is_bad_input(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "map.toml"
    labels.write_text('[labels]\nbackground = "unlabelled"\n')
    code, said = run(folder, "--labels", labels, "--out", tmp_path / "bundle")
    assert code == 4
    assert "vertebrae_T12" in said


def test_a_folder_that_is_no_model_is_bad_input(tmp_path: Path) -> None:
    code, said = run(tmp_path, "--labels", "verse", "--out", tmp_path / "bundle")
    assert code == 4
    assert "plans.json" in said
