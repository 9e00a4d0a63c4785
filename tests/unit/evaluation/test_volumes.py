"""Label volumes as they come: other orientations, other grids, other places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from trabecula.errors import InvalidCase
from trabecula.evaluation.case import Case, CaseInfo
from trabecula.evaluation.volumes import LoadedCt, read_ct, read_labels
from trabecula.geometry import Geometry
from trabecula.imaging.limits import ImagingLimits

SPACING_MM = (2.5, 0.9, 0.8)


def geometry() -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 0.8], [0, 0.9, 0], [2.5, 0, 0]])
    affine[:3, 3] = (-20.0, -30.0, -300.0)
    return Geometry((12, 20, 24), affine)


def labels() -> npt.NDArray[np.uint8]:
    """Three blocks that no mirroring maps onto themselves."""
    out = np.zeros(geometry().shape, dtype=np.uint8)
    out[1:4, 2:8, 3:9], out[6:9, 11:17, 3:9], out[6:11, 2:8, 14:22] = 5, 32, 33
    return out


def image(
    array: npt.NDArray[np.generic], origin: tuple[float, float, float] = (-20.0, -30.0, -300.0)
) -> SimpleITK.Image:
    made = SimpleITK.GetImageFromArray(array)
    made.SetSpacing(SPACING_MM[::-1])
    made.SetOrigin(origin)
    return made


def written(made: SimpleITK.Image, tmp_path: Path) -> Path:
    path = tmp_path / "labels.nii.gz"
    SimpleITK.WriteImage(made, str(path))
    return path


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "RAI", "PIR", "SLP"])
def test_another_orientation_needs_no_resampling(orientation: str, tmp_path: Path) -> None:
    path = written(SimpleITK.DICOMOrient(image(labels()), orientation), tmp_path)
    found, note = read_labels(path, geometry())
    assert note is None
    assert np.array_equal(found, labels())


def test_another_grid_is_resampled_and_said_so(tmp_path: Path) -> None:
    fine = image(np.repeat(labels(), 2, axis=0), origin=(-20.0, -30.0, -300.0 - 0.625))
    fine.SetSpacing((0.8, 0.9, 1.25))
    found, note = read_labels(written(fine, tmp_path), geometry())
    assert note is not None
    assert "resampled" in note
    assert np.array_equal(found, labels())


def test_labels_beside_the_ct_are_a_coded_error(tmp_path: Path) -> None:
    path = written(image(labels(), origin=(500.0, -30.0, -300.0)), tmp_path)
    with pytest.raises(InvalidCase, match="does not lie over"):
        read_labels(path, geometry())


def test_empty_labels_are_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase, match="no label"):
        read_labels(written(image(np.zeros_like(labels())), tmp_path), geometry())


def test_a_file_that_is_no_image_is_a_coded_error(tmp_path: Path) -> None:
    (tmp_path / "labels.nii.gz").write_bytes(b"no image")
    with pytest.raises(InvalidCase, match="cannot be read"):
        read_labels(tmp_path / "labels.nii.gz", geometry())


def test_a_nifti_ct_is_read_in_place_and_its_voltage_taken_from_the_description(tmp_path: Path) -> None:
    hu = (labels().astype(np.float32) * 10 - 1000).astype(np.float32)
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image(hu), "RAS"), str(tmp_path / "ct.nii.gz"))
    loaded = read_ct(Case(tmp_path, CaseInfo(kvp=100.0)), ImagingLimits())
    assert isinstance(loaded, LoadedCt)
    assert np.array_equal(loaded.volume.hu, hu)
    assert np.allclose(loaded.volume.geometry.affine, geometry().affine, atol=1e-4)
    assert loaded.acquisition.kvp == 100.0
    assert loaded.acquisition.slice_spacing_mm == pytest.approx(2.5)
