"""The recall programme: people proposed for a confirming DXA, and each step until it was made or will not be."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, and_, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import InvalidRequest, InvalidStep, NotFound
from trabecula.outputs.r4.conclusions import DXA_ACTION
from trabecula.programme.schema import dxa_step, dxa_task
from trabecula.programme.states import TaskEvent, TaskState, next_task_state
from trabecula.report import ScreeningReport

TASK_NAMESPACE: Final = uuid.UUID("1c2f6b6e-0f0a-5f39-9d8f-3c1b8a7c6d55")
"""Namespace of the UUIDv5 ids of tasks: one for each screening."""
MAX_NOTE: Final = 1000
MACHINE: Final = "trabecula"
"""Who made a step that no person made."""


@dataclass(frozen=True)
class DuePolicy:
    """How long the programme may wait in each open state before it is reminded."""

    proposed: timedelta = timedelta(days=14)
    contacted: timedelta = timedelta(days=30)
    booked: timedelta = timedelta(days=90)

    def due(self, state: TaskState, at: datetime) -> datetime | None:
        """When the next step should have been taken; None for a state that waits for nothing."""
        waits = {
            TaskState.PROPOSED: self.proposed,
            TaskState.CONTACTED: self.contacted,
            TaskState.BOOKED: self.booked,
        }
        return at + waits[state] if state in waits else None


DEFAULT_POLICY: Final = DuePolicy()


@dataclass(frozen=True)
class PatientKey:
    """How a patient is known: an identifier in the site's system (empty when the site has named none)."""

    system: str
    value: str


@dataclass(frozen=True)
class DxaTask:
    """One person proposed for a DXA. Patient data: never logged."""

    task_id: str
    screening_id: str
    state: TaskState
    patient: PatientKey
    accession_number: str | None
    age_years: float | None
    sex: str | None
    category: str
    lumbar_equivalent_mg_cm3: float | None
    scanned_on: date | None
    rule_ids: tuple[str, ...]
    created_at: datetime
    changed_at: datetime
    due_at: datetime | None

    def overdue(self, now: datetime) -> bool:
        """Whether a reminder is due."""
        return self.due_at is not None and self.due_at < now


@dataclass(frozen=True)
class DxaStep:
    """One step of a task; ``event`` is None for the one that made it."""

    at: datetime
    event: TaskEvent | None
    state: TaskState
    by: str
    note: str | None


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks a reader wants; None does not restrict."""

    states: Collection[TaskState] = ()
    overdue_at: datetime | None = None
    patient: PatientKey | None = None


def asks_for_dxa(report: ScreeningReport) -> tuple[str, ...]:
    """Ids of the rules that ask for a confirming DXA; empty when none does."""
    return tuple(item.rule_id for item in report.recommendations if item.action == DXA_ACTION)


def patient_key(report: ScreeningReport, system: str | None) -> PatientKey | None:
    """How the report's patient is known; None when the images do not say."""
    patient_id = (report.study.patient_id or "").strip() if report.study else ""
    return PatientKey(system or "", patient_id) if patient_id else None


async def propose(
    connection: AsyncConnection,
    screening_id: str,
    report: ScreeningReport,
    patient_system: str | None,
    at: datetime,
    policy: DuePolicy,
) -> str | None:
    """Put the patient on the worklist when a rule asks for a DXA; the id of the task made.

    None when no rule asks, the patient is not identified, or the person is on the list already (which a note on that
    task then says). Doing it twice changes nothing.
    """
    rules = asks_for_dxa(report)
    patient = patient_key(report, patient_system)
    if not rules or patient is None or report.assessment is None:
        return None
    values = {
        "id": str(uuid.uuid5(TASK_NAMESPACE, screening_id)),
        "screening_id": screening_id,
        "patient_system": patient.system,
        "patient_value": patient.value,
        "accession_number": report.study.accession_number if report.study else None,
        "age_years": report.patient.age_years,
        "sex": report.patient.sex.value if report.patient.sex else None,
        "category": report.assessment.category.value,
        "lumbar_equivalent_mg_cm3": report.density.lumbar_equivalent_mg_cm3 if report.density else None,
        "scanned_on": _scanned_on(report),
        "rule_ids": list(rules),
        "created_at": at,
        "changed_at": at,
        "due_at": policy.due(TaskState.PROPOSED, at),
    }
    made = await connection.execute(
        insert_or(dxa_task).values(values).on_conflict_do_nothing().returning(dxa_task.c.id)
    )
    task_id: str | None = made.scalar_one_or_none()
    if task_id is None:
        await _note_another_scan(connection, screening_id, patient, at)
        return None
    await _log(connection, task_id, None, TaskState.PROPOSED, MACHINE, at, None)
    return task_id


async def step(
    connection: AsyncConnection,
    task_id: str,
    event: TaskEvent,
    by: str,
    at: datetime,
    policy: DuePolicy,
    *,
    note: str | None = None,
    due_at: datetime | None = None,
) -> DxaTask:
    """Take one step.

    Args:
        due_at: when to be reminded instead of what the policy says, such as the day after an appointment.

    Raises:
        NotFound: if there is no such task.
        InvalidStep: if its state does not allow the event, or the person is recalled under another task meanwhile.
        InvalidRequest: for a note that is too long, or none where one is needed.
    """
    if note is not None and len(note) > MAX_NOTE:
        raise InvalidRequest(field="note", characters_at_most=MAX_NOTE)
    if event is TaskEvent.CLOSE and not (note or "").strip():
        raise InvalidRequest(field="note", must_be="the reason for closing")
    task = await get_task(connection, task_id, lock=True)
    state = next_task_state(task.state, event)
    if state.open and not task.state.open and await _recalled_already(connection, task.patient):
        raise InvalidStep(status="recalled under another task", step=event.value)
    due = policy.due(state, at)
    values = {"state": state.value, "changed_at": at, "due_at": (due_at or due) if due else None}
    await connection.execute(update(dxa_task).where(dxa_task.c.id == task_id).values(values))
    await _log(connection, task_id, event, state, by, at, note)
    return await get_task(connection, task_id)


async def get_task(connection: AsyncConnection, task_id: str, *, lock: bool = False) -> DxaTask:
    """One task. Raises NotFound."""
    query = select(dxa_task).where(dxa_task.c.id == task_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound
    return _task(row._mapping)


async def list_tasks(
    connection: AsyncConnection, wanted: TaskFilter, limit: int, after: str | None = None
) -> tuple[DxaTask, ...]:
    """Tasks that are due first, then the others by their last change (newest first).

    Args:
        after: id of the last task of the page before.
    """
    query = _filtered(select(dxa_task), wanted)
    # Ended tasks have no due date and go last; ids break ties, so that pages do not overlap.
    due = func.coalesce(dxa_task.c.due_at, func.to_timestamp(_FAR_S))
    if after is not None:
        last = select(func.coalesce(dxa_task.c.due_at, func.to_timestamp(_FAR_S)), dxa_task.c.id).where(
            dxa_task.c.id == after
        )
        mark = (await connection.execute(last)).one_or_none()
        if mark is None:
            raise InvalidRequest(field="after")
        query = query.where(or_(due > mark[0], and_(due == mark[0], dxa_task.c.id > mark[1])))
    rows = await connection.execute(query.order_by(due, dxa_task.c.id).limit(limit))
    return tuple(_task(row._mapping) for row in rows)


async def count_tasks(connection: AsyncConnection, now: datetime) -> Mapping[str, int]:
    """Tasks by state, and those overdue under ``overdue``."""
    query = select(dxa_task.c.state, func.count(), func.count().filter(dxa_task.c.due_at < now))
    rows = (await connection.execute(query.group_by(dxa_task.c.state))).all()
    counts = {state.value: 0 for state in TaskState} | {row[0]: row[1] for row in rows}
    return {**counts, "overdue": sum(row[2] for row in rows)}


async def list_steps(connection: AsyncConnection, task_id: str) -> tuple[DxaStep, ...]:
    """A task's history, oldest first."""
    rows = await connection.execute(select(dxa_step).where(dxa_step.c.task_id == task_id).order_by(dxa_step.c.id))
    return tuple(
        DxaStep(row.at, TaskEvent(row.event) if row.event else None, TaskState(row.state), row.by, row.note)
        for row in rows
    )


_FAR_S: Final = 253_402_300_799
"""9999-12-31T23:59:59Z."""


def _filtered(query: Select[Any], wanted: TaskFilter) -> Select[Any]:
    if wanted.states:
        query = query.where(dxa_task.c.state.in_([state.value for state in wanted.states]))
    if wanted.overdue_at is not None:
        query = query.where(dxa_task.c.due_at < wanted.overdue_at)
    if wanted.patient is not None:
        query = query.where(
            dxa_task.c.patient_system == wanted.patient.system, dxa_task.c.patient_value == wanted.patient.value
        )
    return query


async def _recalled_already(connection: AsyncConnection, patient: PatientKey) -> bool:
    query = select(dxa_task.c.id).where(
        dxa_task.c.patient_system == patient.system,
        dxa_task.c.patient_value == patient.value,
        dxa_task.c.due_at.is_not(None),
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def _note_another_scan(connection: AsyncConnection, screening_id: str, patient: PatientKey, at: datetime) -> None:
    query = select(dxa_task.c.id, dxa_task.c.state).where(
        dxa_task.c.patient_system == patient.system,
        dxa_task.c.patient_value == patient.value,
        dxa_task.c.screening_id != screening_id,
        dxa_task.c.due_at.is_not(None),
    )
    for row in await connection.execute(query):
        await _log(
            connection, row.id, None, TaskState(row.state), MACHINE, at, f"another scan asks for it: {screening_id}"
        )


async def _log(
    connection: AsyncConnection,
    task_id: str,
    event: TaskEvent | None,
    state: TaskState,
    by: str,
    at: datetime,
    note: str | None,
) -> None:
    values = {"task_id": task_id, "at": at, "event": event.value if event else None, "state": state.value}
    await connection.execute(insert(dxa_step).values(**values, by=by, note=note))


def _scanned_on(report: ScreeningReport) -> date | None:
    acquired = report.acquisition.acquired_at if report.acquisition else None
    try:
        return datetime.fromisoformat(acquired).date() if acquired else None
    except ValueError:
        return None


def _task(row: Any) -> DxaTask:
    return DxaTask(
        task_id=row["id"],
        screening_id=row["screening_id"],
        state=TaskState(row["state"]),
        patient=PatientKey(row["patient_system"], row["patient_value"]),
        accession_number=row["accession_number"],
        age_years=row["age_years"],
        sex=row["sex"],
        category=row["category"],
        lumbar_equivalent_mg_cm3=row["lumbar_equivalent_mg_cm3"],
        scanned_on=row["scanned_on"],
        rule_ids=tuple(row["rule_ids"]),
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        due_at=row["due_at"],
    )
