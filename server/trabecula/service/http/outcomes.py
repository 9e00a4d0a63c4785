"""The one table from errors to HTTP, and every error as an OperationOutcome."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from trabecula import errors

Json = dict[str, Any]

FHIR_JSON: Final = "application/fhir+json; charset=utf-8"

STATUS: Final[dict[type[errors.TrabeculaError], tuple[int, str]]] = {
    errors.TrabeculaError: (500, "exception"),
    errors.InputError: (400, "invalid"),
    errors.InvalidRequest: (400, "value"),
    errors.NotFound: (404, "not-found"),
    errors.ResourceDeleted: (410, "deleted"),
    errors.AlreadyExists: (409, "duplicate"),
    errors.NotReady: (409, "conflict"),
    errors.AlreadyEnded: (409, "conflict"),
    errors.Cancelled: (409, "conflict"),
    errors.InvalidStep: (409, "conflict"),
    errors.OutOfDate: (409, "conflict"),
    errors.TooManyAttempts: (429, "throttled"),
    errors.TooManyRequests: (429, "throttled"),
    errors.Unauthenticated: (401, "login"),
    errors.Forbidden: (403, "forbidden"),
    errors.MethodNotAllowed: (405, "not-supported"),
    errors.NotAcceptable: (406, "not-supported"),
    errors.UnsupportedMediaType: (415, "not-supported"),
    errors.RequestTooLarge: (413, "too-long"),
    errors.ChartUnavailable: (412, "incomplete"),
    errors.RequestTimedOut: (503, "timeout"),
    errors.OutboundRefused: (400, "security"),
    errors.NotConfigured: (501, "not-supported"),
    errors.Overloaded: (503, "throttled"),
    errors.Draining: (503, "transient"),
    errors.DatabaseUnavailable: (503, "transient"),
    errors.SignInUnavailable: (503, "transient"),
    errors.ArchiveUnavailable: (503, "transient"),
    errors.ArchiveRefused: (502, "security"),
}
"""HTTP status and R4 issue type; an error has those of its nearest ancestor here."""

RETRY_S: Final = 5
"""Told to clients where the error itself names no delay."""


def status_of(kind: type[errors.TrabeculaError]) -> tuple[int, str]:
    """HTTP status and issue type of a kind of error."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def outcome(code: str, text: str, *, severity: str = "error", diagnostics: str | None = None) -> Json:
    """An OperationOutcome with one issue."""
    issue: Json = {"severity": severity, "code": code, "details": {"text": text}}
    if diagnostics is not None:
        issue["diagnostics"] = diagnostics
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def error_response(error: errors.TrabeculaError, request: Request | None = None) -> Response:
    """The answer to an error: status, OperationOutcome, and the headers that go with it."""
    status, code = status_of(type(error))
    headers = {**_headers(error, status)}
    about = None if request is None else request.scope.get("request_id")
    diagnostics = f"{error.code}; request {about}" if about else error.code
    return json_response(outcome(code, error.client_message, diagnostics=diagnostics), status=status, headers=headers)


def _headers(error: errors.TrabeculaError, status: int) -> dict[str, str]:
    if isinstance(error, errors.Unauthenticated):
        given = bool(error.fields)
        return {"WWW-Authenticate": 'Bearer realm="trabecula"' + (', error="invalid_token"' if given else "")}
    if isinstance(error, errors.Forbidden):
        scope = f', scope="{error.fields["scope"]}"' if "scope" in error.fields else ""
        return {"WWW-Authenticate": f'Bearer realm="trabecula", error="insufficient_scope"{scope}'}
    if isinstance(error, errors.MethodNotAllowed) and "allow" in error.fields:
        return {"Allow": str(error.fields["allow"])}
    if status in (429, 503):
        delay = error.fields.get("retry_after_s")
        return {"Retry-After": str(math.ceil(delay) if isinstance(delay, int | float) else RETRY_S)}
    return {}


_BY_STATUS: Final[dict[int, type[errors.TrabeculaError]]] = {
    404: errors.ResourceNotFound,
    405: errors.MethodNotAllowed,
    406: errors.NotAcceptable,
    413: errors.RequestTooLarge,
    415: errors.UnsupportedMediaType,
}


def from_http_exception(error: HTTPException) -> errors.TrabeculaError:
    """What the router or a library raised, as one of ours."""
    kind = _BY_STATUS.get(error.status_code)
    if kind is errors.MethodNotAllowed and error.headers and "Allow" in error.headers:
        return errors.MethodNotAllowed(allow=error.headers["Allow"])
    if kind is not None:
        return kind()
    return errors.InvalidRequest() if 400 <= error.status_code < 500 else errors.Unforeseen()


async def on_error(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for errors of the tree and of the router."""
    if isinstance(error, HTTPException):
        error = from_http_exception(error)
    if not isinstance(error, errors.TrabeculaError):
        raise error
    return error_response(error, request)


def json_response(
    content: Json | str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = FHIR_JSON,
) -> Response:
    """JSON values, or JSON text that is whole already."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Response(text.encode("utf-8", "replace"), status, headers=dict(headers or {}), media_type=media_type)
