"""The real CTs and the collected oddities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, StudyRefused
from trabecula.outcome import RefusalCode

pytestmark = pytest.mark.data


def _read(path: Path, limits: ImagingLimits | None = None) -> CtStudy:
    study = read_study([path], limits or ImagingLimits())
    assert isinstance(study, CtStudy), study
    return study


@pytest.mark.parametrize(
    ("name", "shape", "spacing_mm", "kernel", "contrast", "kvp", "vertebra"),
    [
        ("lidc-idri-0001", (133, 512, 512), (2.5, 0.703, 0.703), "soft", "given", 120, (346, 255)),
        ("acrin-nsclc-042", (135, 512, 512), (3.27, 0.977, 0.977), "soft", "unknown", 140, (276, 255)),
        ("crlm-ct-1006", (51, 512, 512), (5.0, 0.805, 0.805), "unknown", "given", 120, (306, 265)),
        ("nsclc-radiogenomics-r01-001", (304, 512, 512), (1.0, 0.693, 0.693), "medium", "given", 120, (330, 250)),
        ("lung-dx-a0001", (64, 512, 512), (5.0, 0.842, 0.842), "soft", "not-given", 120, (360, 255)),
    ],
)
def test_real_ct(
    data_dir: Path,
    name: str,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    kernel: str,
    contrast: str,
    kvp: float,
    vertebra: tuple[int, int],
) -> None:
    study = _read(data_dir / "ct" / name)
    assert study.volume.hu.shape == study.volume.geometry.shape == shape
    assert study.volume.geometry.spacing_mm == pytest.approx(spacing_mm, abs=1e-3)
    acquisition = study.acquisition
    assert (acquisition.kernel_class, acquisition.contrast, acquisition.kvp) == (kernel, contrast, kvp)
    assert _head_is_up(study)
    assert _vertebra_is_at(study, *vertebra)


def _head_is_up(study: CtStudy) -> bool:
    """Lungs are above the abdomen: more air within the trunk in the upper half."""
    hu = study.volume.hu[::4, 150:350:4, 100:400:4]
    air = (hu < -700).mean(axis=(1, 2))
    return bool(air[len(air) // 2 :].mean() > air[: len(air) // 3].mean())


def _vertebra_is_at(study: CtStudy, j: int, i: int) -> bool:
    """Spongy bone at a place found by eye, a third of the way up."""
    hu, k = study.volume.hu, study.volume.hu.shape[0] // 3
    return bool(90 < hu[k - 1 : k + 2, j - 6 : j + 7, i - 6 : i + 7].mean() < 300)


def test_two_kernels_of_one_scan_the_soft_one_is_taken_and_said_so(data_dir: Path) -> None:
    study = _read(data_dir / "ct" / "lung-dx-a0001")
    assert study.acquisition.kernel == "B"
    assert [candidate.chosen for candidate in study.candidates] == [True, False]
    assert study.candidates[0].reasons[0] == "chosen: soft kernel rather than sharp kernel"


@pytest.fixture(scope="module")
def feet_first(data_dir: Path) -> CtStudy:
    return _read(data_dir / "ct" / "lidc-idri-0001")


def test_grid_and_pixels_are_those_of_an_independent_reader(data_dir: Path, feet_first: CtStudy) -> None:
    """SimpleITK's own series reader agrees with ours."""
    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(data_dir / "ct" / "lidc-idri-0001"))
    reader.SetFileNames(names[50:62])
    image = reader.Execute()
    np.testing.assert_array_equal(np.maximum(sitk.GetArrayFromImage(image), -1024), feet_first.volume.hu[50:62])
    for k, j, i in ((0, 0, 0), (11, 511, 0), (5, 100, 300)):
        expected_mm = image.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(feet_first.volume.geometry.index_to_lps((k + 50, j, i)), expected_mm, atol=1e-3)


def test_label_map_lies_on_the_anatomy(data_dir: Path, feet_first: CtStudy) -> None:
    labels = sitk.ReadImage(str(data_dir / "labels" / "lidc-idri-0001.nii.gz"))
    corner = labels.TransformPhysicalPointToIndex(tuple(feet_first.volume.geometry.index_to_lps((0, 0, 0))))
    array = sitk.GetArrayViewFromImage(labels)  # the grids differ by flips only
    array = array[:, ::-1] if corner[1] else array
    array = array[:, :, ::-1] if corner[0] else array
    array = array[::-1] if corner[2] else array
    means = {label: float(feet_first.volume.hu[array == label].mean()) for label in (5, 10, 32, 79)}
    assert 40 < means[5] < 120  # liver
    assert means[10] < -700  # lung
    assert means[32] > 180  # T12
    assert 0 < means[79] < 60  # cord


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing-slice", RefusalCode.SLICE_GAP),
        ("gantry-tilt", RefusalCode.TOO_FEW_SLICES),
        ("jpeg2000-series", RefusalCode.TOO_FEW_SLICES),
        ("enhanced-ct", RefusalCode.DERIVED_ONLY),
        ("dicom2nifti-failing/notavolume", RefusalCode.TOO_FEW_SLICES),
        ("dicom2nifti-failing/gantrytilting", RefusalCode.TOO_FEW_SLICES),
        ("dicom2nifti-failing/sliceorientation", RefusalCode.NOT_CT),
        ("dicom2nifti-failing/slicecount", RefusalCode.NOT_CT),
    ],
)
def test_oddities_are_refused_by_name(data_dir: Path, name: str, code: RefusalCode) -> None:
    refused = read_study([data_dir / "dicom-quirks" / name], ImagingLimits())
    assert isinstance(refused, StudyRefused)
    assert refused.refusals[0].code is code


def test_jpeg2000_series_without_sop_class(data_dir: Path) -> None:
    study = _read(data_dir / "dicom-quirks" / "jpeg2000-series", ImagingLimits(min_extent_mm=30))
    assert study.volume.hu.shape == (20, 512, 512)
    assert study.acquisition.kernel == "Br38f\\3"


def test_tilted_head_is_set_upright(data_dir: Path) -> None:
    study = _read(data_dir / "dicom-quirks" / "gantry-tilt", ImagingLimits(min_extent_mm=20))
    assert "gantry-tilt-corrected" in {notice.code for notice in study.notices}
    k, j, i = study.volume.geometry.affine[:3, :3].T
    assert max(abs(k @ j), abs(k @ i), abs(j @ i)) < 1e-6
    assert study.volume.geometry.spacing_mm[0] == pytest.approx(2.5 * np.cos(np.radians(18.5)), abs=1e-3)
    hu = study.volume.hu.astype(float)
    aligned = np.mean(np.abs(hu[1:, 40:480] - hu[:-1, 40:480]))
    displaced = np.mean(np.abs(hu[1:, 40:480] - np.roll(hu[:-1], 2, axis=1)[:, 40:480]))
    assert aligned < displaced
