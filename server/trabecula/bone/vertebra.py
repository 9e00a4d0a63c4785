"""Values that the bone stage hands on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trabecula.anatomy import Level, Vector


class ExclusionReason(StrEnum):
    FRACTURE = "fracture"
    CEMENT = "cement"
    HARDWARE = "hardware"
    LESION = "lesion"
    OUT_OF_VIEW = "out-of-view"
    ROI_TOO_SMALL = "roi-too-small"
    IMPLAUSIBLE = "implausible"


@dataclass(frozen=True)
class TrabecularRoi:
    """The region whose mean is the vertebra's trabecular HU: an elliptic cylinder in the mid-body."""

    centre_lps_mm: Vector
    superior: Vector
    left: Vector
    anterior: Vector
    half_width_mm: float
    """Semi-axis along ``left``."""
    half_depth_mm: float
    """Semi-axis along ``anterior``."""
    half_height_mm: float
    volume_mm3: float
    """Volume of the voxels kept after islands, vein and calcified spots are cut out."""


@dataclass(frozen=True)
class VertebraMeasurement:
    """Attenuation and shape of one vertebral body."""

    level: Level
    level_confidence: float
    hu_mean: float | None
    """Robust mean trabecular attenuation, HU as on the scan; None when no ROI could be placed."""
    hu_sd: float | None
    hu_standard_error: float | None
    """Of the mean, spatial correlation of noise allowed for, HU."""
    roi_voxels: int
    roi: TrabecularRoi | None
    height_anterior_mm: float | None
    height_middle_mm: float | None
    height_posterior_mm: float | None
    excluded: tuple[ExclusionReason, ...]
    """Empty when the vertebra counts towards the means."""
