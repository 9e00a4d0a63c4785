"""DICOM results of whole screenings: phantom, real scans, a refusal; before dciodvfy and against the report."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, Level
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import ObjectKind, read_source, to_dicom
from trabecula.report import ReportStatus, Screening
from trabecula.screening import Engine, screen

pytestmark = pytest.mark.slow

TISSUE_AREAS = {
    "Skeletal muscle": "muscle_area_cm2",
    "Fat inside the muscle compartment": "imat_area_cm2",
    "Subcutaneous fat": "sat_area_cm2",
    "Visceral fat": "vat_area_cm2",
}


def objects_of(folder: Path, engine: Engine, out: Path) -> tuple[Screening, dict[ObjectKind, Dataset]]:
    """A screening and its objects, read back from disk; dciodvfy finds no error in them."""
    screening = screen([folder], engine, keep_anatomy=True)
    study = screening.report.study
    source = read_source([folder], None if study is None else study.series_instance_uid, ImagingLimits())
    assert source is not None
    out.mkdir()
    for kind, data in to_dicom(screening, source).files().items():
        path = out / f"{kind}.dcm"
        path.write_bytes(data)
        assert errors(path) == [], kind
    return screening, {ObjectKind(path.stem): pydicom.dcmread(path) for path in out.iterdir()}


def errors(path: Path) -> list[str]:
    if shutil.which("dciodvfy") is None:
        pytest.skip("DCIODVFY MISSING: scripts/install-debian-packages.sh installs dicom3tools")
    ran = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (ran.stdout + ran.stderr).splitlines()
    assert any(line in ("Segmentation", "Comprehensive3DSR", "EncapsulatedPDF", "SCImage") for line in lines)
    return [line for line in lines if line.startswith("Error")]


def check_numbers(screening: Screening, document: Dataset) -> None:
    """The SR says the report's numbers, at their reported precision."""
    found = {}
    groups = Comprehensive3DSR.from_dataset(document).content.get_volumetric_roi_measurement_groups()
    for group in groups:
        for one in group.get_measurements():
            found[(group.tracking_identifier, one.name.value, one.derivation and one.derivation.value)] = float(
                one.value
            )
    for vertebra in screening.report.vertebrae:
        name = f"Trabecula {vertebra.level.value}"
        for code, derivation, value in (
            ("vbmd-trabecular", None, vertebra.vbmd_mg_cm3),
            ("112031", "373098007", vertebra.hu_mean),
            ("112031", "386136009", vertebra.hu_sd),
            ("height-middle", None, vertebra.height_middle_mm),
        ):
            assert found.get((name, code, derivation)) == (None if value is None else round(value, 1))
    density = screening.report.density
    assert density is not None
    assert density.lumbar_equivalent_mg_cm3 is not None
    assert found["Trabecula Lumbar equivalent", "vbmd-lumbar-equivalent", None] == round(
        density.lumbar_equivalent_mg_cm3, 1
    )


def check_segments(screening: Screening, dataset: Dataset) -> None:
    """Every vertebra has its voxels, and every tissue the area that the report gives."""
    anatomy = screening.evidence.anatomy
    assert anatomy is not None
    _, j_mm, i_mm = anatomy.geometry.spacing_mm
    numbers = [int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
               for item in dataset.PerFrameFunctionalGroupsSequence]  # fmt: skip
    frames = np.asarray(dataset.pixel_array).reshape(len(numbers), -1)
    voxels = np.bincount(numbers, weights=frames.sum(axis=1))
    labels = {item.SegmentLabel: int(item.SegmentNumber) for item in dataset.SegmentSequence}
    for level in Level:
        both = (BODY_LABEL_BASE + level.ordinal, POSTERIOR_LABEL_BASE + level.ordinal)
        expected = int(np.isin(anatomy.labels, both).sum())
        assert (f"{level.value} vertebra" in labels) == (expected > 0)
        if expected:
            assert voxels[labels[f"{level.value} vertebra"]] == expected
    assert screening.report.composition
    for measured in screening.report.composition:
        for name, attribute in TISSUE_AREAS.items():
            area = getattr(measured, attribute)
            if area:
                assert voxels[labels[f"{name} at {measured.level}"]] * j_mm * i_mm / 100 == pytest.approx(area)


def test_a_phantom_becomes_objects(engine: Engine, phantom_study: Path, tmp_path: Path) -> None:
    screening, objects = objects_of(phantom_study / "dicom", engine, tmp_path / "out")
    check_numbers(screening, objects[ObjectKind.SR])
    check_segments(screening, objects[ObjectKind.SEG])


@pytest.mark.data
@pytest.mark.parametrize("name", ["lidc-idri-0001", "acrin-nsclc-042", "nsclc-radiogenomics-r01-001"])
def test_real_scans_become_objects(engine: Engine, data_dir: Path, tmp_path: Path, name: str) -> None:
    screening, objects = objects_of(data_dir / "ct" / name, engine, tmp_path / "out")
    check_numbers(screening, objects[ObjectKind.SR])
    check_segments(screening, objects[ObjectKind.SEG])


@pytest.mark.data
@pytest.mark.parametrize("name", ["missing-slice", "gantry-tilt"])
def test_refused_scans_say_so(engine: Engine, data_dir: Path, tmp_path: Path, name: str) -> None:
    screening, objects = objects_of(data_dir / "dicom-quirks" / name, engine, tmp_path / "out")
    assert screening.report.status is ReportStatus.REFUSED
    assert ObjectKind.SEG not in objects
    assert screening.report.refusals[0].code.value in str(objects[ObjectKind.SR].to_json())


@pytest.mark.data
def test_a_scan_without_identifiers_cannot_be_filed_beside(data_dir: Path) -> None:
    assert read_source([data_dir / "dicom-quirks" / "jpeg2000-series"], None, ImagingLimits()) is None
