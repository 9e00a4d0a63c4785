"""Addresses of the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from trabecula.errors import TrabeculaError
from trabecula.service.auth.local_users import Role
from trabecula.service.http.pages import results, sign_in, worklist
from trabecula.service.http.pages.access import View, guarded
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.render import FOLDER, error_page

READERS: Final = frozenset({Role.VIEWER, Role.RADIOLOGIST, Role.PROGRAMME})
ANYBODY: Final = frozenset(Role)


@dataclass(frozen=True)
class PageRule:
    """One page or action, and whose it is."""

    path: str
    method: str
    view: View
    roles: frozenset[Role]


PAGES: Final = (
    PageRule("/results", "GET", results.show_results, READERS),
    PageRule("/results/{screening_id}", "GET", results.show_result, READERS),
    PageRule("/results/{screening_id}/report", "GET", results.show_report, READERS),
    PageRule("/results/{screening_id}/review", "POST", results.review_result, frozenset({Role.RADIOLOGIST})),
    PageRule("/worklist", "GET", worklist.show_worklist, frozenset({Role.PROGRAMME})),
    PageRule("/worklist.csv", "GET", worklist.export_worklist, frozenset({Role.PROGRAMME})),
    PageRule("/worklist/{task_id}", "GET", worklist.show_task, frozenset({Role.PROGRAMME})),
    PageRule("/worklist/{task_id}/step", "POST", worklist.post_step, frozenset({Role.PROGRAMME})),
    PageRule("/quality", "GET", worklist.show_quality, READERS),
    PageRule("/logout", "POST", sign_in.log_out, ANYBODY),
)
"""The one table of roles: a page that is not here is served to nobody who has not to be known."""
OPEN: Final = (
    ("/login", "GET", sign_in.show_login),
    ("/login", "POST", sign_in.log_in),
    ("/login/openid", "GET", sign_in.begin_openid),
    (sign_in.CALLBACK, "GET", sign_in.end_openid),
)
"""Pages of whoever has not signed in yet; they show nothing."""


def routes(pages: Pages) -> list[BaseRoute]:
    """Routes for the HTTP application; errors of the tree are answered by it."""
    return [
        Route("/", _home, methods=["GET"]),
        *(Route(path, _open(pages, view), methods=[method]) for path, method, view in OPEN),
        *(Route(each.path, guarded(pages, each.view, *each.roles), methods=[each.method]) for each in PAGES),
        Mount("/static", StaticFiles(directory=FOLDER / "static")),
    ]


async def _home(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/results", 303)


def _open(
    pages: Pages, view: Callable[[Request, Pages], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await view(request, pages)
        except TrabeculaError as error:
            return error_page(request, None, error)

    return endpoint
