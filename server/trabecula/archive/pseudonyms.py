"""Names for studies in results that nobody outside can turn back: a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trabecula.errors import SiteFileError

SALT_FILE: Final = "salt.key"
SALT_BYTES: Final = 32
SHOWN_DIGITS: Final = 32
"""Hexadecimal digits of a pseudonym: 128 bits."""


@dataclass(frozen=True)
class Pseudonyms:
    """HMAC-SHA-256 under the campaign's salt. Who has the salt can tell whether a UID he knows is in the results."""

    salt: bytes
    keep_uids: bool = False
    """Leave UIDs and references as they are."""

    def of(self, what: str, value: str) -> str:
        """The pseudonym of an identifier.

        Args:
            what: kind of identifier; equal texts of two kinds get unlike pseudonyms.
        """
        mark = hmac.new(self.salt, os.fsencode(f"{what}\0{value}"), hashlib.sha256)
        return mark.hexdigest()[:SHOWN_DIGITS]

    def uid(self, what: str, value: str) -> str:
        """The same, or the UID itself where it is to be kept."""
        return value if self.keep_uids else self.of(what, value)


def read_salt(path: Path) -> bytes:
    """The salt in a file: 16 bytes or more, blanks at its ends left out.

    Raises:
        SiteFileError: if it cannot be read or is too short.
    """
    try:
        salt = path.read_bytes().strip()
    except OSError as error:
        raise SiteFileError("the salt file cannot be read") from error
    if len(salt) < 16:
        raise SiteFileError("the salt is shorter than 16 bytes")
    return salt


def own_salt(folder: Path) -> bytes:
    """The campaign's own salt, made by whoever of its drivers comes first (0600)."""
    path = folder / SALT_FILE
    if not path.exists():
        draft = folder / f".{SALT_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(SALT_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, path)  # atomic, and never over one that is there
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return read_salt(path)
