"""``trabecula archive status``, ``collect`` and ``list-ended``: what a campaign has given."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula.cli.exits import exits_with_code
from trabecula.cli.options import Quiet

if TYPE_CHECKING:
    from trabecula.archive.status import CampaignStatus

CODES = """[bold]Exit codes[/bold]

0 every study of the shard has ended: as a result, a coded refusal, or dead with its reason · 4 manifest, root or
campaign cannot be used · 2 wrong usage · 1 stopped before the end; the same command goes on"""

Folders = Annotated[list[Path], typer.Argument(help="Folders of campaigns, or of single shards.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


class EndName(StrEnum):
    DEAD = "dead"
    REFUSED = "refused"
    WAITING = "waiting"


@exits_with_code
def show_status(folders: Folders, as_json: Json = False) -> None:
    """How a campaign stands; also while it runs."""
    from trabecula.archive.status import campaign_status

    status = campaign_status(folders)
    if as_json:
        typer.echo(json.dumps(status.to_json(), indent=2))
    else:
        _print(status)


@exits_with_code
def collect_results(
    folders: Folders,
    out: Annotated[Path, typer.Option("--out", help="File ending in .csv, .jsonl or .parquet.", show_default=False)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge the results of all shards into one file; each study once."""
    from trabecula.archive.collect import FORMS, collect
    from trabecula.cli.terminal import counter

    if out.suffix not in FORMS:
        raise typer.BadParameter(f"must end in {', '.join(FORMS)}", param_hint="--out")
    with counter(quiet or as_json) as tell:
        done = collect(folders, out, lambda number: tell("results", number))
    if as_json:
        typer.echo(json.dumps(asdict(done)))
    else:
        typer.echo(f"{done.results} results in {out.as_posix()}, {done.duplicates} duplicates left out")


@exits_with_code
def list_ended(
    folders: Folders,
    out: Annotated[Path, typer.Option("--out", help="Manifest to write, JSON Lines with a code.", show_default=False)],
    state: Annotated[EndName, typer.Option("--state", help="Which studies.")] = EndName.DEAD,
    as_json: Json = False,
) -> None:
    """Name the studies that are dead, refused or still waiting, as a manifest for the operator."""
    from trabecula.archive.ledger import StudyState, read_ledger, shard_folders

    number = 0
    with open(out, "w", encoding="utf-8", opener=_private) as stream:
        for folder in folders:
            for shard in shard_folders(folder):
                with read_ledger(shard) as ledger:
                    for reference, code in ledger.ended_as(StudyState(state.value)):
                        stream.write(json.dumps({**reference.to_json(), "code": code}) + "\n")
                        number += 1
    typer.echo(json.dumps({"studies": number}) if as_json else f"{number} studies in {out.as_posix()}")


def _private(path: str, flags: int) -> int:
    """What names studies by path or UID is nobody else's to read."""
    return os.open(path, flags, 0o600)


def _print(status: CampaignStatus) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    shown = console()
    table = Table("studies", "number", title="Campaign", title_justify="left")
    total = sum(status.states.values())
    table.add_row("all", f"{total:,}")
    for state, number in status.states.items():
        share = f"  {number / total:.1%}" if total else ""
        table.add_row(state, f"{number:,}{share}")
        codes = {"refused": status.refused, "dead": status.dead}.get(state, {})
        for code, times in codes.items():
            table.add_row(f"  {code}", f"{times:,}", style="dim")
    shown.print(table)
    missing = f", {status.shards_missing} more not begun" if status.shards_missing else ""
    shown.print(f"{len(status.shards)} shards{missing}; {_speed(status)}")


def _speed(status: CampaignStatus) -> str:
    from datetime import timedelta

    mean = "" if status.mean_s is None else f", {status.mean_s:.1f} s a study in its worker"
    if status.left_s == 0:
        return f"all ended{mean}"
    left = "" if status.left_s is None else f", {timedelta(seconds=round(status.left_s))} left at that rate"
    return f"{status.per_hour:,.0f} studies an hour{mean}{left}"
