"""``trabecula serve``: the gRPC service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code
from trabecula.cli.options import Models

EPILOG = f"""[bold]Settings[/bold]

Every setting can be given as TRABECULA_<NAME> in the environment; see docs/configuration.md.

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
    import asyncio
    from dataclasses import replace

    from trabecula.config import Role, load_settings, with_models
    from trabecula.service.logs import configure_logs
    from trabecula.service.server import serve as serve_until_stopped
    from trabecula.service.workers import make_runner

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
    settings = replace(load_settings(), **chosen)  # type: ignore[arg-type]
    if models is not None:
        settings = with_models(settings, models)
    configure_logs(settings.log_level)

    def ready(port: int) -> None:
        if ready_file is not None:
            partial = ready_file.with_name(ready_file.name + ".part")
            partial.write_text(f"{port}\n", encoding="ascii")
            partial.replace(ready_file)

    runner = None if settings.role is Role.API else make_runner(settings)
    asyncio.run(serve_until_stopped(settings, runner, ready))
