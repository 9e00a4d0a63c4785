"""The service's own signing keys: private JWKs in a folder, their public halves as a JWK Set.

One file for each key, ``<kid>.json`` (RFC 7517) or ``<kid>.pem`` (PKCS #8, the file's name is the key id). The newest
key that has come into force signs; the set shows every key that is not retired, so that a new key can be fetched by
others before it is used, and what an old one signed can still be checked. A retired key lies in ``retired/``.

Two members beside those of RFC 7517: ``iat`` says when the key was made and ``nbf`` from when on it signs, both in
seconds since 1970.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from trabecula.errors import LastSigningKey, SigningKeyMissing, SigningKeyUnusable, UnknownSigningKey
from trabecula.texts import parse_json

RETIRED: Final = "retired"
RSA_BITS: Final = 3072
_FILE: Final = re.compile(r"(?P<kid>[A-Za-z0-9_\-]{1,128})\.(json|pem)")
_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e", "kid", "alg", "use")


class SigningAlgorithm(StrEnum):
    """What SMART App Launch 2 asks of a client: both must be supported by servers."""

    ES384 = "ES384"
    RS384 = "RS384"


@dataclass(frozen=True)
class SigningKey:
    """A private key. Never logged or shown; :attr:`public` is what may go out."""

    kid: str
    algorithm: SigningAlgorithm
    made_at: datetime
    in_force_from: datetime
    private: ECKey | RSAKey

    def __repr__(self) -> str:
        return f"SigningKey({self.kid}, {self.algorithm.value})"

    @property
    def public(self) -> dict[str, Any]:
        """Its JWK without the private members."""
        document = self.private.as_dict(private=False)
        known = {**document, "kid": self.kid, "alg": self.algorithm.value, "use": "sig"}
        return {name: known[name] for name in _PUBLIC if name in known}


def read_keys(folder: Path) -> tuple[SigningKey, ...]:
    """The keys that are not retired, newest first. None for an empty folder.

    Raises:
        SigningKeyUnusable: if the folder or a key in it cannot be read; names the file.
    """
    try:
        # Kubernetes puts a mounted secret's files behind links whose names begin with two dots
        files = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name) and path.is_file())
        found = [_read(path) for path in files]
    except OSError as error:
        raise SigningKeyUnusable(f"{type(error).__name__} in the folder of keys", folder=folder.name) from error
    if len({key.kid for key in found}) != len(found):
        raise SigningKeyUnusable(why="two keys of one id")
    return tuple(sorted(found, key=lambda key: (key.in_force_from, key.made_at, key.kid), reverse=True))


def _read(path: Path) -> SigningKey:
    made = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    name = _FILE.fullmatch(path.name)
    kid = name["kid"] if name else path.stem
    try:
        text = path.read_text(encoding="ascii")
        document: dict[str, Any] = parse_json(text) if path.suffix == ".json" else {}
        rsa = document.get("kty") == "RSA" if document else _is_rsa(text)
        key = RSAKey.import_key(document or text) if rsa else ECKey.import_key(document or text)
        algorithm = SigningAlgorithm(document.get("alg") or ("RS384" if rsa else "ES384"))
        at = [_moment(document.get(member), made) for member in ("iat", "nbf")]
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise SigningKeyUnusable(f"{type(error).__name__}", file=path.name) from None
    if not key.is_private:
        raise SigningKeyUnusable(file=path.name, why="not a private EC or RSA key")
    if (algorithm is SigningAlgorithm.ES384) != (isinstance(key, ECKey) and key.curve_name == "P-384"):
        raise SigningKeyUnusable(file=path.name, why="ES384 needs P-384, RS384 needs RSA")
    return SigningKey(str(document.get("kid") or kid), algorithm, at[0], at[1], key)


def _is_rsa(pem: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)


def _moment(value: object, otherwise: datetime) -> datetime:
    return otherwise if value is None else datetime.fromtimestamp(int(str(value)), UTC)


def signing_key(
    keys: Sequence[SigningKey], now: datetime, allowed: Sequence[str] = tuple(SigningAlgorithm)
) -> SigningKey:
    """The newest key that is in force, of an algorithm the other side takes.

    Raises:
        SigningKeyMissing: if there is none.
    """
    for key in keys:
        if key.in_force_from <= now and key.algorithm.value in allowed:
            return key
    raise SigningKeyMissing(keys=len(keys))


def public_jwks(folder: Path | None) -> dict[str, Any]:
    """The JWK Set to publish; empty without a folder. Raises as :func:`read_keys` does."""
    return {"keys": [] if folder is None else [key.public for key in read_keys(folder)]}


def generate_key(folder: Path, algorithm: SigningAlgorithm, now: datetime, in_force_from: datetime) -> SigningKey:
    """Make a key and keep it, readable by its owner alone."""
    made = (
        ECKey.generate_key("P-384", private=True)
        if algorithm is SigningAlgorithm.ES384
        else RSAKey.generate_key(RSA_BITS, private=True)
    )
    kid = f"{now:%Y%m%d}-{made.thumbprint()[:16]}"
    times = {"iat": int(now.timestamp()), "nbf": int(in_force_from.timestamp())}
    document = {**made.as_dict(private=True), "kid": kid, "alg": algorithm.value, "use": "sig", **times}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{kid}.json"
    temporary = folder / f".{kid}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        json.dump(document, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    return _read(path)


def retire_key(folder: Path, kid: str) -> None:
    """Take a key out of use and out of the published set; its file moves to ``retired/``.

    Raises:
        UnknownSigningKey: if there is none of that id.
        LastSigningKey: if it is the only one.
    """
    keys = read_keys(folder)
    if kid not in {key.kid for key in keys}:
        raise UnknownSigningKey
    if len(keys) == 1:
        raise LastSigningKey
    path = next(path for path in folder.iterdir() if _FILE.fullmatch(path.name) and _read(path).kid == kid)
    away = folder / RETIRED
    away.mkdir(mode=0o700, exist_ok=True)
    path.rename(away / path.name)
