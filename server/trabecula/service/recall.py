"""When results turn out to be wrong: find them by what made them, and withdraw them all.

Withdrawing is the sign-off's rejection (:mod:`trabecula.programme.sign_off`), taken on many results by one named
person: each becomes ``entered-in-error``, its new versions go to every destination that has the result, and its recall
is withdrawn. Erasing a person is :mod:`.erasure`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, or_, select

from trabecula.errors import (
    ContentDamaged,
    ContentMissing,
    InvalidReport,
    InvalidRequest,
    NotFound,
    NotReady,
    TrabeculaError,
)
from trabecula.outputs.report_json import from_json
from trabecula.programme.sign_off import Reviewer, Verdict, list_reviews, sign
from trabecula.programme.states import Decision, ReviewStatus
from trabecula.record.schema import resource, result
from trabecula.report import ScreeningReport
from trabecula.service.erasure import Person
from trabecula.service.follow_up import FollowUp, sign_off_sink
from trabecula.work.content import ContentStore, read_all
from trabecula.work.database import Database
from trabecula.work.reading import check_id, read_document
from trabecula.work.records import DocumentKind

BATCH: Final = 200


@dataclass(frozen=True)
class Criteria:
    """What made the results that are looked for; a part that is None narrows nothing."""

    since: datetime | None = None
    """When the result was made, not when the scan was."""
    until: datetime | None = None
    software: str | None = None
    """Version of the program."""
    model: str | None = None
    """``name``, ``name@version``, or the beginning of a SHA-256 (eight digits at least)."""
    scanner: str | None = None
    """Part of "manufacturer model", or the station's hash as reports have it."""
    clinical_data: str | None = None
    """Version of constants and level profile."""
    patient: str | None = None
    """``system|value``, or the value alone."""


@dataclass(frozen=True)
class FoundResult:
    """One result, by what made it. Holds the study's UID and no other patient datum."""

    screening_id: str
    report_id: str
    status: str
    study_uid: str | None
    created_at: datetime
    software: str | None = None
    clinical_data: str | None = None
    models: tuple[str, ...] = ()
    """``name@version``."""
    scanner: str | None = None
    category: str | None = None
    readable: bool = True
    """Whether the report could be read; if not, nobody knows whether it fits, and it is among those found."""


@dataclass(frozen=True)
class Withdrawn:
    """What became of one result."""

    screening_id: str
    outcome: str
    """``withdrawn``, ``was-withdrawn``, or the code of the error that kept it."""


async def find(database: Database, content: ContentStore, wanted: Criteria) -> AsyncIterator[FoundResult]:
    """Results that fit, oldest first. Reports are read one by one; a window of time makes it quick."""
    after: tuple[datetime, str] | None = None
    while True:
        async with database.transaction() as connection:
            rows = (await connection.execute(_page(wanted, after))).all()
        for row in rows:
            report = await _report(database, content, row.screening_id)
            seen = _found(row, report)
            if report is None or _fits(report, wanted):
                yield seen
        if len(rows) < BATCH:
            return
        after = (rows[-1].created_at, rows[-1].report_id)


async def withdraw(
    database: Database, content: ContentStore, site: FollowUp, screening_id: str, reviewer: Reviewer, reason: str
) -> Withdrawn:
    """Reject one result in a person's name, with all that follows from it, or nothing.

    Raises:
        InvalidRequest: without a reason or a named person.
    """
    try:
        checked = check_id(screening_id)
        machine = await _machine_report(database, content, checked)
        async with database.transaction() as connection:
            reviews = await list_reviews(connection, checked)
            if reviews and reviews[-1].status is ReviewStatus.ENTERED_IN_ERROR:
                return Withdrawn(checked, "was-withdrawn")
            verdict = Verdict(Decision.REJECT, seen_version=len(reviews), comment=reason)
            sinks = (sign_off_sink(site, content),)
            await sign(connection, checked, verdict, reviewer, machine, site.constants, site.clock(), sinks)
    except InvalidRequest:
        raise
    except TrabeculaError as error:
        return Withdrawn(screening_id, error.code)
    return Withdrawn(checked, "withdrawn")


def _page(wanted: Criteria, after: tuple[datetime, str] | None):  # type: ignore[no-untyped-def]
    query = (
        select(
            result.c.screening_id,
            result.c.report_id,
            result.c.study_uid,
            result.c.created_at,
            result.c.summary["category"].astext.label("category"),
            resource.c.status,
        )
        .join(resource, and_(resource.c.type == "DiagnosticReport", resource.c.id == result.c.report_id))
        .order_by(result.c.created_at, result.c.report_id)
        .limit(BATCH)
    )
    if wanted.since is not None:
        query = query.where(result.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(result.c.created_at < wanted.until)
    if wanted.patient is not None:
        query = query.where(Person.read(wanted.patient).of(result.c))
    if after is not None:
        same = and_(result.c.created_at == after[0], result.c.report_id > after[1])
        query = query.where(or_(result.c.created_at > after[0], same))
    return query


async def _machine_report(database: Database, content: ContentStore, screening_id: str) -> ScreeningReport:
    async with database.transaction() as connection:
        ref = await read_document(connection, screening_id, DocumentKind.REPORT_JSON)
    return from_json((await read_all(content, ref)).decode())


async def _report(database: Database, content: ContentStore, screening_id: str) -> ScreeningReport | None:
    try:
        return await _machine_report(database, content, screening_id)
    except (NotFound, NotReady, ContentMissing, ContentDamaged, InvalidReport):
        return None


def _found(row: object, report: ScreeningReport | None) -> FoundResult:
    known = FoundResult(
        screening_id=row.screening_id,  # type: ignore[attr-defined]
        report_id=row.report_id,  # type: ignore[attr-defined]
        status=row.status,  # type: ignore[attr-defined]
        study_uid=row.study_uid,  # type: ignore[attr-defined]
        created_at=row.created_at,  # type: ignore[attr-defined]
        category=row.category,  # type: ignore[attr-defined]
        readable=report is not None,
    )
    if report is None:
        return known
    return FoundResult(
        **{
            **known.__dict__,
            "software": report.software_version,
            "clinical_data": report.clinical_data_version,
            "models": tuple(f"{each.name}@{each.version}" for each in report.models),
            "scanner": _scanner(report),
        }
    )


def _scanner(report: ScreeningReport) -> str | None:
    made = report.acquisition
    if made is None:
        return None
    return " ".join(part for part in (made.manufacturer, made.model, made.station_hash) if part) or None


def _fits(report: ScreeningReport, wanted: Criteria) -> bool:
    return (
        wanted.software in (None, report.software_version)
        and wanted.clinical_data in (None, report.clinical_data_version)
        and (wanted.model is None or _has_model(report, wanted.model))
        and (wanted.scanner is None or wanted.scanner.lower() in (_scanner(report) or "").lower())
    )


MIN_SHA256: Final = 8


def _has_model(report: ScreeningReport, wanted: str) -> bool:
    return any(
        wanted in (each.name, f"{each.name}@{each.version}")
        or (len(wanted) >= MIN_SHA256 and each.sha256.startswith(wanted.lower()))
        for each in report.models
    )


def ids_in(lines: Iterable[str]) -> tuple[str, ...]:
    """Screening ids of a list, one in a line; empty lines and what follows ``#`` do not count."""
    return tuple(dict.fromkeys(word for line in lines if (word := line.partition("#")[0].strip())))
