"""Public keys of issuers: from an https address or a file, kept for a while, fetched once however many ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from trabecula.errors import OutboundRefused, Unauthenticated
from trabecula.outbound import get_limited
from trabecula.texts import parse_json

KEEP_S: Final = 600.0
"""How long keys are used before they are asked for anew."""
STALE_S: Final = 3600.0
"""How long old keys are used when the issuer does not answer."""
AGAIN_S: Final = 30.0
"""Least time between two fetches, whatever key ids tokens name."""
MAX_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8192
"""Checking a signature with a longer one takes long enough to keep others waiting."""

PublicKey = ECKey | RSAKey
CURVES: Final = {"ES256": "P-256", "ES384": "P-384"}


class _Listed:
    """One key of an issuer's list."""

    def __init__(self, jwk: dict[str, Any]) -> None:
        self.jwk = jwk

    @cached_property
    def imported(self) -> PublicKey:
        """Ready to check signatures; taken out of its JSON once. Raises Unauthenticated for one that is no key."""
        return _imported(self.jwk)


class KeySource:
    """The keys of one issuer."""

    def __init__(self, where: str, client: httpx.AsyncClient, now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        where: an https address, or the path of a file.
        client: calls out under the operator's policy (:func:`trabecula.outbound.guarded_client`).
        """
        self._where = where
        self._client = client
        self._now = now
        self._keys: tuple[_Listed, ...] = ()
        self._fetched_at = -float("inf")
        self._tried_at = -float("inf")
        self._lock = asyncio.Lock()

    async def key(self, algorithm: str, kid: str | None) -> PublicKey:
        """The key that a token names; without a name the only one that fits.

        Raises:
            Unauthenticated: if there is none.
        """
        if self._now() - self._fetched_at > KEEP_S or not self._fitting(algorithm, kid):
            await self._refresh(algorithm, kid)
        if self._now() - self._fetched_at > STALE_S:
            raise Unauthenticated("no keys of the issuer", why="keys of the issuer not to be had")
        found = self._fitting(algorithm, kid)
        if len(found) != 1:
            raise Unauthenticated(why="unknown key")
        return found[0].imported

    def _fitting(self, algorithm: str, kid: str | None) -> list[_Listed]:
        return [
            each for each in self._keys if (kid is None or each.jwk.get("kid") == kid) and _fits(each.jwk, algorithm)
        ]

    async def _refresh(self, algorithm: str, kid: str | None) -> None:
        async with self._lock:
            now = self._now()
            fresh = now - self._fetched_at <= KEEP_S
            if (fresh and self._fitting(algorithm, kid)) or now - self._tried_at < AGAIN_S:
                return  # somebody else has just asked
            self._tried_at = now
            try:
                self._keys = _parsed(await self._read())
                self._fetched_at = self._now()
            except (httpx.HTTPError, OutboundRefused, OSError, ValueError) as error:
                structlog.get_logger().warning("keys of an issuer cannot be read", fault=type(error).__name__)

    async def _read(self) -> bytes:
        if not self._where.startswith(("https://", "http://")):
            return await asyncio.to_thread(Path(self._where).read_bytes)
        accept = [("accept", "application/json")]
        response, body = await get_limited(self._client, self._where, max_bytes=MAX_BYTES, headers=accept)
        response.raise_for_status()
        return body


def _parsed(body: bytes) -> tuple[_Listed, ...]:
    document = parse_json(body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError("not a JWK Set")
    return tuple(_Listed(key) for key in keys if isinstance(key, dict))


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    """Whether a key may check this algorithm: of its kind and curve, and not meant for something else."""
    kind = key.get("kty") == "RSA" if algorithm.startswith("RS") else key.get("crv") == CURVES.get(algorithm)
    return bool(kind) and key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm


def _imported(key: dict[str, Any]) -> PublicKey:
    try:
        if key.get("kty") == "RSA":
            rsa = RSAKey.import_key(key)
            if not MIN_RSA_BITS <= rsa.public_key.key_size <= MOST_RSA_BITS:
                raise Unauthenticated(why="key too short or too long")
            return rsa
        return ECKey.import_key(key)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise Unauthenticated(why="unknown key") from error
