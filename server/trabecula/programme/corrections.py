"""What a radiologist changes when signing a result off, and the report that follows from it.

A corrected report is computed by the same stages as the first one (density, assessment, recommendation) from the same
measurements, so a correction can never leave a mean, a category or a recommendation behind that belongs to other
vertebrae.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Final

from trabecula.anatomy import Level
from trabecula.assessment.assess import assess
from trabecula.assessment.recommend import recommend
from trabecula.bone.vertebra import (
    Deformity,
    DeformityKind,
    DeformityStatus,
    Exclusion,
    ExclusionReason,
    VertebraMeasurement,
)
from trabecula.calibration.density import measure_density
from trabecula.calibration.density_result import VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.errors import InvalidRequest
from trabecula.report import ReportStatus, ScreeningReport

MAX_TEXT: Final = 2000
"""Characters of a reviewer's free text."""
MAX_SHIFT: Final = 2
"""Levels by which a miscounted column can be renamed as a whole."""
GRADES: Final = range(4)


@dataclass(frozen=True)
class FractureReading:
    """A person's reading of one vertebra's shape."""

    grade: int
    """Genant 0 (no fracture) .. 3."""
    kind: DeformityKind | None = None


@dataclass(frozen=True)
class Corrections:
    """Changes to one result; empty when it is accepted as it is. Levels are those of the result before renaming."""

    level_shift: int = 0
    """All vertebrae are renamed by so many levels; positive is towards the feet (T12 becomes L1)."""
    left_out: Mapping[Level, str] = field(default_factory=dict)
    """Vertebrae that must not count, each with the reviewer's reason."""
    fractures: Mapping[Level, FractureReading] = field(default_factory=dict)
    conclusion: str | None = None
    """The reviewer's own words, put before the machine's statement."""

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return self == Corrections()

    @property
    def summary(self) -> tuple[str, ...]:
        """Each change in words, for the report's history."""
        shift = () if not self.level_shift else (f"vertebrae renamed by {self.level_shift:+d} (positive: caudal)",)
        out = tuple(f"{level.value} left out: {why}" for level, why in self.left_out.items())
        read = tuple(
            f"{level.value} read as {'no fracture' if not reading.grade else f'fracture, grade {reading.grade}'}"
            for level, reading in self.fractures.items()
        )
        return (*shift, *out, *read, *(() if self.conclusion is None else ("conclusion added",)))


def check_corrections(report: ScreeningReport, corrections: Corrections) -> None:
    """Refuse what does not fit the result.

    Raises:
        InvalidRequest: naming the field that does not fit.
    """
    present = {vertebra.level for vertebra in report.vertebrae}
    if abs(corrections.level_shift) > MAX_SHIFT:
        raise InvalidRequest(field="level_shift", at_most=MAX_SHIFT)
    for name in ("left_out", "fractures"):
        unknown = [level.value for level in getattr(corrections, name) if level not in present]
        if unknown:
            raise InvalidRequest(field=name, not_in_the_result=",".join(unknown))
    if any(not why.strip() or len(why) > MAX_TEXT for why in corrections.left_out.values()):
        raise InvalidRequest(field="left_out", must_be="a reason for each vertebra", characters_at_most=MAX_TEXT)
    if any(reading.grade not in GRADES for reading in corrections.fractures.values()):
        raise InvalidRequest(field="fractures", must_be="Genant grade 0 to 3")
    if corrections.conclusion is not None and not 0 < len(corrections.conclusion.strip()) <= MAX_TEXT:
        raise InvalidRequest(field="conclusion", characters_at_most=MAX_TEXT)
    if report.status is ReportStatus.REFUSED and replace(corrections, conclusion=None) != Corrections():
        raise InvalidRequest(
            field="corrections", must_be="text alone, as the study was refused and has no measurements"
        )


def corrected_report(
    report: ScreeningReport, corrections: Corrections, constants: ClinicalConstants
) -> ScreeningReport:
    """The report as it follows from the reviewer's changes; the same report when there are none.

    The clinical numbers are those of ``constants``: where their version is not the report's own, the new version is
    named in the result.

    Raises:
        InvalidRequest: if the changes do not fit the result.
    """
    check_corrections(report, corrections)
    if replace(corrections, conclusion=None) == Corrections():
        return _with_conclusion(report, corrections)
    calibration, acquisition = report.calibration, report.acquisition
    if calibration is None or acquisition is None:
        raise InvalidRequest(field="corrections", must_be="for a result with measurements")
    measured = tuple(_corrected(vertebra, corrections) for vertebra in report.vertebrae)
    vertebrae, density = measure_density(measured, calibration, constants)
    composition = tuple(
        replace(level, level=_renamed(level.level, corrections.level_shift)) for level in report.composition
    )
    assessment = assess(density, vertebrae, composition, calibration, acquisition, report.patient, constants)
    corrected = replace(
        report,
        clinical_data_version=constants.version,
        vertebrae=vertebrae,
        density=density,
        composition=composition,
        assessment=assessment,
        recommendations=recommend(assessment, density, vertebrae, composition, report.patient, constants),
        level_evidence=(*report.level_evidence, *_evidence(corrections)),
        # Second readers saw the vertebrae as they were named before.
        second_readings=report.second_readings if not corrections.level_shift else (),
    )
    return _with_conclusion(corrected, corrections)


def _evidence(corrections: Corrections) -> tuple[str, ...]:
    return ("the levels were named by the person who signed",) if corrections.level_shift else ()


def _with_conclusion(report: ScreeningReport, corrections: Corrections) -> ScreeningReport:
    if corrections.conclusion is None or report.assessment is None:
        return report
    words = f"{corrections.conclusion.strip()} {report.assessment.statement}"
    return replace(report, assessment=replace(report.assessment, statement=words))


def _corrected(vertebra: VertebraResult, corrections: Corrections) -> VertebraMeasurement:
    measurement = _measurement(vertebra)
    if reading := corrections.fractures.get(vertebra.level):
        measurement = _read(measurement, reading)
    if why := corrections.left_out.get(vertebra.level):
        measurement = _left_out(measurement, ExclusionReason.REVIEWER, f"left out by the reviewer: {why.strip()}")
    if not corrections.level_shift:
        return measurement
    return replace(measurement, level=_renamed(vertebra.level, corrections.level_shift), level_confidence=1.0)


def _measurement(vertebra: VertebraResult) -> VertebraMeasurement:
    """What the bone stage had measured, out of the result that holds it."""
    names = {each.name for each in fields(VertebraMeasurement)}
    return VertebraMeasurement(
        **{each.name: getattr(vertebra, each.name) for each in fields(vertebra) if each.name in names}
    )


def _read(measurement: VertebraMeasurement, reading: FractureReading) -> VertebraMeasurement:
    """The shape as the person read it; a fractured body does not count, one read as sound does."""
    words = "read by the reviewer: " + (f"fracture, grade {reading.grade}" if reading.grade else "no fracture")
    before = measurement.deformity or _NOT_MEASURED
    deformity = replace(
        before,
        status=DeformityStatus.SUSPECTED if reading.grade else DeformityStatus.NONE,
        kind=reading.kind or (before.kind if reading.grade else None),
        grade=reading.grade,
        probability=None,
        reasons=(words, *before.reasons),
    )
    kept = tuple(each for each in measurement.exclusions if each.reason is not ExclusionReason.FRACTURE)
    sound = replace(
        measurement,
        deformity=deformity,
        exclusions=kept,
        excluded=tuple(reason for reason in measurement.excluded if reason is not ExclusionReason.FRACTURE),
    )
    return _left_out(sound, ExclusionReason.FRACTURE, words) if reading.grade else sound


def _left_out(measurement: VertebraMeasurement, reason: ExclusionReason, text: str) -> VertebraMeasurement:
    return replace(
        measurement,
        excluded=tuple(dict.fromkeys((*measurement.excluded, reason))),
        exclusions=(*measurement.exclusions, Exclusion(reason, whole=True, text=text, rule="")),
    )


def _renamed(level: Level, shift: int) -> Level:
    """Raises InvalidRequest if there is no such level."""
    ordered = sorted(Level, key=lambda each: each.ordinal)
    place = ordered.index(level) + shift
    if not 0 <= place < len(ordered):
        raise InvalidRequest(field="level_shift", must_be="one that leaves every vertebra a name")
    return ordered[place]


_NOT_MEASURED: Final = Deformity(
    status=DeformityStatus.NOT_ASSESSED,
    kind=None,
    grade=0,
    probability=None,
    height_loss=None,
    anterior_to_posterior=None,
    middle_to_posterior=None,
    posterior_to_neighbours=None,
    superior_depression_mm=None,
    inferior_depression_mm=None,
    variants=(),
    reasons=(),
)

NO_CORRECTIONS: Final = Corrections()
