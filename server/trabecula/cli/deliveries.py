"""``trabecula deliveries``: what went out, what waits, and what a person has to look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code
from trabecula.delivery.states import DeliveryState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from trabecula.delivery.listing import AttemptRow, Filter
    from trabecula.delivery.sending import DeliveryRow
    from trabecula.work.database import Database

T = TypeVar("T")

EPILOG = f"""[bold]Examples[/bold]

trabecula deliveries list --state parked

trabecula deliveries list --destination ehr --since 2026-11-20 --json

trabecula deliveries show 0b6e4f9e-6f9c-4bb4-9c1f-2f1c8a0c1a11

trabecula deliveries retry --all --state parked --reason patient-not-found

trabecula deliveries cancel 0b6e4f9e-6f9c-4bb4-9c1f-2f1c8a0c1a11

docs/delivery.md says what each reason means and how it is mended. What `show` prints of a server's answer may quote
patient data.

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="Results on their way to EHRs and PACS.", no_args_is_help=True, rich_markup_mode="rich", epilog=EPILOG
)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Id = Annotated[UUID, typer.Argument(help="Delivery, as `list` shows it.", show_default=False)]
Destination = Annotated[str | None, typer.Option("--destination", help="Only to this one.", show_default=False)]
States = Annotated[list[DeliveryState] | None, typer.Option("--state", help="May be repeated.", show_default=False)]
Reason = Annotated[str | None, typer.Option("--reason", help="Only with this reason.", show_default=False)]
ScreeningId = Annotated[UUID | None, typer.Option("--screening", help="Only of this screening.", show_default=False)]
Since = Annotated[datetime | None, typer.Option("--since", help="Made then (UTC) or later.", show_default=False)]


@app.command("list", epilog=EPILOG)
@exits_with_code
def list_deliveries(
    destination: Destination = None,
    state: States = None,
    reason: Reason = None,
    screening: ScreeningId = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Newest so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Deliveries, newest first."""
    from trabecula.delivery import listing

    wanted = _filter(destination, state, reason, screening, since)

    async def look(database: Database) -> tuple[list[DeliveryRow], int]:
        async with database.transaction() as connection:
            found = await listing.list_deliveries(connection, wanted, limit)
            return found, await listing.count_deliveries(connection, wanted)

    rows, total = _run(look)
    if as_json:
        typer.echo(json.dumps({"total": total, "deliveries": [_document(row) for row in rows]}, indent=2))
        return
    _print_rows(rows)
    if total > len(rows):
        typer.echo(f"{len(rows)} of {total}; --limit shows more", err=True)


@app.command("show", epilog=EPILOG)
@exits_with_code
def show(delivery: Id, as_json: Json = False) -> None:
    """One delivery with every attempt and the server's answers."""
    from trabecula.config import load_settings
    from trabecula.delivery import listing
    from trabecula.service.local_access import local_access, note_local

    async def look(database: Database) -> tuple[DeliveryRow, list[AttemptRow]]:
        async with database.transaction() as connection:
            found = await listing.read_delivery(connection, str(delivery))
        # A server's answer may quote patient data.
        access = local_access("read", "R", "DiagnosticReport", found[0].screening_id)
        await note_local(load_settings(), database, access)
        return found

    row, attempts = _run(look)
    if as_json:
        shown = {**_document(row), "attempts": [_plain(asdict(each)) for each in attempts]}
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    _print_rows([row])
    _print_attempts(attempts)


@app.command("retry", epilog=EPILOG)
@exits_with_code
def retry(
    delivery: Annotated[UUID | None, typer.Argument(help="Delivery, as `list` shows it.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the filters leave.")] = False,
    destination: Destination = None,
    state: States = None,
    reason: Reason = None,
    since: Since = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Try again now: one delivery, or all that fit (parked ones unless --state says otherwise)."""
    from trabecula.cli.terminal import fraction_bar
    from trabecula.delivery import listing
    from trabecula.errors import DeliveryBusy, DeliveryEnded

    if (delivery is None) != everything:
        raise typer.BadParameter("give one delivery, or --all with filters")
    wanted = _filter(destination, state or [DeliveryState.PARKED], reason, None, since)
    open_states = {DeliveryState.PARKED, DeliveryState.PENDING}
    if everything and not set(wanted.states) <= open_states:
        raise typer.BadParameter("only parked and pending deliveries can be tried again", param_hint="--state")

    async def again(database: Database) -> tuple[int, int]:
        if delivery is not None:
            await _one(database, lambda each: listing.retry_delivery(each, str(delivery), datetime.now(UTC)))
            return 1, 0
        async with database.transaction() as connection:
            rows = await listing.list_deliveries(connection, wanted, 1_000_000)
        done = skipped = 0
        with fraction_bar("retry", quiet or as_json) as tell:
            for row in reversed(rows):
                try:
                    await _one(database, lambda each, row=row: _retried(each, row))  # type: ignore[misc]
                    done += 1
                except (DeliveryBusy, DeliveryEnded):  # it moved on by itself in the meantime
                    skipped += 1
                tell((done + skipped) / len(rows))
        return done, skipped

    released, moved_on = _run(again)
    if as_json:
        typer.echo(json.dumps({"released": released, "moved_on": moved_on}))
    else:
        typer.echo(f"{released} released" + (f", {moved_on} moved on by themselves" if moved_on else ""))


async def _retried(connection: AsyncConnection, row: DeliveryRow) -> DeliveryRow:
    from trabecula.delivery import listing

    return await listing.retry_delivery(connection, row.delivery_id, datetime.now(UTC))


@app.command("cancel", epilog=EPILOG)
@exits_with_code
def cancel(delivery: Id, as_json: Json = False) -> None:
    """See that it is not sent; a newer version of the same result is sent all the same."""
    from trabecula.delivery import listing

    async def stop(database: Database) -> DeliveryRow:
        return await _one(database, lambda each: listing.cancel_delivery(each, str(delivery), datetime.now(UTC)))

    row = _run(stop)
    typer.echo(json.dumps(_document(row), indent=2) if as_json else f"{row.delivery_id} {row.state.value}")


async def _one(database: Database, act: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async with database.transaction() as connection:
        return await act(connection)


def _run(act: Callable[[Database], Awaitable[T]]) -> T:
    from trabecula.config import load_settings
    from trabecula.work.database import open_database

    async def run() -> T:
        async with open_database(load_settings()) as database:
            return await act(database)

    return asyncio.run(run())


def _filter(
    destination: str | None,
    states: list[DeliveryState] | None,
    reason: str | None,
    screening: UUID | None,
    since: datetime | None,
) -> Filter:
    from trabecula.delivery.listing import Filter

    return Filter(
        destination,
        tuple(states or ()),
        reason,
        None if screening is None else str(screening),
        None if since is None else since.replace(tzinfo=UTC) if since.tzinfo is None else since,
    )


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in document.items()}


def _document(row: DeliveryRow) -> dict[str, Any]:
    return _plain(asdict(row))


def _print_rows(rows: list[DeliveryRow]) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table()
    table.add_column("delivery", no_wrap=True, min_width=36)
    for name in ("to", "what", "state", "tries", "made", "next or end", "why"):
        table.add_column(name)
    for row in rows:
        at = row.ended_at or (row.due_at if row.state is DeliveryState.PENDING else None)
        why = " ".join(str(each) for each in (row.reason or row.way or "", row.status or "") if each)
        table.add_row(
            row.delivery_id,
            row.destination,
            row.topic,
            row.state.value,
            str(row.attempt),
            f"{row.created_at:%m-%d %H:%M}",
            "" if at is None else f"{at:%m-%d %H:%M:%S}",
            why,
        )
    console().print(table)


def _print_attempts(attempts: list[AttemptRow]) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("attempt", "started (UTC)", "ended with", "why", "status")
    for each in attempts:
        table.add_row(
            str(each.attempt),
            f"{each.started_at:%Y-%m-%d %H:%M:%S}",
            each.step or "goes on",
            each.reason or "",
            str(each.status or ""),
        )
    console().print(table)
    for each in attempts:
        if each.outcome is not None:
            typer.echo(f"answer to attempt {each.attempt}:")
            typer.echo(json.dumps(each.outcome, indent=2, ensure_ascii=False))
