"""Values that the calibration stage hands on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from trabecula.outcome import Notice


class DensityScale(StrEnum):
    """Which mineral the density is expressed in; the two are different units and never mix silently."""

    K2HPO4 = "K2HPO4"
    HA = "HA"


class CalibrationMethod(StrEnum):
    """How HU became density. ``MASS_ATTENUATION`` is a comparator and never chosen unless asked for."""

    PHANTOMLESS = "phantomless"
    HU_ONLY = "hu-only"
    SYNCHRONOUS_PHANTOM = "synchronous-phantom"
    ASYNCHRONOUS = "asynchronous"
    MUSCLE_ONLY = "muscle-only"
    FAT_AIR = "fat-air"
    AIR_BLOOD = "air-blood"
    FAT_BLOOD_BONE = "fat-blood-bone"
    MASS_ATTENUATION = "mass-attenuation"


class ReferenceTissue(StrEnum):
    OUTSIDE_AIR = "outside-air"
    SUBCUTANEOUS_FAT = "subcutaneous-fat"
    PARASPINAL_MUSCLE = "paraspinal-muscle"
    AORTIC_BLOOD = "aortic-blood"
    LIVER = "liver"
    SPLEEN = "spleen"
    CORTICAL_BONE = "cortical-bone"


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
    sampling_standard_error_hu: float = 0.0
    """Part of ``standard_deviation_hu`` that comes from measuring it in this scan."""
    gate_hu: float | None = None
    """Distance from the nominal beyond which it would have been implausible."""


class CorrectionName(StrEnum):
    """The corrections, in the order they act."""

    NOISE = "noise"
    FIELD_OF_VIEW = "field-of-view"
    PATIENT_SIZE = "patient-size"
    TUBE_VOLTAGE = "tube-voltage"
    TIN_FILTER = "tin-filter"
    BEAM_PATH = "beam-path"
    VIRTUAL_UNENHANCED = "virtual-unenhanced"
    CONTRAST = "contrast"
    MARROW = "marrow"
    KERNEL = "kernel"
    SLICE_THICKNESS = "slice-thickness"
    DRIFT = "drift"
    SCALE = "scale"


@dataclass(frozen=True)
class CorrectionStep:
    """One correction as it acted on this scan."""

    name: CorrectionName
    amount: float
    """What was taken off (HU, mg/cm3), divided by (ratios, unit 1) or added (cm, mm of averaging)."""
    unit: str
    source: str
    added_standard_uncertainty: float
    """By how much the step widens the error, in the unit of ``amount``."""
    applied: bool = True
    """False where a site has switched the step off; the amount is then what it would have been."""


@dataclass(frozen=True)
class MethodVerdict:
    """A calibration method that was considered before the one taken, and why it was not."""

    method: CalibrationMethod
    because: str


@dataclass(frozen=True)
class Calibration:
    """HU on the scan to density.

    ``HU' = gain * HU + offset_hu`` is the HU a scanner in specification would have shown;
    ``density = (HU' - contrast_correction_hu - marrow_correction_hu) / slope_hu_per_mg_cm3
    - density_correction_mg_cm3``, plus ``curvature_mg_cm3_per_hu2 * HU'^2`` for the one method that is not linear.
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
    slope_size_standard_uncertainty: float = 0.0
    """The part of ``slope_standard_uncertainty`` that comes from not knowing the patient's size better."""
    offset_slope_covariance: float = 0.0
    """Of offset and slope where one fit gave both (phantoms), HU squared per mg/cm3."""
    density_correction_mg_cm3: float = 0.0
    """Subtracted from density at the end: kernel and slice thickness."""
    kernel_standard_uncertainty_mg_cm3: float = 0.0
    slice_standard_uncertainty_mg_cm3: float = 0.0
    curvature_mg_cm3_per_hu2: float = 0.0
    bone_gain: float = 1.0
    """``HU = bone_gain * HU + bone_offset_hu`` comes before everything else, for bone alone: the site's map from
    virtual unenhanced HU to true ones."""
    bone_offset_hu: float = 0.0
    corrections: tuple[CorrectionStep, ...] = ()
    chosen_because: str = ""
    """Why this method and no other, in words."""
    alternatives: tuple[MethodVerdict, ...] = ()
    """Methods that the site prefers and that this scan does not allow."""

    @property
    def gives_density(self) -> bool:
        """False for HU alone: attenuation for pre-screening, no density."""
        return self.method is not CalibrationMethod.HU_ONLY

    def hu_prime(self, hu: float) -> float:
        """HU' of trabecular bone, contrast taken off."""
        return self.gain * self._true_hu(hu) + self.offset_hu - self.contrast_correction_hu

    def _true_hu(self, hu: float) -> float:
        return self.bone_gain * hu + self.bone_offset_hu

    def density_mg_cm3(self, hu: float) -> float:
        """Density of trabecular bone that shows ``hu``, on :attr:`scale`."""
        prime = self.hu_prime(hu)
        linear = (prime - self.marrow_correction_hu) / self.slope_hu_per_mg_cm3
        return linear + self.curvature_mg_cm3_per_hu2 * prime**2 - self.density_correction_mg_cm3

    def standard_uncertainties_mg_cm3(self, hu: float) -> dict[str, float]:
        """Independent parts of the calibration's error at ``hu``, mg/cm3, by name. They add in quadrature."""
        slope, true_hu = self.slope_hu_per_mg_cm3, self._true_hu(hu)
        through_slope = self.density_mg_cm3(hu) + self.density_correction_mg_cm3
        line_hu2 = (
            self.gain_variance * true_hu**2 + 2.0 * self.gain_offset_covariance_hu * true_hu + self.offset_variance_hu2
        )
        size = abs(through_slope) * self.slope_size_standard_uncertainty
        prior_hu2 = through_slope**2 * max(
            self.slope_standard_uncertainty**2 - self.slope_size_standard_uncertainty**2, 0.0
        )
        # what one fit gave errs together: both parts share what their covariance takes off or adds
        apart_hu2 = max(line_hu2, 0.0) + prior_hu2
        together_hu2 = max(apart_hu2 - 2.0 * through_slope * self.offset_slope_covariance, 0.0)
        share = together_hu2 / apart_hu2 if apart_hu2 > 0.0 else 1.0
        return {
            "references": math.sqrt(max(line_hu2, 0.0) * share) / slope,
            "slope": math.sqrt(prior_hu2 * share) / slope,
            "size": size / slope,
            "contrast": self.contrast_standard_uncertainty_hu / slope,
            "marrow": self.marrow_standard_uncertainty_hu / slope,
            "kernel": self.kernel_standard_uncertainty_mg_cm3,
            "slice": self.slice_standard_uncertainty_mg_cm3,
        }

    def density_standard_uncertainty_mg_cm3(self, hu: float) -> float:
        """Of the calibration alone, coverage factor 1; noise and region come on top."""
        return math.hypot(*self.standard_uncertainties_mg_cm3(hu).values())
