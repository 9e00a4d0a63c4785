"""From calibrated attenuation to density: per vertebra, their mean, and the lumbar equivalent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trabecula.anatomy import Level
from trabecula.bone.vertebra import VertebraMeasurement
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, Row
from trabecula.imaging.study import Acquisition

_NO_CONVERSION: Final = "none"


@dataclass(frozen=True)
class _Density:
    """Density of one vertebra with its uncertainty split by what neighbours share.

    ``own`` (noise, region) averages down over vertebrae; calibration, contrast, marrow, kernel and slice do not.
    """

    measurement: VertebraMeasurement
    hu_calibrated: float
    vbmd: float
    own: float
    shared: float
    rule: Row | None

    @property
    def uncertainty(self) -> float:
        return math.hypot(self.own, self.shared)

    @property
    def counts(self) -> bool:
        return not self.measurement.excluded


def measure_density(
    vertebrae: Sequence[VertebraMeasurement],
    calibration: Calibration,
    acquisition: Acquisition,
    constants: ClinicalConstants,
) -> tuple[tuple[VertebraResult, ...], DensitySummary]:
    """Density of each vertebra, K2HPO4 mg/cm3, and the summary over those that count.

    The mean is over T11, T12, L1, L2 where any of them counts, else over all that count. The lumbar equivalent
    comes from lumbar bodies alone when there are any (identity), else from the thoracic ones through the line of
    their level; ``conversion`` is that line's id.
    """
    rules = {Level(name): row for row in constants.rows("levels") for name in row.texts("levels")}
    densities = [_density(m, calibration, acquisition, constants, rules.get(m.level)) for m in vertebrae]
    results = tuple(_result(m, d, calibration) for m, d in zip(vertebrae, densities, strict=True))
    counted = [d for d in densities if d is not None and d.counts]
    preferred = {Level(name) for name in constants.texts("density.preferred_levels")}
    chosen = [d for d in counted if d.measurement.level in preferred] or counted
    return results, _summary(chosen, calibration)


def _density(
    measurement: VertebraMeasurement,
    calibration: Calibration,
    acquisition: Acquisition,
    constants: ClinicalConstants,
    rule: Row | None,
) -> _Density | None:
    hu = measurement.hu_mean
    if hu is None:
        return None
    c = calibration
    slope = c.slope_hu_per_mg_cm3
    calibrated = c.gain * hu + c.offset_hu - c.contrast_correction_hu
    vbmd = (calibrated - c.marrow_correction_hu) / slope
    error = measurement.hu_standard_error
    if error is None:
        error = (measurement.hu_sd or 0.0) / math.sqrt(max(measurement.roi_voxels, 1))
    line_variance = c.gain_variance * hu**2 + 2.0 * c.gain_offset_covariance_hu * hu + c.offset_variance_hu2
    shared_hu = math.sqrt(
        max(line_variance, 0.0)
        + c.contrast_standard_uncertainty_hu**2
        + c.marrow_standard_uncertainty_hu**2
        + (vbmd * c.slope_standard_uncertainty) ** 2
    )
    shared = math.hypot(shared_hu / slope, *_acquisition_terms(acquisition, constants))
    return _Density(measurement, calibrated, vbmd, abs(c.gain) * error / slope, shared, rule)


def _acquisition_terms(acquisition: Acquisition, constants: ClinicalConstants) -> tuple[float, float]:
    """Standard uncertainties by kernel and by slice thickness, mg/cm3."""
    kernel = constants.row("density.kernel_standard_uncertainty").number(acquisition.kernel_class.value)
    row = constants.row("density.slice_standard_uncertainty")
    thickness = acquisition.slice_thickness_mm
    if thickness is None:
        return kernel, row.number("unknown_mg_cm3")
    thin = thickness <= row.number("thin_up_to_mm")
    return kernel, row.number("thin_mg_cm3" if thin else "thick_mg_cm3")


def _convert(rule: Row, vbmd: float, uncertainty: float) -> tuple[float, float]:
    """Lumbar equivalent by a level's rule, and its standard uncertainty."""
    slope = rule.number("slope")
    value = slope * vbmd + rule.number("intercept_mg_cm3")
    return value, math.hypot(slope * uncertainty, rule.number("standard_error_mg_cm3"))


def _result(m: VertebraMeasurement, density: _Density | None, calibration: Calibration) -> VertebraResult:
    lumbar = _convert(density.rule, density.vbmd, density.uncertainty) if density and density.rule else None
    return VertebraResult(
        level=m.level,
        level_confidence=m.level_confidence,
        hu_mean=m.hu_mean,
        hu_sd=m.hu_sd,
        hu_calibrated=None if density is None else density.hu_calibrated,
        vbmd_mg_cm3=None if density is None else density.vbmd,
        vbmd_standard_uncertainty_mg_cm3=None if density is None else density.uncertainty,
        lumbar_equivalent_mg_cm3=None if lumbar is None else lumbar[0],
        lumbar_equivalent_standard_uncertainty_mg_cm3=None if lumbar is None else lumbar[1],
        scale=calibration.scale,
        roi_voxels=m.roi_voxels,
        roi_volume_mm3=None if m.roi is None else m.roi.volume_mm3,
        roi=m.roi,
        height_anterior_mm=m.height_anterior_mm,
        height_middle_mm=m.height_middle_mm,
        height_posterior_mm=m.height_posterior_mm,
        excluded=m.excluded,
    )


def _summary(chosen: Sequence[_Density], calibration: Calibration) -> DensitySummary:
    if not chosen:
        return DensitySummary((), None, None, None, None, _NO_CONVERSION, None, calibration.scale)
    value, uncertainty = _mean(chosen)
    lumbar, lumbar_uncertainty, conversion = _lumbar_mean(chosen)
    hu = [calibration.to_120kvp_gain * d.hu_calibrated + calibration.to_120kvp_offset_hu for d in chosen]
    return DensitySummary(
        levels_used=tuple(d.measurement.level for d in chosen),
        vbmd_mean_mg_cm3=value,
        vbmd_mean_standard_uncertainty_mg_cm3=uncertainty,
        lumbar_equivalent_mg_cm3=lumbar,
        lumbar_equivalent_standard_uncertainty_mg_cm3=lumbar_uncertainty,
        conversion=conversion,
        hu_mean_120kvp=sum(hu) / len(hu),
        scale=calibration.scale,
    )


def _mean(densities: Sequence[_Density]) -> tuple[float, float]:
    """Mean of at least one density; own errors average down, shared ones stay."""
    n = len(densities)
    own = math.sqrt(sum(d.own**2 for d in densities)) / n
    shared = sum(d.shared for d in densities) / n
    return sum(d.vbmd for d in densities) / n, math.hypot(own, shared)


def _lumbar_mean(densities: Sequence[_Density]) -> tuple[float | None, float | None, str]:
    """Lumbar equivalent of the group of levels nearest to the lumbar spine, and the id of its rule.

    A direct lumbar reading is not mixed with converted thoracic ones: the conversion's error (7 mg/cm3 and more)
    outweighs the noise that averaging would save.
    """
    groups: dict[str, tuple[Row, list[_Density]]] = {}
    for density in sorted(densities, key=lambda d: d.measurement.level.ordinal, reverse=True):
        if density.rule is not None:
            groups.setdefault(density.rule.id, (density.rule, []))[1].append(density)
    if not groups:
        return None, None, _NO_CONVERSION
    rule, group = next(iter(groups.values()))
    value, uncertainty = _convert(rule, *_mean(group))
    return value, uncertainty, rule.id
