"""``trabecula drift``: whether what comes in and goes out has moved away from a reference."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code
from trabecula.cli.operators import DatabaseUrl, StateDir, chosen_settings

if TYPE_CHECKING:
    from trabecula.config import Settings
    from trabecula.drift.evaluate import FeatureDrift
    from trabecula.drift.reference import ReferenceFile
    from trabecula.drift.store import Standing

EPILOG = f"""[bold]What is compared[/bold]

The series of the last days with a reference, feature by feature, by the population stability index: below 0.1 stable,
0.1 to 0.25 look, above 0.25 act; no verdict under 300 series. The reference is the site's own window
(TRABECULA_DRIFT_REFERENCE_FILE), else what comes with the calibration model, which knows reference tissues alone and is
made of simulated patients. A worker evaluates every six hours by itself.

[bold]Examples[/bold]

trabecula drift evaluate

trabecula drift evaluate --window-days 30 --json

trabecula drift show

trabecula drift reference --from 2026-09-01 --to 2026-11-30 --output /etc/trabecula/drift-reference.json

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="Drift of scanners, protocols and results.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)
DAY = "%Y-%m-%d"
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@app.command("evaluate", epilog=EPILOG)
@exits_with_code
def evaluate(
    window_days: Annotated[
        int | None, typer.Option("--window-days", min=1, max=3650, help="Days to compare, default as configured (14).")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", formats=[DAY], help="Last day (UTC), default today.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do not keep the result.")] = False,
    check: Annotated[bool, typer.Option("--check", help="End with 3 when a feature asks to act.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare recent series with the reference."""
    settings = chosen_settings(state_dir, database_url)
    last = to.date() if to is not None else datetime.now(UTC).date()
    found = asyncio.run(_evaluate(settings, last, window_days or settings.drift_window_days, dry_run))
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(each) for each in found], indent=2))
    else:
        _print(found)
    if check and any(each.verdict.value == "act" for each in found):
        raise typer.Exit(ExitCode.REFUSED)


@app.command("show", epilog=EPILOG)
@exits_with_code
def show(as_json: Json = False, state_dir: StateDir = None, database_url: DatabaseUrl = None) -> None:
    """The newest evaluation, as metrics and alerts see it."""
    found = asyncio.run(_newest(chosen_settings(state_dir, database_url)))
    if as_json:
        rows = [{**dataclasses.asdict(each), "evaluated_at": each.evaluated_at.isoformat()} for each in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    from trabecula.cli.terminal import console

    if not found:
        typer.echo("Drift was never evaluated.")
        return
    table = Table("feature", "series", "index", "verdict", "reference")
    for each in found:
        table.add_row(each.feature, str(each.series), _index(each.psi), each.verdict.value, each.reference or "-")
    console().print(f"Evaluated {found[0].evaluated_at.isoformat(timespec='seconds')}")
    console().print(table)


@app.command("reference", epilog=EPILOG)
@exits_with_code
def reference(
    first: Annotated[datetime, typer.Option("--from", formats=[DAY], help="First day (UTC).")],
    last: Annotated[datetime, typer.Option("--to", formats=[DAY], help="Last day (UTC), included.")],
    output: Annotated[Path, typer.Option("--output", help="File to write; it must not exist.")],
    verified: Annotated[
        bool, typer.Option("--verified", help="Somebody has looked at the quality of these series.")
    ] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Freeze a window of this site's series as its reference; name the file in TRABECULA_DRIFT_REFERENCE_FILE."""
    if last < first:
        raise typer.BadParameter("must not lie before --from", param_hint="--to")
    settings = chosen_settings(state_dir, database_url)
    made = asyncio.run(_freeze(settings, first.date(), last.date(), verified))
    if not made.features:
        complain("too-few-series", "No feature has 300 series in this window; take a longer one.")
        raise typer.Exit(ExitCode.REFUSED)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(made.model_dump_json(indent=2) + "\n")
    except FileExistsError as error:
        complain("file-exists", f"{output} is there already; a reference is not overwritten.")
        raise typer.Exit(ExitCode.BAD_INPUT) from error
    counts = {name: sum(each.counts) for name, each in made.features.items()}
    if as_json:
        typer.echo(json.dumps({"file": str(output), "series": counts}, indent=2))
        return
    typer.echo(f"{output}: {len(counts)} features; set TRABECULA_DRIFT_REFERENCE_FILE to it.")


async def _evaluate(settings: Settings, last: date, days: int, dry_run: bool) -> tuple[FeatureDrift, ...]:
    from trabecula.clinical import load_constants
    from trabecula.drift.evaluate import DriftRules
    from trabecula.drift.reference import read_references
    from trabecula.drift.upkeep import evaluate_window
    from trabecula.work.database import open_database

    known = read_references(settings.models_dir, settings.drift_reference_file)
    rules = DriftRules.of(load_constants())
    async with open_database(settings) as database:
        keep_at = None if dry_run else datetime.now(UTC)
        return await evaluate_window(database, known, rules, last=last, days=days, keep_at=keep_at)


async def _newest(settings: Settings) -> tuple[Standing, ...]:
    from trabecula.drift.store import newest_evaluation
    from trabecula.work.database import open_database

    async with open_database(settings) as database, database.transaction() as connection:
        return await newest_evaluation(connection)


async def _freeze(settings: Settings, first: date, last: date, verified: bool) -> ReferenceFile:
    from trabecula.clinical import load_constants
    from trabecula.drift.evaluate import DriftRules
    from trabecula.drift.reference import freeze
    from trabecula.drift.store import read_series
    from trabecula.work.database import open_database

    rules = DriftRules.of(load_constants())
    async with open_database(settings) as database, database.transaction() as connection:
        rows = await read_series(connection, first, last)
    population = f"{len(rows)} series of this site, read from {first.isoformat()} to {last.isoformat()}"
    source = "frozen by trabecula drift reference"
    return freeze(rows, population, source, least=rules.least_series, bins=rules.bins, verified=verified)


def _print(found: tuple[FeatureDrift, ...]) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("feature", "family", "series", "index", "by chance", "verdict", "reference")
    for each in found:
        cells: list[Any] = [each.feature, each.family, str(each.series), _index(each.psi), _index(each.by_chance)]
        table.add_row(*cells, each.verdict.value, each.reference or "-")
    console().print(table)
    for population in dict.fromkeys(
        f"{each.reference}: {each.population}{'' if each.verified else ' (not verified)'}"
        for each in found
        if each.reference is not None
    ):
        console().print(population, highlight=False)


def _index(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
