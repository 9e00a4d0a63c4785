"""Addresses of the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

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

READERS = (Role.VIEWER, Role.RADIOLOGIST, Role.PROGRAMME)


def routes(pages: Pages) -> list[BaseRoute]:
    """Routes for the HTTP application; errors of the tree are answered by it."""
    table: list[tuple[str, str, View, tuple[Role, ...]]] = [
        ("/results", "GET", results.show_results, READERS),
        ("/results/{screening_id}", "GET", results.show_result, READERS),
        ("/results/{screening_id}/report", "GET", results.show_report, READERS),
        ("/results/{screening_id}/review", "POST", results.review_result, (Role.RADIOLOGIST,)),
        ("/worklist", "GET", worklist.show_worklist, (Role.PROGRAMME,)),
        ("/worklist.csv", "GET", worklist.export_worklist, (Role.PROGRAMME,)),
        ("/worklist/{task_id}", "GET", worklist.show_task, (Role.PROGRAMME,)),
        ("/worklist/{task_id}/step", "POST", worklist.post_step, (Role.PROGRAMME,)),
        ("/quality", "GET", worklist.show_quality, READERS),
        ("/logout", "POST", sign_in.log_out, tuple(Role)),
    ]
    return [
        Route("/", _home, methods=["GET"]),
        Route("/login", _open(pages, sign_in.show_login), methods=["GET"]),
        Route("/login", _open(pages, sign_in.log_in), methods=["POST"]),
        *(Route(path, guarded(pages, view, *roles), methods=[method]) for path, method, view, roles in table),
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
