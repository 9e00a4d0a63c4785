"""The phantom's files before an independent DICOM verifier (dicom3tools' dciodvfy)."""

import shutil
import subprocess
from pathlib import Path

import pytest

from trabecula.anatomy import Level
from trabecula.phantom import ContrastPhase, Filter, PhantomSpec, write_phantom


@pytest.mark.parametrize(
    "options",
    [{}, {"contrast": ContrastPhase.ARTERIAL, "spectral_filter": Filter.TIN, "kvp": 100.0, "sex": "M"}],
    ids=["plain", "contrast-and-tin"],
)
def test_dciodvfy_finds_no_error(tmp_path: Path, options: dict[str, object]) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("DICIODVFY MISSING: install the Debian package dicom3tools")
    spec = PhantomSpec(matrix=96, slice_mm=5.0, top=Level.T12, bottom=Level.T12, **options)  # type: ignore[arg-type]
    write_phantom(spec, tmp_path)
    files = sorted((tmp_path / "dicom").iterdir())
    assert files
    for path in files:
        ran = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "CTImage" in ran.stdout + ran.stderr
        assert "Error" not in ran.stdout + ran.stderr
