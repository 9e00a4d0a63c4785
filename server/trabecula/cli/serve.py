"""``trabecula serve``: the gRPC service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, exit_code_of, exits_with_code
from trabecula.cli.options import Models
from trabecula.errors import TrabeculaError

EPILOG = f"""[bold]Settings[/bold]

Every setting can be given as TRABECULA_<NAME> in the environment; see docs/configuration.md.

Standard error is JSON, one event a line, whoever writes: also a start that fails, libraries and worker processes.

Without a database URL the service starts the PostgreSQL that comes with it, under the state folder.

SIGTERM: health turns NOT_SERVING, running studies get TRABECULA_DRAIN_TIMEOUT_S to end, the others stay queued for the
next start or another worker. A second signal stops at once; nothing that was accepted is lost by it.

[bold]Examples[/bold]

trabecula serve

trabecula serve --role api --database-url postgresql://trabecula@db/trabecula

trabecula serve --role worker --database-url postgresql://trabecula@db/trabecula

{EXIT_CODES_HELP}"""


@exits_with_code
def serve(
    role: Annotated[
        str | None,
        typer.Option("--role", help="all (default), api or worker; api and worker share database and content store."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option("--listen", help="host:port; port 0 takes a free one. Default 127.0.0.1:50051."),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", help="Database and content, unless they are elsewhere; default out/state."),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", help="A PostgreSQL 14 or newer, without its password.", show_default=False),
    ] = None,
    models_dir: Annotated[
        Path | None,
        typer.Option("--models-dir", help="Model bundles, default the built-in ones."),
    ] = None,
    models: Models = None,
    reflection: Annotated[bool, typer.Option("--reflection", help="Let clients ask for the protocol.")] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option("--ready-file", help="Write the port here once the service takes calls."),
    ] = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from trabecula.config import Role
    from trabecula.service.error_stream import json_lines_only

    if role is not None and role not in [each.value for each in Role]:
        raise typer.BadParameter("all, api or worker", param_hint="--role")
    given = {
        "role": Role(role) if role is not None else None,
        "listen": listen,
        "state_dir": state_dir,
        "database_url": database_url,
        "models_dir": models_dir,
        "reflection": reflection or None,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    with json_lines_only() as stream, _errors_as_events(stream):
        _serve(chosen, models, ready_file, stream)


@contextmanager
def _errors_as_events(stream: TextIO) -> Iterator[None]:
    """What keeps the service from its work is an event too; the exit codes are those of all commands."""
    import structlog

    from trabecula.service.library_logs import route_library_logs
    from trabecula.service.logs import configure_logs

    configure_logs("info", stream)
    route_library_logs("info")
    try:
        yield
    except TrabeculaError as error:
        facts = {"detail": error.detail} if error.detail else {}
        structlog.get_logger().critical("cannot serve", code=error.code, message=error.client_message, **facts)
        raise typer.Exit(exit_code_of(error)) from error
    except OSError as error:
        structlog.get_logger().critical("cannot serve", code="file-system", message=error.strerror, file=error.filename)
        raise typer.Exit(ExitCode.OTHER) from error


def _serve(chosen: dict[str, Any], models: str | None, ready_file: Path | None, stream: TextIO) -> None:
    import asyncio
    from dataclasses import replace

    from trabecula.config import Role, bound_library_threads, load_settings, with_models
    from trabecula.service.library_logs import route_library_logs
    from trabecula.service.logs import configure_logs
    from trabecula.service.server import serve as serve_until_stopped
    from trabecula.service.workers import make_runner
    from trabecula.work.heap import share_one_heap, spare_what_stays

    share_one_heap()
    settings = replace(load_settings(), **chosen)
    if models is not None:
        settings = with_models(settings, models)
    bound_library_threads(settings)
    configure_logs(settings.log_level, stream)
    route_library_logs(settings.log_level)

    def ready(port: int) -> None:
        spare_what_stays()
        if ready_file is not None:
            partial = ready_file.with_name(ready_file.name + ".part")
            partial.write_text(f"{port}\n", encoding="ascii")
            partial.replace(ready_file)

    runner = None if settings.role is Role.API else make_runner(settings)
    asyncio.run(serve_until_stopped(settings, runner, ready))
