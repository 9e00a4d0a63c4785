"""SMART Backend Services: an access token for a destination (https://hl7.org/fhir/smart-app-launch/backend-services.html).

The assertion goes to the token endpoint and the token to the destination's own host; neither is ever logged, shown, or
sent anywhere else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from joserfc import jwt

from trabecula.delivery.answers import Answer, Setback, Verdict, retry_after_s
from trabecula.delivery.destinations import SmartAuth, authority
from trabecula.delivery.transport import Transport
from trabecula.errors import SigningKeyMissing, SigningKeyUnusable
from trabecula.keys import SigningAlgorithm, SigningKey, read_keys, signing_key

Json = dict[str, Any]
Clock = Callable[[], datetime]

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE: Final = timedelta(minutes=4)
"""Servers refuse more than five minutes; one is left for clocks that differ."""
EARLY: Final = timedelta(seconds=60)
"""A token is not used any more this long before its end."""
ASSUMED_LIFE: Final = timedelta(seconds=300)
"""When the server does not say; the guide asks for no more."""
_OURS_TO_MEND: Final = {
    "invalid_client": "invalid-client",
    "unauthorized_client": "unauthorized-client",
    "invalid_scope": "invalid-scope",
    "invalid_request": "token-request-refused",
    "unsupported_grant_type": "token-request-refused",
    "invalid_grant": "token-request-refused",
}


@dataclass(frozen=True)
class AccessToken:
    value: str = field(repr=False)
    use_until: datetime
    """A minute before its end, or half its life where that is longer."""


@dataclass(frozen=True)
class TokenEndpoint:
    url: str
    algorithms: tuple[str, ...]


@dataclass
class TokenSource:
    """The token of one destination: fetched once for all who wait for it, kept until shortly before its end."""

    base_url: str
    auth: SmartAuth
    key_folder: Path
    transport: Transport
    clock: Clock
    _token: AccessToken | None = field(default=None, repr=False)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def token(self, refused: str | None = None) -> str:
        """The token to send.

        Args:
            refused: a token that the server has just refused; another one is fetched unless that has happened already.

        Raises:
            Setback: RETRY when the endpoint does not answer, PARK when our registration or key has to be mended.
        """
        async with self._one_at_a_time:
            kept = self._token
            if kept is not None and self.clock() < kept.use_until and kept.value != refused:
                return kept.value
            self._token = None
            self._token = await self._fetch()
            return self._token.value

    async def _fetch(self) -> AccessToken:
        endpoint = await self.endpoint()
        now = self.clock()
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self.auth.scopes),
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(self._key(endpoint, now), self.auth.client_id, endpoint.url, now),
        }
        answer = await self.transport.send("POST", endpoint.url, form=form, headers={"accept": "application/json"})
        return token_in(answer, self.clock())

    def _key(self, endpoint: TokenEndpoint, now: datetime) -> SigningKey:
        try:
            # Read anew for each token, so that a rotated key needs no restart
            return signing_key(read_keys(self.key_folder), now, endpoint.algorithms)
        except SigningKeyMissing as error:
            raise Setback(Verdict.PARK, "signing-key-missing") from error
        except SigningKeyUnusable as error:
            raise Setback(Verdict.PARK, "signing-key-unusable") from error

    async def endpoint(self) -> TokenEndpoint:
        """Where to ask, by the settings or by discovery.

        Raises:
            Setback: as :meth:`token`; PARK when the endpoint lies on a host that the site has not named.
        """
        known = tuple(each.value for each in SigningAlgorithm)
        if self.auth.token_url is not None:
            return TokenEndpoint(self.auth.token_url, known)
        url = f"{self.base_url.rstrip('/')}/.well-known/smart-configuration"
        answer = await self.transport.send("GET", url, headers={"accept": "application/json"})
        if answer.status != 200 or answer.body is None:
            raise _discovery_failed(answer, self.clock())
        found = answer.body
        endpoint = found.get("token_endpoint")
        if not isinstance(endpoint, str) or not self._is_ours(endpoint):
            raise Setback(Verdict.PARK, "token-endpoint-not-allowed")
        listed = found.get("token_endpoint_auth_signing_alg_values_supported")
        algorithms = tuple(str(each) for each in listed) if isinstance(listed, list) and listed else known
        return TokenEndpoint(endpoint, algorithms)

    def _is_ours(self, endpoint: str) -> bool:
        """On the server's own host or one that the site has named; the transport's policy is looked at besides."""
        allowed = {authority(self.base_url), *self.auth.token_hosts}
        try:
            where = authority(endpoint)
        except ValueError:
            return False
        return where in allowed or where.rpartition(":")[0] in self.auth.token_hosts


def assertion(key: SigningKey, client_id: str, audience: str, now: datetime) -> str:
    """The signed JWT by which we say who we are."""
    header = {"alg": key.algorithm.value, "kid": key.kid, "typ": "JWT"}
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": int(now.timestamp()),
        "exp": int((now + ASSERTION_LIFE).timestamp()),
        "jti": secrets.token_urlsafe(24),
    }
    return jwt.encode(header, claims, key.private, algorithms=[key.algorithm.value])


def token_in(answer: Answer, now: datetime) -> AccessToken:
    """The token of an endpoint's answer.

    Raises:
        Setback: by RFC 6749 5.2: an error of ours parks, anything else may pass.
    """
    body = answer.body or {}
    value = body.get("access_token")
    if answer.status == 200 and isinstance(value, str) and value.isascii() and value.isprintable() and value:
        if str(body.get("token_type", "bearer")).lower() != "bearer":
            raise Setback(Verdict.PARK, "token-type-unknown")
        life = _seconds(body.get("expires_in"))
        return AccessToken(value, now + max(life - EARLY, life / 2))
    error = body.get("error")
    if answer.status in (400, 401, 403) and isinstance(error, str):
        if error in _OURS_TO_MEND:
            raise Setback(Verdict.PARK, _OURS_TO_MEND[error], status=answer.status)
        if error not in ("server_error", "temporarily_unavailable", "slow_down"):
            raise Setback(Verdict.PARK, "token-request-refused", status=answer.status)
    wait = retry_after_s(answer.retry_after, now)
    raise Setback(Verdict.RETRY, "token-endpoint-failed", status=answer.status, retry_after_s=wait)


def _seconds(value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 86_400 * 30:
        return ASSUMED_LIFE
    return timedelta(seconds=float(value))


def _discovery_failed(answer: Answer, now: datetime) -> Setback:
    if answer.status in (404, 410):
        return Setback(Verdict.PARK, "no-smart-configuration", status=answer.status)
    wait = retry_after_s(answer.retry_after, now)
    return Setback(Verdict.RETRY, "smart-configuration-failed", status=answer.status, retry_after_s=wait)
