"""Where operators' commands do their work: straight on the database, or through a running service's admin address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trabecula.config import Settings
    from trabecula.record.audit import CallListener
    from trabecula.service.client import ClientTls

Call = Callable[[str, Any], Any]
"""Calls one method of ``trabecula.v1.AdminService`` by its name, with its request; the response."""

AdminServer = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="host:port of a running service's admin address (TRABECULA_ADMIN_LISTEN); default: straight on the"
        " database of the settings.",
        show_default=False,
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help="State folder, default as configured.", show_default=False),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="PostgreSQL, default as configured.", show_default=False),
]


def chosen_settings(state_dir: Path | None, database_url: str | None) -> Settings:
    """The settings, with what the command line says."""
    from dataclasses import replace

    from trabecula.config import load_settings

    settings = load_settings()
    if state_dir is not None:
        settings = replace(settings, state_dir=state_dir)
    if database_url is not None:
        settings = replace(settings, database_url=database_url)
    return settings


@contextmanager
def admin(
    server: str | None, settings: Settings, tls: ClientTls | None = None, token_file: Path | None = None
) -> Iterator[Call]:
    """The operators' methods, wherever they run. Raise as the service does."""
    if server is None:
        with _in_process(settings) as call:
            yield call
        return
    from trabecula.service.client import AdminClient

    with AdminClient(server, tls, token_file) as client:
        yield client.call


@contextmanager
def _in_process(settings: Settings) -> Iterator[Call]:
    """The service's own methods on an open database, without a service."""
    import asyncio
    from contextlib import AsyncExitStack

    from trabecula.record.audit import keep_calls
    from trabecula.service.admin import AdminServicer
    from trabecula.service.local_access import note_local_call
    from trabecula.service.wiring import retention_rules
    from trabecula.work.database import open_database
    from trabecula.work.gc import policy_of
    from trabecula.work.open_content import open_content
    from trabecula.work.store import ScreeningStore

    async def open_servicer(opened: AsyncExitStack) -> tuple[AdminServicer, CallListener]:
        database = await opened.enter_async_context(open_database(settings))
        content = await opened.enter_async_context(open_content(settings))
        store = ScreeningStore(database, content=None, max_attempts=settings.max_attempts)
        keep = keep_calls(database, settings.fhir_base_url.rstrip("/"))
        servicer = AdminServicer(store, database, content, policy_of(settings), retention_rules(), settings.backup_dir)
        return servicer, keep

    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        try:
            servicer, keep = runner.run(open_servicer(opened))

            async def noted(method: str, request: Any) -> Any:
                response = await getattr(servicer, method)(request, None)
                await note_local_call(keep, method, request, response)
                return response

            def call(method: str, request: Any) -> Any:
                return runner.run(noted(method, request))

            yield call
        finally:
            runner.run(opened.aclose())
