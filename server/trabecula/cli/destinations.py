"""``trabecula destinations``: the site's destinations, and whether they can be reached."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code

if TYPE_CHECKING:
    from trabecula.delivery.check import Checked
    from trabecula.delivery.destinations import Destination

EPILOG = f"""[bold]Examples[/bold]

trabecula destinations list

trabecula destinations check

trabecula destinations check ehr --json

The file is TRABECULA_DESTINATIONS_FILE; docs/delivery.md shows its form. `check` writes nothing at a destination. It
ends with 3 when one cannot be used.

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="Where results go (EHRs and PACS).", no_args_is_help=True, rich_markup_mode="rich", epilog=EPILOG
)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@app.command("list", epilog=EPILOG)
@exits_with_code
def list_destinations(as_json: Json = False) -> None:
    """The destinations of the site's file."""
    from rich.table import Table

    from trabecula.cli.terminal import console

    found = _destinations()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2, default=str))
        return
    table = Table("name", "kind", "address", "gets", "authorization")
    for each in found:
        auth = "" if each.kind == "dimse" else each.auth.type
        table.add_row(each.name, each.kind, _address(each), ", ".join(each.send), auth)
    console().print(table)


@app.command("check", epilog=EPILOG)
@exits_with_code
def check(
    name: Annotated[str | None, typer.Argument(help="Only this one.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Connect to each destination and say what works there."""
    from trabecula.config import load_settings
    from trabecula.delivery.check import check_destination
    from trabecula.errors import UnknownDestination

    wanted = [each for each in _destinations() if name in (None, each.name)]
    if name is not None and not wanted:
        raise UnknownDestination

    async def all_of_them() -> list[Checked]:
        keys_dir = load_settings().client_keys_dir
        return list(await asyncio.gather(*(check_destination(each, keys_dir) for each in wanted)))

    checked = asyncio.run(all_of_them())
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in checked], indent=2))
    else:
        _print(checked)
    bad = [each for each in checked if not each.usable]
    if bad:
        complain("destination-unusable", f"{len(bad)} of {len(checked)} destinations cannot be used")
        raise typer.Exit(ExitCode.REFUSED)


def _print(checked: list[Checked]) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("name", "step", "", "what it said")
    for each in checked:
        for step in each.steps:
            mark = "[green]works[/green]" if step.works else "[red]fails[/red]"
            table.add_row(each.name, step.step, mark, step.detail)
    console().print(table)


def _destinations() -> tuple[Destination, ...]:
    from trabecula.config import load_settings
    from trabecula.delivery.destinations import read_destinations
    from trabecula.errors import ConfigurationError

    file = load_settings().destinations_file
    if file is None:
        raise ConfigurationError(setting="TRABECULA_DESTINATIONS_FILE", must_be="the path of a file")
    return read_destinations(file)


def _address(destination: Destination) -> str:
    if destination.kind == "dimse":
        return f"{destination.ae_title}@{destination.host}:{destination.port}"
    return destination.base_url
