"""What one series looked like, in figures that name nobody: for distributions that operators watch, and for drift."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Final

from trabecula.assessment.assessment import Category
from trabecula.calibration.calibration import ReferenceTissue
from trabecula.imaging.study import KernelClass
from trabecula.outcome import RefusalCode
from trabecula.report import ReportStatus, ScreeningReport

WATCHED_TISSUES: Final = (
    ReferenceTissue.OUTSIDE_AIR,
    ReferenceTissue.SUBCUTANEOUS_FAT,
    ReferenceTissue.PARASPINAL_MUSCLE,
    ReferenceTissue.AORTIC_BLOOD,
)
TISSUE_NAMES: Final = {
    ReferenceTissue.OUTSIDE_AIR: "air",
    ReferenceTissue.SUBCUTANEOUS_FAT: "subcutaneous_fat",
    ReferenceTissue.PARASPINAL_MUSCLE: "paraspinal_muscle",
    ReferenceTissue.AORTIC_BLOOD: "aortic_blood",
}
AGE_BAND_YEARS: Final = (40, 50, 60, 70, 80)


@dataclass(frozen=True)
class TissueFact:
    """A reference tissue in one scan, used for calibration or not."""

    tissue: ReferenceTissue
    hu: float
    deviation_hu: float
    """From what the calibration expects of it in this beam and this patient."""


@dataclass(frozen=True)
class SeriesFacts:
    """One series. None where it was not measured or the header does not say."""

    status: ReportStatus
    refusal: RefusalCode | None
    """The first one."""
    category: Category | None
    kvp: float | None
    slice_thickness_mm: float | None
    kernel: KernelClass | None
    contrast_enhanced: bool | None
    """As the pixels have it."""
    age_band: str | None
    """``<40``, ``40-49`` ... ``80+``."""
    sex: str | None
    tissues: tuple[TissueFact, ...]
    vertebra_hu: float | None
    """Mean trabecular attenuation of the vertebrae that count."""
    bmd_mg_cm3: float | None
    """Their mean density on the K2HPO4 scale as measured, whatever their level."""
    confidence: float | None
    """0 .. 1: how sure the segmentation is of the levels of the vertebrae that count; the lowest."""


def facts_of(report: ScreeningReport) -> SeriesFacts:
    """The figures of a report that name nobody."""
    acquisition, calibration, density = report.acquisition, report.calibration, report.density
    levels = density.levels_used if density is not None else ()
    counted = [each for each in report.vertebrae if each.level in levels]
    attenuations = [each.hu_mean for each in counted if each.hu_mean is not None]
    tissues = tuple(
        TissueFact(each.tissue, each.hu_measured, each.hu_measured - each.hu_nominal)
        for each in (calibration.references if calibration is not None else ())
        if each.tissue in WATCHED_TISSUES
    )
    return SeriesFacts(
        status=report.status,
        refusal=report.refusals[0].code if report.refusals else None,
        category=report.assessment.category if report.assessment is not None else None,
        kvp=acquisition.kvp if acquisition is not None else None,
        slice_thickness_mm=acquisition.slice_thickness_mm if acquisition is not None else None,
        kernel=acquisition.kernel_class if acquisition is not None else None,
        contrast_enhanced=calibration.contrast_enhanced if calibration is not None else None,
        age_band=age_band(report.patient.age_years),
        sex=report.patient.sex.value if report.patient.sex is not None else None,
        tissues=tissues,
        vertebra_hu=fmean(attenuations) if attenuations else None,
        bmd_mg_cm3=density.vbmd_mean_mg_cm3 if density is not None else None,
        confidence=min((each.level_confidence for each in counted), default=None),
    )


def age_band(years: float | None) -> str | None:
    """Ten years wide, open at both ends, so that it points at nobody."""
    if years is None:
        return None
    if years < AGE_BAND_YEARS[0]:
        return f"<{AGE_BAND_YEARS[0]}"
    if years >= AGE_BAND_YEARS[-1]:
        return f"{AGE_BAND_YEARS[-1]}+"
    low = int(years // 10) * 10
    return f"{low}-{low + 9}"
