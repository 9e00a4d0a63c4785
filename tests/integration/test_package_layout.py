"""``fhir/`` and ``proto/`` stay free of Python: a package there would hide ``fhir.resources`` from the root."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("folder", ["fhir", "proto"])
def test_data_folders_hold_no_python(repository: Path, folder: str) -> None:
    assert (repository / folder).is_dir()
    assert sorted(path.name for path in (repository / folder).rglob("*.py*")) == []


def test_no_test_folder_is_called_fhir(repository: Path) -> None:
    assert not list((repository / "tests").rglob("fhir/__init__.py"))


@pytest.mark.parametrize("start", [["-c", "PROGRAM"], ["-m", "timeit", "-n1", "-r1", "PROGRAM"]])
def test_fhir_resources_imports_from_the_root(repository: Path, start: list[str]) -> None:
    program = "import fhir.resources.R4B.observation as o; assert 'site-packages' in o.__file__"
    command = [sys.executable, *(program if part == "PROGRAM" else part for part in start)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_module_alone_imports_fhir_resources(repository: Path) -> None:
    pattern = re.compile(r"^\s*(from|import)\s+fhir\b", re.MULTILINE)
    found = {
        path.relative_to(repository / "server").as_posix()
        for path in (repository / "server").rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"trabecula/outputs/r4/resources.py"}
    text = (repository / "server" / "trabecula" / "outputs" / "r4" / "resources.py").read_text(encoding="utf-8")
    assert set(re.findall(r"from fhir\.resources(\.\w+)", text)) == {".R4B"}
