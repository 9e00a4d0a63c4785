"""The ``trabecula`` command: its subcommands and what they have in common."""

from __future__ import annotations

import typer

from trabecula.cli import (
    archive,
    audit,
    database,
    deliveries,
    demo,
    destinations,
    drift,
    gc,
    health,
    hooks,
    jobs,
    keys,
    models,
    phantom,
    profiles,
    results,
    scanner,
    screen,
    serve,
    submit,
    users,
    version,
)
from trabecula.cli.exits import EXIT_CODES_HELP

app = typer.Typer(
    name="trabecula",
    help="Opportunistic bone, muscle and fat assessment from chest CT that already exists. Research use; not a device.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("screen", epilog=screen.EPILOG)(screen.screen)
app.command("submit", epilog=submit.EPILOG)(submit.submit)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("phantom", epilog=phantom.EPILOG)(phantom.phantom)
app.add_typer(models.app, name="models")
app.add_typer(scanner.app, name="scanner")
app.add_typer(profiles.app, name="profiles")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(audit.app, name="audit")
app.add_typer(destinations.app, name="destinations")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(jobs.app, name="jobs")
app.add_typer(results.app, name="results")
app.add_typer(archive.app, name="archive")
app.add_typer(hooks.app, name="hooks")
app.add_typer(drift.app, name="drift")
app.add_typer(database.app, name="db")
app.command("gc", epilog=gc.EPILOG)(gc.gc)
app.command("health", epilog=health.EPILOG)(health.health)
app.command("demo")(demo.demo)
app.command("version")(version.version)
