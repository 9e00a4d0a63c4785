"""A case's CT and its label volume on one grid."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import SimpleITK

from trabecula.errors import InvalidCase
from trabecula.evaluation.case import Case
from trabecula.geometry import Geometry
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import (
    OUTSIDE_HU,
    Acquisition,
    ContrastTag,
    CtVolume,
    KernelClass,
    SpectralFilter,
    StudyRefused,
)
from trabecula.outcome import Refusal

_HU_LIMIT: Final = 30000
_SAME_PLACE_MM: Final = 0.1
"""Corners of two grids nearer than this are the same."""
_LEAST_COVERED: Final = 0.02
"""Share of the labelled voxels that must lie inside the CT; with less the two do not belong together."""


@dataclass(frozen=True, eq=False)
class LoadedCt:
    """The CT of a case."""

    volume: CtVolume
    acquisition: Acquisition


def read_ct(case: Case, limits: ImagingLimits) -> LoadedCt | tuple[Refusal, ...]:
    """The CT as the chain would read it, or the refusals with which the chain would not.

    Raises:
        InvalidCase: if a NIfTI file cannot be read as a volume.
        InputError: as :func:`trabecula.imaging.read.read_study`.
    """
    if case.ct.is_dir():
        study = read_study([case.ct], limits)
        if isinstance(study, StudyRefused):
            return study.refusals
        return LoadedCt(study.volume, _with_kvp(study.acquisition, case.info.kvp))
    image = SimpleITK.DICOMOrient(_read_image(case.ct, SimpleITK.sitkFloat32), "LPS")
    values = np.nan_to_num(SimpleITK.GetArrayFromImage(image), nan=OUTSIDE_HU)
    hu = np.clip(np.rint(values), -_HU_LIMIT, _HU_LIMIT).astype(np.int16)
    hu.flags.writeable = False
    volume = CtVolume(hu, _geometry(image))
    return LoadedCt(volume, _with_kvp(_unknown_acquisition(volume.geometry), case.info.kvp))


def read_labels(path: Path, geometry: Geometry) -> tuple[npt.NDArray[np.integer], str | None]:
    """A label volume on the CT's grid, and a note where it had to be resampled (nearest voxel) to get there.

    Another order or direction of the axes alone needs no resampling.

    Raises:
        InvalidCase: if it cannot be read, holds no label, or lies beside the CT.
    """
    image = SimpleITK.DICOMOrient(_read_image(path, SimpleITK.sitkInt32), "LPS")
    if _same_grid(_geometry(image), geometry):
        labels = SimpleITK.GetArrayFromImage(image)
        if not labels.any():
            raise InvalidCase(f"{path.name} holds no label", file=path.name)
        return labels, None
    volume_mm3 = float(np.prod(image.GetSpacing())) * int((SimpleITK.GetArrayViewFromImage(image) != 0).sum())
    resampled = SimpleITK.Resample(image, _frame(geometry), SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
    labels = SimpleITK.GetArrayFromImage(resampled)
    found_mm3 = int((labels != 0).sum()) * geometry.voxel_volume_mm3
    if volume_mm3 == 0 or found_mm3 < _LEAST_COVERED * volume_mm3:
        raise InvalidCase(f"{path.name} does not lie over the CT", file=path.name)
    share = min(1.0, found_mm3 / volume_mm3)
    return labels, f"The reference has another grid than the CT and was resampled; {share:.0%} of it lies in the CT."


def label_image(labels: npt.NDArray[np.integer], geometry: Geometry) -> SimpleITK.Image:
    """A label array with its place in the patient, for writing."""
    image = SimpleITK.GetImageFromArray(labels)
    _place(image, geometry)
    return image


def _read_image(path: Path, kind: int) -> SimpleITK.Image:
    try:
        image = SimpleITK.ReadImage(str(path), kind)
    except RuntimeError as error:  # SimpleITK raises nothing more telling
        raise InvalidCase(f"{path.name} cannot be read as an image", file=path.name) from error
    if image.GetDimension() != 3:
        raise InvalidCase(f"{path.name} has {image.GetDimension()} dimensions", file=path.name)
    return image


def _geometry(image: SimpleITK.Image) -> Geometry:
    i_mm, j_mm, k_mm = image.GetSpacing()
    affine = np.eye(4)
    # columns of the direction matrix are the unit vectors of i, j, k in LPS
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3)[:, ::-1] * (k_mm, j_mm, i_mm)
    affine[:3, 3] = image.GetOrigin()
    columns, rows, slices = image.GetSize()
    return Geometry((slices, rows, columns), affine)


def _frame(geometry: Geometry) -> SimpleITK.Image:
    slices, rows, columns = geometry.shape
    image = SimpleITK.Image(columns, rows, slices, SimpleITK.sitkUInt8)
    _place(image, geometry)
    return image


def _place(image: SimpleITK.Image, geometry: Geometry) -> None:
    k_mm, j_mm, i_mm = geometry.spacing_mm
    image.SetSpacing((i_mm, j_mm, k_mm))
    image.SetOrigin(tuple(float(value) for value in geometry.affine[:3, 3]))
    direction = geometry.affine[:3, :3][:, ::-1] / np.array([i_mm, j_mm, k_mm])
    image.SetDirection(tuple(float(value) for value in direction.ravel()))


def _same_grid(one: Geometry, other: Geometry) -> bool:
    if one.shape != other.shape:
        return False
    corners = np.array([[k, j, i] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * (np.array(one.shape) - 1)
    apart = np.linalg.norm(one.index_to_lps(corners) - other.index_to_lps(corners), axis=1)
    return bool(apart.max() < _SAME_PLACE_MM)


def _unknown_acquisition(geometry: Geometry) -> Acquisition:
    k_mm, j_mm, i_mm = geometry.spacing_mm
    return Acquisition(
        kvp=None,
        spectral_filter=SpectralFilter.UNKNOWN,
        kernel=None,
        kernel_class=KernelClass.UNKNOWN,
        slice_thickness_mm=k_mm,
        slice_spacing_mm=k_mm,
        pixel_spacing_mm=(j_mm, i_mm),
        reconstruction_diameter_mm=None,
        contrast=ContrastTag.UNKNOWN,
        exposure_mas=None,
        ctdi_vol_mgy=None,
        manufacturer=None,
        model=None,
        station_hash=None,
        acquired_at=None,
    )


def _with_kvp(acquisition: Acquisition, kvp: float | None) -> Acquisition:
    if acquisition.kvp is not None or kvp is None:
        return acquisition
    return dataclasses.replace(acquisition, kvp=kvp)
