"""The recall list: people proposed for a confirming DXA, the next step for each, and the list as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from trabecula.errors import InvalidRequest
from trabecula.programme.agreement import agreement
from trabecula.programme.states import TASKS, TaskEvent, TaskState
from trabecula.programme.tasks import DxaTask, TaskFilter, count_tasks, get_task, list_steps, list_tasks
from trabecula.service.auth.sessions import Session
from trabecula.service.follow_up import take_step
from trabecula.service.http.pages.access import form_of, note_access, text_of
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.render import NO_STORE, page
from trabecula.work.reading import check_id

PAGE_SIZE: Final = 100
MOST_EXPORTED: Final = 100_000
BY_HAND: Final = (TaskEvent.CONTACT, TaskEvent.BOOK, TaskEvent.DECLINE, TaskEvent.CLOSE, TaskEvent.REOPEN)
"""Steps that a person takes; the others come from results."""
COLUMNS: Final = (
    "task", "state", "due", "patient_system", "patient_id", "accession_number", "age_years", "sex", "scanned_on",
    "category", "lumbar_equivalent_mg_cm3", "rules", "created", "changed", "screening",
)  # fmt: skip
_SPREADSHEET_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell that is run begins with; East Asian spreadsheets take the wide forms for the narrow ones."""


async def show_worklist(request: Request, pages: Pages, session: Session) -> Response:
    """Due first."""
    wanted, chosen = _filter(request, pages)
    async with pages.database.transaction() as connection:
        after = request.query_params.get("after")
        found = await list_tasks(connection, wanted, PAGE_SIZE + 1, check_id(after) if after else None)
        counts = await count_tasks(connection, pages.site.clock())
    await note_access(request, pages, session, "E", "Task", patients=[task.patient for task in found])
    return page(
        request,
        "worklist.html.j2",
        session,
        tasks=found[:PAGE_SIZE],
        more=len(found) > PAGE_SIZE,
        counts=counts,
        chosen=chosen,
        states=tuple(TaskState),
        now=pages.site.clock(),
    )


async def export_worklist(request: Request, pages: Pages, session: Session) -> Response:
    """The list as CSV (RFC 4180), by the same filter."""
    wanted, _ = _filter(request, pages)
    async with pages.database.transaction() as connection:
        found = await list_tasks(connection, wanted, MOST_EXPORTED)
    await note_access(request, pages, session, "E", "Task", patients=[task.patient for task in found])
    headers = {"content-disposition": 'attachment; filename="recall.csv"', "cache-control": NO_STORE}
    return Response(to_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


def to_csv(found: Iterable[DxaTask]) -> str:
    """Tasks as CSV; a text that a spreadsheet would run as a formula is quoted with an apostrophe."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    for task in found:
        values = (
            task.task_id, task.state.value, _iso(task.due_at), task.patient.system, task.patient.value,
            task.accession_number or "", task.age_years if task.age_years is not None else "", task.sex or "",
            task.scanned_on.isoformat() if task.scanned_on else "", task.category,
            "" if task.lumbar_equivalent_mg_cm3 is None else f"{task.lumbar_equivalent_mg_cm3:.1f}",
            " ".join(task.rule_ids), _iso(task.created_at), _iso(task.changed_at), task.screening_id,
        )  # fmt: skip
        writer.writerow([_harmless(value) for value in values])
    return target.getvalue()


async def show_task(request: Request, pages: Pages, session: Session) -> Response:
    """One person's recall with its history."""
    task_id = check_id(request.path_params["task_id"])
    async with pages.database.transaction() as connection:
        task = await get_task(connection, task_id)
        steps = await list_steps(connection, task_id)
    await note_access(request, pages, session, "R", "Task", resource_id=task_id, patients=[task.patient])
    events = tuple(event for event in BY_HAND if (task.state, event) in TASKS)
    return page(request, "task.html.j2", session, task=task, steps=steps, events=events, now=pages.site.clock())


async def post_step(request: Request, pages: Pages, session: Session) -> Response:
    """Take a step from the form.

    Raises:
        InvalidRequest: for a form that cannot be used.
        InvalidStep: when somebody was faster.
    """
    task_id = check_id(request.path_params["task_id"])
    form = await form_of(request, session)
    try:
        event = TaskEvent(text_of(form, "event"))
    except ValueError:
        raise InvalidRequest(field="event") from None
    if event not in BY_HAND:
        raise InvalidRequest(field="event")
    due_at = _due(text_of(form, "due_on"), pages.site.clock())
    note = text_of(form, "note").strip() or None
    async with pages.database.transaction() as connection:
        by = session.person.id
        task = await take_step(connection, task_id, event, by, pages.site, note=note, due_at=due_at)
    await note_access(request, pages, session, "U", "Task", resource_id=task_id, patients=[task.patient])
    return RedirectResponse(f"{request.scope.get('root_path', '')}/worklist/{task_id}", 303)


async def show_quality(request: Request, pages: Pages, session: Session) -> Response:
    """CT against DXA."""
    async with pages.database.transaction() as connection:
        figures = await agreement(connection, pages.constants)
    return page(request, "quality.html.j2", session, figures=figures)


def _filter(request: Request, pages: Pages) -> tuple[TaskFilter, str]:
    chosen = request.query_params.get("state", "open")
    if chosen == "overdue":
        return TaskFilter(overdue_at=pages.site.clock()), chosen
    if chosen == "open":
        return TaskFilter(states=[state for state in TaskState if state.open]), chosen
    if chosen == "all":
        return TaskFilter(), chosen
    try:
        return TaskFilter(states=[TaskState(chosen)]), chosen
    except ValueError:
        raise InvalidRequest(field="state") from None


def _due(text: str, now: datetime) -> datetime | None:
    """The evening of the day named, UTC."""
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(hours=23, minutes=59)
    except ValueError:
        raise InvalidRequest(field="due_on", must_be="YYYY-MM-DD") from None
    if day < now:
        raise InvalidRequest(field="due_on", must_be="in the future")
    return day


def _iso(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="minutes")


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_SPREADSHEET_FORMULA) else value
