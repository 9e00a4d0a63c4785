"""The application: route groups under one guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import text
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route

from trabecula.errors import TrabeculaError
from trabecula.record.audit import AccessListener
from trabecula.service.auth.tokens import TokenVerifier
from trabecula.service.http.access import Door
from trabecula.service.http.facade.apply import Apply
from trabecula.service.http.facade.artefacts import Artefacts
from trabecula.service.http.facade.paging import PageSeal
from trabecula.service.http.facade.resources import Resources
from trabecula.service.http.facade.screen_bone import STATUS_PATH, CheckRoom, ScreenBone
from trabecula.service.http.guard import Guard, Limits
from trabecula.service.http.openapi import openapi_route
from trabecula.service.http.options import FHIR_PATH, HttpOptions
from trabecula.service.http.outcomes import on_error
from trabecula.service.http.wellknown import Check, WellKnown
from trabecula.service.limits import ClientLimits
from trabecula.service.screen_requests import ScreenRequests
from trabecula.work.database import Database


async def _room() -> None:
    """Nothing is in the way."""


@dataclass(frozen=True)
class HttpDependencies:
    """What the application is made of. Built once, where the service is wired together."""

    options: HttpOptions
    database: Database
    verifier: TokenVerifier | None
    """None only while ``options.auth_off``."""
    listeners: Sequence[AccessListener] = ()
    """Told of every access to what is known of patients."""
    requests: ScreenRequests | None = None
    """None where no archive is configured."""
    check_room: CheckRoom = _room
    checks: dict[str, Check] = field(default_factory=dict)
    """What must answer beside the database for this instance to be ready."""
    larger_bodies: tuple[tuple[str, int], ...] = ()
    """Bytes a body may have below a path, where ``options.max_body_bytes`` is too little."""
    clients: ClientLimits | None = None
    """How much each client may ask for; None sets no such limit."""
    groups: Sequence[BaseRoute] = ()
    """Routes of others: CDS Hooks, pages."""


def build_app(dependencies: HttpDependencies) -> Starlette:
    """The HTTP service as an ASGI application.

    Raises:
        ValueError: if authorization is on and there is no verifier, or the other way round.
    """
    options = dependencies.options
    if options.auth_off != (dependencies.verifier is None):
        raise ValueError("a verifier and auth_off exclude each other")
    door = Door(options, dependencies.verifier, tuple(dependencies.listeners))
    known = WellKnown(options, {"database": _database_answers(dependencies.database), **dependencies.checks})
    routes = [*known.routes(), *_fhir(dependencies, door), *dependencies.groups]
    routes.insert(0, openapi_route(routes))
    limits = Limits(options.max_body_bytes, options.timeout_s, dependencies.larger_bodies)
    middleware = [Middleware(Guard, limits=limits, tls=options.tls, clients=dependencies.clients)]
    if options.cors_origins:
        middleware.insert(0, _cors(options))
    handlers = {TrabeculaError: on_error, HTTPException: on_error}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def _fhir(dependencies: HttpDependencies, door: Door) -> list[BaseRoute]:
    options, database = dependencies.options, dependencies.database
    artefacts = Artefacts(options.canonical_base)
    resources = Resources(
        options,
        database,
        door,
        artefacts,
        PageSeal(database),
        datetime.now(UTC),
        dependencies.requests is not None,
    )
    apply = Apply(options, database, door, artefacts)
    screen = ScreenBone(options, database, door, dependencies.requests, dependencies.check_room)
    return [
        Route(f"{FHIR_PATH}/metadata", resources.metadata, methods=["GET"]),
        Route(f"{FHIR_PATH}/{STATUS_PATH}/{{id}}", screen.status, methods=["GET"]),
        Route(f"{FHIR_PATH}/{STATUS_PATH}/{{id}}", screen.cancel, methods=["DELETE"]),
        Route(f"{FHIR_PATH}/ImagingStudy/$screen-bone", screen.on_type, methods=["POST"]),
        Route(f"{FHIR_PATH}/ImagingStudy/{{id}}/$screen-bone", screen.on_instance, methods=["POST"]),
        Route(f"{FHIR_PATH}/PlanDefinition/{{id}}/$apply", apply.apply, methods=["GET", "POST"]),
        Route(f"{FHIR_PATH}/{{type}}/_search", resources.search_by_post, methods=["POST"]),
        Route(f"{FHIR_PATH}/{{type}}/{{id}}/_history/{{version}}", resources.vread, methods=["GET"]),
        Route(f"{FHIR_PATH}/{{type}}/{{id}}/_history", resources.history, methods=["GET"]),
        Route(f"{FHIR_PATH}/{{type}}/{{id}}", resources.read, methods=["GET"]),
        Route(f"{FHIR_PATH}/{{type}}", resources.search, methods=["GET"]),
    ]


def _cors(options: HttpOptions) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(options.cors_origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Prefer", "If-None-Match", "X-Request-Id"],
        expose_headers=["ETag", "Last-Modified", "Content-Location", "Retry-After", "X-Progress", "X-Request-Id"],
        max_age=600,
    )


def _database_answers(database: Database) -> Check:
    async def check() -> bool:
        try:
            async with database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
        except TrabeculaError:
            return False
        return True

    return check
