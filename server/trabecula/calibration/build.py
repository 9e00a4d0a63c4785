"""From a method's line and slope to the calibration, with the corrections that all methods share."""

from __future__ import annotations

from trabecula.calibration.calibration import (
    Calibration,
    CalibrationMethod,
    CorrectionStep,
    DensityScale,
    ReferenceMeasurement,
)
from trabecula.calibration.ground import in_force
from trabecula.calibration.method import Scan
from trabecula.calibration.model import Line
from trabecula.outcome import Notice


def build_calibration(
    scan: Scan,
    method: CalibrationMethod,
    line: Line,
    *,
    slope_hu_per_mg_cm3: float,
    slope_standard_uncertainty: float,
    slope_size_standard_uncertainty: float = 0.0,
    offset_slope_covariance: float = 0.0,
    references: tuple[ReferenceMeasurement, ...] = (),
    steps: tuple[CorrectionStep, ...] = (),
    notices: tuple[Notice, ...] = (),
) -> Calibration:
    """``slope_standard_uncertainty`` is without the part that comes from the patient's size."""
    ground = scan.ground
    contrast, marrow, kernel, slices = (in_force(step) for step in ground.after)
    return Calibration(
        method=method,
        scale=DensityScale(scan.constants.text("calibration.scale")),
        gain=line.gain,
        offset_hu=line.offset_hu,
        gain_variance=line.gain_variance,
        offset_variance_hu2=line.offset_variance_hu2,
        gain_offset_covariance_hu=line.covariance_hu,
        slope_hu_per_mg_cm3=slope_hu_per_mg_cm3,
        slope_standard_uncertainty=(slope_standard_uncertainty**2 + slope_size_standard_uncertainty**2) ** 0.5,
        slope_size_standard_uncertainty=slope_size_standard_uncertainty,
        offset_slope_covariance=offset_slope_covariance,
        effective_kvp=ground.beam.kvp,
        water_equivalent_diameter_cm=ground.size.water_equivalent_diameter_cm,
        contrast_enhanced=ground.contrast.enhanced,
        contrast_evidence=ground.contrast.evidence,
        contrast_correction_hu=contrast.amount,
        contrast_standard_uncertainty_hu=contrast.added_standard_uncertainty,
        references=references,
        model_name=scan.model.use.name,
        model_version=scan.model.use.version,
        notices=(*ground.notices, *notices),
        marrow_correction_hu=marrow.amount,
        marrow_standard_uncertainty_hu=marrow.added_standard_uncertainty,
        to_120kvp_gain=ground.to_120kvp_gain,
        to_120kvp_offset_hu=ground.to_120kvp_offset_hu,
        density_correction_mg_cm3=kernel.amount + slices.amount,
        kernel_standard_uncertainty_mg_cm3=kernel.added_standard_uncertainty,
        slice_standard_uncertainty_mg_cm3=slices.added_standard_uncertainty,
        corrections=(*ground.before, *steps, *ground.after),
    )
