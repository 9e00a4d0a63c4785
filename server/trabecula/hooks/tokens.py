"""Who calls: the JWT that CDS Hooks asks of clients on every call (https://cds-hooks.hl7.org/2.0/#trusting-cds-clients).

A token counts once. It must be signed by a key of the EHR that its issuer is, name the called address as its audience,
and be in its time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from trabecula.errors import ClientNotTrusted
from trabecula.hooks.clients import ALGORITHMS, Client

Key = ECKey | RSAKey
MAX_TOKEN_CHARACTERS: Final = 8192
MAX_JTI_CHARACTERS: Final = 512
_REGISTRY: Final = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
_REGISTRY.max_header_length = 4096


class Once(Protocol):
    """Remembers tokens; shared by all replicas."""

    async def __call__(self, digest: bytes, expires_at: datetime) -> bool:
        """True for a digest that was not there before; it is kept until it expires."""


class Keys(Protocol):
    """The public keys at one address: kept for a while, fetched once however many wait, renewed when they rotate."""

    async def key(self, algorithm: str, kid: str | None) -> Key:
        """The key of that name and kind.

        Raises:
            Unauthenticated: if there is none, or the keys cannot be had.
        """


@dataclass(frozen=True)
class _Token:
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: jws.CompactSignature


class TokenChecker:
    """Checks tokens against the clients of the site."""

    def __init__(
        self,
        clients: Sequence[Client],
        keys_at: Callable[[str], Keys],
        once: Once,
        *,
        clock_skew_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args:
        clients: of the site.
        keys_at: keys at an https address or in a file; called once for each that the clients list, never for an
            address out of a token.
        once: remembers used tokens.
        """
        self._clients = {client.iss: client for client in clients}
        self._keys = {where: keys_at(where) for client in clients for where in _places(client)}
        self._once = once
        self._skew_s = clock_skew_s
        self._clock = clock

    async def __call__(self, token: str, audience: str) -> Client:
        """The client that a token is of.

        Args:
            audience: the address that was called, as clients know it.

        Raises:
            Unauthenticated: with a reason that gives nothing away of what is configured.
        """
        parsed = _parsed(token)
        client = self._clients.get(_text(parsed.claims, "iss"))
        if client is None:
            raise ClientNotTrusted(why="issuer not known")
        algorithm = _text(parsed.header, "alg")
        if algorithm not in client.algorithms:
            raise ClientNotTrusted(why="algorithm not accepted")
        key = await self._key(client, parsed.header, algorithm)
        _check_signature(parsed.signed, key, algorithm)
        expires_at = self._check_claims(client, parsed.claims, audience)
        digest = hashlib.sha256(json.dumps([client.iss, parsed.claims["jti"]]).encode()).digest()
        if not await self._once(digest, datetime.fromtimestamp(expires_at + self._skew_s, UTC)):
            raise ClientNotTrusted(why="token used before")
        return client

    async def _key(self, client: Client, header: Mapping[str, Any], algorithm: str) -> Key:
        kid, jku = _text(header, "kid"), header.get("jku")
        if jku is not None and jku not in client.jku:
            raise ClientNotTrusted(why="key address not listed")
        places = _places(client) if jku is None or client.jwks_file is not None else (str(jku),)
        if len(places) > 1:
            raise ClientNotTrusted(why="key address not named")
        return await self._keys[places[0]].key(algorithm, kid)

    def _check_claims(self, client: Client, claims: Mapping[str, Any], audience: str) -> float:
        """When the token expires, in seconds since 1970."""
        named = claims.get("aud")
        if audience != named and not (isinstance(named, list) and audience in named):
            raise ClientNotTrusted(why="audience is another address")
        if not 0 < len(_text(claims, "jti")) <= MAX_JTI_CHARACTERS:
            raise ClientNotTrusted(why="jti missing or too long")
        now = self._clock()
        expires_at, issued_at = _moment(claims, "exp"), _moment(claims, "iat")
        not_before = _moment(claims, "nbf") if "nbf" in claims else issued_at
        if now >= expires_at + self._skew_s:
            raise ClientNotTrusted(why="expired")
        if max(issued_at, not_before) > now + self._skew_s:
            raise ClientNotTrusted(why="not yet valid")
        if expires_at > now + client.max_token_lifetime_s + self._skew_s:
            raise ClientNotTrusted(why="valid for too long")
        return expires_at


def _parsed(token: str) -> _Token:
    """A token taken apart; nothing in it is believed yet."""
    if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise ClientNotTrusted(why="malformed")
    try:
        signed = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY)
        header = signed.headers()
        claims = json.loads(signed.payload)
    except (JoseError, ValueError, RecursionError):
        raise ClientNotTrusted(why="malformed") from None
    # No extension of JWS is understood here, so one that must be understood (RFC 7515, 4.1.11) makes it unreadable.
    if not isinstance(claims, dict) or "crit" in header or "b64" in header:
        raise ClientNotTrusted(why="malformed")
    return _Token(header, claims, signed)


def _check_signature(signed: jws.CompactSignature, key: Key, algorithm: str) -> None:
    try:
        good = jws.validate_compact(signed, key, algorithms=[algorithm], registry=_REGISTRY)
    except (JoseError, ValueError):
        good = False
    if not good:
        raise ClientNotTrusted(why="signature")


def _places(client: Client) -> tuple[str, ...]:
    """Where a client's keys are: its own file alone, when it has one."""
    return client.jku if client.jwks_file is None else (str(client.jwks_file),)


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise ClientNotTrusted(why=f"{name} missing")
    return value


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ClientNotTrusted(why=f"{name} missing")
    return float(value)
