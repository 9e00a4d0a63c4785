"""``trabecula keys``: the keys with which the service signs when it asks an EHR for access."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code
from trabecula.errors import ConfigurationError
from trabecula.keys import SigningAlgorithm

if TYPE_CHECKING:
    from trabecula.keys import SigningKey

EPILOG = f"""[bold]Examples[/bold]

trabecula keys generate --folder /etc/trabecula/keys

trabecula keys generate --algorithm RS384 --in-force-after 86400

trabecula keys list --json

trabecula keys retire T1tvIt6AZjkAM40aI6wrbK2LMPp6heSOyV97xh8UexY

The newest key in force signs. Let a new one come into force only after every EHR has fetched the key set again, and
retire the old one when nothing it signed is in use any more (an assertion lives five minutes).

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="Signing keys of this service (SMART Backend Services).",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Folder of the keys, default TRABECULA_CLIENT_KEYS_DIR.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@app.command("generate", epilog=EPILOG)
@exits_with_code
def generate(
    folder: Folder = None,
    algorithm: Annotated[
        SigningAlgorithm, typer.Option("--algorithm", help="ES384, or RS384 for servers that know no other.")
    ] = SigningAlgorithm.ES384,
    in_force_after: Annotated[
        int | None,
        typer.Option(
            "--in-force-after",
            min=0,
            help="Seconds until it signs; default 0 for the first key and a day for a further one.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key; its private half never leaves the folder."""
    from trabecula.keys import generate_key, read_keys

    where = _folder(folder)
    others = read_keys(where) if where.is_dir() else ()
    now = datetime.now(UTC)
    wait = in_force_after if in_force_after is not None else (86_400 if others else 0)
    _show([generate_key(where, algorithm, now, now + timedelta(seconds=wait))], now, as_json)


@app.command("list", epilog=EPILOG)
@exits_with_code
def list_keys(folder: Folder = None, as_json: Json = False) -> None:
    """Every key that is published, and which one signs."""
    from trabecula.keys import read_keys

    _show(read_keys(_folder(folder)), datetime.now(UTC), as_json)


@app.command("retire", epilog=EPILOG)
@exits_with_code
def retire(
    kid: Annotated[str, typer.Argument(help="Key id, as `list` shows it.", show_default=False)],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Stop signing with a key and stop publishing it."""
    from trabecula.keys import read_keys, retire_key

    where = _folder(folder)
    retire_key(where, kid)
    _show(read_keys(where), datetime.now(UTC), as_json)


def _show(keys: list[SigningKey] | tuple[SigningKey, ...], now: datetime, as_json: bool) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    signing = next((key.kid for key in keys if key.in_force_from <= now), None)
    if as_json:
        typer.echo(json.dumps([_document(key, signing) for key in keys], indent=2))
        return
    table = Table("key id", "algorithm", "made", "in force from", "signs")
    for key in keys:
        moments = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (key.made_at, key.in_force_from))
        table.add_row(key.kid, key.algorithm.value, *moments, "yes" if key.kid == signing else "")
    console().print(table)


def _document(key: SigningKey, signing: str | None) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": key.algorithm.value,
        "made_at": key.made_at.isoformat(),
        "in_force_from": key.in_force_from.isoformat(),
        "signs": key.kid == signing,
        "public": key.public,
    }


def _folder(given: Path | None) -> Path:
    from trabecula.config import load_settings

    folder = given or load_settings().client_keys_dir
    if folder is None:
        raise ConfigurationError(setting="TRABECULA_CLIENT_KEYS_DIR", must_be="a folder, or give --folder")
    return folder
