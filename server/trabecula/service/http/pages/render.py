"""Templates of the pages, and the answers made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from trabecula.errors import TrabeculaError
from trabecula.outputs.page import words
from trabecula.service.auth.local_users import Role
from trabecula.service.auth.sessions import Session
from trabecula.service.http.outcomes import error_response

FOLDER: Final = Path(__file__).parent
NO_STORE: Final = "no-store"
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""Nothing from elsewhere, no script at all, no page of ours inside another one."""
REPORT_POLICY: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'"
)
"""For the stand-alone report inside its frame: its own styles and pictures, no script, an origin of its own."""
CATEGORIES: Final = {
    "osteoporosis-range": "Osteoporosis range",
    "severe-range-suspected": "Osteoporosis range, fracture suspected",
    "low-bone-density-range": "Low bone density range",
    "no-sign-of-low-density": "No sign of low density",
    "indeterminate": "Indeterminate",
    "not-classified": "Not classified",
}


def page(
    request: Request, template: str, session: Session | None, *, http_status: int = 200, **values: Any
) -> HTMLResponse:
    """A page; everything in it is escaped."""
    text = (
        _environment()
        .get_template(template)
        .render(
            session=session,
            root=request.scope.get("root_path", ""),
            may_sign=session is not None and session.person.may(Role.RADIOLOGIST),
            may_recall=session is not None and session.person.may(Role.PROGRAMME),
            **values,
        )
    )
    headers = {
        "content-security-policy": POLICY,
        "cache-control": NO_STORE,
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
    return HTMLResponse(text, http_status, headers)


def error_page(request: Request, session: Session | None, error: TrabeculaError) -> HTMLResponse:
    """What went wrong and how to mend it, for a person; status and headers as every error has them."""
    plain = error_response(error, request)
    made = page(request, "error.html.j2", session, http_status=plain.status_code, message=error.client_message)
    if "retry-after" in plain.headers:
        made.headers["retry-after"] = plain.headers["retry-after"]
    return made


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=words.number, with_error=words.with_error, moment=_moment)
    environment.globals.update(CATEGORIES=CATEGORIES)
    return environment


def _moment(at: datetime | None) -> str:
    """To the minute, UTC."""
    return "–" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
