"""A writer of small synthetic DICOM CT series, in any orientation, order and state of disrepair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

HuArray = npt.NDArray[np.int16]


@dataclass(frozen=True)
class SeriesSpec:
    """How to write a canonical volume (k foot to head, j anterior to posterior, i right to left)."""

    hu: HuArray
    spacing_mm: tuple[float, float, float] = (2.0, 0.8, 0.7)
    """Along k, j, i."""
    origin_mm: tuple[float, float, float] = (-50.0, -40.0, 100.0)
    """LPS of voxel (0, 0, 0)."""
    rotation: npt.NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    """Turns the patient axes."""
    swap: bool = False
    """Store i along rows and j along columns of the images."""
    flip_rows: bool = False
    flip_columns: bool = False
    order: Sequence[int] | None = None
    """k of the first, second ... file."""
    tilt_rows: float = 0.0
    """Each slice's image plane is displaced by this many rows towards posterior against the one below."""
    tags: dict[str, Any] = field(default_factory=dict)
    """Elements for every instance; None removes."""
    signed: bool = True
    intercept: int = -1024
    series_uid: str = "1.2.3.4.5"
    study_uid: str = "1.2.3.4"


def geometry_affine(spec: SeriesSpec) -> npt.NDArray[np.float64]:
    """Affine (k, j, i) to LPS of the canonical volume."""
    affine = np.eye(4)
    axes = spec.rotation @ np.eye(3)[:, [2, 1, 0]]
    affine[:3, :3] = axes * np.array(spec.spacing_mm)
    affine[:3, 3] = spec.origin_mm
    return affine


def instance_of(spec: SeriesSpec, k: int, number: int) -> FileDataset:
    """One classic CT instance."""
    affine = geometry_affine(spec)
    j_step, i_step = affine[:3, 1], affine[:3, 2]
    origin = affine[:3] @ np.array([k, k * spec.tilt_rows, 0, 1])
    plane = spec.hu[k].astype(np.int32) - spec.intercept
    row_step, column_step = (i_step, j_step) if spec.swap else (j_step, i_step)
    plane = plane.T if spec.swap else plane
    if spec.flip_rows:
        origin, row_step, plane = origin + (plane.shape[0] - 1) * row_step, -row_step, plane[::-1]
    if spec.flip_columns:
        origin, column_step, plane = origin + (plane.shape[1] - 1) * column_step, -column_step, plane[:, ::-1]
    dataset = _dataset(spec, number)
    dataset.Rows, dataset.Columns = plane.shape
    row_mm, column_mm = np.linalg.norm(row_step), np.linalg.norm(column_step)
    dataset.PixelSpacing = [float(row_mm), float(column_mm)]
    dataset.ImageOrientationPatient = [*(column_step / column_mm).round(9), *(row_step / row_mm).round(9)]
    dataset.ImagePositionPatient = [float(x) for x in origin.round(6)]
    dataset.PixelData = plane.astype("<i2" if spec.signed else "<u2").tobytes()
    for keyword, value in spec.tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def _dataset(spec: SeriesSpec, number: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[spec.series_uid, str(number)])
    dataset = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": spec.study_uid,
        "SeriesInstanceUID": spec.series_uid,
        "Modality": "CT",
        "PatientID": "TEST-1",
        "PatientName": "Test^Case",
        "PatientSex": "F",
        "PatientAge": "064Y",
        "StudyDate": "20250102",
        "SeriesNumber": 2,
        "AcquisitionNumber": 1,
        "InstanceNumber": number,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Manufacturer": "SIEMENS",
        "ConvolutionKernel": "Br36f",
        "KVP": 120,
        "SliceThickness": spec.spacing_mm[0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(spec.signed),
        "RescaleSlope": 1,
        "RescaleIntercept": spec.intercept,
        "RescaleType": "HU",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def write_series(spec: SeriesSpec, out: Path) -> list[Path]:
    """Write the series below `out`; the files in the order they were numbered."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, k in enumerate(spec.order or range(spec.hu.shape[0]), start=1):
        path = out / f"im{number:04d}"
        instance_of(spec, k, number).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
