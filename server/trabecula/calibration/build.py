"""From a method's line and slope to the calibration, with the corrections that all methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from trabecula.calibration.calibration import (
    Calibration,
    CalibrationMethod,
    CorrectionName,
    CorrectionStep,
    DensityScale,
    ReferenceMeasurement,
)
from trabecula.calibration.ground import in_force
from trabecula.calibration.method import Scan
from trabecula.calibration.model import Line
from trabecula.calibration.phantom_fit import PhantomFit
from trabecula.calibration.scale import scale_ratio
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
        bone_gain=ground.bone_map.slope if ground.bone_map else 1.0,
        bone_offset_hu=ground.bone_map.intercept_hu if ground.bone_map else 0.0,
        corrections=(*ground.before, *steps, *ground.after),
    )


@dataclass(frozen=True)
class PhantomLine:
    """A phantom's line as it holds for this patient, with the errors that its own fit does not know of."""

    fit: PhantomFit
    slope_relative_uncertainty: float
    offset_uncertainty_hu: float
    source: str
    slope_ratio: float = 1.0
    """Mineral slope in the patient over that in the phantom's own scan (body size)."""


def build_from_phantom(
    scan: Scan,
    method: CalibrationMethod,
    line: PhantomLine,
    steps: tuple[CorrectionStep, ...] = (),
    notices: tuple[Notice, ...] = (),
) -> Calibration:
    """Calibration by ``density = (HU - offset) / slope``, on the scale of the report.

    An HA phantom is brought to K2HPO4 (or the other way) by the measured ratio of the two scales, as a step of its
    own: the same HU is ``ratio`` times the HA density on the K2HPO4 scale, so the slope is divided by it.
    """
    fit = line.fit
    slope = fit.slope_hu_per_mg_cm3 * line.slope_ratio
    relative = math.hypot(line.slope_relative_uncertainty, math.sqrt(fit.slope_variance) / fit.slope_hu_per_mg_cm3)
    wanted = DensityScale(scan.constants.text("calibration.scale"))
    if fit.scale is not wanted:
        known = scale_ratio(scan.ground.beam.kvp, scan.constants)
        ratio = known.ratio if wanted is DensityScale.K2HPO4 else 1.0 / known.ratio
        slope /= ratio
        spread = known.standard_uncertainty / known.ratio * ratio
        relative = math.hypot(relative, spread / ratio)
        steps = (*steps, CorrectionStep(CorrectionName.SCALE, ratio, "1", known.source, spread))
    offset_variance = fit.offset_variance_hu2 + line.offset_uncertainty_hu**2
    # HU' = HU - offset, so its covariance with the slope has the other sign
    covariance = -fit.slope_offset_covariance * slope / fit.slope_hu_per_mg_cm3
    built = build_calibration(
        scan,
        method,
        Line(1.0, -fit.offset_hu, 0.0, offset_variance, 0.0),
        slope_hu_per_mg_cm3=slope,
        slope_standard_uncertainty=relative * slope,
        offset_slope_covariance=covariance,
        steps=steps,
        notices=notices,
    )
    return replace(built, model_name=line.source, model_version="")
