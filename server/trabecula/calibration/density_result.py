"""Values that the density stage hands on: vertebrae with density, and their summary."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.anatomy import Level
from trabecula.bone.vertebra import (
    CortexMeasurement,
    Deformity,
    Exclusion,
    ExclusionReason,
    RoiGrowth,
    TrabecularRoi,
)
from trabecula.calibration.calibration import DensityScale


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
    height_rim_standard_uncertainty_mm: float | None = None
    """Of the anterior and of the posterior height."""
    height_middle_standard_uncertainty_mm: float | None = None
    deformity: Deformity | None = None
    exclusions: tuple[Exclusion, ...] = ()
    """What is left out, whole or in part, and why."""
    cortex: CortexMeasurement | None = None
    roi_growth: RoiGrowth | None = None
    """How the region grew because of noise; None when it did not."""
    hu_standard_error: float | None = None
    """Of the mean attenuation, spatial correlation of noise allowed for, HU."""


@dataclass(frozen=True)
class UncertaintyTerm:
    """One independent part of a density's standard uncertainty."""

    name: str
    standard_uncertainty_mg_cm3: float


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
    uncertainty_budget: tuple[UncertaintyTerm, ...] = ()
    """Parts of the lumbar equivalent's uncertainty (of the mean's where there is no lumbar equivalent); they add in
    quadrature."""
