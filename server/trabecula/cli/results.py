"""``trabecula results``: find wrong results by what made them, withdraw them, erase a person."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code
from trabecula.cli.options import Quiet

if TYPE_CHECKING:
    from trabecula.config import Settings
    from trabecula.record.audit import Access
    from trabecula.service.erasure import Erased
    from trabecula.service.recall import Criteria, FoundResult, Withdrawn

EPILOG = f"""[bold]When results turn out to be wrong[/bold]

`find` says which: by the time they were made, the program, the model, the scanner. Keep its list, have a person
answerable look at it, then `withdraw` it: each result becomes entered-in-error, as if that person had rejected it at
sign-off; the EHR and the PACS get the new version, the recall is withdrawn. docs/incidents.md has the whole way.

[bold]Examples[/bold]

trabecula results find --model fine-v1@1.0.0 --since 2026-11-01 --ids > wrong.txt

trabecula results find --scanner "Somatom" --json

trabecula results withdraw wrong.txt --reviewer-id ada --reviewer-name "Dr. Ada Example" --reason "..." --yes

trabecula results erase 'urn:oid:2.16.840.1.113883.19.5|4711'

trabecula results erase 4711 --screening 6a695b1f-54f7-46f3-abab-df573fc7a480 --yes

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="Results as a whole: find by what made them, withdraw, erase a person.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
When = Annotated[datetime | None, typer.Option(help="Of the result, UTC.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only tell what would be done.")]


@app.command("find", epilog=EPILOG)
@exits_with_code
def find_results(
    since: When = None,
    until: When = None,
    model: Annotated[
        str | None, typer.Option("--model", help="name, name@version, or the beginning of its SHA-256.")
    ] = None,
    software: Annotated[str | None, typer.Option("--software", help="Version of the program.")] = None,
    clinical_data: Annotated[
        str | None, typer.Option("--clinical-data", help="Version of constants and level profile.")
    ] = None,
    scanner: Annotated[str | None, typer.Option("--scanner", help="Part of manufacturer, model or station.")] = None,
    patient: Annotated[str | None, typer.Option("--patient", help="system|value, or the value alone.")] = None,
    as_json: Json = False,
    only_ids: Annotated[bool, typer.Option("--ids", help="Only screening ids, one in a line.")] = False,
) -> None:
    """Results by what made them, oldest first; ends with 3 when a report could not be read."""
    from trabecula.service.recall import Criteria

    wanted = Criteria(_utc(since), _utc(until), software, model, scanner, clinical_data, patient)
    found = asyncio.run(_find(wanted))
    if as_json:
        typer.echo(json.dumps([_plain(each) for each in found], indent=2))
    elif only_ids:
        for each in found:
            typer.echo(each.screening_id)
    else:
        _print_found(found)
    unread = sum(not each.readable for each in found)
    if unread:
        complain("unreadable", f"{unread} reports could not be read; they are in the list, look at them by hand.")
        raise typer.Exit(ExitCode.REFUSED)


@app.command("withdraw", epilog=EPILOG)
@exits_with_code
def withdraw_results(
    ids: Annotated[str, typer.Argument(help="File with screening ids, one in a line; - reads standard input.")],
    reviewer_id: Annotated[str, typer.Option("--reviewer-id", help="Who answers for it, as at sign-off.")],
    reviewer_name: Annotated[str, typer.Option("--reviewer-name", help="As it stands under withdrawn results.")],
    reason: Annotated[str, typer.Option("--reason", help="Goes into every withdrawn result.")],
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make results entered-in-error, one by one; may be run again; ends with 3 when one stayed."""
    from trabecula.service.recall import ids_in

    lines = sys.stdin.readlines() if ids == "-" else Path(ids).read_text(encoding="utf-8").splitlines()
    listed = ids_in(lines)
    if not yes:
        typer.echo(
            f"{len(listed)} results would be withdrawn by {reviewer_name}. Nothing was done: say --yes.", err=True
        )
        return
    done = asyncio.run(_withdraw(listed, reviewer_id, reviewer_name, reason, quiet or as_json))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in done], indent=2))
    else:
        for outcome in sorted({each.outcome for each in done}):
            typer.echo(f"{outcome}: {sum(each.outcome == outcome for each in done)}")
        for each in done:
            if each.outcome not in ("withdrawn", "was-withdrawn"):
                complain(each.outcome, each.screening_id)
    if any(each.outcome not in ("withdrawn", "was-withdrawn") for each in done):
        raise typer.Exit(ExitCode.REFUSED)


@app.command("erase", epilog=EPILOG)
@exits_with_code
def erase_patient(
    patient: Annotated[str, typer.Argument(help="system|value, as results bear it, or the value alone.")],
    also: Annotated[
        list[str] | None,
        typer.Option("--screening", help="Also this screening, the person's though nothing here says so; repeatable."),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete all that is kept of one person, for good; ends with 3 when a legal hold or a running study forbids it.

    Studies that failed, were cancelled or wait are found by the headers of their images, which takes a while when
    there are many.
    """
    erased = asyncio.run(_erase(patient, tuple(also or ()), dry_run=not yes, quiet=quiet or as_json))
    done = yes and not erased.held
    if as_json:
        typer.echo(json.dumps({**asdict(erased), "done": done}, indent=2))
    else:
        typer.echo(
            f"{len(erased.screenings)} screenings ({len(erased.without_result)} of them without a result),"
            f" {erased.resources} versions of resources, {erased.recalls} recalls, {erased.dxa_results} DXA results,"
            f" {erased.received} received instances and {erased.requests} requests"
            f" {'were' if done else 'would be'} erased."
        )
    if erased.unreadable:
        complain(
            "unreadable",
            "Nobody knows whose images these are, as they cannot be read; name them by --screening, or let retention"
            " have them: " + ", ".join(erased.unreadable),
        )
    if erased.held:
        complain("held", "Nothing was erased: a legal hold, or a running study, on " + ", ".join(erased.held))
        raise typer.Exit(ExitCode.REFUSED)


async def _find(wanted: Criteria) -> list[FoundResult]:
    from trabecula.config import load_settings
    from trabecula.service.recall import find
    from trabecula.work.database import open_database
    from trabecula.work.open_content import open_content

    settings = load_settings()
    async with open_database(settings) as database, open_content(settings) as content:
        found = [each async for each in find(database, content, wanted)]
        await _note(settings, database, _access("search-type", "E"))
    return found


async def _withdraw(
    ids: tuple[str, ...], reviewer_id: str, reviewer_name: str, reason: str, quiet: bool
) -> list[Withdrawn]:
    from trabecula.cli.terminal import counter
    from trabecula.config import load_settings
    from trabecula.programme.sign_off import Reviewer
    from trabecula.service.follow_up import follow_up
    from trabecula.service.recall import withdraw
    from trabecula.work.database import open_database
    from trabecula.work.open_content import open_content

    settings = load_settings()
    site = follow_up(settings)
    done = []
    async with open_database(settings) as database, open_content(settings) as content:
        with counter(quiet) as tell:
            for number, each in enumerate(ids, 1):
                done.append(await withdraw(database, content, site, each, Reviewer(reviewer_id, reviewer_name), reason))
                await _note(settings, database, _access("update", "U", each))
                tell("results", number)
    return done


async def _erase(patient: str, also: tuple[str, ...], *, dry_run: bool, quiet: bool) -> Erased:
    from trabecula.cli.terminal import counter
    from trabecula.config import load_settings
    from trabecula.service.engine import imaging_limits
    from trabecula.service.erasure import Eraser
    from trabecula.work.database import open_database
    from trabecula.work.open_content import open_content

    settings = load_settings()
    system = settings.fhir_patient_identifier_system
    async with open_database(settings) as database, open_content(settings) as content:
        with counter(quiet) as tell:
            eraser = Eraser(
                database, content, imaging_limits(settings), system, tell=lambda number: tell("instances", number)
            )
            erased = await eraser.erase(patient, also=also, dry_run=dry_run)
        await _note(
            settings, database, _access("delete" if not dry_run else "search-type", "D" if not dry_run else "E")
        )
    return erased


def _access(interaction: str, action: str, resource_id: str | None = None) -> Access:
    from trabecula.record.audit import Access

    return Access(
        at=datetime.now(UTC),
        interaction=interaction,
        action=action,
        resource_type="DiagnosticReport",
        client_id="command line",
        client_address=None,
        request_id=str(uuid.uuid4()),
        resource_id=resource_id,
        subject=getpass.getuser(),
    )


async def _note(settings: Settings, database: Any, access: Access) -> None:
    """Accesses by the command line are recorded like those over the network."""
    from trabecula.record.audit import keep_accesses

    await keep_accesses(database, settings.fhir_base_url.rstrip("/"))(access)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)


def _plain(found: FoundResult) -> dict[str, Any]:
    return {**asdict(found), "created_at": found.created_at.isoformat()}


def _print_found(found: list[FoundResult]) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("screening", "made", "status", "program", "models", "scanner", "range")
    for each in found:
        table.add_row(
            each.screening_id,
            each.created_at.strftime("%Y-%m-%d %H:%MZ"),
            each.status if each.readable else f"{each.status} (unreadable)",
            each.software or "-",
            " ".join(each.models) or "-",
            each.scanner or "-",
            each.category or "-",
        )
    console().print(table)
    typer.echo(f"{len(found)} results.")
