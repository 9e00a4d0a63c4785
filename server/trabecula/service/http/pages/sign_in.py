"""Signing in and out: with a password of the users file, or at the site's OpenID provider."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from trabecula.errors import NotConfigured, SignInFailed
from trabecula.hooks.store import use_token
from trabecula.service.auth.local_users import person_with
from trabecula.service.auth.oidc import OpenIdProvider, SignIn
from trabecula.service.auth.sessions import SIGN_IN_S, Session
from trabecula.service.http.pages.access import cookie_name, form_of, live_session, plain_form, text_of
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.render import page

SIGN_IN_COOKIE: Final = "trabecula_sign_in"
SECURE_SIGN_IN_COOKIE: Final = "__Host-trabecula_sign_in"
CALLBACK: Final = "/login/callback"


async def show_login(request: Request, pages: Pages) -> Response:
    """The form; whoever is signed in goes on."""
    wanted = request.query_params.get("next", "")
    if await live_session(request, pages) is not None:
        return RedirectResponse(_target(request, wanted), 303)
    return _login_page(request, pages, wanted)


async def log_in(request: Request, pages: Pages) -> Response:
    """Check id and password.

    Raises:
        TooManyAttempts: when id or address failed too often, or too many try at once.
        RequestTooLarge: for a form that is too large.
        FormExpired: for one from another site.
    """
    form = await plain_form(request)
    user_id, password = text_of(form, "user")[:200], text_of(form, "password")
    address = request.client.host if request.client else ""
    keys = (f"user:{user_id}", f"address:{address}")
    pages.throttle.check(*keys)
    async with pages.throttle.place():
        person = await asyncio.to_thread(person_with, pages.users, user_id, password)
    if person is None:
        pages.throttle.failed(*keys, known=user_id in pages.users)
        return _login_page(request, pages, text_of(form, "next"), failed=True)
    _, cookie = pages.sessions.begin(person)
    response = RedirectResponse(_target(request, text_of(form, "next")), 303)
    _set_session(response, pages, cookie)
    return response


async def begin_openid(request: Request, pages: Pages) -> Response:
    """On to the provider."""
    sign_in = SignIn.begin(_target(request, request.query_params.get("next", "")))
    response = RedirectResponse(await _provider(pages).address(sign_in, pages.base_url + CALLBACK), 303)
    # Lax: the way back begins at the provider, and a Strict cookie would stay at home.
    response.set_cookie(
        _sign_in_cookie(pages),
        pages.sessions.begin_sign_in(sign_in),
        max_age=int(SIGN_IN_S),
        secure=pages.secure_cookies,
        httponly=True,
        samesite="lax",
        path="/",
    )
    return response


async def end_openid(request: Request, pages: Pages) -> Response:
    """Back from the provider.

    Raises:
        SignInFailed, SignInUnavailable, RoleMissing: see :meth:`OpenIdProvider.person`.
    """
    provider = _provider(pages)
    sign_in = pages.sessions.read_sign_in(request.cookies.get(_sign_in_cookie(pages), ""))
    if sign_in is None:
        raise SignInFailed(why="not begun in this browser")
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != len(set(names)):
        raise SignInFailed(why="parameter given twice")
    person = await provider.person(dict(request.query_params), sign_in, pages.base_url + CALLBACK)
    _, cookie = pages.sessions.begin(person, by_provider=True)
    # A page rather than a redirect: browsers keep Strict cookies from a chain of redirects that began elsewhere.
    response = page(request, "go_on.html.j2", None, target=sign_in.target, title="Signed in")
    _set_session(response, pages, cookie)
    response.delete_cookie(_sign_in_cookie(pages), path="/", secure=pages.secure_cookies, httponly=True, samesite="lax")
    return response


async def log_out(request: Request, pages: Pages, session: Session) -> Response:
    """End the session, for whoever holds its cookie too; the provider's own as well."""
    await form_of(request, session)
    await use_token(pages.database.direct, session.digest, datetime.fromtimestamp(session.ends_at_s, UTC))
    root = request.scope.get("root_path", "")
    elsewhere = None
    if session.by_provider and pages.provider is not None:
        elsewhere = await pages.provider.end_address(f"{pages.base_url}/login")
    response: Response
    if elsewhere is None:
        response = RedirectResponse(f"{root}/login", 303)
    else:
        # Not a redirect: our own policy lets no form lead to another host.
        response = page(request, "go_on.html.j2", None, target=elsewhere, title="Signed out")
    response.delete_cookie(cookie_name(pages), path="/", secure=pages.secure_cookies, httponly=True, samesite="strict")
    return response


def _login_page(request: Request, pages: Pages, wanted: str, *, failed: bool = False) -> Response:
    return page(
        request,
        "login.html.j2",
        None,
        http_status=401 if failed else 200,
        next=wanted,
        failed=failed,
        with_password=bool(pages.users),
        provider=None if pages.provider is None else pages.provider.host,
    )


def _set_session(response: Response, pages: Pages, cookie: str) -> None:
    response.set_cookie(
        cookie_name(pages), cookie, secure=pages.secure_cookies, httponly=True, samesite="strict", path="/"
    )


def _sign_in_cookie(pages: Pages) -> str:
    return SECURE_SIGN_IN_COOKIE if pages.secure_cookies else SIGN_IN_COOKIE


def _provider(pages: Pages) -> OpenIdProvider:
    if pages.provider is None:
        raise NotConfigured(setting="TRABECULA_OIDC_ISSUER")
    return pages.provider


def _target(request: Request, wanted: str) -> str:
    """A page of ours; never another host's."""
    root = str(request.scope.get("root_path", ""))
    local = (
        wanted.startswith(f"{root}/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    )
    return wanted if local else f"{root}/results"
