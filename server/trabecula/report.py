"""The screening report: the one frozen result that every converter reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import Anatomy, LabelArray, Level, ModelUse
from trabecula.assessment.assessment import Assessment, Recommendation
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import Acquisition, SeriesCandidate, StudyIdentity
from trabecula.outcome import Notice, Refusal
from trabecula.patient import PatientContext
from trabecula.second_reader.reading import SecondReading

SCHEMA_VERSION = "1.0.0"
"""Version of the published JSON form; minor versions only add."""


class ReportStatus(StrEnum):
    REPORTED = "reported"
    REFUSED = "refused"


@dataclass(frozen=True)
class ScreeningReport:
    """DICOM study in, this out. Fields after ``refusals`` are None or empty where a refusal came first."""

    schema_version: str
    software_version: str
    clinical_data_version: str
    screening_id: str
    """UUIDv5 of study, series, software and model versions: the same input gives the same id."""
    created_at: str
    """ISO 8601, UTC."""
    status: ReportStatus
    study: StudyIdentity | None
    patient: PatientContext
    refusals: tuple[Refusal, ...]
    acquisition: Acquisition | None
    series: tuple[SeriesCandidate, ...]
    vertebrae: tuple[VertebraResult, ...]
    density: DensitySummary | None
    calibration: Calibration | None
    composition: tuple[CompositionAtLevel, ...]
    assessment: Assessment | None
    recommendations: tuple[Recommendation, ...]
    notices: tuple[Notice, ...]
    level_evidence: tuple[str, ...]
    models: tuple[ModelUse, ...]
    timings_s: dict[str, float]
    """Wall time of each stage by name, and ``total``."""
    limits_of_use: tuple[str, ...]
    second_readings: tuple[SecondReading, ...] = ()
    """Answers of end-to-end models, beside the measurement and never instead of it."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture's raw material: one resampled plane of the scan with its labels."""

    kind: str
    """``sagittal`` (curved along the column; rows head to foot, columns anterior to posterior) or ``axial``
    (rows anterior to posterior, columns patient right to left, as radiology shows it)."""
    level: Level | None
    hu: npt.NDArray[np.int16]
    labels: LabelArray
    tissue: npt.NDArray[np.uint8] | None
    """Axial: 0 none, 1 muscle, 2 IMAT, 3 SAT, 4 VAT. None on sagittal views."""
    pixel_mm: tuple[float, float]
    """(row, column) spacing."""
    marks: tuple[tuple[str, float, float], ...] = ()
    """(text, row, column) labels, e.g. vertebral levels at their centroids."""
    roi_mask: npt.NDArray[np.bool_] | None = None
    """Trabecular ROIs cut by this plane."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a person looks at beside the numbers; too large for the report itself."""

    views: tuple[View, ...]
    anatomy: Anatomy | None
    """Full label volume, for ``--masks``; None when not asked for or refused."""


@dataclass(frozen=True, eq=False)
class Screening:
    """What :func:`trabecula.screening.screen` returns."""

    report: ScreeningReport
    evidence: Evidence
