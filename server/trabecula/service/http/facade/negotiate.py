"""What a client will take, what it has already, what it sent: media types, conditions, preferences, bodies."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from trabecula.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType
from trabecula.record.store import Stored
from trabecula.service.http.outcomes import FHIR_JSON, json_response
from trabecula.texts import is_storable

Json = dict[str, Any]

_JSON_TYPES: Final = frozenset({"application/fhir+json", "application/json", "text/json", "json"})
_WILD: Final = frozenset({"*/*", "application/*", "text/*"})
_VERSIONS: Final = frozenset({"4.0", "4.0.1"})
MAX_DEPTH: Final = 64
FORM: Final = "application/x-www-form-urlencoded"


def check_acceptable(request: Request) -> None:
    """Whether JSON of R4 may be given.

    Raises:
        NotAcceptable: if ``_format`` or ``Accept`` asks for something else alone.
    """
    asked = request.query_params.get("_format")
    if asked:
        # A form decoder makes a space of the + in application/fhir+json.
        if not _takes(asked.replace(" ", "+")):
            raise NotAcceptable(why="_format")
        return
    accept = request.headers.get("accept", "").strip()
    if accept and not any(_takes(each) for each in accept.split(",")):
        raise NotAcceptable(why="Accept")


def _takes(media: str) -> bool:
    kind, *parameters = [part.strip().lower() for part in media.split(";")]
    named = dict(part.split("=", 1) for part in parameters if "=" in part)
    if named.get("q", "1").rstrip("0") in ("", "0", "0.", "."):
        return False
    version = named.get("fhirversion")
    return (kind in _JSON_TYPES or kind in _WILD) and (version is None or version.strip('"') in _VERSIONS)


def wants_strict(request: Request) -> bool:
    """``Prefer: handling=lenient`` passes over unknown parameters; otherwise they are errors."""
    return "handling=lenient" not in _preferences(request)


def wants_async(request: Request) -> bool:
    """``Prefer: respond-async``."""
    return "respond-async" in _preferences(request)


def _preferences(request: Request) -> set[str]:
    given = ",".join(request.headers.getlist("prefer"))
    return {part.strip().lower().replace('"', "").replace(" ", "") for part in re.split("[,;]", given)}


def resource_response(request: Request, stored: Stored, base: str, *, current: bool = True) -> Response:
    """One version with its ETag; 304 when the client has it already."""
    headers = {
        "ETag": f'W/"{stored.version}"',
        "Last-Modified": format_datetime(stored.last_updated.astimezone(UTC).replace(microsecond=0), usegmt=True),
        "Cache-Control": "no-store",
    }
    if not current:
        headers["Content-Location"] = f"{base}/{stored.type}/{stored.id}/_history/{stored.version}"
    if _not_modified(request, stored):
        return Response(status_code=304, headers=headers)
    return json_response(stored.text, headers=headers)


def _not_modified(request: Request, stored: Stored) -> bool:
    known = request.headers.get("if-none-match")
    if known is not None:
        tags = {part.strip().removeprefix("W/").strip('"') for part in known.split(",")}
        return str(stored.version) in tags or "*" in tags
    since = _http_date(request.headers.get("if-modified-since"))
    return since is not None and stored.last_updated.replace(microsecond=0) <= since


def _http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


async def read_form(request: Request) -> list[tuple[str, str]]:
    """Parameters of a form body.

    Raises:
        UnsupportedMediaType: if it is of another type.
        InvalidRequest: if it cannot be read.
    """
    body = await request.body()
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != FORM:
        if not body:
            return []
        raise UnsupportedMediaType(expected=FORM)
    try:
        return decoded(body.decode("ascii"))
    except UnicodeDecodeError:
        raise InvalidRequest(why="the form is not ASCII with percent-encoding") from None


def decoded(query: str) -> list[tuple[str, str]]:
    """Parameters of a query or form, in order.

    Raises:
        InvalidRequest: if it cannot be read.
    """
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise InvalidRequest(why="the parameters cannot be read") from None


async def read_json(request: Request) -> Json:
    """A JSON object from the body: UTF-8, no deeper than needed, no name twice, no NaN.

    Raises:
        UnsupportedMediaType: if it is of another type.
        InvalidRequest: if it cannot be read.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise UnsupportedMediaType(expected=FHIR_JSON.split(";")[0])
    return parse_json(await request.body())


def parse_json(body: bytes) -> Json:
    """See :func:`read_json`."""
    _check_depth(body)
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise InvalidRequest(why="the body is not JSON that can be read") from None
    if not isinstance(value, dict):
        raise InvalidRequest(why="the body is not a JSON object")
    if not is_storable(value):
        raise InvalidRequest(why="a text in the body holds U+0000 or half of a surrogate pair")
    return value


def _check_depth(body: bytes) -> None:
    """Bound the nesting before a parser sees it; text in quotes does not count."""
    depth = 0
    for match in _BRACKETS.finditer(body):
        found = match[0]
        depth += found in (b"{", b"[")
        depth -= found in (b"}", b"]")
        if depth > MAX_DEPTH:
            raise InvalidRequest(why="the body is nested too deeply", at_most=MAX_DEPTH)


# Possessive, and happy with a quote that is never closed: linear in the body, whatever it holds.
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\]]', re.DOTALL)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found
