"""Values that the calibration stage hands on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trabecula.outcome import Notice


class DensityScale(StrEnum):
    """Which mineral the density is expressed in; the two are different units and never mix silently."""

    K2HPO4 = "K2HPO4"
    HA = "HA"


class CalibrationMethod(StrEnum):
    PHANTOMLESS = "phantomless"
    HU_ONLY = "hu-only"


class ReferenceTissue(StrEnum):
    OUTSIDE_AIR = "outside-air"
    SUBCUTANEOUS_FAT = "subcutaneous-fat"
    PARASPINAL_MUSCLE = "paraspinal-muscle"
    AORTIC_BLOOD = "aortic-blood"


@dataclass(frozen=True)
class ReferenceMeasurement:
    """One reference tissue as measured and as it should be."""

    tissue: ReferenceTissue
    hu_measured: float
    hu_nominal: float
    standard_deviation_hu: float
    """Biological, sampling and segmentation spread of the nominal, combined."""
    voxels: int
    used: bool
    rejected_because: str | None


@dataclass(frozen=True)
class Calibration:
    """HU on the scan to density.

    ``HU' = gain * HU + offset_hu`` is the HU a scanner in specification would have shown;
    ``density = (HU' - contrast_correction_hu - marrow_correction_hu) / slope_hu_per_mg_cm3``.
    """

    method: CalibrationMethod
    scale: DensityScale
    gain: float
    offset_hu: float
    gain_variance: float
    offset_variance_hu2: float
    gain_offset_covariance_hu: float
    slope_hu_per_mg_cm3: float
    slope_standard_uncertainty: float
    """Of the slope, HU per mg/cm3."""
    effective_kvp: float
    water_equivalent_diameter_cm: float
    contrast_enhanced: bool
    contrast_evidence: str
    contrast_correction_hu: float
    """Subtracted from HU' of trabecular bone before the slope is applied; 0 when unenhanced."""
    contrast_standard_uncertainty_hu: float
    references: tuple[ReferenceMeasurement, ...]
    model_name: str
    model_version: str
    notices: tuple[Notice, ...] = ()
    marrow_correction_hu: float = 0.0
    """Subtracted from HU' of trabecular bone: how far marrow alone strays from what the change of mineral slope
    between 120 kVp and this scan's spectrum would predict; 0 at 120 kVp and 25 cm of water."""
    marrow_standard_uncertainty_hu: float = 0.0
    to_120kvp_gain: float = 1.0
    """``HU120 = to_120kvp_gain * HU' + to_120kvp_offset_hu``: attenuation at 120 kVp in the same patient."""
    to_120kvp_offset_hu: float = 0.0
