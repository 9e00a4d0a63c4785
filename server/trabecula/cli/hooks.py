"""``trabecula hooks``: what clinicians made of the cards, and whether the file of EHRs can be used."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code
from trabecula.cli.operators import DatabaseUrl, StateDir, chosen_settings
from trabecula.errors import ClientsFileError

if TYPE_CHECKING:
    from trabecula.config import Settings
    from trabecula.hooks.store import ServiceStats

EPILOG = f"""[bold]Examples[/bold]

trabecula hooks stats

trabecula hooks stats --days 30 --json

trabecula hooks check cds-clients.toml

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="CDS Hooks: what became of cards; the file of EHRs that may call.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)


@app.command("stats", epilog=EPILOG)
@exits_with_code
def show_stats(
    days: Annotated[int | None, typer.Option("--days", min=1, help="Only the last so many days.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Cards shown, accepted and overridden, by service, with the reasons. A card counts by the last word on it."""
    found = asyncio.run(_stats(chosen_settings(state_dir, database_url), days))
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in found], indent=2))
        return
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("service", "shown", "accepted", "overridden", "accepted of answered", "reasons", "cards not ours")
    for each in found:
        share = "-" if each.acceptance is None else f"{each.acceptance:.0%}"
        reasons = ", ".join(f"{code} {count}" for code, count in each.reasons.items()) or "-"
        numbers = (each.shown, each.accepted, each.overridden)
        table.add_row(each.service, *map(str, numbers), share, reasons, str(each.unknown))
    console().print(table)


@app.command("check", epilog=EPILOG)
@exits_with_code
def check_clients(
    path: Annotated[Path, typer.Argument(help="The file (TOML); docs/cds-hooks.md shows its form.")],
) -> None:
    """Read the file of EHRs as the service would; a fault names its entry."""
    from trabecula.hooks.clients import load_clients

    try:
        clients = load_clients(path)
        missing = [each.name for each in clients if each.jwks_file is not None and not each.jwks_file.is_file()]
    except ClientsFileError as error:
        complain(error.code, str(error))
        raise typer.Exit(ExitCode.BAD_INPUT) from error
    if missing:
        complain(ClientsFileError.code, f"{missing[0]}: its jwks_file is not there")
        raise typer.Exit(ExitCode.BAD_INPUT)
    for each in clients:
        keys = "its own file" if each.jwks_file is not None else ", ".join(each.jku)
        reads = ", ".join(each.fhir_servers) or "prefetch only"
        typer.echo(f"{each.name}: {each.iss}; {' '.join(each.algorithms)}; keys: {keys}; reads: {reads}")


async def _stats(settings: Settings, days: int | None) -> tuple[ServiceStats, ...]:
    from datetime import UTC, datetime, timedelta

    from trabecula.hooks.store import stats
    from trabecula.work.database import open_database

    since = None if days is None else datetime.now(UTC) - timedelta(days=days)
    async with open_database(settings) as database, database.transaction() as connection:
        return await stats(connection, since)


def _as_json(each: ServiceStats) -> dict[str, Any]:
    return {**dataclasses.asdict(each), "acceptance": each.acceptance}
