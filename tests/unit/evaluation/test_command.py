"""``trabecula models evaluate`` from end to end on one small phantom, with the installed models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.evaluation import run as run_module
from trabecula.evaluation.results import EvaluationResults, from_json, json_schema, to_json


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *(str(each) for each in arguments)])


@pytest.fixture(scope="module")
def finished(cases_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Output folder and result of one run with everything asked for."""
    out = tmp_path_factory.mktemp("evaluation")
    return out, invoke("evaluate", "--cases", cases_root, "--out", out, "--html", "--card", "--json")


@pytest.fixture(scope="module")
def results(finished: tuple[Path, Result]) -> EvaluationResults:
    return from_json((finished[0] / "results.json").read_bytes())


def test_the_run_ends_well_and_prints_the_results(finished: tuple[Path, Result]) -> None:
    out, result = finished
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (out / "results.json").read_text()
    assert "phantom-small" in result.stderr


def test_results_follow_the_published_schema(finished: tuple[Path, Result], repository: Path) -> None:
    published = json.loads((repository / "docs" / "evaluation.schema.json").read_text())
    assert published == json_schema()
    jsonschema.Draft202012Validator(published).validate(json.loads((finished[0] / "results.json").read_text()))


def test_results_are_read_back_as_written(results: EvaluationResults) -> None:
    assert from_json(to_json(results)) == results


def test_the_phantom_is_scored_with_its_costs(results: EvaluationResults) -> None:
    (case,) = results.cases
    assert case.outcome.value == "scored", case
    assert {v.level.value for v in case.vertebrae} >= {"T10", "T11", "T12", "L1", "L2"}
    assert all(v.found for v in case.vertebrae if v.level.value in ("T11", "T12", "L1"))
    assert case.segmentation_s is not None
    assert case.segmentation_s > 0
    assert case.peak_memory_mib is None or case.peak_memory_mib > 100
    assert {model.purpose for model in results.models} >= {"coarse segmentation", "fine segmentation"}


def test_every_case_has_pictures_that_stand_alone(finished: tuple[Path, Result], results: EvaluationResults) -> None:
    pictures = results.cases[0].pictures
    assert [picture.kind for picture in pictures] == ["sagittal", "coronal", "axial", "detail", *["vertebra"] * 3]
    for picture in pictures:
        text = (finished[0] / picture.file).read_text()
        assert text.startswith("<svg ")
        assert "data:image/jpeg;base64," in text
        assert re.search(r'stroke="#4cc3ff"', text)
        assert re.search(r'stroke="#ffa02e"', text)


def test_the_page_stands_alone_and_shows_targets_and_pictures(finished: tuple[Path, Result]) -> None:
    page = (finished[0] / "report.html").read_text()
    assert page.count("<svg ") >= 7
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "<script" not in page
    for words in ("Against the targets", "Worst vertebrae first", "phantom-small", "Digital phantom", "Made CT"):
        assert words in page
    assert re.search(r"reached|missed by", page)


def test_the_card_has_the_figures_of_the_results(finished: tuple[Path, Result], results: EvaluationResults) -> None:
    card = (finished[0] / "card.md").read_text()
    t12 = next(v for v in results.cases[0].vertebrae if v.level.value == "T12")
    assert t12.whole is not None
    assert f"| T12 | 1 | {t12.whole.dice:.3f} |" in card


def copied(finished: tuple[Path, Result], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "out"))


def refuse_to_work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cases that would be worked on; none is."""
    seen: list[str] = []

    def instead(case: Any, *_: Any) -> Any:
        seen.append(case.name)
        return run_module.Scored(run_module.failed(case, run_module.InvalidCase("not worked on")))

    monkeypatch.setattr(run_module, "evaluate_case", instead)
    return seen


def test_resuming_keeps_what_was_done(
    finished: tuple[Path, Result], cases_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, worked_on = copied(finished, tmp_path), refuse_to_work(monkeypatch)
    before = from_json((out / "results.json").read_bytes())
    result = invoke("evaluate", "--cases", cases_root, "--out", out, "--resume", "--html")
    assert result.exit_code == 0
    assert worked_on == []
    assert "kept" in result.stderr
    assert from_json((out / "results.json").read_bytes()).cases == before.cases


def _other_model(out: Path, _: Path) -> None:
    text = (out / "results.json").read_text()
    sha = json.loads(text)["models"][0]["sha256"]
    (out / "results.json").write_text(text.replace(sha, "0" * 64))


def _lost_picture(out: Path, _: Path) -> None:
    next((out / "pictures").iterdir()).unlink()


def _other_description(_: Path, cases: Path) -> None:
    info = cases / "phantom-small" / "case.json"
    info.write_text(info.read_text().replace("Seed 11", "Seed eleven"))


@pytest.mark.parametrize("change", [_other_model, _lost_picture, _other_description])
def test_resuming_works_again_on_what_changed(
    change: Callable[[Path, Path], None],
    finished: tuple[Path, Result],
    cases_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, worked_on = copied(finished, tmp_path), refuse_to_work(monkeypatch)
    cases = Path(shutil.copytree(cases_root, tmp_path / "cases"))
    change(out, cases)
    invoke("evaluate", "--cases", cases, "--out", out, "--resume")
    assert worked_on == ["phantom-small"]


def test_without_resume_everything_is_done_again(
    finished: tuple[Path, Result], cases_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, worked_on = copied(finished, tmp_path), refuse_to_work(monkeypatch)
    invoke("evaluate", "--cases", cases_root, "--out", out)
    assert worked_on == ["phantom-small"]


def test_broken_cases_are_told_and_the_rest_goes_on(
    cases_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_work(monkeypatch)
    cases = Path(shutil.copytree(cases_root, tmp_path / "cases"))
    (cases / "a-broken").mkdir()
    (cases / "a-broken" / "case.json").write_text("{")
    (cases / "b-bare" / "ct").mkdir(parents=True)
    result = invoke("evaluate", "--cases", cases, "--json")
    assert result.exit_code == 4
    faults = {each.folder: each.fault for each in from_json(result.stdout).cases}
    assert list(faults) == ["a-broken", "b-bare", "phantom-small"]
    assert all(fault is not None and fault.startswith("invalid-case: ") for fault in faults.values())
    assert "labels.nii.gz" in str(faults["b-bare"])


def test_the_limit_takes_the_first_cases(cases_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked_on = refuse_to_work(monkeypatch)
    cases = tmp_path / "cases"
    for name in ("one", "two", "three"):
        shutil.copytree(cases_root / "phantom-small", cases / name)
        (cases / name / "case.json").unlink()
    invoke("evaluate", "--cases", cases, "--limit", 2)
    assert worked_on == ["one", "three"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--html"], 2), (["--resume"], 2), (["--json", "--card"], 2), (["--bundle", "no-such-folder"], 1)],
)
def test_wrong_usage(cases_root: Path, arguments: list[str], code: int) -> None:
    assert invoke("evaluate", "--cases", cases_root, *arguments).exit_code == code


def test_a_folder_without_cases_is_bad_input(tmp_path: Path) -> None:
    result = invoke("evaluate", "--cases", tmp_path)
    assert result.exit_code == 4
    assert "no-cases-found" in result.stderr


def test_making_cases_wants_a_source(tmp_path: Path) -> None:
    assert invoke("evaluate-cases", tmp_path).exit_code == 2
    missing = invoke("evaluate-cases", tmp_path, "--listing", tmp_path / "none.toml")
    assert missing.exit_code == 4
    assert "invalid-case" in missing.stderr
