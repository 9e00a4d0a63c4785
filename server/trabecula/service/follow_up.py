"""What follows from a result and from a person's decision on it, in the transaction of either.

The record gets the resources, the outbox a delivery for everybody who has the result, the programme a recall.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.assembly import as_reviewed
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.config import Settings
from trabecula.delivery.destinations import Destination, DicomObject, FhirDestination, read_destinations
from trabecula.delivery.sink import WHAT, delivery_sink, enqueue_everywhere
from trabecula.outputs.r4 import FhirOptions
from trabecula.outputs.r4.bundle import to_resources
from trabecula.outputs.r4.codes import ProgrammeState
from trabecula.outputs.r4.filing import Filing
from trabecula.outputs.r4.follow_up import Step, moved, proposed_task, withdrawn
from trabecula.outputs.r4.profiles import DxaServiceRequest, ProgrammeTask
from trabecula.outputs.r4.review import Signature, SignedStatus, reviewed_resources
from trabecula.programme.schema import dxa_task
from trabecula.programme.sign_off import SignedResult, SignOffSink
from trabecula.programme.states import ReviewStatus, TaskEvent, TaskState
from trabecula.programme.tasks import MACHINE, DuePolicy, DxaTask, asks_for_dxa, get_task, propose, step
from trabecula.record import publish, publish_result
from trabecula.record.schema import resource
from trabecula.record.store import put, read
from trabecula.report import ScreeningReport
from trabecula.service.engine import fhir_options
from trabecula.service.signed_document import sign_document
from trabecula.work.clock import utc_now
from trabecula.work.content import ContentStore
from trabecula.work.records import Job, ScreeningRecord
from trabecula.work.runner import Completion, ResultSink

Json = dict[str, Any]

NOT_ASKED_FOR: Final = "after sign-off the result does not ask for DXA any more"
REJECTED: Final = "the result was rejected at sign-off"


@dataclass(frozen=True)
class FollowUp:
    """How a site follows up."""

    options: FhirOptions
    destinations: tuple[Destination, ...]
    patient_system: str | None
    policy: DuePolicy
    clock: Callable[[], datetime]
    reviewer_system: str | None = None
    """Who gives out the reviewers' ids, as a URI."""
    organization: str | None = None
    """Who answers for signed reports."""
    constants: ClinicalConstants = field(default_factory=load_constants)
    """Those that studies are read with."""


def follow_up(settings: Settings) -> FollowUp:
    """How this site follows up.

    Raises:
        DestinationsFileError: if the destinations cannot be read.
    """
    return FollowUp(
        options=fhir_options(settings),
        destinations=read_destinations(settings.destinations_file),
        patient_system=settings.fhir_patient_identifier_system,
        policy=due_policy(settings),
        clock=utc_now,
        reviewer_system=settings.reviewer_identifier_system,
        organization=settings.organization_name,
        constants=load_constants(profile=settings.level_profile),
    )


def due_policy(settings: Settings) -> DuePolicy:
    """The programme's times, from the settings' days."""
    return DuePolicy(
        timedelta(days=settings.programme_contact_days),
        timedelta(days=settings.programme_booking_days),
        timedelta(days=settings.programme_result_days),
    )


# A screening ends with a result


def result_sink(site: FollowUp) -> ResultSink:
    """Record, outbox and programme follow a result, unless a person has decided on the very same one before.

    The same study read again by the same versions gives the same result with the same ids; what was signed or
    rejected stays as it is.
    """
    deliver = delivery_sink(site.destinations, site.clock)

    async def sink(connection: AsyncConnection, record: ScreeningRecord, job: Job, completion: Completion) -> None:
        report = completion.report
        if await _decided(connection, report, site.options):
            return
        await publish_result(connection, record, job, completion, site.constants)
        await deliver(connection, record, job, completion)
        await _recall(connection, record.screening_id, report, site)

    return sink


async def _decided(connection: AsyncConnection, report: ScreeningReport, options: FhirOptions) -> bool:
    identity = str(Filing(report, options).identity("DiagnosticReport", "study"))
    query = select(resource.c.status).where(resource.c.type == "DiagnosticReport", resource.c.id == identity)
    status = (await connection.execute(query)).scalar_one_or_none()
    return status is not None and status != ReviewStatus.PRELIMINARY.value


# A person decides


def sign_off_sink(site: FollowUp, content: ContentStore) -> SignOffSink:
    """New versions of resources and SR, deliveries of them, and the recall as the signed result asks for it."""

    async def sink(connection: AsyncConnection, result: SignedResult) -> None:
        made = await asyncio.to_thread(_resources, result, site)
        await publish(connection, result.review.screening_id, result.report, made, site.constants)
        entries = [{"resource": each} for each in made]
        signed = await sign_document(connection, content, result, site.organization)
        wanting = [
            each
            for each in site.destinations
            if WHAT[result.report.status] in each.send and (isinstance(each, FhirDestination) or signed)
        ]
        await enqueue_everywhere(
            connection,
            wanting,
            chain=result.report.screening_id,
            screening_id=result.review.screening_id,
            topic="sign-off" if result.review.version == 1 else "correction",
            bundle={"resourceType": "Bundle", "type": "collection", "entry": entries},
            now=site.clock(),
            new_documents=(DicomObject.SR,),
        )
        await _recall_after(connection, result, site)

    return sink


def _resources(result: SignedResult, site: FollowUp) -> list[Json]:
    review = result.review
    signature = Signature(
        status=SignedStatus(review.status.value),
        version=review.version,
        at=review.reviewed_at.astimezone(UTC).isoformat(timespec="seconds"),
        person_id=review.reviewer.id,
        person_name=review.reviewer.name,
        person_system=site.reviewer_system,
        organization=site.organization,
        reason=review.comment,
    )
    # The texts of a signed result do not say that nobody has looked at it; the versions before are read alike.
    before = [as_reviewed(each) for each in result.reports_before]
    made = reviewed_resources(as_reviewed(result.report), before, signature, site.options)
    return [each.json() for each in made]


async def _recall_after(connection: AsyncConnection, result: SignedResult, site: FollowUp) -> None:
    screening_id, rejected = result.review.screening_id, result.review.status is ReviewStatus.ENTERED_IN_ERROR
    if asks_for_dxa(result.report) and not rejected:
        await _recall(connection, screening_id, result.report, site)
        return
    query = select(dxa_task.c.id).where(dxa_task.c.screening_id == screening_id, dxa_task.c.due_at.is_not(None))
    for row in (await connection.execute(query)).all():
        why = REJECTED if rejected else NOT_ASKED_FOR
        await take_step(connection, row.id, TaskEvent.WITHDRAW, MACHINE, site, note=why)


# The recall and its Task


async def _recall(connection: AsyncConnection, screening_id: str, report: ScreeningReport, site: FollowUp) -> None:
    task_id = await propose(connection, screening_id, report, site.patient_system, site.clock(), site.policy)
    if task_id is None:
        return
    task = await get_task(connection, task_id)
    request = await asyncio.to_thread(_proposal, report, site.options)
    if request is None:
        return
    made = proposed_task(request, _instant(task.created_at), site.options, due=_day(task.due_at))
    await put(connection, [made.json()], screening_id=screening_id)


async def take_step(
    connection: AsyncConnection,
    task_id: str,
    event: TaskEvent,
    by: str,
    site: FollowUp,
    *,
    note: str | None = None,
    due_at: datetime | None = None,
    results: Sequence[Json] = (),
) -> DxaTask:
    """A step of a recall, with the new version of its Task in the record.

    Args:
        results: references to the DXA's resources, for the step that a DXA result makes.

    Raises:
        NotFound, InvalidStep, InvalidRequest: see :func:`trabecula.programme.tasks.step`.
    """
    task = await step(connection, task_id, event, by, site.clock(), site.policy, note=note, due_at=due_at)
    await follow_task(connection, task, event, note=note, results=results)
    return task


async def follow_task(
    connection: AsyncConnection,
    task: DxaTask,
    event: TaskEvent,
    *,
    note: str | None = None,
    results: Sequence[Json] = (),
) -> None:
    """Write the Task's version after a step that was taken."""
    query = select(resource.c.id).where(resource.c.type == "Task", resource.c.screening_id == task.screening_id)
    identity = (await connection.execute(query)).scalar()
    if identity is None:
        return
    stored = ProgrammeTask((await read(connection, "Task", identity)).content)
    at = _instant(task.changed_at)
    if event is TaskEvent.WITHDRAW:
        made = withdrawn(stored, at)
    else:
        needs_reason = task.state in (TaskState.DECLINED, TaskState.CLOSED)
        made = moved(
            stored,
            Step(
                ProgrammeState(task.state.value),
                at,
                reason=(note or task.state.value) if needs_reason else None,
                results=results,
                due=_day(task.due_at),
                note=None if needs_reason else note,
            ),
        )
    await put(connection, [made.json()], screening_id=task.screening_id)


def _proposal(report: ScreeningReport, options: FhirOptions) -> DxaServiceRequest | None:
    return next((made for made in to_resources(report, options) if isinstance(made, DxaServiceRequest)), None)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _day(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).date().isoformat()
