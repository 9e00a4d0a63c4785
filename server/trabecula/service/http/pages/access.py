"""Who is at the page: the session's cookie, roles, and forms that only our own pages can send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from trabecula.errors import FormExpired, RequestTooLarge, RoleMissing, TrabeculaError
from trabecula.hooks.store import is_used
from trabecula.programme.tasks import PatientKey
from trabecula.record.audit import Access
from trabecula.service.auth.local_users import Role
from trabecula.service.auth.sessions import Session, same_token
from trabecula.service.http.guard import admit
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.render import error_page

COOKIE: Final = "trabecula_session"
SECURE_COOKIE: Final = "__Host-trabecula_session"
MAX_FORM_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 200
_INTERACTION: Final = {"R": "read", "E": "search-type", "U": "update"}

View = Callable[[Request, Pages, Session], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def cookie_name(pages: Pages) -> str:
    """``__Host-`` binds the cookie to this host and TLS (RFC 6265bis), which plain loopback cannot have."""
    return SECURE_COOKIE if pages.secure_cookies else COOKIE


def session_of(request: Request, pages: Pages) -> Session | None:
    """The session of the request, if there is a live one."""
    cookie = request.cookies.get(cookie_name(pages))
    return pages.sessions.read(cookie) if cookie else None


async def live_session(request: Request, pages: Pages) -> Session | None:
    """The session of the request, unless its person has signed out."""
    session = session_of(request, pages)
    if session is None:
        return None
    async with pages.database.transaction() as connection:
        return None if await is_used(connection, session.digest) else session


def guarded(pages: Pages, view: View, *roles: Role) -> Endpoint:
    """The view for people with one of the roles; others are asked to sign in, or told that they may not."""

    async def endpoint(request: Request) -> Response:
        session: Session | None = None
        try:
            session = await live_session(request, pages)
            return await _seen(request, session)
        except TrabeculaError as error:
            return error_page(request, session, error)

    async def _seen(request: Request, session: Session | None) -> Response:
        if session is None:
            root = request.scope.get("root_path", "")
            if request.method not in ("GET", "HEAD"):
                raise FormExpired
            return RedirectResponse(f"{root}/login?next={quote(request.url.path, safe='/')}", 303)
        admit(request, f"person {session.person.id}")
        if not session.person.may(*roles):
            raise RoleMissing
        return await view(request, pages, session)

    return endpoint


async def form_of(request: Request, session: Session) -> FormData:
    """The form of a request, once it has shown the session's token.

    Raises:
        FormExpired: for a form that did not come from a page of this session.
        RequestTooLarge: for one that is too large.
    """
    form = await plain_form(request)
    if not same_token(session, text_of(form, "form_token")):
        raise FormExpired
    return form


async def plain_form(request: Request) -> FormData:
    """A small form without files, from a page of ours as far as the browser tells.

    Raises:
        RequestTooLarge: for one that is too large.
        FormExpired: for one that another site sent.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise FormExpired
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
        raise RequestTooLarge(form_bytes_at_most=MAX_FORM_BYTES)
    return await request.form(max_files=0, max_fields=MAX_FIELDS)


def text_of(form: FormData, name: str) -> str:
    """A text field; "" when it is not there."""
    value = form.get(name)
    return value if isinstance(value, str) else ""


async def note_access(
    request: Request,
    pages: Pages,
    session: Session,
    action: str,
    resource_type: str,
    *,
    resource_id: str | None = None,
    patients: Iterable[PatientKey | None] = (),
) -> None:
    """Tell the audit trail, before the answer goes out.

    Args:
        action: R4 audit-event-action: ``R`` one result or recall, ``E`` a list, ``U`` a change.
    """
    access = Access(
        at=pages.site.clock(),
        interaction=_INTERACTION[action],
        action=action,
        resource_type=resource_type,
        client_id="pages",
        client_address=request.client.host if request.client else None,
        request_id=str(request.scope.get("request_id", "-")),
        resource_id=resource_id,
        subject=session.person.id,
        patients=tuple(dict.fromkeys(f"{key.system}|{key.value}" for key in patients if key is not None)),
    )
    for listener in pages.listeners:
        await listener(access)
