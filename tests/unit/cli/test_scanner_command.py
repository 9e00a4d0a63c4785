"""``trabecula scanner``: usage, codes and what is said when a file or day cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from trabecula.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("TRABECULA_SCANNER_HISTORY_FILE", raising=False)
    monkeypatch.delenv("TRABECULA_CALIBRATION_FILE", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["scanner", *(str(each) for each in arguments)])


def test_without_a_history_file_the_setting_is_named(run: Run) -> None:
    result = run("list")
    assert result.exit_code == 1
    assert "TRABECULA_SCANNER_HISTORY_FILE" in result.stderr


def test_the_setting_stands_in_for_the_option(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRABECULA_SCANNER_HISTORY_FILE", str(tmp_path / "scanners.json"))
    assert run("add-maintenance", "abc", "2026-05-01", "--what", "upgrade").exit_code == 0
    assert "upgrade" in run("list").stdout


def test_an_empty_history_is_no_pass(run: Run, tmp_path: Path) -> None:
    result = run("check", "--history", tmp_path / "none.json")
    assert result.exit_code == 3
    assert "calibration-stale" in result.stderr


def test_a_day_that_is_none_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    assert run("add-maintenance", "abc", "yesterday", "--history", tmp_path / "h.json").exit_code == 2
    assert not (tmp_path / "h.json").exists()


def test_a_damaged_history_is_said_and_not_overwritten(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text("{")
    result = run("add-maintenance", "abc", "2026-05-01", "--history", path)
    assert result.exit_code == 1
    assert "site-file-unusable" in result.stderr
    assert path.read_text() == "{"


def test_a_phantom_scan_needs_a_certificate(run: Run, tmp_path: Path) -> None:
    result = run("add-phantom-scan", tmp_path, "--history", tmp_path / "h.json")
    assert result.exit_code == 1
    assert "TRABECULA_CALIBRATION_FILE" in result.stderr


@pytest.mark.parametrize("command", ["add-phantom-scan", "add-maintenance", "list", "check"])
def test_every_command_shows_examples(run: Run, command: str) -> None:
    assert "trabecula scanner add-phantom-scan" in " ".join(run(command, "--help").stdout.split())
