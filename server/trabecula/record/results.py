"""What an answer within milliseconds needs of a result: cards, ``$apply``, and whether a study was read already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Select, and_, bindparam, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.assessment.facts import Fact
from trabecula.bone.vertebra import ExclusionReason
from trabecula.record.dates import period_of
from trabecula.record.schema import resource, result
from trabecula.report import ScreeningReport
from trabecula.work.direct import Direct, Statement

Json = dict[str, Any]

MOST_RESULTS: Final = 20
RETRACTED: Final = "entered-in-error"


@dataclass(frozen=True)
class StoredRecommendation:
    """A guideline's next step, as the rules gave it when the study was read."""

    rule_id: str
    rule_version: str
    action: str
    """Stable code such as ``dxa-confirmation``."""
    text: str
    because: tuple[str, ...]
    citation: str
    verified: bool
    plan_definition: str
    """Canonical address with version, below the project's base."""
    activity_definition: str


@dataclass(frozen=True)
class StoredRefusal:
    code: str
    stage: str
    message: str
    remedy: str


@dataclass(frozen=True)
class ResultSummary:
    """The part of a report that goes into a card. Densities in mg/cm3."""

    effective: str | None
    """When the scan was made, as FHIR writes it."""
    category: str | None
    """Code of ``ct-bone-category``; None for a refused study."""
    between: tuple[str, ...]
    statement: str | None
    confidence: str | None
    vbmd_mean_mg_cm3: float | None
    vbmd_mean_standard_uncertainty_mg_cm3: float | None
    lumbar_equivalent_mg_cm3: float | None
    lumbar_equivalent_standard_uncertainty_mg_cm3: float | None
    scale: str | None
    """Density scale, e.g. ``K2HPO4``."""
    levels_used: tuple[str, ...]
    fracture_suspected_at: tuple[str, ...]
    """Vertebrae with a suspected fracture."""
    recommendations: tuple[StoredRecommendation, ...]
    refusals: tuple[StoredRefusal, ...]
    limits_of_use: tuple[str, ...]


@dataclass(frozen=True)
class StoredResult:
    """One result of a patient, with the status that its report has now."""

    screening_id: str
    report_id: str
    report_status: str
    """``preliminary`` until a person has signed."""
    report_version: int
    last_updated: datetime
    study_uid: str | None
    patient_system: str | None
    patient_value: str | None
    patient_reference: str | None
    effective: datetime | None
    """Beginning of the scan's date, UTC; None where it is not known."""
    created_at: datetime
    summary: ResultSummary

    @property
    def refused(self) -> bool:
        return bool(self.summary.refusals)

    @property
    def category(self) -> str | None:
        return self.summary.category


_SUMMARY: Final = TypeAdapter(ResultSummary)


def summary_of(report: ScreeningReport, effective: str | None) -> ResultSummary:
    """The part of a report that goes into a card."""
    assessment, density = report.assessment, report.density
    return ResultSummary(
        effective=effective,
        category=None if assessment is None else assessment.category.value,
        between=() if assessment is None else tuple(each.value for each in assessment.between),
        statement=None if assessment is None else assessment.statement,
        confidence=None if assessment is None else assessment.confidence.value,
        vbmd_mean_mg_cm3=None if density is None else density.vbmd_mean_mg_cm3,
        vbmd_mean_standard_uncertainty_mg_cm3=(
            None if density is None else density.vbmd_mean_standard_uncertainty_mg_cm3
        ),
        lumbar_equivalent_mg_cm3=None if density is None else density.lumbar_equivalent_mg_cm3,
        lumbar_equivalent_standard_uncertainty_mg_cm3=(
            None if density is None else density.lumbar_equivalent_standard_uncertainty_mg_cm3
        ),
        scale=None if density is None else density.scale.value,
        levels_used=() if density is None else tuple(level.value for level in density.levels_used),
        fracture_suspected_at=tuple(
            vertebra.level.value for vertebra in report.vertebrae if ExclusionReason.FRACTURE in vertebra.excluded
        ),
        recommendations=tuple(
            StoredRecommendation(
                each.rule_id,
                each.rule_version,
                each.action,
                each.text,
                tuple(each.because),
                each.citation,
                each.verified,
                each.plan_definition,
                each.activity_definition,
            )
            for each in report.recommendations
        ),
        refusals=tuple(
            StoredRefusal(each.code.value, each.stage.value, each.message, each.remedy) for each in report.refusals
        ),
        limits_of_use=tuple(report.limits_of_use),
    )


async def put_result(
    connection: AsyncConnection,
    *,
    report_id: str,
    screening_id: str,
    study_uid: str | None,
    patient_reference: str | None,
    patient_identifier: str | None,
    created_at: datetime,
    summary: ResultSummary,
    facts: dict[str, Fact] | None,
) -> None:
    """Write the row of one DiagnosticReport, over the one that is there.

    Args:
        patient_identifier: ``system|value``; the system may be empty.
        facts: what the rules looked at; None for a refused study.
    """
    system, _, value = (patient_identifier or "|").partition("|")
    moment = period_of(summary.effective)
    row = {
        "report_id": report_id,
        "screening_id": screening_id,
        "study_uid": study_uid,
        "patient_system": system,
        "patient_value": value or None,
        "patient_reference": patient_reference,
        "effective": None if moment is None else moment[0],
        "created_at": created_at,
        "summary": asdict(summary),
        "facts": None if facts is None else {name: [fact.value, fact.text] for name, fact in facts.items()},
    }
    statement = insert(result).values(**row)
    changes = {name: statement.excluded[name] for name in row if name != "report_id"}
    await connection.execute(statement.on_conflict_do_update(index_elements=["report_id"], set_=changes))


async def results_for_patient(
    connection: AsyncConnection,
    identifiers: Sequence[tuple[str | None, str]],
    *,
    references: Sequence[str] = (),
    limit: int = MOST_RESULTS,
    retracted: bool = False,
) -> tuple[StoredResult, ...]:
    """A patient's results, newest scan first; one query, answered from an index.

    Args:
        identifiers: (system, value) pairs of the patient, any of which may match, both parts exactly. A result whose
            site has named no system matches the system None only.
        references: literal references such as ``Patient/123``, for results whose patient the site had matched.
        retracted: whether reports ``entered-in-error`` come too.
    """
    named = _named(identifiers)
    references = [each for each in references if _storable(each)]
    if not named and not references:
        return ()
    alternatives = [
        *(and_(result.c.patient_value == value, result.c.patient_system == system) for value, system in named),
        *([result.c.patient_reference.in_(list(references))] if references else []),
    ]
    return await _results(connection, _results_query(retracted).where(or_(*alternatives)).limit(limit))


async def results_for_identifiers(
    direct: Direct, identifiers: Sequence[tuple[str | None, str]]
) -> tuple[StoredResult, ...]:
    """As :func:`results_for_patient` for a patient's identifiers alone, where milliseconds count."""
    named = _named(identifiers)
    if not named:
        return ()
    given = {f"value_{number}": value for number, (value, _) in enumerate(named)}
    given |= {f"system_{number}": system for number, (_, system) in enumerate(named)}
    return tuple(map(_stored, await direct.fetch(_of_identifiers(len(named)), **given)))


@lru_cache(maxsize=64)
def _of_identifiers(count: int) -> Statement:
    pairs = [
        and_(
            result.c.patient_value == bindparam(f"value_{number}"),
            result.c.patient_system == bindparam(f"system_{number}"),
        )
        for number in range(count)
    ]
    return Statement.of(_results_query(retracted=False).where(or_(*pairs)).limit(MOST_RESULTS))


def _named(identifiers: Iterable[tuple[str | None, str]]) -> list[tuple[str, str]]:
    """(value, system) as the table has them."""
    return [(value, system or "") for system, value in identifiers if value and _storable(value + (system or ""))]


def _storable(text: str) -> bool:
    """Whether the database could hold it; what it cannot hold matches nothing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


async def results_of_study(
    connection: AsyncConnection, study_uid: str, *, limit: int = 1, retracted: bool = False
) -> tuple[StoredResult, ...]:
    """Results of one study, the one written last first."""
    query = _results_query(retracted).where(result.c.study_uid == study_uid).order_by(None)
    return await _results(connection, query.order_by(result.c.created_at.desc()).limit(limit))


async def result_of_report(connection: AsyncConnection, report_id: str) -> StoredResult | None:
    """The result of one DiagnosticReport, whatever its status."""
    found = await _results(connection, _results_query(retracted=True).where(result.c.report_id == report_id))
    return found[0] if found else None


async def result_of_screening(connection: AsyncConnection, screening_id: str) -> StoredResult | None:
    """The result of one screening, whatever its report's status."""
    found = await _results(connection, _results_query(retracted=True).where(result.c.screening_id == screening_id))
    return found[0] if found else None


async def facts_of(connection: AsyncConnection, report_id: str) -> dict[str, Fact] | None:
    """The facts that the rules looked at; None for a refused study or an unknown report."""
    facts = (await connection.execute(select(result.c.facts).where(result.c.report_id == report_id))).scalar()
    return None if facts is None else {name: Fact(_value(value), text) for name, (value, text) in facts.items()}


def _value(value: Any) -> str | float | bool:
    """JSON has one kind of number; rules compare decimals."""
    return value if isinstance(value, bool | str) else float(value)


_SHOWN: Final = tuple(column for column in result.c if column is not result.c.facts)


def _results_query(retracted: bool) -> Select[Any]:
    query = (
        select(*_SHOWN, resource.c.status, resource.c.version, resource.c.last_updated)
        .join(resource, and_(resource.c.type == "DiagnosticReport", resource.c.id == result.c.report_id))
        .where(~resource.c.deleted)
        .order_by(result.c.effective.desc().nulls_last(), result.c.report_id.desc())
    )
    return query if retracted else query.where(resource.c.status.is_distinct_from(RETRACTED))


async def _results(connection: AsyncConnection, query: Select[Any]) -> tuple[StoredResult, ...]:
    return tuple(_stored(row) for row in await connection.execute(query))


def _stored(row: Any) -> StoredResult:
    return StoredResult(
        screening_id=str(row.screening_id),
        report_id=row.report_id,
        report_status=row.status,
        report_version=row.version,
        last_updated=row.last_updated,
        study_uid=row.study_uid,
        patient_system=row.patient_system or None,
        patient_value=row.patient_value,
        patient_reference=row.patient_reference,
        effective=row.effective,
        created_at=row.created_at,
        summary=_SUMMARY.validate_python(row.summary),
    )
