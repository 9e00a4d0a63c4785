"""Findings for tests of assessment: measurements as the earlier stages would hand them on."""

from __future__ import annotations

from collections.abc import Mapping

from trabecula.anatomy import Level
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.calibration import (
    Calibration,
    CalibrationMethod,
    DensityScale,
    ReferenceMeasurement,
    ReferenceTissue,
)
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import Acquisition, ContrastTag, KernelClass, SpectralFilter

HU_PER_MG = 1.33


def vertebra(
    level: Level, vbmd: float | None, *, excluded: tuple[ExclusionReason, ...] = (), confidence: float = 0.97
) -> VertebraResult:
    hu = None if vbmd is None else vbmd * HU_PER_MG
    return VertebraResult(
        level=level,
        level_confidence=confidence,
        hu_mean=hu,
        hu_sd=None if hu is None else 30.0,
        hu_calibrated=hu,
        vbmd_mg_cm3=vbmd,
        vbmd_standard_uncertainty_mg_cm3=None if vbmd is None else 5.0,
        lumbar_equivalent_mg_cm3=vbmd,
        lumbar_equivalent_standard_uncertainty_mg_cm3=None if vbmd is None else 5.0,
        scale=DensityScale.K2HPO4,
        roi_voxels=2000,
        roi_volume_mm3=2500.0,
        roi=None,
        height_anterior_mm=24.0,
        height_middle_mm=23.0,
        height_posterior_mm=25.0,
        excluded=excluded,
    )


def density(
    values: Mapping[Level, float], constants: ClinicalConstants, *, uncertainty: float = 5.0, hu: float | None = None
) -> tuple[DensitySummary, tuple[VertebraResult, ...]]:
    """The summary of vertebrae of one level group, by that group's own rule."""
    vertebrae = tuple(vertebra(level, value) for level, value in values.items())
    rule = next(row for row in constants.rows("levels") if next(iter(values)).value in row.texts("levels"))
    mean = sum(values.values()) / len(values)
    summary = DensitySummary(
        levels_used=tuple(values),
        vbmd_mean_mg_cm3=mean,
        vbmd_mean_standard_uncertainty_mg_cm3=uncertainty,
        lumbar_equivalent_mg_cm3=rule.number("slope") * mean + rule.number("intercept_mg_cm3"),
        lumbar_equivalent_standard_uncertainty_mg_cm3=uncertainty,
        conversion=rule.id,
        hu_mean_120kvp=mean * HU_PER_MG if hu is None else hu,
        scale=DensityScale.K2HPO4,
    )
    return summary, vertebrae


def lumbar(
    value: float, constants: ClinicalConstants, *, uncertainty: float = 5.0, hu: float | None = None
) -> tuple[DensitySummary, tuple[VertebraResult, ...]]:
    return density({Level.L1: value, Level.L2: value}, constants, uncertainty=uncertainty, hu=hu)


NO_DENSITY = DensitySummary((), None, None, None, None, "none", None, DensityScale.K2HPO4)


def calibration(
    *, enhanced: bool = False, references: int = 3, method: CalibrationMethod = CalibrationMethod.PHANTOMLESS
) -> Calibration:
    tissues = list(ReferenceTissue)
    return Calibration(
        method=method,
        scale=DensityScale.K2HPO4,
        gain=1.0,
        offset_hu=0.0,
        gain_variance=1e-5,
        offset_variance_hu2=4.0,
        gain_offset_covariance_hu=0.0,
        slope_hu_per_mg_cm3=HU_PER_MG,
        slope_standard_uncertainty=0.05,
        effective_kvp=120.0,
        water_equivalent_diameter_cm=28.0,
        contrast_enhanced=enhanced,
        contrast_evidence="aorta",
        contrast_correction_hu=14.0 if enhanced else 0.0,
        contrast_standard_uncertainty_hu=9.0 if enhanced else 0.0,
        references=tuple(
            ReferenceMeasurement(tissue, 0.0, 0.0, 5.0, 1000, n < references, None) for n, tissue in enumerate(tissues)
        ),
        model_name="phantomless",
        model_version="1",
    )


def acquisition(kernel: KernelClass = KernelClass.SOFT, slice_mm: float | None = 1.0) -> Acquisition:
    return Acquisition(
        kvp=120.0,
        spectral_filter=SpectralFilter.NONE,
        kernel="B31f",
        kernel_class=kernel,
        slice_thickness_mm=slice_mm,
        slice_spacing_mm=slice_mm or 1.0,
        pixel_spacing_mm=(0.7, 0.7),
        reconstruction_diameter_mm=360.0,
        contrast=ContrastTag.NOT_GIVEN,
        exposure_mas=None,
        ctdi_vol_mgy=None,
        manufacturer=None,
        model=None,
        station_hash=None,
        acquired_at=None,
    )


def composition(
    level: Level = Level.T12,
    *,
    index: float | None = 24.0,
    attenuation: float = 40.0,
    imat: float = 4.0,
    truncated: bool = False,
) -> CompositionAtLevel:
    return CompositionAtLevel(
        level=level,
        slice_index=40,
        muscle_area_cm2=70.0,
        muscle_attenuation_hu=attenuation,
        paraspinal_muscle_area_cm2=30.0,
        paraspinal_muscle_attenuation_hu=45.0,
        imat_area_cm2=imat,
        sat_area_cm2=110.0,
        vat_area_cm2=90.0,
        vat_sat_ratio=90.0 / 110.0,
        muscle_index_cm2_m2=index,
        truncated=truncated,
    )
