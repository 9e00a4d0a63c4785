"""Results: the list, one result with its history and the form to sign it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from trabecula.anatomy import Level
from trabecula.assembly import as_reviewed
from trabecula.bone.vertebra import DeformityKind
from trabecula.errors import InvalidRequest
from trabecula.outputs.page import ReviewNote, to_html, with_review
from trabecula.outputs.r4.filing import Filing
from trabecula.outputs.report_json import from_json
from trabecula.programme.corrections import MAX_SHIFT, MAX_TEXT, Corrections, FractureReading
from trabecula.programme.overview import count_results, list_results
from trabecula.programme.sign_off import Review, Reviewer, Verdict, current_report, list_reviews, sign
from trabecula.programme.states import REVIEWS, Decision, ReviewStatus
from trabecula.programme.tasks import PatientKey, patient_key
from trabecula.report import Evidence, Screening, ScreeningReport
from trabecula.service.auth.sessions import Session
from trabecula.service.follow_up import sign_off_sink
from trabecula.service.http.pages.access import form_of, note_access, text_of
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.render import NO_STORE, REPORT_POLICY, page
from trabecula.telemetry.events import ReviewMade
from trabecula.work.content import read_all
from trabecula.work.reading import check_id, read_document
from trabecula.work.records import DocumentKind

PAGE_SIZE: Final = 50


@dataclass(frozen=True)
class ResultView:
    """One result as it stands."""

    screening_id: str
    machine: ScreeningReport
    report: ScreeningReport
    reviews: tuple[Review, ...]

    @property
    def status(self) -> ReviewStatus:
        return self.reviews[-1].status if self.reviews else ReviewStatus.PRELIMINARY

    @property
    def note(self) -> ReviewNote:
        """The last decision, of which there is one."""
        last = self.reviews[-1]
        return ReviewNote(last.status.value, last.reviewer.name, last.reviewed_at.strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What may be decided now."""
        return tuple(decision for decision in Decision if (self.status, decision) in REVIEWS)


async def show_results(request: Request, pages: Pages, session: Session) -> Response:
    """The list, newest first."""
    status = request.query_params.get("status", "")
    try:
        statuses = (ReviewStatus(status),) if status else ()
    except ValueError:
        raise InvalidRequest(field="status", one_of=",".join(each.value for each in ReviewStatus)) from None
    async with pages.database.transaction() as connection:
        after = request.query_params.get("after")
        lines = await list_results(connection, statuses, PAGE_SIZE + 1, check_id(after) if after else None)
        counts = await count_results(connection)
    seen = [PatientKey(pages.site.patient_system or "", line.patient_value) for line in lines if line.patient_value]
    await note_access(request, pages, session, "E", "DiagnosticReport", patients=seen)
    more = len(lines) > PAGE_SIZE
    return page(request, "results.html.j2", session, lines=lines[:PAGE_SIZE], more=more, status=status, counts=counts)


async def show_result(request: Request, pages: Pages, session: Session) -> Response:
    """One result, its history, and the form to sign it."""
    screening_id = check_id(request.path_params["screening_id"])
    async with pages.database.transaction() as connection:
        view = await load(connection, pages, screening_id)
    await _note(request, pages, session, "R", view)
    return _result_page(request, session, view)


async def show_report(request: Request, pages: Pages, session: Session) -> Response:
    """The stand-alone report for the frame: the machine's own with its pictures, or the corrected one."""
    screening_id = check_id(request.path_params["screening_id"])
    async with pages.database.transaction() as connection:
        view = await load(connection, pages, screening_id)
        ref = await read_document(connection, screening_id, DocumentKind.REPORT_HTML)
    await _note(request, pages, session, "R", view)
    stored = (await read_all(pages.content, ref)).decode()
    if request.query_params.get("version") == "0" or not view.reviews:
        html = stored
    elif view.report == view.machine:
        html = with_review(stored, view.note)
    else:
        html = to_html(Screening(as_reviewed(view.report), Evidence((), None)), view.note)
    headers = {
        "content-security-policy": REPORT_POLICY,
        "cache-control": NO_STORE,
        "x-content-type-options": "nosniff",
        "x-frame-options": "SAMEORIGIN",
    }
    return HTMLResponse(html, headers=headers)


async def review_result(request: Request, pages: Pages, session: Session) -> Response:
    """Take a decision from the form.

    Raises:
        InvalidRequest: for a form that does not fit the result.
        OutOfDate, InvalidStep: see :func:`trabecula.programme.sign_off.sign`.
    """
    screening_id = check_id(request.path_params["screening_id"])
    form = await form_of(request, session)
    async with pages.database.transaction() as connection:
        view = await load(connection, pages, screening_id)
        fields = {name: text_of(form, name) for name in form}
        verdict = verdict_from_form(fields, view.machine)
        sinks = (sign_off_sink(pages.site, pages.content),)
        reviewer = Reviewer(session.person.id, session.person.name)
        at = pages.site.clock()
        await sign(connection, screening_id, verdict, reviewer, view.machine, pages.constants, at, sinks)
    pages.tell(ReviewMade(verdict.decision.value))
    await _note(request, pages, session, "U", view)
    return RedirectResponse(f"{request.scope.get('root_path', '')}/results/{screening_id}", 303)


async def load(connection: AsyncConnection, pages: Pages, screening_id: str) -> ResultView:
    """A result with its history. Raises NotFound."""
    ref = await read_document(connection, screening_id, DocumentKind.REPORT_JSON)
    machine = from_json((await read_all(pages.content, ref)).decode())
    reviews = await list_reviews(connection, screening_id)
    return ResultView(screening_id, machine, await current_report(connection, screening_id, machine), reviews)


async def _note(request: Request, pages: Pages, session: Session, action: str, view: ResultView) -> None:
    patient = patient_key(view.machine, pages.site.patient_system)
    identity = str(Filing(view.machine, pages.site.options).identity("DiagnosticReport", "study"))
    await note_access(request, pages, session, action, "DiagnosticReport", resource_id=identity, patients=[patient])


def verdict_from_form(fields: dict[str, str], machine: ScreeningReport) -> Verdict:
    """A reviewer's verdict from the form's fields. Raises InvalidRequest."""
    try:
        decision, seen = Decision(fields.get("decision", "")), int(fields.get("seen_version", ""))
    except ValueError:
        raise InvalidRequest(field="decision") from None
    comment = fields.get("comment", "").strip() or None
    if decision is not Decision.CORRECT:
        return Verdict(decision, seen, comment=comment)
    levels = [vertebra.level for vertebra in machine.vertebrae]
    return Verdict(decision, seen, _corrections(fields, levels), comment)


def _corrections(fields: dict[str, str], levels: list[Level]) -> Corrections:
    try:
        left_out = {
            level: fields.get(f"why_{level.value}", "").strip() for level in levels if fields.get(f"out_{level.value}")
        }
        fractures = {
            level: _reading(text) for level in levels if (text := fields.get(f"fracture_{level.value}", "")) != ""
        }
        shift = int(fields.get("level_shift", "0"))
    except ValueError:
        raise InvalidRequest(field="corrections") from None
    return Corrections(shift, left_out, fractures, fields.get("conclusion", "").strip() or None)


def _reading(text: str) -> FractureReading:
    """``2`` or ``2-wedge``."""
    grade, _, kind = text.partition("-")
    return FractureReading(int(grade), DeformityKind(kind) if kind else None)


def _result_page(request: Request, session: Session, view: ResultView) -> Response:
    return page(
        request,
        "result.html.j2",
        session,
        view=view,
        kinds=tuple(DeformityKind),
        shifts=range(-MAX_SHIFT, MAX_SHIFT + 1),
        max_text=MAX_TEXT,
        corrected=view.report != view.machine,
    )
