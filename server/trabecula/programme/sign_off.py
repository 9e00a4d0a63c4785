"""Signing a result off: a person accepts, corrects or rejects it, and every decision is a new version."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.anatomy import Level
from trabecula.bone.vertebra import DeformityKind
from trabecula.clinical import ClinicalConstants
from trabecula.errors import InvalidRequest, NotFound, NotReady, OutOfDate
from trabecula.outputs.report_json import from_json, to_json
from trabecula.programme.corrections import (
    MAX_TEXT,
    NO_CORRECTIONS,
    Corrections,
    FractureReading,
    check_corrections,
    corrected_report,
)
from trabecula.programme.schema import review
from trabecula.programme.states import Decision, ReviewStatus, next_status
from trabecula.report import ScreeningReport
from trabecula.work.schema import screening
from trabecula.work.states import State

REVIEW_NAMESPACE: Final = uuid.UUID("5f0a9a34-6b1d-5f5c-8a51-7f0f1c1f9d0e")
"""Namespace of the UUIDv5 ids of reviews: screening and version."""
MAX_NAME: Final = 200


@dataclass(frozen=True)
class Reviewer:
    """Who signs."""

    id: str
    """As the identity provider knows the person."""
    name: str


@dataclass(frozen=True)
class Verdict:
    """What a reviewer sends."""

    decision: Decision
    seen_version: int
    """The version that was on the screen; another one in between refuses this verdict."""
    corrections: Corrections = NO_CORRECTIONS
    comment: str | None = None


@dataclass(frozen=True)
class Review:
    """One version of a result after the machine's own (version 0)."""

    review_id: str
    screening_id: str
    version: int
    decision: Decision
    status: ReviewStatus
    reviewer: Reviewer
    reviewed_at: datetime
    corrections: Corrections
    comment: str | None
    changed: bool
    """Whether the report differs from the version before."""


@dataclass(frozen=True)
class SignedResult:
    """What a decision made: told to everybody who must follow, inside its transaction."""

    review: Review
    report: ScreeningReport
    """As it stands now."""
    reports_before: tuple[ScreeningReport, ...]
    """Earlier versions whose resources are replaced, oldest first; the machine's own is the first."""


SignOffSink = Callable[[AsyncConnection, SignedResult], Awaitable[None]]
"""Follows a decision in its transaction: new versions of FHIR resources, deliveries, the programme's tasks."""


async def sign(
    connection: AsyncConnection,
    screening_id: str,
    verdict: Verdict,
    reviewer: Reviewer,
    machine_report: ScreeningReport,
    constants: ClinicalConstants,
    at: datetime,
    sinks: tuple[SignOffSink, ...] = (),
) -> Review:
    """Take one decision, with all that follows from it, or nothing.

    Args:
        machine_report: version 0 of this screening's result.

    Raises:
        NotFound: if there is no such screening.
        NotReady: if it has no result.
        OutOfDate: if another decision came in between.
        InvalidStep: if the result's status does not allow the decision.
        InvalidRequest: for corrections that do not fit the result, or texts that are too long.
    """
    _check(verdict, reviewer)
    await _lock(connection, screening_id)
    reviews = await list_reviews(connection, screening_id)
    status = reviews[-1].status if reviews else ReviewStatus.PRELIMINARY
    if verdict.seen_version != len(reviews):
        raise OutOfDate(version=len(reviews), seen=verdict.seen_version)
    following = next_status(status, verdict.decision)
    before = (machine_report, *await _changed_reports(connection, screening_id))
    # Corrections are whole: they are laid upon the machine's own result, not upon the last correction.
    correct = verdict.decision is Decision.CORRECT
    check_corrections(machine_report, verdict.corrections)
    report = corrected_report(machine_report, verdict.corrections, constants) if correct else before[-1]
    made = Review(
        review_id=str(uuid.uuid5(REVIEW_NAMESPACE, f"{screening_id}/{len(reviews) + 1}")),
        screening_id=screening_id,
        version=len(reviews) + 1,
        decision=verdict.decision,
        status=following,
        reviewer=reviewer,
        reviewed_at=at,
        corrections=verdict.corrections,
        comment=verdict.comment,
        changed=report != before[-1],
    )
    await connection.execute(insert(review).values(_row(made, report)))
    for sink in sinks:
        await sink(connection, SignedResult(made, report, before))
    return made


async def list_reviews(connection: AsyncConnection, screening_id: str) -> tuple[Review, ...]:
    """All decisions on a result, oldest first; empty while it is preliminary."""
    rows = await connection.execute(
        select(review).where(review.c.screening_id == screening_id).order_by(review.c.version)
    )
    return tuple(_review(row._mapping) for row in rows)


async def current_report(
    connection: AsyncConnection, screening_id: str, machine_report: ScreeningReport
) -> ScreeningReport:
    """The report as the last decision left it."""
    changed = await _changed_reports(connection, screening_id)
    return changed[-1] if changed else machine_report


async def _lock(connection: AsyncConnection, screening_id: str) -> None:
    """One decision at a time on one screening."""
    query = select(screening.c.state).where(screening.c.id == screening_id).with_for_update()
    state = (await connection.execute(query)).scalar_one_or_none()
    if state is None:
        raise NotFound
    if state not in (State.REPORTED.value, State.REFUSED.value):
        raise NotReady


async def _changed_reports(connection: AsyncConnection, screening_id: str) -> tuple[ScreeningReport, ...]:
    rows = await connection.execute(
        select(review.c.report)
        .where(review.c.screening_id == screening_id, review.c.report.is_not(None))
        .order_by(review.c.version)
    )
    return tuple(from_json(json.dumps(row.report)) for row in rows)


def _check(verdict: Verdict, reviewer: Reviewer) -> None:
    if not reviewer.id or not reviewer.name or len(reviewer.name) > MAX_NAME:
        raise InvalidRequest(field="reviewer", must_be="a person with id and name")
    if verdict.comment is not None and len(verdict.comment) > MAX_TEXT:
        raise InvalidRequest(field="comment", characters_at_most=MAX_TEXT)
    if verdict.decision is Decision.CORRECT and verdict.corrections.empty:
        raise InvalidRequest(field="corrections", must_be="given with the decision to correct")
    if verdict.decision is not Decision.CORRECT and not verdict.corrections.empty:
        raise InvalidRequest(field="corrections", must_be="empty unless the decision is to correct")
    if verdict.decision is Decision.REJECT and not (verdict.comment or "").strip():
        raise InvalidRequest(field="comment", must_be="the reason for rejecting")


def corrections_to_json(corrections: Corrections) -> dict[str, Any]:
    """JSON form, as stored and as the HTTP interface takes it."""
    return {
        "level_shift": corrections.level_shift,
        "left_out": {level.value: why for level, why in corrections.left_out.items()},
        "fractures": {
            level.value: {"grade": reading.grade, "kind": reading.kind.value if reading.kind else None}
            for level, reading in corrections.fractures.items()
        },
        "conclusion": corrections.conclusion,
    }


def corrections_from_json(document: object) -> Corrections:
    """Inverse of :func:`corrections_to_json`; every key may be left out.

    Raises:
        InvalidRequest: for anything else.
    """
    try:
        known = dict(document)  # type: ignore[call-overload]
        made = Corrections(
            level_shift=int(known.pop("level_shift", 0)),
            left_out={Level(name): str(why) for name, why in dict(known.pop("left_out", {})).items()},
            fractures={
                Level(name): FractureReading(
                    int(reading["grade"]), DeformityKind(reading["kind"]) if reading.get("kind") else None
                )
                for name, reading in dict(known.pop("fractures", {})).items()
            },
            conclusion=known.pop("conclusion", None),
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        raise InvalidRequest(field="corrections") from None
    if known or not isinstance(made.conclusion, str | None):
        raise InvalidRequest(field="corrections")
    return made


def _row(made: Review, report: ScreeningReport) -> dict[str, Any]:
    return {
        "id": made.review_id,
        "screening_id": made.screening_id,
        "version": made.version,
        "decision": made.decision.value,
        "status": made.status.value,
        "reviewer_id": made.reviewer.id,
        "reviewer_name": made.reviewer.name,
        "reviewed_at": made.reviewed_at,
        "comment": made.comment,
        "corrections": {} if made.corrections.empty else corrections_to_json(made.corrections),
        "report": json.loads(to_json(report)) if made.changed else None,
    }


def _review(row: Any) -> Review:
    return Review(
        review_id=row["id"],
        screening_id=row["screening_id"],
        version=row["version"],
        decision=Decision(row["decision"]),
        status=ReviewStatus(row["status"]),
        reviewer=Reviewer(row["reviewer_id"], row["reviewer_name"]),
        reviewed_at=row["reviewed_at"],
        corrections=corrections_from_json(row["corrections"]),
        comment=row["comment"],
        changed=row["report"] is not None,
    )
