"""The images that a result was read from, as headers: what a DICOM result repeats and what it refers to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from trabecula.errors import InputError
from trabecula.geometry import FloatArray
from trabecula.imaging import tags
from trabecula.imaging.discover import find_dicom_files
from trabecula.imaging.elements import Elements
from trabecula.imaging.headers import read_header
from trabecula.imaging.instance import CT_IMAGE
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom.header import HEADER_TAGS, clean_header

_UID: Final = re.compile(r"[0-9.]{1,64}")
_READ: Final = (
    *HEADER_TAGS,
    tags.CHARACTER_SET,
    tags.SOP_CLASS,
    tags.SOP_INSTANCE,
    tags.MODALITY,
    tags.STUDY_UID,
    tags.SERIES_UID,
    tags.INSTANCE_NUMBER,
    tags.POSITION,
    tags.ORIENTATION,
    tags.PIXEL_SPACING,
    tags.SLICE_THICKNESS,
    tags.ROWS,
    tags.COLUMNS,
)


@dataclass(frozen=True)
class SourceImage:
    """One instance of the series that was read."""

    sop_class: str
    sop_uid: str
    number: int | None
    rows: int
    columns: int
    position: tuple[float, ...]
    """ImagePositionPatient, mm; () where the header has none, as in multi-frame images."""
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    """Between rows, between columns, mm."""
    thickness_mm: float | None

    @property
    def placed(self) -> bool:
        """A classic image with its place in the patient."""
        geometry = (len(self.position), len(self.orientation), len(self.spacing))
        return self.sop_class == CT_IMAGE and geometry == (3, 6, 2)

    @cached_property
    def pixel_to_lps(self) -> FloatArray:
        """(3, 3): homogeneous (row, column, 1) to LPS mm (PS3.3 C.7.6.2.1.1)."""
        along_row, along_column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        return np.stack(
            [along_column * self.spacing[0], along_row * self.spacing[1], np.array(self.position)], axis=1
        ).astype(np.float64)


@dataclass(frozen=True, eq=False)
class SourceStudy:
    """One series of a study, without pixels. Patient data: never logged."""

    study_uid: str
    series_uid: str
    header: Dataset
    """Patient, study and equipment, cleaned (:mod:`trabecula.outputs.dicom.header`)."""
    modality: str
    images: tuple[SourceImage, ...]

    @property
    def reference(self) -> Dataset:
        """The first image, for those who want patient and study."""
        return self.dataset(self.images[0])

    def dataset(self, image: SourceImage) -> Dataset:
        """One image as a header-only data set, valid as far as a reference to it needs."""
        dataset = Dataset()
        dataset.update(self.header)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.study_uid, self.series_uid
        dataset.SOPClassUID, dataset.SOPInstanceUID = image.sop_class, image.sop_uid
        dataset.Modality = self.modality
        dataset.Rows, dataset.Columns = image.rows, image.columns
        if image.number is not None:
            dataset.InstanceNumber = image.number
        if image.placed:
            dataset.ImagePositionPatient = [_ds(value) for value in image.position]
            dataset.ImageOrientationPatient = [_ds(value) for value in image.orientation]
            dataset.PixelSpacing = [_ds(value) for value in image.spacing]
            dataset.SliceThickness = None if image.thickness_mm is None else _ds(image.thickness_mm)
        return dataset


def read_source(paths: Sequence[Path], series_uid: str | None, limits: ImagingLimits) -> SourceStudy | None:
    """Headers of one series below the paths.

    Args:
        series_uid: the series that was read; None takes that of the first instance that can be referred to.

    Returns:
        None when no instance names its study, series and itself, so that no result could be filed beside it.

    Raises:
        InputError: if the files cannot be found or are over the limits; damaged ones are left out.
    """
    found: list[tuple[str, str, str, Elements, SourceImage]] = []
    for path in find_dicom_files(paths, limits):
        elements = _elements(path, limits)
        if elements is None:
            continue
        study, series, image = _uid(elements, tags.STUDY_UID), _uid(elements, tags.SERIES_UID), _image(elements)
        if study and series and image and (series_uid is None or series == series_uid):
            series_uid = series
            found.append((study, series, elements.text(tags.MODALITY) or "CT", elements, image))
    if not found:
        return None
    study, series, modality, elements, _ = found[len(found) // 2]
    images = {image.sop_uid: image for _, _, _, _, image in found}
    ordered = sorted(images.values(), key=lambda image: (image.number or 0, image.sop_uid))
    return SourceStudy(study, series, clean_header(elements), modality, tuple(ordered))


def _elements(path: Path, limits: ImagingLimits) -> Elements | None:
    try:
        with path.open("rb") as file:
            return Elements(read_header(file, _READ, limits)[0])
    except InputError:
        return None


def _image(elements: Elements) -> SourceImage | None:
    sop_class, sop_uid = _uid(elements, tags.SOP_CLASS), _uid(elements, tags.SOP_INSTANCE)
    if not sop_class or not sop_uid:
        return None
    return SourceImage(
        sop_class=sop_class,
        sop_uid=sop_uid,
        number=elements.integer(tags.INSTANCE_NUMBER),
        rows=elements.integer(tags.ROWS) or 0,
        columns=elements.integer(tags.COLUMNS) or 0,
        position=elements.numbers(tags.POSITION),
        orientation=elements.numbers(tags.ORIENTATION),
        spacing=elements.numbers(tags.PIXEL_SPACING),
        thickness_mm=elements.number(tags.SLICE_THICKNESS),
    )


def _uid(elements: Elements, tag: int) -> str | None:
    text = elements.text(tag)
    return text if _UID.fullmatch(text) else None


def _ds(value: float) -> float:
    """A number that fits the 16 characters of a DS."""
    return float(f"{value:.9g}")
