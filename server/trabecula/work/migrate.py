"""Alembic without an ini file: which revision a database is at, and the way forward and back.

Revisions are numbers in one line (0001, 0002, ...). A release only adds to the schema in the step before its code
needs it, so a database may be ahead of the program, never behind.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

FOLDER: Final = Path(__file__).resolve().parent / "migrations"
LOCK: Final = 0x7261_6265_6D69_6772
"""Advisory lock that two upgrades at once wait for."""


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, built in code. ``migrations/env.py`` takes the open connection from it."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def head() -> str:
    """The newest revision that this program knows."""
    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if revision is None:
        raise AssertionError("the package has no migrations")
    return revision


@cache
def revisions() -> tuple[str, ...]:
    """All revisions, oldest first."""
    walked = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return tuple(reversed([each.revision for each in walked]))


def current_revision(connection: Connection) -> str | None:
    """The revision a database is at; None for one without our tables."""
    return MigrationContext.configure(connection).get_current_revision()


def is_current(revision: str | None) -> bool:
    """Whether this program can work on tables of a revision: its own newest one, or a later release's."""
    return revision is not None and int(revision) >= int(head())


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the tables forward, in one transaction of the caller; does nothing when they are there already."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    revision = current_revision(connection)
    if to == "head" and is_current(revision):
        return
    command.upgrade(alembic_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Take the tables back to a revision, or to nothing with ``base``; what the later ones held is lost."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    command.downgrade(alembic_config(connection), to)
