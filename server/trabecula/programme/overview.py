"""The list a radiologist works from: results, newest scan first, with the status each has now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import InvalidRequest
from trabecula.programme.states import ReviewStatus
from trabecula.record.results import ResultSummary
from trabecula.record.schema import resource, result


@dataclass(frozen=True)
class ResultLine:
    """One result in the list. Patient data: never logged."""

    screening_id: str
    status: ReviewStatus
    patient_value: str | None
    scanned_at: datetime | None
    created_at: datetime
    summary: ResultSummary


_SUMMARY = TypeAdapter(ResultSummary)
_REPORT = and_(resource.c.type == "DiagnosticReport", resource.c.id == result.c.report_id)


async def list_results(
    connection: AsyncConnection, statuses: Collection[ReviewStatus], limit: int, after: str | None = None
) -> tuple[ResultLine, ...]:
    """Results by when they were made, newest first.

    Args:
        statuses: only these; empty means all.
        after: screening id of the last line of the page before.

    Raises:
        InvalidRequest: for an ``after`` that is no line.
    """
    query = select(result, resource.c.status).join(resource, _REPORT).where(~resource.c.deleted)
    if statuses:
        query = query.where(resource.c.status.in_([status.value for status in statuses]))
    if after is not None:
        marks = select(result.c.created_at, result.c.report_id).where(result.c.screening_id == after)
        mark = (await connection.execute(marks)).first()
        if mark is None:
            raise InvalidRequest(field="after")
        older = and_(result.c.created_at == mark[0], result.c.report_id < mark[1])
        query = query.where(or_(result.c.created_at < mark[0], older))
    rows = await connection.execute(query.order_by(result.c.created_at.desc(), result.c.report_id.desc()).limit(limit))
    return tuple(_line(row._mapping) for row in rows)


async def count_results(connection: AsyncConnection) -> Mapping[ReviewStatus, int]:
    """Results in each status."""
    query = select(resource.c.status, func.count()).select_from(result).join(resource, _REPORT)
    rows = await connection.execute(query.where(~resource.c.deleted).group_by(resource.c.status))
    found = {ReviewStatus(row[0]): row[1] for row in rows}
    return {status: found.get(status, 0) for status in ReviewStatus}


def _line(row: Any) -> ResultLine:
    return ResultLine(
        screening_id=row["screening_id"],
        status=ReviewStatus(row["status"]),
        patient_value=row["patient_value"],
        scanned_at=row["effective"],
        created_at=row["created_at"],
        summary=_SUMMARY.validate_python(row["summary"]),
    )
