"""Values that the imaging stage hands on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.geometry import Geometry
from trabecula.outcome import Notice, Refusal

HuArray = npt.NDArray[np.int16]

OUTSIDE_HU: Final = -1024
"""What padding and pixels outside the reconstruction circle hold in a :class:`CtVolume`, at the most."""


@dataclass(frozen=True, eq=False)
class CtVolume:
    """CT numbers on a canonical grid (axes as in :class:`Geometry`)."""

    hu: HuArray
    """(K, J, I) Hounsfield units; read-only; padding and out-of-circle pixels hold -1024 or less."""
    geometry: Geometry


class KernelClass(StrEnum):
    SOFT = "soft"
    MEDIUM = "medium"
    SHARP = "sharp"
    UNKNOWN = "unknown"


class SpectralFilter(StrEnum):
    NONE = "none"
    TIN = "tin"
    UNKNOWN = "unknown"


class ContrastTag(StrEnum):
    """What the DICOM header says about contrast medium; the pixels are asked as well, later."""

    GIVEN = "given"
    NOT_GIVEN = "not-given"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Acquisition:
    """How the chosen series was made. None where the header does not say."""

    kvp: float | None
    spectral_filter: SpectralFilter
    kernel: str | None
    kernel_class: KernelClass
    slice_thickness_mm: float | None
    slice_spacing_mm: float
    pixel_spacing_mm: tuple[float, float]
    """Row spacing, column spacing."""
    reconstruction_diameter_mm: float | None
    contrast: ContrastTag
    exposure_mas: float | None
    ctdi_vol_mgy: float | None
    manufacturer: str | None
    model: str | None
    station_hash: str | None
    """Keyed by nothing secret: sha256 of the device serial, shortened; tells scanners apart."""
    acquired_at: str | None
    """ISO 8601 date or date-time of the acquisition as the scanner's clock had it."""
    virtual_unenhanced: bool = False
    """Iodine was taken out of the picture by dual energy: its numbers are not those of an unenhanced scan."""


@dataclass(frozen=True)
class StudyIdentity:
    """Identifiers needed to file the result. Patient data: never logged."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    patient_id: str | None
    patient_id_issuer: str | None
    accession_number: str | None
    patient_sex: str | None
    """DICOM M, F or O."""
    patient_age_years: float | None
    patient_height_m: float | None
    patient_weight_kg: float | None


@dataclass(frozen=True)
class SeriesCandidate:
    """One series that was looked at, with the reasons for and against it."""

    series_number: int | None
    description_kind: str
    """Bounded, PHI-free words such as ``axial original soft 1.0 mm``; never the free text of the header."""
    instances: int
    score: float
    chosen: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CtStudy:
    """The series chosen for bone work, decoded."""

    volume: CtVolume
    acquisition: Acquisition
    identity: StudyIdentity
    candidates: tuple[SeriesCandidate, ...]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class StudyRefused:
    """A study that could not be used, with what is known of it so that the refusal can be filed."""

    refusals: tuple[Refusal, ...]
    identity: StudyIdentity | None
    candidates: tuple[SeriesCandidate, ...]
    notices: tuple[Notice, ...] = ()
