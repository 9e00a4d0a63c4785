"""``ImagingStudy/$screen-bone``: read a study that lies in the archive, or give what was read of it before.

Answers when the result is there, or with 202 and an address to ask again: at once with ``Prefer: respond-async``, else
when the result does not come in time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from trabecula.errors import Cancelled, InvalidRequest, NotConfigured, ResourceNotFound
from trabecula.record.results import StoredResult, result_of_screening, results_of_study
from trabecula.record.search import fetch
from trabecula.record.store import Identity, Stored, is_identity, of_screening, read
from trabecula.service.auth.scopes import Permission
from trabecula.service.http.access import Door, Entry
from trabecula.service.http.facade.bundles import collection
from trabecula.service.http.facade.negotiate import check_acceptable, read_json, wants_async
from trabecula.service.http.options import HttpOptions
from trabecula.service.http.outcomes import json_response, outcome
from trabecula.service.screen_requests import Progress, RequestState, ScreenRequests
from trabecula.work.database import Database
from trabecula.work.states import State

Json = dict[str, Any]

STATUS_PATH: Final = "_screening"
DICOM_UID: Final = "urn:dicom:uid"
RETRY_S: Final = 2
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
_LOCAL: Final = re.compile(r"ImagingStudy/([A-Za-z0-9.-]{1,64})", re.ASCII)
_FIRST: Final = ("DiagnosticReport", "RiskAssessment", "Observation", "ServiceRequest", "DetectedIssue")
_SHARED: Final = frozenset({"Device", "ImagingStudy", "DocumentReference"})
CheckRoom = Callable[[], Awaitable[None]]
"""Raises Overloaded or Draining when no more work is taken."""


@dataclass(frozen=True)
class ScreenBone:
    """The operation and its status address."""

    options: HttpOptions
    database: Database
    door: Door
    requests: ScreenRequests | None
    """None where no archive is configured: results that are there are still given."""
    check_room: CheckRoom

    async def on_type(self, request: Request) -> Response:
        """``POST ImagingStudy/$screen-bone``"""
        return await self._run(request, None)

    async def on_instance(self, request: Request) -> Response:
        """``POST ImagingStudy/[id]/$screen-bone``"""
        return await self._run(request, request.path_params["id"])

    async def _run(self, request: Request, study_id: str | None) -> Response:
        check_acceptable(request)
        entry = await self.door.enter_whole(request, "operation", "DiagnosticReport", Permission.CREATE)
        body = await read_json(request) if await request.body() else {"resourceType": "Parameters"}
        study, force = _inputs(body, study_id)
        uid = await self._uid(study) if study_id is None else await self._uid_of(study_id)
        if not force:
            async with self.database.transaction() as connection:
                known = await results_of_study(connection, uid)
                if known:
                    return await self._result(connection, entry, known[0])
        if self.requests is None:
            raise NotConfigured(setting="the archive to pull studies from")
        await self.check_room()
        started = await self.requests.start(uid, force=force, requested_by=_who(entry))
        await entry.note(query=None, action="C")
        if wants_async(request):
            return self._later(request, started.request_id, Progress(started, None))
        self._extend_deadline(request)
        progress = await self.requests.wait(started.request_id, self.options.screening_wait_s)
        return await self._answer(request, entry, progress)

    async def status(self, request: Request) -> Response:
        """``GET _screening/[id]``: 202 while it goes on, then what the operation would have answered."""
        check_acceptable(request)
        entry = await self.door.enter_whole(request, "operation", "DiagnosticReport", Permission.CREATE)
        if self.requests is None:
            raise ResourceNotFound
        progress = await self.requests.progress(request.path_params["id"])
        if progress.request.state is RequestState.CANCELLED:
            raise ResourceNotFound
        return await self._answer(request, entry, progress)

    async def cancel(self, request: Request) -> Response:
        """``DELETE _screening/[id]``: by the client that asked."""
        entry = await self.door.enter_whole(request, "operation", "DiagnosticReport", Permission.CREATE)
        if self.requests is None:
            raise ResourceNotFound
        request_id = request.path_params["id"]
        progress = await self.requests.progress(request_id)
        if progress.request.requested_by != _who(entry):
            raise ResourceNotFound
        await self.requests.cancel(request_id)
        await entry.note(action="E")
        text = "Taken back. A result that was there already stays."
        return json_response(outcome("informational", text, severity="information"), status=202)

    async def _answer(self, request: Request, entry: Entry, progress: Progress) -> Response:
        if not progress.ended:
            return self._later(request, progress.request.request_id, progress)
        if progress.request.state is RequestState.FAILED:
            code = progress.request.failure_code or "failed"
            status = 404 if code in ("not-found", "resource-not-found") else 502
            return _failed(status, progress.request.failure_message or "The study could not be fetched.", code)
        screening = progress.screening
        if screening is not None and screening.failure is not None:
            failure = screening.failure
            return _failed(422 if failure.input_error else 500, failure.message, failure.code)
        if screening is not None and screening.state is State.CANCELLED:
            raise Cancelled
        async with self.database.transaction() as connection:
            found = await result_of_screening(connection, str(progress.request.screening_id))
            if found is None:
                # Read anew with the same outcome after a person had decided on it: that decision stands.
                of_study = await results_of_study(connection, progress.request.study_uid, retracted=True)
                found = of_study[0] if of_study else None
            if found is None:
                raise ResourceNotFound(what="the result is not kept any more")
            return await self._result(connection, entry, found)

    async def _result(self, connection: AsyncConnection, entry: Entry, result: StoredResult) -> Response:
        resources = await resources_of_result(connection, result)
        await entry.note(resource_id=result.report_id, patients=(each.patient for each in resources))
        base = self.options.fhir_base(entry.request)
        return json_response(collection(base, resources), headers={"Cache-Control": "no-store"})

    def _later(self, request: Request, request_id: str, progress: Progress) -> Response:
        address = f"{self.options.fhir_base(request)}/{STATUS_PATH}/{request_id}"
        words = _words(progress)
        headers = {"Content-Location": address, "Retry-After": str(RETRY_S), "X-Progress": words}
        return json_response(outcome("informational", words, severity="information"), status=202, headers=headers)

    def _extend_deadline(self, request: Request) -> None:
        deadline = request.scope.get("deadline")
        if isinstance(deadline, asyncio.Timeout):
            now = asyncio.get_running_loop().time()
            deadline.reschedule(now + self.options.screening_wait_s + self.options.timeout_s)

    async def _uid(self, study: Json | None) -> str:
        """Study Instance UID that the input names.

        Raises:
            InvalidRequest: if it names none.
        """
        identifier = {} if study is None else study.get("identifier", study if "value" in study else {})
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            return _checked_uid(identifier.get("system"), identifier["value"])
        reference = None if study is None else study.get("reference")
        match = _LOCAL.fullmatch(reference) if isinstance(reference, str) else None
        if match is None:
            raise InvalidRequest(field="study", why="an identifier urn:dicom:uid, or ImagingStudy/<id> of this service")
        return await self._uid_of(match[1])

    async def _uid_of(self, study_id: str) -> str:
        async with self.database.transaction() as connection:
            if not is_identity("ImagingStudy", study_id):
                raise ResourceNotFound
            content = (await read(connection, "ImagingStudy", study_id)).content
        for identifier in content.get("identifier", ()):
            if identifier.get("system") == DICOM_UID:
                return _checked_uid(DICOM_UID, identifier["value"])
        raise ResourceNotFound


async def resources_of_result(connection: AsyncConnection, result: StoredResult) -> tuple[Stored, ...]:
    """The report, what it rests on, and what hangs on it; the report first."""
    report = await read(connection, "DiagnosticReport", result.report_id)
    own = await of_screening(connection, report.screening_id or result.screening_id)
    known = {(each.type, each.id) for each in own}
    # Device and ImagingStudy are shared by screenings, and stay with the one that wrote them.
    named = dict.fromkeys(identity for each in own for identity in _references(each.content) if identity[0] in _SHARED)
    found = [*own, *await fetch(connection, [identity for identity in named if identity not in known])]
    order = {name: place for place, name in enumerate(_FIRST)}
    return tuple(sorted(found, key=lambda each: order.get(each.type, len(_FIRST))))


def _references(value: Any) -> Iterator[Identity]:
    """Types and ids of all that a resource refers to."""
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and reference.count("/") == 1:
            kind, _, identity = reference.partition("/")
            yield kind, identity
        for each in value.values():
            yield from _references(each)


def _inputs(body: Json, study_id: str | None) -> tuple[Json | None, bool]:
    """The study as given, and whether to read it anew.

    Raises:
        InvalidRequest: if the body is not the Parameters of the operation.
    """
    parameters = body.get("parameter", [])
    if body.get("resourceType") != "Parameters" or not isinstance(parameters, list):
        raise InvalidRequest(why="the body is not Parameters")
    study: Json | None = None
    force = False
    seen: set[str] = set()
    for each in parameters:
        name = each.get("name") if isinstance(each, dict) else None
        if name not in ("study", "force") or name in seen:
            raise InvalidRequest(why="a parameter that the operation does not know, or one twice")
        seen.add(name)
        given = each.get("valueReference", each.get("valueIdentifier")) if name == "study" else each.get("valueBoolean")
        if name == "study" and isinstance(given, dict):
            study = given
        elif name == "force" and isinstance(given, bool):
            force = given
        else:
            raise InvalidRequest(field=name, why="of another type")
    if (study is None) == (study_id is None):
        raise InvalidRequest(field="study", why="given in the address or in the body, one of them")
    return study, force


def _checked_uid(system: object, value: str) -> str:
    uid = value.removeprefix("urn:oid:")
    if system != DICOM_UID or len(uid) > 64 or not _UID.fullmatch(uid):
        raise InvalidRequest(
            field="study", why="identifier of system urn:dicom:uid, value urn:oid:<Study Instance UID>"
        )
    return uid


def _who(entry: Entry) -> str:
    return f"{entry.principal.issuer}|{entry.principal.client_id}"


def _words(progress: Progress) -> str:
    screening = progress.screening
    if screening is None:
        return "fetching the study"
    if screening.progress is None:
        return screening.state.value
    return f"{screening.progress.stage.value} {screening.progress.fraction:.0%}"


def _failed(status: int, text: str, code: str) -> Response:
    return json_response(outcome("processing", text, diagnostics=code), status=status)
