"""Header-only CT instances on the grid of a label volume, in any orientation, for tests of DICOM results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from trabecula.geometry import Geometry

NAMES = {
    "ISO_IR 192": "Ångström^Zoë=雷^電=레이^전",
    "ISO_IR 100": "Müller^Jürgen",
    "ISO_IR 144": "Люкceмбypг",
    "GB18030": "Wang^XiaoDong=王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO_IR 166": "นายไทย^ใจดี",
}
"""Patient names by the character set that their headers name."""


def write_headers(
    folder: Path,
    geometry: Geometry,
    study_uid: str,
    series_uid: str,
    *,
    turn: tuple[bool, bool, bool] = (False, False, False),
    charset: str = "ISO_IR 100",
    name: str = "Doe^Jane",
    planes: int | None = None,
    **changes: object,
) -> list[FileDataset]:
    """One instance for each plane k.

    Args:
        turn: whether the source's pixel matrix is transposed, runs the other way down, and the other way across.
        planes: how many, from the feet; None takes all.
        changes: elements to set by keyword; None takes one away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    transpose, flip_rows, flip_columns = turn
    depth, height, width = geometry.shape
    k_mm, j_mm, i_mm = geometry.spacing_mm
    steps = {"j": geometry.affine[:3, 1], "i": geometry.affine[:3, 2]}
    down, across = ("i", "j") if transpose else ("j", "i")
    sizes = {"j": height, "i": width}
    found = []
    for k in range(depth if planes is None else planes):
        index = {"j": 0, "i": 0}
        if flip_rows:
            index[down] = sizes[down] - 1
        if flip_columns:
            index[across] = sizes[across] - 1
        position = geometry.index_to_lps((k, index["j"], index["i"]))
        along_row = steps[across] * (-1 if flip_columns else 1)
        along_column = steps[down] * (-1 if flip_rows else 1)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series_uid, str(k)])
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID = study_uid, series_uid
        one.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.3"
        one.PositionReferenceIndicator = ""
        one.Modality, one.InstanceNumber = "CT", depth - k
        one.PatientName, one.PatientID, one.PatientSex = name, "SAMPLE-0001", "F"
        one.PatientBirthDate, one.PatientAge = "19571103", "068Y"
        one.StudyDate, one.StudyTime, one.StudyID = "20260314", "102107", "S1"
        one.AccessionNumber, one.ReferringPhysicianName = "A-4711", ""
        one.StudyDescription = "CT Thorax"
        one.Manufacturer = "SIEMENS"
        one.Rows, one.Columns = sizes[down], sizes[across]
        spacing = {"j": j_mm, "i": i_mm}
        one.PixelSpacing = [spacing[down], spacing[across]]
        one.SliceThickness = k_mm
        one.ImagePositionPatient = [round(float(value), 4) for value in position]
        directions = (along_row / spacing[across], along_column / spacing[down])
        one.ImageOrientationPatient = [float(value) for value in np.concatenate(directions)]
        for keyword, value in changes.items():
            if value is None:
                delattr(one, keyword)
            else:
                setattr(one, keyword, value)
        one.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)
        found.append(one)
    return found


def frame_points(dataset: Dataset, frame: int) -> np.ndarray:
    """LPS mm (Rows, Columns, 3) of a frame's pixels, by PS3.3 C.7.6.2.1.1 alone."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    own = dataset.PerFrameFunctionalGroupsSequence[frame]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    position = np.array(own.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
    row, column = np.mgrid[: dataset.Rows, : dataset.Columns]
    return position + column[..., None] * spacing[1] * orientation[:3] + row[..., None] * spacing[0] * orientation[3:]
