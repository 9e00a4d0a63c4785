"""The rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP_LEVEL = ("pyproject.toml", "README.md", "LICENSE", "proto", "server", "models", "fhir", "helm", "tests", "docs")
SMALLEST_IMAGE_BYTES = 4096
"""A CT plane is half a MiB."""


def tracked_files(repository: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("NOT A GIT CHECKOUT: the rules on committed files are not checked")
    return [repository / name for name in listed.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_top_level_holds_what_the_map_promises(repository: Path, name: str) -> None:
    assert (repository / name).exists()


@pytest.mark.parametrize("folder", ["fhir", "proto"])
def test_artefact_folders_hold_no_python(repository: Path, folder: str) -> None:
    assert list((repository / folder).rglob("*.py")) == []


def test_no_test_folder_hides_the_fhir_package(repository: Path) -> None:
    assert not (repository / "tests" / "fhir" / "__init__.py").exists()


def test_fhir_resources_is_importable_from_the_root(repository: Path) -> None:
    """The top-level ``fhir`` folder must not hide the package of that name."""
    run = subprocess.run(
        [sys.executable, "-c", "from fhir.resources.R4B.observation import Observation"],
        cwd=repository,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()


def test_environment_is_read_in_one_file_only(repository: Path) -> None:
    readers = {
        path.name
        for path in (repository / "server").rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    }
    assert readers <= {"config.py"}


def test_no_committed_file_names_a_machine_path(repository: Path) -> None:
    machine_path = re.compile("|".join(["/" + "work/(main|shared)", "/" + "root/", "/" + "home/[a-z]+/"]))
    guilty = [
        path.relative_to(repository).as_posix()
        for path in tracked_files(repository)
        if path.suffix in {".py", ".md", ".toml", ".json", ".sh", ".yaml", ".yml", ".lock", ".proto", ".html"}
        and path.is_file()
        and machine_path.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert guilty == []


def test_no_image_of_a_patient_is_committed(repository: Path) -> None:
    def is_image(path: Path) -> bool:
        if path.suffix in {".nii", ".nrrd", ".mha"} or path.name.endswith(".nii.gz"):
            return True
        if path.stat().st_size < SMALLEST_IMAGE_BYTES:  # headers that a fuzzer cut
            return False
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"

    assert [path.name for path in tracked_files(repository) if path.is_file() and is_image(path)] == []


def test_committed_models_stay_small(repository: Path) -> None:
    sizes = [path.stat().st_size for path in (repository / "models").rglob("*.onnx")]
    assert sum(sizes) < 20 * 1024 * 1024
