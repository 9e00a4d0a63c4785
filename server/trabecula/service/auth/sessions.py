"""Sessions at the pages: a signed cookie that says who is signed in and until when, and the form token beside it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import astuple, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from itsdangerous import BadData, URLSafeSerializer

from trabecula.errors import ConfigurationError
from trabecula.service.auth.local_users import Person, Role
from trabecula.service.auth.oidc import SignIn

MIN_KEY_BYTES: Final = 32
SALT: Final = "trabecula-session-v2"
SIGN_IN_SALT: Final = "trabecula-sign-in-v1"
SIGN_IN_S: Final = 600.0
"""How long a sign-in at a provider may take."""


@dataclass(frozen=True)
class Session:
    """One signed-in person. The form token keeps other sites from sending forms in the person's name."""

    person: Person
    form_token: str
    ends_at_s: float
    """Unix time."""
    by_provider: bool = False
    """Whether an OpenID provider said who it is."""

    @property
    def digest(self) -> bytes:
        """What an ended session is remembered by."""
        return sha256(b"session " + self.form_token.encode()).digest()


class Sessions:
    """Makes and reads session cookies. Replicas share the key; a new key signs everybody out."""

    def __init__(self, key: bytes, lasts_s: float, now_s: Callable[[], float]) -> None:
        signer = {"digest_method": sha256}
        self._serializer = URLSafeSerializer(key, salt=SALT, signer_kwargs=signer)
        self._sign_ins = URLSafeSerializer(key, salt=SIGN_IN_SALT, signer_kwargs=signer)
        self._lasts_s = lasts_s
        self._now_s = now_s

    def begin(self, person: Person, *, by_provider: bool = False) -> tuple[Session, str]:
        """A new session and its cookie."""
        session = Session(person, secrets.token_urlsafe(24), self._now_s() + self._lasts_s, by_provider)
        roles = sorted(role.value for role in person.roles)
        return session, str(
            self._serializer.dumps([person.id, person.name, roles, session.form_token, session.ends_at_s, by_provider])
        )

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None when it is forged, damaged or over."""
        try:
            user_id, name, roles, form_token, ends_at_s, by_provider = self._serializer.loads(cookie)
            person = Person(user_id, name, frozenset(Role(role) for role in roles))
        except (BadData, ValueError, TypeError):
            return None
        return Session(person, form_token, ends_at_s, by_provider) if ends_at_s > self._now_s() else None

    def begin_sign_in(self, sign_in: SignIn) -> str:
        """The cookie of a sign-in at a provider."""
        return str(self._sign_ins.dumps([*astuple(sign_in), self._now_s() + SIGN_IN_S]))

    def read_sign_in(self, cookie: str) -> SignIn | None:
        """The sign-in of a cookie; None when it is forged, damaged or too old."""
        try:
            *values, ends_at_s = self._sign_ins.loads(cookie)
            sign_in = SignIn(*values)
        except (BadData, ValueError, TypeError):
            return None
        return sign_in if ends_at_s > self._now_s() else None


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
