"""``trabecula db``: the tables' revisions, a check of everything, backup and restore."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.elsewhere import elsewhere
from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code
from trabecula.cli.operators import AdminServer
from trabecula.cli.options import Quiet
from trabecula.cli.submit import Certificate, Certificates, Encrypted, Key, TokenFile

if TYPE_CHECKING:
    from trabecula.work.backup_format import Manifest
    from trabecula.work.check import CheckReport

EPILOG = f"""[bold]Examples[/bold]

trabecula db upgrade

trabecula db check --deep --json

trabecula db backup /backups/2026-11-22.tar

trabecula db restore /backups/2026-11-22.tar

trabecula db check --server localhost:50052

trabecula db backup nightly.tar --server localhost:50052

With --server a running service does it (TRABECULA_ADMIN_LISTEN): check and backup beside its work; upgrade and restore
only where nothing else works on the database, which is what `trabecula serve --role admin` is for. Backups then are
names in its TRABECULA_BACKUP_DIR. Downgrade, restore --replace and --verify have no call: run them beside the database.

The database is the one of TRABECULA_DATABASE_URL, or the one that comes with the program under TRABECULA_STATE_DIR.
A backup holds patient data: it is private to the user (0600), and where it goes must be as safe as the archive.

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="The database: revisions, check, backup, restore.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@app.command(epilog=EPILOG)
@exits_with_code
def upgrade(
    to: Annotated[str, typer.Option("--to", help="A revision; default the newest this program knows.")] = "head",
    as_json: Json = False,
    server: AdminServer = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Bring the tables forward. Do it before the new release starts; the old one may still run."""
    there = elsewhere(server, tls, tls_ca, tls_certificate, tls_key, token_file)
    if there is not None and to != "head":
        raise typer.BadParameter("with --server the newest revision it knows is the only one", param_hint="--to")
    _tell_revisions(asyncio.run(_migrate(to, back=False)) if there is None else there.upgrade(), as_json)


@app.command(epilog=EPILOG)
@exits_with_code
def downgrade(
    to: Annotated[str, typer.Argument(help="A revision such as 0001, or base for none.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="What the later tables hold is lost: say so.")] = False,
    as_json: Json = False,
) -> None:
    """Take the tables back to an earlier revision."""
    if not yes:
        complain("confirmation-missing", "what the later tables hold is lost; say --yes, after a backup")
        raise typer.Exit(ExitCode.USAGE)
    _tell_revisions(asyncio.run(_migrate(to, back=True)), as_json)


@app.command(epilog=EPILOG)
@exits_with_code
def check(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and compare its SHA-256.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    server: AdminServer = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Whether database and content store are whole and fit each other; ends with 3 when they do not."""
    from trabecula.cli.terminal import fraction_bar
    from trabecula.work.check import check as look

    there = elsewhere(server, tls, tls_ca, tls_certificate, tls_key, token_file)
    if there is not None:
        report = there.check(deep)
    else:
        with fraction_bar("check", quiet or as_json) as tell:
            report = asyncio.run(
                _with_store(lambda db, content: look(db, content, deep=deep, progress=_fraction(tell)))
            )
    if as_json:
        typer.echo(json.dumps(_check_document(report), indent=2))
    else:
        _print_check(report)
    if not report.ok:
        complain("database-check", "something is missing or damaged, see above; docs/durable-work.md says what to do")
        raise typer.Exit(ExitCode.REFUSED)


@app.command(epilog=EPILOG)
@exits_with_code
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder, or a new file *.tar.", show_default=False)],
    without_pixels: Annotated[
        bool, typer.Option("--without-pixels", help="Leave out the images of screenings that have ended.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    server: AdminServer = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Database and bytes in one, consistent while the service runs; ends with 1 when bytes had to be left out."""
    from trabecula.cli.terminal import fraction_bar
    from trabecula.work.backup import back_up

    there = elsewhere(server, tls, tls_ca, tls_certificate, tls_key, token_file)
    if there is not None:
        held = there.back_up(target, with_pixels=not without_pixels)
    else:
        with fraction_bar("backup", quiet or as_json) as tell:
            held = _document(
                asyncio.run(
                    _with_store(
                        lambda db, content: back_up(
                            db, content, target, with_pixels=not without_pixels, progress=_fraction(tell)
                        ),
                        "BackupDatabase",
                    )
                )
            )
    _tell_backup(held, "backed up", as_json)
    if held["left_out"]:
        complain("content-damaged", f"{len(held['left_out'])} objects are missing or damaged and were left out")
        raise typer.Exit(ExitCode.OTHER)


@app.command(epilog=EPILOG)
@exits_with_code
def restore(
    source: Annotated[Path, typer.Argument(help="Folder or file of a backup.", show_default=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Give up what the database holds.")] = False,
    only_verify: Annotated[bool, typer.Option("--verify", help="Only read the backup against its manifest.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    server: AdminServer = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Put a backup back, on an empty machine too. The service must not run; it goes on where it was afterwards."""
    from trabecula.cli.terminal import fraction_bar
    from trabecula.config import load_settings
    from trabecula.work.backup import verify
    from trabecula.work.restore import restore as put_back

    there = elsewhere(server, tls, tls_ca, tls_certificate, tls_key, token_file)
    if there is not None:
        if replace or only_verify:
            raise typer.BadParameter("not with --server: it fills an empty database", param_hint="--replace, --verify")
        _tell_backup(there.restore(source), "restored", as_json)
        return
    if not source.exists():
        raise typer.BadParameter(f"{source} does not exist", param_hint="SOURCE")
    with fraction_bar("verify" if only_verify else "restore", quiet or as_json) as tell:
        if only_verify:
            manifest = asyncio.run(verify(source, _fraction(tell)))
        else:
            state = load_settings().state_dir
            manifest = asyncio.run(
                _with_store(
                    lambda db, content: put_back(
                        db, content, source, replace=replace, scratch=state, progress=_fraction(tell)
                    ),
                    "RestoreDatabase",
                )
            )
    _tell_backup(_document(manifest), "verified" if only_verify else "restored", as_json)


async def _with_store(do: Any, what: str | None = None) -> Any:
    """``do`` on the opened stores; ``what`` is the name under which the audit trail has it."""
    from trabecula.config import load_settings
    from trabecula.service.local_access import note_local, on_installation
    from trabecula.work.database import open_database
    from trabecula.work.open_content import open_content

    settings = load_settings()
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with open_database(settings, check_schema=False) as database, open_content(settings) as content:
        done = await do(database, content)
        if what is not None:
            await note_local(settings, database, on_installation(what))
        return done


async def _migrate(to: str, *, back: bool) -> dict[str, str | None]:
    from alembic.util import CommandError

    from trabecula.config import load_settings
    from trabecula.errors import InvalidRequest
    from trabecula.service.local_access import note_local, on_installation
    from trabecula.work import migrate
    from trabecula.work.database import open_database

    settings = load_settings()
    async with open_database(settings, check_schema=False) as database:
        async with database.transaction() as connection:
            before = await connection.run_sync(migrate.current_revision)
            try:
                await connection.run_sync(migrate.downgrade if back else migrate.upgrade, to)
            except CommandError:
                raise InvalidRequest(field="revision", known=", ".join(migrate.revisions())) from None
            after = await connection.run_sync(migrate.current_revision)
        if after == migrate.head():  # older tables may have none for it
            await note_local(settings, database, on_installation("UpgradeDatabase"))
    return {"before": before, "after": after, "newest_known": migrate.head()}


def _tell_revisions(found: dict[str, str | None], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found["before"] == found["after"]:
        typer.echo(f"The tables are at revision {found['after'] or 'none'} already.")
    else:
        typer.echo(f"The tables went from revision {found['before'] or 'none'} to {found['after'] or 'none'}.")


def _fraction(tell: Any) -> Any:
    return lambda done, total: tell(done / total if total else 1.0)


def _check_document(report: CheckReport) -> dict[str, Any]:
    import dataclasses

    return {"ok": report.ok, **dataclasses.asdict(report)}


def _print_check(report: CheckReport) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    version = f"{report.server_version // 10000}.{report.server_version % 10000}"
    table = Table("what", "found", "")
    at = report.revision or "none"
    outdated = report.revision is None or int(report.revision) < int(report.needed_revision)
    table.add_row("PostgreSQL", version, "")
    table.add_row("revision of the tables", at, _verdict(outdated, f"needs {report.needed_revision}: db upgrade"))
    if not outdated:
        table.add_row("screenings", str(report.screenings), "")
        open_ones = f"{report.open_screenings}, of them {report.open_without_job} without a job"
        table.add_row("not ended", open_ones, _verdict(report.open_without_job > 0, "a running service mends it"))
        table.add_row("objects that screenings name", str(report.objects), "")
        table.add_row("missing", str(len(report.missing)), _verdict(bool(report.missing), "restore the content"))
        damaged = str(len(report.damaged)) if report.deep else "not looked for (--deep)"
        table.add_row("damaged", damaged, _verdict(bool(report.damaged), "restore the content"))
        table.add_row("objects that nothing names", f"{report.unnamed} ({report.unnamed_bytes / 1e6:.1f} MB)", "")
    console().print(table)
    for sha256 in (*report.missing, *report.damaged):
        console(stderr=True).print(sha256)


def _verdict(wrong: bool, remedy: str) -> str:
    return f"[red]{remedy}[/red]" if wrong else "[green]good[/green]"


def _document(manifest: Manifest) -> dict[str, Any]:
    return {
        "created_at": manifest.created_at.isoformat(),
        "program_version": manifest.program_version,
        "server_version": manifest.server_version,
        "revision": manifest.revision,
        "with_pixels": manifest.with_pixels,
        "screenings": manifest.screenings,
        "objects": len(manifest.objects),
        "bytes": manifest.dump.size_bytes + sum(ref.size_bytes for ref in manifest.objects),
        "left_out": [each.sha256 for each in manifest.left_out],
    }


def _tell_backup(held: dict[str, Any], what: str, as_json: bool) -> None:
    """A service tells less of a backup than its manifest does."""
    if as_json:
        typer.echo(json.dumps(held, indent=2))
        return
    pixels = "" if held.get("with_pixels", True) else ", without the images of ended ones"
    revision = f", revision {held['revision']}" if "revision" in held else ""
    made = f", of {held['created_at'][:19].replace('T', ' ')} UTC" if "created_at" in held else ""
    size = f"{held['bytes'] / 1e6:.1f} MB"
    typer.echo(f"{what}: {held['screenings']} screenings{pixels}, {held['objects']} objects, {size}{revision}{made}")
