"""Sign-off and recall for programs: JSON with a bearer token, and DXA results that an EHR sends in.

The same functions as behind the pages. Scopes: ``DiagnosticReport`` for decisions, ``Task`` for the recall list.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trabecula.assessment.assessment import Category
from trabecula.errors import Forbidden, InvalidRequest
from trabecula.programme.agreement import CtReading, Received, Share, agreement, receive
from trabecula.programme.dxa import DxaStudy, read_dxa
from trabecula.programme.sign_off import Review, Reviewer, Verdict, corrections_from_json, corrections_to_json, sign
from trabecula.programme.states import Decision, TaskEvent, TaskState
from trabecula.programme.tasks import DxaStep, DxaTask, TaskFilter, get_task, list_steps, list_tasks
from trabecula.record import StoredResult, results_for_patient
from trabecula.service.auth.scopes import Permission
from trabecula.service.follow_up import follow_task, sign_off_sink, take_step
from trabecula.service.http.access import Door
from trabecula.service.http.facade.negotiate import read_json
from trabecula.service.http.options import FHIR_PATH
from trabecula.service.http.outcomes import FHIR_JSON, json_response, outcome
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.results import ResultView, load
from trabecula.telemetry.events import ReviewMade
from trabecula.work.reading import check_id

Json = dict[str, Any]

API_PATH: Final = "/api/v1"
PLAIN_JSON: Final = "application/json"
PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 500
BY_PROGRAM: Final = (TaskEvent.CONTACT, TaskEvent.BOOK, TaskEvent.DECLINE, TaskEvent.CLOSE, TaskEvent.REOPEN)


@dataclass(frozen=True)
class ProgrammeApi:
    """The handlers; the surroundings are those of the pages."""

    pages: Pages
    door: Door

    def routes(self) -> list[BaseRoute]:
        """Addresses, for the HTTP application."""
        dxa = [f"{FHIR_PATH}/DiagnosticReport", f"{FHIR_PATH}/Observation", FHIR_PATH]
        return [
            Route(f"{API_PATH}/results/{{screening_id}}/reviews", self.reviews, methods=["GET"]),
            Route(f"{API_PATH}/results/{{screening_id}}/reviews", self.decide, methods=["POST"]),
            Route(f"{API_PATH}/worklist", self.worklist, methods=["GET"]),
            Route(f"{API_PATH}/worklist/{{task_id}}", self.task, methods=["GET"]),
            Route(f"{API_PATH}/worklist/{{task_id}}/steps", self.step, methods=["POST"]),
            Route(f"{API_PATH}/agreement", self.agreement, methods=["GET"]),
            *(Route(path, self.take_dxa, methods=["POST"]) for path in dxa),
        ]

    async def reviews(self, request: Request) -> Response:
        """Every decision on a result."""
        entry = await self.door.enter_whole(request, "history-instance", "DiagnosticReport", Permission.READ)
        screening_id = check_id(request.path_params["screening_id"])
        async with self.pages.database.transaction() as connection:
            view = await load(connection, self.pages, screening_id)
        await entry.note(resource_id=screening_id, patients=self._patients(view))
        return _answer(_result(view))

    async def decide(self, request: Request) -> Response:
        """Accept, correct or reject a result in the name of the token's user.

        Raises:
            Forbidden: for a token without a user.
            InvalidRequest, InvalidStep, OutOfDate: see :func:`trabecula.programme.sign_off.sign`.
        """
        entry = await self.door.enter_whole(request, "update", "DiagnosticReport", Permission.UPDATE)
        screening_id = check_id(request.path_params["screening_id"])
        body = await read_json(request)
        if entry.principal.subject is None:
            raise Forbidden(needs="a token that names a user")
        verdict, reviewer = _verdict(body), Reviewer(entry.principal.subject, str(body.get("reviewer_name", "")))
        pages = self.pages
        sinks = (sign_off_sink(pages.site, pages.content),)
        async with pages.database.transaction() as connection:
            view = await load(connection, pages, screening_id)
            at = pages.site.clock()
            await sign(connection, screening_id, verdict, reviewer, view.machine, pages.constants, at, sinks)
            view = await load(connection, pages, screening_id)
        pages.tell(ReviewMade(verdict.decision.value))
        await entry.note(resource_id=screening_id, patients=self._patients(view))
        return _answer(_result(view), status=201)

    async def worklist(self, request: Request) -> Response:
        """The recall list; ``state`` may be repeated, ``overdue=true``, ``count`` and ``after`` page."""
        entry = await self.door.enter_whole(request, "search-type", "Task", Permission.SEARCH)
        query = request.query_params
        wanted = TaskFilter(
            states=_states(query.getlist("state")),
            overdue_at=self.pages.site.clock() if query.get("overdue") == "true" else None,
        )
        count, after = _count(query.get("count", str(PAGE_SIZE))), query.get("after")
        async with self.pages.database.transaction() as connection:
            found = await list_tasks(connection, wanted, count + 1, check_id(after) if after else None)
        shown = found[:count]
        await entry.note(patients=[f"{task.patient.system}|{task.patient.value}" for task in shown])
        following = {"next": shown[-1].task_id} if len(found) > count else {}
        return _answer({"tasks": [self._task(task) for task in shown], **following})

    async def task(self, request: Request) -> Response:
        """One recall with its history."""
        entry = await self.door.enter_whole(request, "read", "Task", Permission.READ)
        task_id = check_id(request.path_params["task_id"])
        async with self.pages.database.transaction() as connection:
            task = await get_task(connection, task_id)
            steps = await list_steps(connection, task_id)
        await entry.note(resource_id=task_id, patients=[f"{task.patient.system}|{task.patient.value}"])
        return _answer({**self._task(task), "steps": [_step(each) for each in steps]})

    async def step(self, request: Request) -> Response:
        """Take a step: ``event``, and if wanted ``note`` and ``due_at`` (ISO 8601 with zone)."""
        entry = await self.door.enter_whole(request, "update", "Task", Permission.UPDATE)
        task_id = check_id(request.path_params["task_id"])
        body = await read_json(request)
        event, note, due_at = _task_step(body)
        by = entry.principal.subject or entry.principal.client_id
        async with self.pages.database.transaction() as connection:
            task = await take_step(connection, task_id, event, by, self.pages.site, note=note, due_at=due_at)
        await entry.note(resource_id=task_id, patients=[f"{task.patient.system}|{task.patient.value}"])
        return _answer(self._task(task))

    async def agreement(self, request: Request) -> Response:
        """CT against DXA over all results that came back; no patient in it."""
        await self.door.enter_whole(request, "search-type", "Task", Permission.SEARCH)
        async with self.pages.database.transaction() as connection:
            figures = await agreement(connection, self.pages.constants)
        shares = {name: _share(getattr(figures, name)) for name in ("found", "confirmed")}
        return _answer({**asdict(figures), **shares, "table": figures.table})

    async def take_dxa(self, request: Request) -> Response:
        """A DXA result as DiagnosticReport, Observation or a Bundle of them closes the recall.

        Raises:
            InvalidRequest: for anything that is no finished DXA result; the service keeps no other resources.
        """
        # By the address, so that nothing is read of a body before it is known who sends it.
        kind = request.url.path.rpartition("/")[2]
        named = kind if kind in ("DiagnosticReport", "Observation") else None
        entry = await self.door.enter_whole(request, "create", named or "DiagnosticReport", Permission.CREATE)
        body = await read_json(request)
        if named is not None and body.get("resourceType") != named:
            raise InvalidRequest(field="resourceType", must_be=named)
        studies = read_dxa(body)
        received = [await self._receive(study) for study in studies]
        patients = [f"{key.system}|{key.value}" for study in studies for key in study.patients]
        await entry.note(patients=patients)
        return json_response(_received(received), status=200, media_type=FHIR_JSON)

    async def _receive(self, study: DxaStudy) -> Received:
        pages = self.pages
        async with pages.database.transaction() as connection:
            identifiers = [(key.system or None, key.value) for key in study.patients]
            readings = [_reading(each) for each in await results_for_patient(connection, identifiers)]
            known = [each for each in readings if each is not None]
            received = await receive(connection, study, known, pages.constants, pages.site.clock(), pages.site.policy)
            for task_id in received.closed:
                task = await get_task(connection, task_id)
                result = {
                    "type": study.kind,
                    "identifier": {"value": study.source},
                    "display": f"DXA of {study.measured_on or 'unknown date'}",
                }
                await follow_task(connection, task, TaskEvent.DXA_RESULT, results=[result])
        return received

    def _task(self, task: DxaTask) -> Json:
        values = asdict(task)
        values |= {"state": task.state.value, "overdue": task.overdue(self.pages.site.clock())}
        return {name: _plain(value) for name, value in values.items()}

    def _patients(self, view: ResultView) -> list[str]:
        study = view.machine.study
        return [f"{self.pages.site.patient_system or ''}|{study.patient_id}"] if study and study.patient_id else []


def _reading(result: StoredResult) -> CtReading | None:
    summary = result.summary
    if summary.category is None:
        return None
    scanned = result.effective.date() if result.effective else None
    return CtReading(result.screening_id, Category(summary.category), summary.lumbar_equivalent_mg_cm3, scanned)


def _verdict(body: Json) -> Verdict:
    try:
        decision, seen = Decision(str(body.get("decision"))), body["seen_version"]
    except (ValueError, KeyError):
        raise InvalidRequest(field="decision and seen_version") from None
    comment = body.get("comment")
    if not isinstance(seen, int) or isinstance(seen, bool) or not isinstance(comment, str | None):
        raise InvalidRequest(field="seen_version and comment")
    return Verdict(decision, seen, corrections_from_json(body.get("corrections", {})), comment)


def _task_step(body: Json) -> tuple[TaskEvent, str | None, datetime | None]:
    try:
        event, note = TaskEvent(str(body.get("event"))), body.get("note")
        due_at = datetime.fromisoformat(body["due_at"]) if body.get("due_at") is not None else None
    except (ValueError, TypeError):
        raise InvalidRequest(field="event and due_at") from None
    if event not in BY_PROGRAM or not isinstance(note, str | None) or (due_at is not None and due_at.tzinfo is None):
        raise InvalidRequest(field="event, note and due_at")
    return event, note, due_at


def _states(names: list[str]) -> list[TaskState]:
    try:
        return [TaskState(name) for name in names]
    except ValueError:
        raise InvalidRequest(field="state", one_of=",".join(state.value for state in TaskState)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_PAGE_SIZE:
        raise InvalidRequest(field="count", at_least=1, at_most=MAX_PAGE_SIZE)
    return int(text)


def _result(view: ResultView) -> Json:
    return {
        "screening_id": view.screening_id,
        "status": view.status.value,
        "version": len(view.reviews),
        "decisions_allowed": [each.value for each in view.decisions],
        "reviews": [_review(each) for each in view.reviews],
    }


def _review(review: Review) -> Json:
    return {
        "id": review.review_id,
        "version": review.version,
        "decision": review.decision.value,
        "status": review.status.value,
        "reviewer": {"id": review.reviewer.id, "name": review.reviewer.name},
        "reviewed_at": review.reviewed_at.isoformat(),
        "corrections": corrections_to_json(review.corrections),
        "comment": review.comment,
    }


def _step(step: DxaStep) -> Json:
    return {name: _plain(value) for name, value in asdict(step).items()}


def _share(share: Share) -> Json:
    return {"of": share.of, "out_of": share.out_of, "interval_95": share.interval}


def _received(received: list[Received]) -> Json:
    texts = [
        "This DXA result was known already."
        if each.known_before
        else f"Kept. Recalls closed: {len(each.closed)}. Set beside a CT: {'yes' if each.screening_id else 'no'}."
        for each in received
    ]
    made = outcome("informational", texts[0], severity="information")
    made["issue"] = [outcome("informational", text, severity="information")["issue"][0] for text in texts]
    return made


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return getattr(value, "value", value) if not isinstance(value, dict) else value


def _answer(content: Json, *, status: int = 200) -> Response:
    return json_response(content, status=status, media_type=PLAIN_JSON, headers={"Cache-Control": "no-store"})
