"""The screening report: the one frozen result that every converter reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import Anatomy, LabelArray, Level, ModelUse
from trabecula.assessment.assessment import Assessment, Recommendation
from trabecula.bone.vertebra import ExclusionReason, TrabecularRoi
from trabecula.calibration.calibration import Calibration, DensityScale
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import Acquisition, SeriesCandidate, StudyIdentity
from trabecula.outcome import Notice, Refusal
from trabecula.patient import PatientContext

SCHEMA_VERSION = "1.0.0"
"""Version of the published JSON form; minor versions only add."""


class ReportStatus(StrEnum):
    REPORTED = "reported"
    REFUSED = "refused"


@dataclass(frozen=True)
class VertebraResult:
    """One vertebra in the report: attenuation, density, shape."""

    level: Level
    level_confidence: float
    hu_mean: float | None
    hu_sd: float | None
    hu_calibrated: float | None
    """Attenuation after calibration (gain and offset) and contrast correction, at the scan's own kVp."""
    vbmd_mg_cm3: float | None
    vbmd_standard_uncertainty_mg_cm3: float | None
    lumbar_equivalent_mg_cm3: float | None
    lumbar_equivalent_standard_uncertainty_mg_cm3: float | None
    scale: DensityScale
    roi_voxels: int
    roi_volume_mm3: float | None
    roi: TrabecularRoi | None
    height_anterior_mm: float | None
    height_middle_mm: float | None
    height_posterior_mm: float | None
    excluded: tuple[ExclusionReason, ...]


@dataclass(frozen=True)
class DensitySummary:
    """Means over the vertebrae that count. Standard uncertainties, coverage factor 1."""

    levels_used: tuple[Level, ...]
    vbmd_mean_mg_cm3: float | None
    vbmd_mean_standard_uncertainty_mg_cm3: float | None
    lumbar_equivalent_mg_cm3: float | None
    lumbar_equivalent_standard_uncertainty_mg_cm3: float | None
    conversion: str
    """Which line took thoracic density to its lumbar equivalent, by id in the clinical data file."""
    hu_mean_120kvp: float | None
    """Mean calibrated attenuation brought to 120 kVp, for HU thresholds."""
    scale: DensityScale


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


@dataclass(frozen=True, eq=False)
class View:
    """A picture's raw material: one resampled plane of the scan with its labels."""

    kind: str
    """``sagittal`` (curved along the column, rows head to foot, columns anterior to posterior) or ``axial`` (rows anterior to
    posterior, columns patient right to left, as radiology shows it)."""
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
