"""``trabecula submit`` and ``serve`` against a live service."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live_service import LiveServer, StartServer, make_study, wait_until
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.outputs.report_json import from_json
from trabecula.service.client import Client


def submit(service: LiveServer, *arguments: object) -> object:
    return CliRunner().invoke(app, ["submit", "--server", service.address, *(str(each) for each in arguments)])


def test_submit_shows_progress_result_and_documents(service: LiveServer, tmp_path: Path) -> None:
    make_study(tmp_path / "study" / "deep", files=2)
    result = submit(service, tmp_path / "study", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 files" in result.stderr
    assert "T12" in result.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.html", "bundle.json"}


def test_submit_with_json_prints_the_report_alone(service: LiveServer, tmp_path: Path) -> None:
    make_study(tmp_path / "study")
    assert from_json(submit(service, tmp_path / "study", "--json").stdout).vertebrae


@pytest.mark.parametrize(
    ("order", "code", "word"),
    [(b"refuse", 3, ""), (b"text", 4, "no-dicom-found"), (b"bug", 1, "unforeseen")],
)
def test_submit_exits_as_screen_does(service: LiveServer, tmp_path: Path, order: bytes, code: int, word: str) -> None:
    make_study(tmp_path / "study", order)
    result = submit(service, tmp_path / "study", "--quiet")
    assert result.exit_code == code
    assert word in result.stderr


def test_submit_of_an_empty_folder_is_bad_input(service: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert submit(service, tmp_path / "empty").exit_code == 4


def test_submit_over_a_limit_is_bad_input(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(max_study_bytes=10)
    make_study(tmp_path / "study")
    result = submit(service, tmp_path / "study")
    assert result.exit_code == 4
    assert "limit-exceeded" in result.stderr


def test_submit_without_a_service_says_what_to_do(tmp_path: Path) -> None:
    make_study(tmp_path / "study")
    result = CliRunner().invoke(app, ["submit", str(tmp_path / "study"), "--server", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert "service-unreachable" in result.stderr
    assert "trabecula serve" in result.stderr


@pytest.mark.slow
def test_serve_answers_and_stops_on_sigterm(tmp_path: Path, repository: Path) -> None:
    """The real program with the real models; the study is no DICOM."""
    if not list((repository / "models").glob("*/model.onnx")):
        pytest.skip("NO MODELS in models/")
    ready = tmp_path / "port"
    command = [sys.executable, "-m", "trabecula.cli", "serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    process = subprocess.Popen([*command, "--state-dir", str(tmp_path / "state")], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, 120)
        (tmp_path / "letter.txt").write_text("Dear colleague")
        with Client(f"127.0.0.1:{int(ready.read_text())}") as client:
            summary = list(client.watch(client.submit([tmp_path / "letter.txt"])))[-1]
        assert summary.failure.code == "no-dicom-found"
    finally:
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert time.monotonic() - started < 30
    assert '"event": "stopped"' in log
    assert "Dear colleague" not in log
