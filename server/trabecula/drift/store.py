"""Rows of drift: what was seen of each series, and what came of comparing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.drift.evaluate import FeatureDrift, Verdict
from trabecula.drift.schema import TISSUE_COLUMNS, drift_evaluation, series_fact
from trabecula.telemetry.facts import SeriesFacts, facts_of
from trabecula.work.records import Job, ScreeningRecord
from trabecula.work.runner import Completion


async def keep_series(connection: AsyncConnection, record: ScreeningRecord, _job: Job, completion: Completion) -> None:
    """A result sink (:data:`trabecula.work.runner.ResultSink`): one row for each screening that ended with a result."""
    ended = (record.ended_at or datetime.now(UTC)).astimezone(UTC).date()
    await keep_facts(connection, facts_of(completion.report), ended)


async def keep_facts(connection: AsyncConnection, facts: SeriesFacts, day: date) -> None:
    """Keep the figures of a series under the day (UTC) it was read."""
    tissues: dict[str, float] = {}
    for each in facts.tissues:
        name = TISSUE_COLUMNS[each.tissue]
        tissues |= {f"{name}_hu": each.hu, f"{name}_deviation_hu": each.deviation_hu}
    await connection.execute(
        insert(series_fact).values(
            day=day,
            status=facts.status.value,
            refusal=facts.refusal.value if facts.refusal is not None else None,
            category=facts.category.value if facts.category is not None else None,
            kvp=facts.kvp,
            slice_thickness_mm=facts.slice_thickness_mm,
            kernel=facts.kernel.value if facts.kernel is not None else None,
            contrast_enhanced=facts.contrast_enhanced,
            age_band=facts.age_band,
            sex=facts.sex,
            vertebra_hu=facts.vertebra_hu,
            bmd_mg_cm3=facts.bmd_mg_cm3,
            confidence=facts.confidence,
            **tissues,
        )
    )


async def read_series(connection: AsyncConnection, first: date, last: date) -> Sequence[Mapping[str, Any]]:
    """Rows of these days, both included."""
    query = select(series_fact).where(series_fact.c.day.between(first, last)).order_by(series_fact.c.id)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def forget_before(connection: AsyncConnection, day: date) -> int:
    """Delete rows and evaluations of earlier days; gives how many series went."""
    gone = await connection.execute(delete(series_fact).where(series_fact.c.day < day))
    await connection.execute(delete(drift_evaluation).where(drift_evaluation.c.last_day < day))
    return gone.rowcount


async def keep_evaluation(
    connection: AsyncConnection, found: Sequence[FeatureDrift], at: datetime, first: date, last: date
) -> None:
    """Keep what an evaluation found."""
    rows = [
        {
            "evaluated_at": at,
            "feature": each.feature,
            "first_day": first,
            "last_day": last,
            "series": each.series,
            "psi": each.psi,
            "verdict": each.verdict.value,
            "reference": each.reference,
        }
        for each in found
    ]
    await connection.execute(insert(drift_evaluation), rows)


@dataclass(frozen=True)
class Standing:
    """One feature in the newest evaluation."""

    feature: str
    evaluated_at: datetime
    series: int
    psi: float | None
    verdict: Verdict
    reference: str | None


async def newest_evaluation(connection: AsyncConnection) -> tuple[Standing, ...]:
    """Empty when drift was never evaluated."""
    newest = select(func.max(drift_evaluation.c.evaluated_at)).scalar_subquery()
    query = select(drift_evaluation).where(drift_evaluation.c.evaluated_at == newest)
    rows = (await connection.execute(query.order_by(drift_evaluation.c.feature))).all()
    return tuple(
        Standing(row.feature, row.evaluated_at, row.series, row.psi, Verdict(row.verdict), row.reference)
        for row in rows
    )
