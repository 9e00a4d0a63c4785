"""``trabecula audit``: who accessed what, as a file; and the end of what the site has kept long enough."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code
from trabecula.cli.operators import DatabaseUrl, StateDir, chosen_settings

if TYPE_CHECKING:
    from trabecula.config import Settings

EPILOG = f"""[bold]Examples[/bold]

trabecula audit export --from 2026-11-01 --to 2026-12-01 --out audit-2026-11.ndjson

trabecula audit export --format csv --out audit.csv

trabecula audit forget --before 2016-01-01 --dry-run

An AuditEvent names people: keep exports as you keep records, on storage that nobody can change. The SHA-256 that is
printed goes into your log. Every export is itself recorded.

{EXIT_CODES_HELP}"""
DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

app = typer.Typer(
    help="The audit trail: export it, and end what was kept long enough.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)


class Form(StrEnum):
    NDJSON = "ndjson"
    CSV = "csv"


Json = Annotated[bool, typer.Option("--json", help="The summary as JSON.")]


@app.command("export", epilog=EPILOG)
@exits_with_code
def export(
    since: Annotated[
        datetime | None, typer.Option("--from", formats=DATES, help="From then on, UTC; default the first.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=DATES, help="Before then, UTC; default the last.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="FHIR AuditEvents line by line, or a table.")] = Form.NDJSON,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, readable by you alone; default standard output.")
    ] = None,
    as_json: Json = False,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write the trail to a file, oldest first, with its SHA-256."""
    settings = chosen_settings(state_dir, database_url)
    with _target(out) as stream:
        number, digest = asyncio.run(_export(settings, _utc(since), _utc(until), form, stream))
    if as_json and out is not None:
        typer.echo(json.dumps({"events": number, "sha256": digest, "file": str(out)}))
    else:
        typer.echo(f"{number} events, sha256 {digest}", err=True)


@app.command("forget", epilog=EPILOG)
@exits_with_code
def forget(
    before: Annotated[datetime, typer.Option("--before", formats=DATES, help="What was recorded before then, UTC.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete old events for good; export them first. Nothing else ever deletes one."""
    settings = chosen_settings(state_dir, database_url)
    moment = _utc(before)
    assert moment is not None  # noqa: S101 - given
    number = asyncio.run(_forget(settings, moment, dry_run=True))
    if not dry_run and number and (yes or typer.confirm(f"Delete {number} events for good?", abort=True)):
        number = asyncio.run(_forget(settings, moment, dry_run=False))
    typer.echo(
        json.dumps({"events": number, "dry_run": dry_run}) if as_json else f"{number} events{' to go' * dry_run}"
    )


async def _export(
    settings: Settings, since: datetime | None, until: datetime | None, form: Form, stream: TextIO
) -> tuple[int, str]:
    from trabecula.record.audit import keep_accesses
    from trabecula.record.audit_export import events, header_row, to_line, to_row
    from trabecula.service.local_access import local_access
    from trabecula.work.database import open_database

    digest, number = sha256(), 0

    def write(line: str) -> None:
        digest.update(line.encode())
        stream.write(line)

    as_line: Callable[..., str] = to_row if form is Form.CSV else to_line
    async with open_database(settings) as database:
        # First the note, then the events: also an export that breaks off is on record.
        await keep_accesses(database, settings.fhir_base_url.rstrip("/"))(
            local_access("search-type", "E", "AuditEvent")
        )
        if form is Form.CSV:
            write(header_row())
        async with database.transaction() as connection:
            async for event in events(connection, since, until):
                write(as_line(event))
                number += 1
    return number, digest.hexdigest()


async def _forget(settings: Settings, before: datetime, *, dry_run: bool) -> int:
    from trabecula.record import audit, audit_export
    from trabecula.service.local_access import local_access
    from trabecula.work.database import open_database

    async with open_database(settings) as database, database.transaction() as connection:
        if dry_run:
            return await audit_export.count(connection, before)
        number = await audit_export.forget(connection, before)
        access = local_access("delete", "D", "AuditEvent")
        await audit.append(connection, access, settings.fhir_base_url.rstrip("/"))
        return number


def _utc(moment: datetime | None) -> datetime | None:
    from datetime import UTC

    return None if moment is None else moment.replace(tzinfo=UTC)


@contextmanager
def _target(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is there whole or not at all."""
    if out is None:
        yield sys.stdout
        return
    import os

    partial = out.with_name(out.name + ".part")
    # newline="": what is hashed is what is written.
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="") as stream:
        yield stream
    partial.replace(out)
