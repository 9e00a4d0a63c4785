"""``trabecula gc``: delete what has had its time."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula.cli.elsewhere import elsewhere
from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code
from trabecula.cli.operators import AdminServer
from trabecula.cli.options import Quiet
from trabecula.cli.submit import Certificate, Certificates, Encrypted, Key, TokenFile

if TYPE_CHECKING:
    from trabecula.work.gc import Collected

EPILOG = f"""[bold]What goes[/bold]

Images and patient context TRABECULA_PIXEL_RETENTION_S after a screening has ended and its results are delivered;
results only when TRABECULA_RESULT_RETENTION_S is set; bytes that no screening names after TRABECULA_CONTENT_GRACE_S;
finished jobs after TRABECULA_JOB_RETENTION_S; leftovers of killed uploads. A legal hold keeps everything of a
screening. The service does the same by itself every hour; it may run meanwhile.

[bold]Examples[/bold]

trabecula gc --dry-run

trabecula gc --json

trabecula gc --dry-run --server localhost:50052

{EXIT_CODES_HELP}"""


@exits_with_code
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
    quiet: Quiet = False,
    server: AdminServer = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Delete images, and results where a time is set, once they have had their time."""
    from trabecula.cli.terminal import counter

    there = elsewhere(server, tls, tls_ca, tls_certificate, tls_key, token_file)
    if there is not None:
        done = there.collect(dry_run)
    else:
        with counter(quiet or as_json) as tell:
            done = asyncio.run(_collect(dry_run, tell))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(done), indent=2))
    else:
        _print(done)


async def _collect(dry_run: bool, tell: object) -> Collected:
    from trabecula.config import load_settings
    from trabecula.service.local_access import note_local, on_installation
    from trabecula.service.wiring import retention_rules
    from trabecula.work.database import open_database
    from trabecula.work.gc import collect, policy_of
    from trabecula.work.open_content import open_content

    settings = load_settings()
    async with open_database(settings) as database, open_content(settings) as content:
        done = await collect(
            database,
            content,
            policy_of(settings),
            retention_rules(),
            dry_run=dry_run,
            progress=tell,  # type: ignore[arg-type]
        )
        if not dry_run:
            await note_local(settings, database, on_installation("CollectGarbage"))
        return done


def _print(done: Collected) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("what", "deleted" if not done.dry_run else "would be deleted")
    table.add_row("images of screenings", str(done.pixels))
    table.add_row("screenings with their results", str(done.results))
    table.add_row("objects", f"{done.objects} ({done.object_bytes / 1e6:.1f} MB)")
    table.add_row("leftovers of uploads", f"{done.staging_bytes / 1e6:.1f} MB")
    table.add_row("finished jobs", str(done.jobs))
    console().print(table)
