"""``trabecula users``: the people who may sign in at the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code

app = typer.Typer(help="People who may sign in at the pages, in a file of their own.", no_args_is_help=True)

ADD_EPILOG = f"""[bold]Examples[/bold]

  trabecula users add users.toml ada --name "Dr. Ada Example" --role radiologist

  trabecula users add users.toml demo --name Demo --role radiologist --role programme --password-file password

The service reads the file named in TRABECULA_USERS_FILE when it starts. Passwords are kept as argon2id hashes.

{EXIT_CODES_HELP}"""

UsersFile = Annotated[Path, typer.Argument(help="The TOML file; made when it is not there.")]


@app.command("add", epilog=ADD_EPILOG)
@exits_with_code
def add(
    users_file: UsersFile,
    user_id: Annotated[str, typer.Argument(help="What the person types to sign in.")],
    name: Annotated[str, typer.Option("--name", help="As it stands under signed results.")],
    role: Annotated[
        list[str], typer.Option("--role", help="viewer, radiologist, programme or auditor; may be repeated.")
    ],
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File with the password; asked for when not given.")
    ] = None,
) -> None:
    """Add a person."""
    from trabecula.errors import ConfigurationError
    from trabecula.service.auth.local_users import Role, read_users, users_entry

    try:
        roles = [Role(each) for each in role]
    except ValueError:
        raise ConfigurationError(role="unknown", one_of=", ".join(each.value for each in Role)) from None
    if users_file.exists() and user_id in read_users(users_file):
        raise ConfigurationError(user=user_id, must_be="a new one; delete its table from the file first")
    if password_file is not None:
        password = password_file.read_text(encoding="utf-8").strip()
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    entry = users_entry(user_id, name, roles, password)
    users_file.touch(mode=0o600)
    with users_file.open("a", encoding="utf-8") as stream:
        stream.write(("\n" if stream.tell() else "") + entry)
    read_users(users_file)


@app.command("list")
@exits_with_code
def list_users(users_file: UsersFile, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Show who is in the file."""
    import json

    from rich.table import Table

    from trabecula.cli.terminal import console
    from trabecula.service.auth.local_users import read_users

    people = [user.person for user in read_users(users_file).values()]
    if as_json:
        rows = [{"id": p.id, "name": p.name, "roles": sorted(role.value for role in p.roles)} for p in people]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    table = Table("Id", "Name", "Roles")
    for person in people:
        table.add_row(person.id, person.name, ", ".join(sorted(role.value for role in person.roles)))
    console().print(table)
