"""People who sign in at the pages with a password of their own, from a file the operator keeps.

Meant for a demonstration or a small site; larger ones sign in through their identity provider.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from trabecula.errors import ConfigurationError
from trabecula.texts import parse_toml

MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 256
_HASHER: Final = PasswordHasher()  # argon2id with the library's own parameters (RFC 9106, second choice)


class Role(StrEnum):
    """What a person at the pages may do."""

    VIEWER = "viewer"
    """Reads results."""
    RADIOLOGIST = "radiologist"
    """Reads results and signs them."""
    PROGRAMME = "programme"
    """Reads results and works on the recall list."""
    AUDITOR = "auditor"
    """Reads who accessed what."""


@dataclass(frozen=True)
class Person:
    """Who is signed in."""

    id: str
    name: str
    roles: frozenset[Role]

    def may(self, *roles: Role) -> bool:
        """Whether the person has one of the roles."""
        return not self.roles.isdisjoint(roles)


@dataclass(frozen=True)
class LocalUser:
    person: Person
    password_hash: str


Users = Mapping[str, LocalUser]


def read_users(path: Path) -> Users:
    """Users of a TOML file: one table ``[user.<id>]`` each with ``name``, ``roles`` and ``password_hash``.

    Raises:
        ConfigurationError: naming the entry that cannot be used.
    """
    try:
        document = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(setting="TRABECULA_USERS_FILE", must_be="a readable TOML file") from error
    entries = document.pop("user", {})
    if document or not isinstance(entries, dict):
        raise ConfigurationError(setting="TRABECULA_USERS_FILE", must_be="tables [user.<id>] alone")
    return {name: _user(name, entry) for name, entry in entries.items()}


def _user(name: str, entry: object) -> LocalUser:
    try:
        known = dict(entry)  # type: ignore[call-overload]
        person = Person(name, str(known.pop("name")), frozenset(Role(role) for role in known.pop("roles")))
        hashed = str(known.pop("password_hash"))
        _HASHER.check_needs_rehash(hashed)
    except (KeyError, TypeError, ValueError, InvalidHashError) as error:
        raise ConfigurationError(users_file_entry=name, must_be="name, roles and an argon2 password_hash") from error
    if known or not person.name.strip() or not person.roles:
        raise ConfigurationError(users_file_entry=name, must_be="name, roles and password_hash alone")
    return LocalUser(person, hashed)


def hash_password(password: str) -> str:
    """What goes into the file.

    Raises:
        ConfigurationError: for a password that is too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise ConfigurationError(
            password="length",  # noqa: S106 - what is wrong with it  # nosec B106
            at_least=MIN_PASSWORD,
            at_most=MAX_PASSWORD,
        )
    return _HASHER.hash(password)


def users_entry(user_id: str, name: str, roles: Collection[Role], password: str) -> str:
    """A table for the users file. Raises ConfigurationError for a password that cannot be used."""
    import json

    listed = ", ".join(f'"{role.value}"' for role in sorted(roles))
    quoted = json.dumps(user_id), json.dumps(name), json.dumps(hash_password(password))
    return f"[user.{quoted[0]}]\nname = {quoted[1]}\nroles = [{listed}]\npassword_hash = {quoted[2]}\n"


def person_with(users: Users, user_id: str, password: str) -> Person | None:
    """The person with that id and password. An unknown id takes as long as a wrong password."""
    if len(password) > MAX_PASSWORD:
        return None
    user = users.get(user_id)
    try:
        _HASHER.verify(user.password_hash if user else _decoy(), password)
    except VerificationError:
        return None
    return user.person if user else None


@cache
def _decoy() -> str:
    import secrets

    return _HASHER.hash(secrets.token_hex(32))
