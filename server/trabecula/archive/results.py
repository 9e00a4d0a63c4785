"""One flat row of a report: what a researcher calculates with. Units in the names; None where it was not measured."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from trabecula.anatomy import Level
from trabecula.archive.pseudonyms import Pseudonyms
from trabecula.archive.reference import Reference
from trabecula.bone.vertebra import Deformity
from trabecula.calibration.density_result import VertebraResult
from trabecula.composition.body import CompositionAtLevel
from trabecula.report import ScreeningReport

BONE_LEVELS: Final = (Level.T11, Level.T12, Level.L1, Level.L2)
TISSUE_LEVELS: Final = (Level.T11, Level.T12, Level.L1)
OLDEST_TOLD: Final = 90
"""Ages above 89 are told as this: few people are older, and in a small area the age alone names them (45 CFR
164.514(b)(2)(i)(C))."""
SIGNIFICANT_DIGITS: Final = 6
LONGEST_TEXT: Final = 64
KEY_DIGITS: Final = 32

_VERTEBRA: Final = (
    "level_confidence",
    "hu_mean",
    "vbmd_mg_cm3",
    "vbmd_standard_uncertainty_mg_cm3",
    "height_anterior_mm",
    "height_middle_mm",
    "height_posterior_mm",
)
_TISSUE: Final = (
    "muscle_area_cm2",
    "muscle_attenuation_hu",
    "paraspinal_muscle_area_cm2",
    "paraspinal_muscle_attenuation_hu",
    "imat_area_cm2",
    "sat_area_cm2",
    "vat_area_cm2",
    "vat_sat_ratio",
    "truncated",
)

_TEXTS: Final = frozenset(
    {
        *("key", "study", "series", "reference", "status", "refusals", "refused_at", "sex"),
        *("manufacturer", "model", "kernel_class", "contrast", "calibration_method", "scale", "levels_used"),
        *("category", "between", "confidence", "level_profile", "recommendations", "notices"),
        *("software_version", "clinical_data_version", "models", "settings"),
        *(f"{level.value.lower()}_{name}" for level in BONE_LEVELS for name in ("deformity", "excluded")),
    }
)
_WHOLE: Final = frozenset(
    {"acquired_year", "peak_memory_bytes", *(f"{level.value.lower()}_deformity_grade" for level in BONE_LEVELS)}
)
_TRUTHS: Final = frozenset(f"{level.value.lower()}_truncated" for level in TISSUE_LEVELS)

Value = str | float | int | bool | None


class ColumnKind(StrEnum):
    TEXT = "text"
    """Several values stand with ``;`` between them."""
    NUMBER = "number"
    WHOLE = "whole"
    TRUTH = "truth"


def column_kind(name: str) -> ColumnKind:
    """What a column holds where it holds anything."""
    if name in _TEXTS:
        return ColumnKind.TEXT
    if name in _WHOLE:
        return ColumnKind.WHOLE
    return ColumnKind.TRUTH if name in _TRUTHS else ColumnKind.NUMBER


@dataclass(frozen=True)
class Versions:
    """What made the results of a campaign. Another value anywhere is another campaign."""

    software_version: str
    clinical_data_version: str
    models: str
    """``name@version:digest``, with blanks between; digest is the SHA-256's first 16 digits."""
    settings: str
    """SHA-256 over what else decides a number: level profile, calibration file, scanner history, networks' grid."""

    @property
    def digest(self) -> str:
        """All of it as 32 hexadecimal digits."""
        parts = "\n".join(str(getattr(self, field.name)) for field in fields(self))
        return hashlib.sha256(parts.encode()).hexdigest()[:KEY_DIGITS]


@dataclass(frozen=True)
class StudyResult:
    """What one study gave."""

    refusal: str | None
    """Code of the first refusal; None where there is a report."""
    row: Mapping[str, Value]
    """The columns of docs/archive.md, pseudonyms in place of identifiers."""


def study_result(
    report: ScreeningReport, reference: Reference, versions: Versions, pseudonyms: Pseudonyms, peak_bytes: int | None
) -> StudyResult:
    """The row of a report. Of the patient it tells age and sex, of the day the year, and nothing else."""
    row: dict[str, Value] = {
        **_identity(report, reference, versions, pseudonyms),
        **_acquisition(report),
        **_density(report),
    }
    vertebrae = {each.level: each for each in report.vertebrae}
    for level in BONE_LEVELS:
        row |= _vertebra(level, vertebrae.get(level))
    tissue = {each.level: each for each in report.composition}
    for level in TISSUE_LEVELS:
        row |= _tissue(level, tissue.get(level))
    row |= {
        "notices": _listed(each.code for each in report.notices),
        "software_version": versions.software_version,
        "clinical_data_version": versions.clinical_data_version,
        "models": versions.models,
        "settings": versions.settings[:KEY_DIGITS],
        "seconds": round(report.timings_s.get("total", 0.0), 3),
        "peak_memory_bytes": peak_bytes,
    }
    refusal = report.refusals[0].code.value if report.refusals else None
    return StudyResult(refusal, {name: _plain(value) for name, value in row.items()})


def _identity(
    report: ScreeningReport, reference: Reference, versions: Versions, pseudonyms: Pseudonyms
) -> dict[str, Value]:
    study = report.study
    study_name = None if study is None else pseudonyms.uid("study", study.study_instance_uid)
    series_name = None if study is None else pseudonyms.uid("series", study.series_instance_uid)
    reference_name = pseudonyms.uid("reference", reference.key)
    return {
        "key": result_key(study_name, series_name, reference_name, versions),
        "study": study_name,
        "series": series_name,
        "reference": reference_name,
        "status": report.status.value,
        "refusals": _listed(each.code.value for each in report.refusals),
        "refused_at": report.refusals[0].stage.value if report.refusals else None,
        "age_years": _age(report.patient.age_years),
        "sex": None if report.patient.sex is None else report.patient.sex.value,
    }


def result_key(study: str | None, series: str | None, reference: str, versions: Versions) -> str:
    """What makes two results the same: study, series (where no series could be told the reference in their place) and
    the versions. Reading a study again gives the same key; other models, constants or settings another one."""
    what = "\n".join((study or reference, series or "", versions.digest))
    return hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]


def _acquisition(report: ScreeningReport) -> dict[str, Value]:
    made = report.acquisition
    year = (made.acquired_at or "")[:4] if made else ""
    return {
        "acquired_year": int(year) if year.isdecimal() else None,
        "manufacturer": _text(made.manufacturer) if made else None,
        "model": _text(made.model) if made else None,
        "kvp": made.kvp if made else None,
        "kernel_class": made.kernel_class.value if made else None,
        "slice_thickness_mm": made.slice_thickness_mm if made else None,
        "slice_spacing_mm": made.slice_spacing_mm if made else None,
        "pixel_spacing_mm": made.pixel_spacing_mm[0] if made else None,
        "contrast": made.contrast.value if made else None,
    }


def _density(report: ScreeningReport) -> dict[str, Value]:
    density, assessment = report.density, report.assessment
    return {
        "calibration_method": report.calibration.method.value if report.calibration else None,
        "scale": density.scale.value if density else None,
        "levels_used": _listed(each.value for each in density.levels_used) if density else None,
        "vbmd_mean_mg_cm3": density.vbmd_mean_mg_cm3 if density else None,
        "vbmd_mean_standard_uncertainty_mg_cm3": density.vbmd_mean_standard_uncertainty_mg_cm3 if density else None,
        "lumbar_equivalent_mg_cm3": density.lumbar_equivalent_mg_cm3 if density else None,
        "lumbar_equivalent_standard_uncertainty_mg_cm3": (
            density.lumbar_equivalent_standard_uncertainty_mg_cm3 if density else None
        ),
        "hu_mean_120kvp": density.hu_mean_120kvp if density else None,
        "category": assessment.category.value if assessment else None,
        "between": _listed(each.value for each in assessment.between) if assessment else None,
        "confidence": assessment.confidence.value if assessment else None,
        "level_profile": assessment.profile if assessment else None,
        "recommendations": _listed(each.action for each in report.recommendations),
    }


def _vertebra(level: Level, found: VertebraResult | None) -> dict[str, Value]:
    prefix = level.value.lower()
    values: dict[str, Value] = {f"{prefix}_{name}": getattr(found, name) if found else None for name in _VERTEBRA}
    deformity: Deformity | None = found.deformity if found else None
    values[f"{prefix}_deformity"] = deformity.status.value if deformity else None
    values[f"{prefix}_deformity_grade"] = deformity.grade if deformity else None
    values[f"{prefix}_excluded"] = _listed(each.value for each in found.excluded) if found else None
    return values


def _tissue(level: Level, found: CompositionAtLevel | None) -> dict[str, Value]:
    prefix = level.value.lower()
    return {f"{prefix}_{name}": getattr(found, name) if found else None for name in _TISSUE}


def _age(years: float | None) -> float | None:
    if years is None:
        return None
    return float(OLDEST_TOLD) if years >= OLDEST_TOLD else years


def _text(value: str | None) -> str | None:
    """Header text that names a device, in one short line."""
    return None if value is None else " ".join(value.split())[:LONGEST_TEXT]


def _listed(values: Iterable[str]) -> str:
    return ";".join(values)


def _plain(value: Value) -> Value:
    """Plain Python, floats to six digits; what is not finite was not measured."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    number = float(value)
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(number) else None
