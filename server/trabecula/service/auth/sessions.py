"""Sessions at the pages: a signed cookie that says who is signed in and until when, and the form token beside it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from itsdangerous import BadData, URLSafeSerializer

from trabecula.errors import ConfigurationError
from trabecula.service.auth.local_users import Person, Role

MIN_KEY_BYTES: Final = 32
SALT: Final = "trabecula-session-v1"


@dataclass(frozen=True)
class Session:
    """One signed-in person. The form token keeps other sites from sending forms in the person's name."""

    person: Person
    form_token: str
    ends_at_s: float
    """Unix time."""


class Sessions:
    """Makes and reads session cookies. Replicas share the key; a new key signs everybody out."""

    def __init__(self, key: bytes, lasts_s: float, now_s: Callable[[], float]) -> None:
        self._serializer = URLSafeSerializer(key, salt=SALT, signer_kwargs={"digest_method": _sha256})
        self._lasts_s = lasts_s
        self._now_s = now_s

    def begin(self, person: Person) -> tuple[Session, str]:
        """A new session and its cookie."""
        session = Session(person, secrets.token_urlsafe(24), self._now_s() + self._lasts_s)
        roles = sorted(role.value for role in person.roles)
        return session, str(
            self._serializer.dumps([person.id, person.name, roles, session.form_token, session.ends_at_s])
        )

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None when it is forged, damaged or over."""
        try:
            user_id, name, roles, form_token, ends_at_s = self._serializer.loads(cookie)
            person = Person(user_id, name, frozenset(Role(role) for role in roles))
        except (BadData, ValueError, TypeError):
            return None
        return Session(person, form_token, ends_at_s) if ends_at_s > self._now_s() else None


def same_token(session: Session, sent: str) -> bool:
    """Whether a form carries the session's own token."""
    return secrets.compare_digest(session.form_token.encode(), sent.encode())


def session_key(path: Path | None) -> bytes:
    """Key from its file; a fresh one for this process when no file is named.

    Raises:
        ConfigurationError: for a file that cannot be read or holds too little.
    """
    if path is None:
        return secrets.token_bytes(MIN_KEY_BYTES)
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(setting="TRABECULA_SESSION_KEY_FILE", must_be="readable") from error
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(setting="TRABECULA_SESSION_KEY_FILE", at_least_bytes=MIN_KEY_BYTES)
    return key


def _sha256(data: bytes = b"") -> object:
    import hashlib

    return hashlib.sha256(data)
