"""Signing in and out."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from trabecula.service.auth.local_users import person_with
from trabecula.service.auth.sessions import Session
from trabecula.service.http.pages.access import cookie_name, form_of, plain_form, session_of, text_of
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.render import page


async def show_login(request: Request, pages: Pages) -> Response:
    """The form; whoever is signed in goes on."""
    if session_of(request, pages) is not None:
        return RedirectResponse(_target(request, request.query_params.get("next", "")), 303)
    return page(request, "login.html.j2", None, next=request.query_params.get("next", ""), failed=False)


async def log_in(request: Request, pages: Pages) -> Response:
    """Check id and password.

    Raises:
        TooManyAttempts: when id or address failed too often.
        RequestTooLarge: for a form that is too large.
    """
    form = await plain_form(request)
    user_id, password = text_of(form, "user")[:200], text_of(form, "password")
    address = request.client.host if request.client else ""
    keys = (f"user:{user_id}", f"address:{address}")
    pages.throttle.check(*keys)
    # argon2 takes tens of milliseconds of a core on purpose
    person = await asyncio.to_thread(person_with, pages.users, user_id, password)
    if person is None:
        pages.throttle.failed(*keys)
        return page(request, "login.html.j2", None, http_status=401, next=text_of(form, "next"), failed=True)
    _, cookie = pages.sessions.begin(person)
    response = RedirectResponse(_target(request, text_of(form, "next")), 303)
    response.set_cookie(
        cookie_name(pages), cookie, secure=pages.secure_cookies, httponly=True, samesite="strict", path="/"
    )
    return response


async def log_out(request: Request, pages: Pages, session: Session) -> Response:
    """Forget the cookie."""
    await form_of(request, session)
    response = RedirectResponse(f"{request.scope.get('root_path', '')}/login", 303)
    response.delete_cookie(cookie_name(pages), path="/", secure=pages.secure_cookies, httponly=True, samesite="strict")
    return response


def _target(request: Request, wanted: str) -> str:
    """A page of ours; never another host's."""
    root = str(request.scope.get("root_path", ""))
    local = (
        wanted.startswith(f"{root}/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    )
    return wanted if local else f"{root}/results"
