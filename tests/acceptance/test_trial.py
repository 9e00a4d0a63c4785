"""The trial of docs/operations.md, followed to the letter: its blocks in their order, in an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

BLOCK = re.compile(r"^```sh run\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_a_newcomer_gets_through(repository: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall((repository / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 8
    script = tmp_path / "trial.sh"
    marked = [f"echo '### block {number}'\n{block}" for number, block in enumerate(blocks)]
    script.write_text("set -euo pipefail\n" + "\n".join(marked), encoding="utf-8")
    place = tmp_path / "empty"
    place.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRABECULA_")}
    own["PATH"] = f"{Path(sys.executable).parent}:{own['PATH']}"
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            ["bash", str(script)], cwd=place, env=own, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            code = process.wait(1700)
        finally:
            for each in _started_in(place):
                each.send_signal(signal.SIGKILL)
    said = log.read_text(encoding="utf-8", errors="replace")
    assert code == 0, said[-4000:]
    for words in ("ready: SERVING", "nobody answers, as expected", '"event": "stopped"', "both are let in"):
        assert words in said
    for words in ("the new one is let in", "the old one is not", "would be withdrawn", "withdrawn: "):
        assert words in said
    assert re.search(r"\d+ screenings, .* were erased\.", said)
    assert (place / "result" / "report.html").stat().st_size > 10_000


def _started_in(place: Path) -> list[psutil.Process]:
    """What the trial may have left, by its folder."""
    found = []
    for each in psutil.process_iter():
        try:
            if Path(each.cwd()).is_relative_to(place):
                found.append(each)
        except (psutil.Error, OSError):
            continue
    return found
