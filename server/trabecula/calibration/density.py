"""From calibrated attenuation to density: per vertebra, their mean, and the lumbar equivalent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trabecula.anatomy import Level
from trabecula.bone.vertebra import VertebraMeasurement
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density_result import DensitySummary, UncertaintyTerm, VertebraResult
from trabecula.clinical import ClinicalConstants, Row

_NO_CONVERSION: Final = "none"


@dataclass(frozen=True)
class _Density:
    """Density of one vertebra with its uncertainty split by what neighbours share.

    Noise and segmentation are the vertebra's own and average down over vertebrae; everything else does not.
    """

    measurement: VertebraMeasurement
    hu_calibrated: float
    vbmd: float
    noise: float
    segmentation: float
    shared: Mapping[str, float]
    rule: Row | None

    @property
    def uncertainty(self) -> float:
        return math.hypot(self.noise, self.segmentation, *self.shared.values())

    @property
    def counts(self) -> bool:
        return not self.measurement.excluded


def measure_density(
    vertebrae: Sequence[VertebraMeasurement], calibration: Calibration, constants: ClinicalConstants
) -> tuple[tuple[VertebraResult, ...], DensitySummary]:
    """Density of each vertebra on the calibration's scale, mg/cm3, and the summary over those that count.

    The mean is over T11, T12, L1, L2 where any of them counts, else over all that count. The lumbar equivalent
    comes from lumbar bodies alone when there are any (identity), else from the thoracic ones through the line of
    their level; ``conversion`` is that line's id. A calibration that gives no density (HU only) leaves attenuation.
    """
    rules = {Level(name): row for row in constants.rows("levels") for name in row.texts("levels")}
    densities = [_density(m, calibration, constants, rules.get(m.level)) for m in vertebrae]
    results = tuple(_result(m, d, calibration) for m, d in zip(vertebrae, densities, strict=True))
    counted = [d for d in densities if d is not None and d.counts]
    preferred = {Level(name) for name in constants.texts("density.preferred_levels")}
    chosen = [d for d in counted if d.measurement.level in preferred] or counted
    return results, _summary(chosen, calibration)


def _density(
    measurement: VertebraMeasurement, calibration: Calibration, constants: ClinicalConstants, rule: Row | None
) -> _Density | None:
    hu = measurement.hu_mean
    if hu is None:
        return None
    error = measurement.hu_standard_error
    if error is None:
        error = (measurement.hu_sd or 0.0) / math.sqrt(max(measurement.roi_voxels, 1))
    return _Density(
        measurement,
        calibration.hu_prime(hu),
        calibration.density_mg_cm3(hu),
        abs(calibration.gain * calibration.bone_gain) * error / calibration.slope_hu_per_mg_cm3,
        constants.number("density.segmentation_standard_uncertainty"),
        calibration.standard_uncertainties_mg_cm3(hu),
        rule,
    )


def _convert(rule: Row, vbmd: float, uncertainty: float) -> tuple[float, float]:
    """Lumbar equivalent by a level's rule, and its standard uncertainty."""
    slope = rule.number("slope")
    value = slope * vbmd + rule.number("intercept_mg_cm3")
    return value, math.hypot(slope * uncertainty, rule.number("standard_error_mg_cm3"))


def _result(m: VertebraMeasurement, density: _Density | None, calibration: Calibration) -> VertebraResult:
    known = density if calibration.gives_density else None
    lumbar = _convert(known.rule, known.vbmd, known.uncertainty) if known and known.rule else None
    return VertebraResult(
        level=m.level,
        level_confidence=m.level_confidence,
        hu_mean=m.hu_mean,
        hu_sd=m.hu_sd,
        hu_calibrated=None if density is None else density.hu_calibrated,
        vbmd_mg_cm3=None if known is None else known.vbmd,
        vbmd_standard_uncertainty_mg_cm3=None if known is None else known.uncertainty,
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
        height_rim_standard_uncertainty_mm=m.height_rim_standard_uncertainty_mm,
        height_middle_standard_uncertainty_mm=m.height_middle_standard_uncertainty_mm,
        deformity=m.deformity,
        exclusions=m.exclusions,
        cortex=m.cortex,
        roi_growth=m.roi_growth,
        hu_standard_error=m.hu_standard_error,
    )


def _summary(chosen: Sequence[_Density], calibration: Calibration) -> DensitySummary:
    if not chosen:
        return DensitySummary((), None, None, None, None, _NO_CONVERSION, None, calibration.scale)
    hu = [calibration.to_120kvp_gain * d.hu_calibrated + calibration.to_120kvp_offset_hu for d in chosen]
    levels = tuple(d.measurement.level for d in chosen)
    hu_mean = sum(hu) / len(hu)
    if not calibration.gives_density:
        return DensitySummary(levels, None, None, None, None, _NO_CONVERSION, hu_mean, calibration.scale)
    value, parts = _mean(chosen)
    lumbar, lumbar_parts, conversion = _lumbar_mean(chosen)
    budget = lumbar_parts if lumbar is not None else parts
    return DensitySummary(
        levels_used=levels,
        vbmd_mean_mg_cm3=value,
        vbmd_mean_standard_uncertainty_mg_cm3=math.hypot(*parts.values()),
        lumbar_equivalent_mg_cm3=lumbar,
        lumbar_equivalent_standard_uncertainty_mg_cm3=None if lumbar is None else math.hypot(*lumbar_parts.values()),
        conversion=conversion,
        hu_mean_120kvp=hu_mean,
        scale=calibration.scale,
        uncertainty_budget=tuple(UncertaintyTerm(name, amount) for name, amount in budget.items()),
    )


def _mean(densities: Sequence[_Density]) -> tuple[float, dict[str, float]]:
    """Mean of at least one density and the parts of its error; own errors average down, shared ones stay."""
    n = len(densities)
    parts = {
        "noise": math.hypot(*(d.noise for d in densities)) / n,
        "segmentation": math.hypot(*(d.segmentation for d in densities)) / n,
    }
    parts |= {name: sum(d.shared[name] for d in densities) / n for name in densities[0].shared}
    return sum(d.vbmd for d in densities) / n, parts


def _lumbar_mean(densities: Sequence[_Density]) -> tuple[float | None, dict[str, float], str]:
    """Lumbar equivalent of the group of levels nearest to the lumbar spine, its error's parts, its rule's id.

    A direct lumbar reading is not mixed with converted thoracic ones: the conversion's error (7 mg/cm3 and more)
    outweighs the noise that averaging would save.
    """
    groups: dict[str, tuple[Row, list[_Density]]] = {}
    for density in sorted(densities, key=lambda d: d.measurement.level.ordinal, reverse=True):
        if density.rule is not None:
            groups.setdefault(density.rule.id, (density.rule, []))[1].append(density)
    if not groups:
        return None, {}, _NO_CONVERSION
    rule, group = next(iter(groups.values()))
    mean, parts = _mean(group)
    value, _ = _convert(rule, mean, 0.0)
    converted = {name: rule.number("slope") * part for name, part in parts.items()}
    return value, {**converted, "level-conversion": rule.number("standard_error_mg_cm3")}, rule.id
