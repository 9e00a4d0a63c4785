"""From what the stages found to the one frozen report."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self, TypeVar

from trabecula import __version__
from trabecula.anatomy import Anatomy, ModelUse
from trabecula.assessment.assessment import Assessment, Recommendation
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import Acquisition, CtStudy, SeriesCandidate, StudyIdentity, StudyRefused
from trabecula.outcome import Notice, Refusal
from trabecula.patient import PatientContext, Sex
from trabecula.progress import StageClock
from trabecula.report import SCHEMA_VERSION, Evidence, ReportStatus, Screening, ScreeningReport, View
from trabecula.second_reader.read import notices as second_reader_notices
from trabecula.second_reader.reading import SecondReading

SCREENING_NAMESPACE: Final = uuid.UUID("7a1b0f5e-64d5-5d0c-9d3e-0c1f7a6c2f11")
"""Namespace of the UUIDv5 ids of screenings."""

NOT_REVIEWED: Final = "Preliminary machine result, not reviewed by a person."
LIMITS_OF_USE: Final = (
    NOT_REVIEWED,
    "Research use; not a medical device. It does not replace DXA or QCT.",
    "It cannot be used to rule out low bone mineral density.",
    "Volumetric density in mg/cm3 on the stated scale; it is not a DXA density, and WHO classes do not apply to it.",
)


@dataclass(frozen=True, eq=False)
class Findings:
    """What is known so far; each stage that ends well adds its value."""

    patient: PatientContext
    identity: StudyIdentity | None = None
    acquisition: Acquisition | None = None
    series: tuple[SeriesCandidate, ...] = ()
    imaging_notices: tuple[Notice, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    anatomy: Anatomy | None = None
    keep_anatomy: bool = False
    vertebrae: tuple[VertebraResult, ...] = ()
    density: DensitySummary | None = None
    calibration: Calibration | None = None
    composition: tuple[CompositionAtLevel, ...] = ()
    assessment: Assessment | None = None
    recommendations: tuple[Recommendation, ...] = ()
    second_readings: tuple[SecondReading, ...] = ()
    views: tuple[View, ...] = ()

    @classmethod
    def of_study(cls, study: CtStudy, patient: PatientContext) -> Self:
        """Findings after imaging."""
        return cls(patient, study.identity, study.acquisition, study.candidates, study.notices)

    @classmethod
    def of_refused_study(cls, study: StudyRefused, patient: PatientContext) -> Self:
        """Findings when imaging refused."""
        return cls(patient, study.identity, None, study.candidates, study.notices, study.refusals)

    def refused(self, refusal: Refusal) -> Self:
        """These findings, ended by a later stage's refusal."""
        return replace(self, refusals=(*self.refusals, refusal))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Notices of all stages, in running order."""
        anatomy = self.anatomy.notices if self.anatomy else ()
        calibration = self.calibration.notices if self.calibration else ()
        return (*self.imaging_notices, *anatomy, *calibration, *second_reader_notices(self.second_readings))


def with_identity(patient: PatientContext, identity: StudyIdentity) -> PatientContext:
    """Patient context with gaps filled from the DICOM header; what the caller said wins."""
    sexes = {"F": Sex.FEMALE, "M": Sex.MALE}
    return replace(
        patient,
        age_years=_first(patient.age_years, identity.patient_age_years),
        sex=_first(patient.sex, sexes.get(identity.patient_sex or "")),
        height_m=_first(patient.height_m, identity.patient_height_m),
        weight_kg=_first(patient.weight_kg, identity.patient_weight_kg),
    )


def assemble(
    findings: Findings,
    *,
    engine_models: tuple[ModelUse, ...],
    constants: ClinicalConstants,
    clock: StageClock,
) -> Screening:
    """The frozen report and its evidence."""
    anatomy = findings.anatomy
    models = (*(anatomy.models if anatomy else ()), *(engine_models if findings.calibration else ()))
    report = ScreeningReport(
        schema_version=SCHEMA_VERSION,
        software_version=__version__,
        clinical_data_version=constants.version,
        screening_id=screening_id(findings.identity, models, constants.version),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        status=ReportStatus.REFUSED if findings.refusals else ReportStatus.REPORTED,
        study=findings.identity,
        patient=findings.patient,
        refusals=findings.refusals,
        acquisition=findings.acquisition,
        series=findings.series,
        vertebrae=findings.vertebrae,
        density=findings.density,
        calibration=findings.calibration,
        composition=findings.composition,
        assessment=findings.assessment,
        recommendations=findings.recommendations,
        notices=findings.notices,
        level_evidence=anatomy.level_evidence if anatomy else (),
        models=models,
        timings_s=clock.timings_s(),
        limits_of_use=LIMITS_OF_USE,
        second_readings=findings.second_readings,
    )
    return Screening(report, Evidence(findings.views, anatomy if findings.keep_anatomy else None))


def screening_id(identity: StudyIdentity | None, models: tuple[ModelUse, ...], clinical_data_version: str) -> str:
    """UUIDv5 of study, series, software, models and clinical data; a random UUID when the study has no identity."""
    if identity is None:
        return str(uuid.uuid4())
    parts = [identity.study_instance_uid, identity.series_instance_uid, __version__, clinical_data_version]
    parts += [f"{model.name}:{model.sha256}" for model in models]
    return str(uuid.uuid5(SCREENING_NAMESPACE, "\n".join(parts)))


def as_reviewed(report: ScreeningReport) -> ScreeningReport:
    """The report without the remark that nobody has looked at it."""
    return replace(report, limits_of_use=tuple(text for text in report.limits_of_use if text != NOT_REVIEWED))


_T = TypeVar("_T")


def _first(said: _T | None, header: _T | None) -> _T | None:
    return header if said is None else said
