"""Structured reports before PixelMed's DicomSRValidator, which IHE's Connectathon uses for AI results."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import dicom_headers
import pytest
import report_samples as samples

from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import ObjectKind, read_source, to_dicom

PIXELMED = Path("/usr/share/java/pixelmed.jar")
HELPERS = ("commons-codec.jar", "slf4j-api.jar")
XPATH = ("jdk.xml.xpathExprOpLimit", "jdk.xml.xpathExprGrpLimit", "jdk.xml.xpathTotalOpLimit")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reported", "refused"])
def test_pixelmed_finds_no_error(name: str, tmp_path: Path) -> None:
    if not PIXELMED.exists() or shutil.which("java") is None:
        pytest.skip("PIXELMED MISSING: scripts/install-debian-packages.sh installs libpixelmed-java")
    dicom_headers.write_headers(tmp_path / "source", samples.geometry(), samples.STUDY_UID, samples.SERIES_UID)
    source = read_source([tmp_path / "source"], samples.SERIES_UID, ImagingLimits())
    assert source is not None
    report = getattr(samples, name)()
    # one vertebra that counts and one with a fracture: its time grows with the square of the document's length
    report = replace(report, vertebrae=report.vertebrae[2:], composition=report.composition[1:])
    document = tmp_path / "sr.dcm"
    document.write_bytes(to_dicom(samples.screening(report), source).files()[ObjectKind.SR])
    said = validate(document)
    assert "IOD validation complete" in said
    assert "Root Template" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def validate(document: Path) -> str:
    """Its exit code is 0 even with errors, so only its words count."""
    jars = [PIXELMED, *(PIXELMED.parent / name for name in HELPERS)]
    command = [
        "java", "-Xmx4g", *(f"-D{limit}=0" for limit in XPATH), "-cp", ":".join(map(str, jars)),
        "com.pixelmed.validate.DicomSRValidator", str(document),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return ran.stdout + ran.stderr
