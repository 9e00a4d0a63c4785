"""The HTTP service put together from the settings and the rest of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
from starlette.routing import BaseRoute

from trabecula.clinical import load_constants
from trabecula.config import Settings, split_address
from trabecula.errors import Draining
from trabecula.imaging.limits import ImagingLimits
from trabecula.outbound import guarded_client, trust
from trabecula.record.audit import keep_accesses
from trabecula.service.access_events import tells_accesses
from trabecula.service.admission import Admission
from trabecula.service.auth.wiring import checks_tokens
from trabecula.service.dimse.reception import Reception
from trabecula.service.follow_up import follow_up
from trabecula.service.http.access import Door
from trabecula.service.http.app import HttpDependencies, build_app
from trabecula.service.http.cds import cds_hooks
from trabecula.service.http.facade.screen_bone import CheckRoom
from trabecula.service.http.options import HttpOptions, http_options, server_tls
from trabecula.service.http.pages import routes as page_routes
from trabecula.service.http.pages.wiring import has_pages, make_pages
from trabecula.service.http.programme_api import ProgrammeApi
from trabecula.service.http.serving import HttpServer, bound
from trabecula.service.http.stow import STOW_PATH, Stow
from trabecula.service.http.tracing import Traced
from trabecula.service.http.wellknown import Check
from trabecula.service.limits import ClientLimits
from trabecula.service.screen_requests import ScreenRequests
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener
from trabecula.telemetry.tracing import NoTracing, Tracing
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.records import Priority
from trabecula.work.store import ScreeningStore


@dataclass(frozen=True)
class Surroundings:
    """What the rest of the service lends."""

    database: Database
    store: ScreeningStore
    content: ContentStore
    accepting: Check
    """Whether this instance takes requests; false while it drains."""
    archive: bool = False
    """Whether studies can be pulled from an archive (``$screen-bone``)."""
    tell: Listener = nobody
    tracing: Tracing = field(default_factory=NoTracing)
    clients: ClientLimits | None = None
    """How much each client may ask for."""


@asynccontextmanager
async def http_service(settings: Settings, around: Surroundings) -> AsyncIterator[HttpServer | None]:
    """The HTTP service, running for the time of the block; None where it is not asked for.

    Raises:
        ConfigurationError: if the settings cannot be used together, or the address is taken.
    """
    if settings.http_listen is None:
        yield None
        return
    options, tls = http_options(settings), server_tls(settings)
    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(
            guarded_client(options.outbound, verify=trust(settings.outbound_ca_file))
        )
        listening = bound(settings.http_listen)
        stack.callback(listening.close)
        here = _here(settings, options, listening.getsockname()[1])
        listeners = (keep_accesses(around.database, options.canonical_base), tells_accesses(around.tell))
        verifier = None if options.auth_off else checks_tokens(settings, outbound)
        door = Door(options, verifier, listeners)
        stow = await _stow(settings, around, door, stack) if settings.stow_in else ()
        dependencies = HttpDependencies(
            options=options,
            database=around.database,
            verifier=verifier,
            listeners=listeners,
            requests=ScreenRequests(around.database, around.store) if around.archive else None,
            check_room=_check_room(around.store, settings, around.accepting),
            checks={"accepting": around.accepting},
            larger_bodies=((STOW_PATH, settings.max_study_bytes),) if settings.stow_in else (),
            clients=around.clients,
            groups=(*_groups(settings, around, outbound, here, door), *stow),
        )
        app = Traced(build_app(dependencies), around.tracing)
        server = HttpServer(app, listening, tls, options.proxies)
        await server.start()
        stack.push_async_callback(server.stop)
        yield server


async def _stow(settings: Settings, around: Surroundings, door: Door, stack: AsyncExitStack) -> tuple[BaseRoute, ...]:
    """Studies by STOW-RS; those that are complete are accepted as long as the stack is open."""
    reception = Reception(around.database, around.content, around.store, settings)
    reception.start()
    stack.push_async_callback(reception.close)
    limits = ImagingLimits()
    uploads = Admission(around.store, settings)
    sizes = (settings.dimse_max_instance_bytes, settings.max_instances)
    return tuple(Stow(reception, door, around.accepting, limits, *sizes, uploads).routes())


def _groups(
    settings: Settings,
    around: Surroundings,
    outbound: httpx.AsyncClient,
    here: str,
    door: Door,
) -> tuple[BaseRoute, ...]:
    """Route groups beside FHIR; each adds its line here."""
    listeners = tuple(door.listeners)
    hooks = cds_hooks(
        settings,
        around.database,
        load_constants(),
        outbound,
        around.tell,
        public_base_url=here,
        listeners=listeners,
    )
    pages = make_pages(
        settings,
        around.database,
        around.content,
        load_constants(profile=settings.level_profile),
        follow_up(settings),
        listeners,
        public_base_url=here,
        tell=around.tell,
        outbound=outbound,
    )
    return (
        *(hooks.routes() if hooks is not None else ()),
        *ProgrammeApi(pages, door).routes(),
        *(page_routes(pages) if has_pages(settings) else ()),
    )


def _here(settings: Settings, options: HttpOptions, port: int) -> str:
    """The address under which clients know this service."""
    if options.public_base_url is not None:
        return options.public_base_url
    host = split_address(settings.http_listen or "127.0.0.1:0")[0]
    return f"{'https' if options.tls else 'http'}://{host}:{port}"


def _check_room(store: ScreeningStore, settings: Settings, accepting: Callable[[], Awaitable[bool]]) -> CheckRoom:
    door = Admission(store, settings)

    async def check() -> None:
        if not await accepting():
            raise Draining
        with door.upload():
            await door.check(Priority.ROUTINE)

    return check
