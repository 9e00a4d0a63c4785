"""The wheel has all that the program reads beside its code, and nothing of the workshop."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_every_file_of_the_package_is_in_it(repository: Path, wheel: zipfile.ZipFile) -> None:
    package = repository / "server" / "trabecula"
    listed = subprocess.run(
        ["git", "ls-files", "--", str(package)], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {str(Path(each).relative_to("server")) for each in listed}
    assert wanted - set(wheel.namelist()) == set()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("models/fine-v1", "trabecula/_models/fine-v1"),
        ("models/coarse-v1", "trabecula/_models/coarse-v1"),
        ("models/calibration-phantomless-v1", "trabecula/_models/calibration-phantomless-v1"),
        ("fhir", "trabecula/_fhir"),
    ],
)
def test_models_and_fhir_travel_with_it(repository: Path, wheel: zipfile.ZipFile, source: str, target: str) -> None:
    for path in (repository / source).rglob("*"):
        if path.is_file():
            name = f"{target}/{path.relative_to(repository / source).as_posix()}"
            assert wheel.read(name) == path.read_bytes()


def test_nothing_of_the_workshop_is_in_it(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert not [name for name in names if "/tests/" in name or "training" in name or name.endswith(".pyc")]
    assert {name.split("/")[0] for name in names} == {
        "trabecula",
        next(n for n in names if ".dist-info/" in n).split("/")[0],
    }


def test_the_command_is_its_entry_point(wheel: zipfile.ZipFile) -> None:
    (entries,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "trabecula = trabecula.cli:main" in wheel.read(entries).decode()
