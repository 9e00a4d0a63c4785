"""``trabecula profiles``: the level profiles, and whether a site's own can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.exits import ExitCode, complain, exits_with_code
from trabecula.errors import ClinicalDataError

if TYPE_CHECKING:
    from trabecula.clinical import Profile

EPILOG = """[bold]Examples[/bold]

trabecula profiles list

trabecula profiles show acr

trabecula profiles check our-hospital.toml"""

app = typer.Typer(
    help="Rules by which densities are read at each level.", no_args_is_help=True, rich_markup_mode="rich"
)
AsJson = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]
Name = Annotated[str, typer.Argument(help="cn-2024, acr, or the path of a .toml file.")]


@app.command("list", epilog=EPILOG)
@exits_with_code
def list_profiles(as_json: AsJson = False) -> None:
    """The profiles that travel with the program."""
    from rich.table import Table

    from trabecula.cli.terminal import console
    from trabecula.clinical import DEFAULT_PROFILE, load_profile, profile_names

    profiles = [load_profile(name) for name in profile_names()]
    if as_json:
        typer.echo(json.dumps([_head(profile) for profile in profiles], indent=2))
        return
    table = Table("profile", "version", "title", "default")
    for profile in profiles:
        table.add_row(profile.name, profile.version, profile.title, "yes" if profile.name == DEFAULT_PROFILE else "")
    console().print(table)


@app.command("show", epilog=EPILOG)
@exits_with_code
def show_profile(name: Name, as_json: AsJson = False) -> None:
    """Cut-offs, lines and sources of a profile, level by level."""
    from rich.table import Table

    from trabecula.cli.terminal import console
    from trabecula.clinical import Row, load_profile

    profile = load_profile(name)
    if as_json:
        typer.echo(json.dumps({**_head(profile), "entries": [_entry(e) for e in profile.entries.values()]}, indent=2))
        return
    columns = ("levels", "osteoporosis below", "low below", "lumbar =", "± SE", "verified", "source")
    table = Table(*columns, title=profile.title)
    for entry in profile.entries.values():
        if not isinstance(entry.value, Row):
            continue
        row = entry.value
        table.add_row(
            " ".join(row.texts("levels")),
            f"{row.number('osteoporosis_below_mg_cm3'):g}",
            f"{row.number('low_below_mg_cm3'):g}",
            f"{row.number('slope'):.4g} x {row.number('intercept_mg_cm3'):+.4g}",
            f"{row.number('standard_error_mg_cm3'):g}",
            "yes" if entry.verified else "no",
            entry.source,
        )
    console().print(table)
    console().print(f"Decides: {profile.entries['profile.decides'].value}. Densities in mg/cm3.")


@app.command("check", epilog=EPILOG)
@exits_with_code
def check_profile(name: Name) -> None:
    """Read a profile as a screening would, and say its label; a fault names the entry."""
    from trabecula.clinical import load_constants, load_profile

    try:
        profile = load_profile(name)
        load_constants(profile=name)
    except ClinicalDataError as error:
        complain(error.code, f"{Path(name).name}: {error}")
        raise typer.Exit(ExitCode.BAD_INPUT) from error
    typer.echo(f"{profile.label}: ok, {len(profile.entries)} entries")


def _head(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "version": profile.version,
        "title": profile.title,
        "label": profile.label,
        "sha256": profile.sha256,
        "decides": profile.entries["profile.decides"].value,
    }


def _entry(entry: Any) -> dict[str, Any]:
    from trabecula.clinical import Row

    value = dict(entry.value.fields) if isinstance(entry.value, Row) else entry.value
    return {
        "id": entry.id,
        "value": value,
        "unit": entry.unit,
        "source": entry.source,
        "verified": entry.verified,
        "scale": entry.scale,
        "population": entry.population,
        "note": entry.note,
    }
