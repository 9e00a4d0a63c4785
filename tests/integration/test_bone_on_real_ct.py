"""The trabecular region on a real chest CT, with a reference segmentation in place of ours."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage as ndi

from trabecula.anatomy import Anatomy, Level, Structure, VertebraInstance, VertebraPart, vertebra_label
from trabecula.bone.measure import measure_vertebrae
from trabecula.bone.vertebra import ExclusionReason, VertebraMeasurement
from trabecula.clinical import load_constants
from trabecula.geometry import Geometry
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, CtVolume
from trabecula.outcome import Refusal

pytestmark = pytest.mark.data

CORD = 79
TOTALSEG_LEVELS = {30: Level.L2, 31: Level.L1} | {32 + n: Level.from_ordinal(Level.T12.ordinal - n) for n in range(12)}
LOWER = (Level.T9, Level.T10, Level.T11, Level.T12, Level.L1, Level.L2)


@pytest.fixture(scope="module")
def scan(data_dir: Path) -> tuple[CtVolume, Anatomy]:
    study = read_study([data_dir / "ct" / "lidc-idri-0001"], ImagingLimits())
    assert isinstance(study, CtStudy)
    reference = _on_grid(data_dir / "labels" / "lidc-idri-0001.nii.gz", study.volume.geometry)
    return study.volume, _anatomy(reference, study.volume.geometry)


def test_attenuation_is_plausible_and_steady_down_the_column(scan: tuple[CtVolume, Anatomy]) -> None:
    measured = _by_level(measure_vertebrae(*scan, load_constants()))
    for level in LOWER:
        vertebra = measured[level]
        assert vertebra.excluded == ()
        assert vertebra.hu_mean is not None
        assert 40.0 < vertebra.hu_mean < 160.0
        assert vertebra.hu_standard_error is not None
        assert vertebra.hu_standard_error < 12.0
    for upper, lower in pairwise(LOWER):
        assert abs((measured[upper].hu_mean or 0.0) - (measured[lower].hu_mean or 0.0)) < 45.0
    assert not [v for v in measured.values() if ExclusionReason.FRACTURE in v.excluded]


@pytest.mark.parametrize("shift", [(1, 0, 0), (-1, 0, 0), (0, 3, 0), (0, -3, 0), (0, 0, 3)])
def test_a_shifted_segmentation_measures_the_same(scan: tuple[CtVolume, Anatomy], shift: tuple[int, int, int]) -> None:
    volume, anatomy = scan
    moved = Anatomy(
        ndi.shift(anatomy.labels, shift, order=0), anatomy.geometry, anatomy.vertebrae, anatomy.level_evidence, ()
    )
    constants = load_constants()
    before = _by_level(measure_vertebrae(volume, anatomy, constants))
    after = _by_level(measure_vertebrae(volume, moved, constants))
    difference = [(after[level].hu_mean or 0.0) - (before[level].hu_mean or 0.0) for level in LOWER]
    assert np.abs(difference).max() < 8.0
    assert abs(float(np.mean(difference))) < 3.0


def _by_level(measured: tuple[VertebraMeasurement, ...] | Refusal) -> dict[Level, VertebraMeasurement]:
    assert not isinstance(measured, Refusal)
    return {vertebra.level: vertebra for vertebra in measured}


def _on_grid(path: Path, geometry: Geometry) -> npt.NDArray[np.uint8]:
    """The label map on the canonical grid."""
    grid = sitk.Image([geometry.shape[2], geometry.shape[1], geometry.shape[0]], sitk.sitkUInt8)
    k_mm, j_mm, i_mm = geometry.spacing_mm
    columns = [geometry.affine[:3, axis] / mm for axis, mm in ((2, i_mm), (1, j_mm), (0, k_mm))]
    grid.SetSpacing((i_mm, j_mm, k_mm))
    grid.SetOrigin([float(v) for v in geometry.affine[:3, 3]])
    grid.SetDirection([float(v) for v in np.stack(columns, axis=1).ravel()])
    labels = sitk.Resample(sitk.ReadImage(str(path)), grid, sitk.Transform(), sitk.sitkNearestNeighbor)
    return np.asarray(sitk.GetArrayFromImage(labels), dtype=np.uint8)


def _anatomy(reference: npt.NDArray[np.uint8], geometry: Geometry) -> Anatomy:
    """Canonical anatomy of the reference map: a vertebra's body is what lies in front of the canal."""
    labels = np.where(reference > 0, np.uint8(Structure.BODY), np.uint8(Structure.OUTSIDE))
    canal = reference == CORD
    labels[canal] = Structure.SPINAL_CANAL
    slices = np.flatnonzero(canal.any(axis=(1, 2)))
    wall = np.interp(np.arange(geometry.shape[0]), slices, [np.percentile(np.nonzero(canal[k])[0], 3) for k in slices])
    in_front = np.arange(geometry.shape[1])[None, :, None] < ndi.gaussian_filter1d(wall, 1.5)[:, None, None] - 0.5
    centres, bodies = {}, {}
    for number, level in TOTALSEG_LEVELS.items():
        whole = reference == number
        body = whole & in_front
        pieces, _ = ndi.label(body)
        body = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
        labels[whole] = vertebra_label(level, VertebraPart.POSTERIOR)
        labels[body] = vertebra_label(level, VertebraPart.BODY)
        bodies[level] = body
        centres[level] = geometry.index_to_lps(np.argwhere(body).mean(axis=0))
    column = sorted(centres, key=lambda level: level.ordinal)
    vertebrae = []
    for n, level in enumerate(column):
        superior = centres[column[max(n - 1, 0)]] - centres[column[min(n + 1, len(column) - 1)]]
        superior /= np.linalg.norm(superior)
        k = round(float(geometry.lps_to_index(centres[level])[0]))
        behind = geometry.index_to_lps([k, *np.argwhere(canal[k]).mean(axis=0)])
        anterior = centres[level] - behind
        anterior -= superior * (anterior @ superior)
        anterior /= np.linalg.norm(anterior)
        vertebrae.append(
            VertebraInstance(level, 0.99, tuple(centres[level]), tuple(superior), tuple(anterior), complete=True)
        )
    return Anatomy(labels, geometry, tuple(vertebrae), ("reference segmentation",), ())
