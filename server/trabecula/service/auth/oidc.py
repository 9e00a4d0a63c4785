"""People of the pages sign in at an OpenID provider: authorization code flow with PKCE (OpenID Connect Core 3.1,
RFC 7636, RFC 9207). What the provider says of a person becomes a role here, or nobody gets in."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError

from trabecula.errors import (
    OutboundRefused,
    RoleMissing,
    SignInFailed,
    SigningKeyMissing,
    SigningKeyUnusable,
    SignInUnavailable,
    Unauthenticated,
)
from trabecula.keys import SigningAlgorithm, read_keys, signing_key
from trabecula.outbound import get_limited, send_form
from trabecula.service.auth.jwks import KeySource
from trabecula.service.auth.local_users import Person, Role
from trabecula.service.auth.tokens import ALGORITHMS, MAX_CHARACTERS, opened
from trabecula.texts import is_storable, parse_foreign_json

MAX_ANSWER_BYTES: Final = 256 * 1024
DISCOVERY_S: Final = 600.0
"""How long the provider's own description is used."""
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S: Final = 60

Json = dict[str, Any]


@dataclass(frozen=True)
class OidcOptions:
    """The provider, and what this service is there."""

    issuer: str
    client_id: str
    secret: str | None
    """None signs with a key of ``keys_dir`` instead."""
    keys_dir: Path | None
    scopes: str
    roles_claim: str
    roles: Mapping[str, Role]
    """Values of the claim, and what they mean here."""
    clock_skew_s: float = 30.0

    def __repr__(self) -> str:
        return f"OidcOptions({self.issuer}, {self.client_id})"


@dataclass(frozen=True)
class SignIn:
    """One sign-in under way; the browser that began it keeps it in a signed cookie."""

    state: str
    nonce: str
    verifier: str
    target: str
    """Page to go to afterwards."""

    @classmethod
    def begin(cls, target: str) -> SignIn:
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), target)

    @property
    def challenge(self) -> str:
        """PKCE, S256."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class OpenIdProvider:
    """One provider as this service sees it."""

    def __init__(self, options: OidcOptions, client: httpx.AsyncClient, now_s: Callable[[], float] = time.time) -> None:
        """Args:
        client: calls out under the operator's policy (:func:`trabecula.outbound.guarded_client`).
        now_s: Unix time.
        """
        self._options = options
        self._client = client
        self._now_s = now_s
        self._description: Json | None = None
        self._described_at = -float("inf")
        self._keys: KeySource | None = None

    @property
    def host(self) -> str:
        """For the button."""
        return urlsplit(self._options.issuer).hostname or ""

    async def address(self, sign_in: SignIn, redirect_uri: str) -> str:
        """Where to send the browser. Raises SignInUnavailable."""
        options = self._options
        query = {
            "response_type": "code",
            "client_id": options.client_id,
            "redirect_uri": redirect_uri,
            "scope": options.scopes,
            "state": sign_in.state,
            "nonce": sign_in.nonce,
            "code_challenge": sign_in.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(await self._endpoint("authorization_endpoint"), query)

    async def person(self, answer: Mapping[str, str], sign_in: SignIn, redirect_uri: str) -> Person:
        """Who has signed in.

        Args:
            answer: parameters that the browser came back with.

        Raises:
            SignInFailed: if the answer is not one to this sign-in, or what the provider says does not hold.
            SignInUnavailable: if the provider does not answer.
            RoleMissing: if the person has no role here.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), sign_in.state.encode()):
            raise SignInFailed(why="state")
        named = answer.get("iss")
        if (await self._describe()).get("authorization_response_iss_parameter_supported") is True and named is None:
            raise SignInFailed(why="issuer")
        if named not in (None, self._options.issuer):
            raise SignInFailed(why="issuer")
        if "error" in answer or not answer.get("code"):
            raise SignInFailed(why="refused by the provider")
        tokens = await self._redeem(answer["code"], sign_in, redirect_uri)
        claims = await self._checked(str(tokens.get("id_token", "")), sign_in.nonce)
        found = _values(claims, self._options.roles_claim)
        if found is None:
            claims = {**await self._userinfo(tokens, str(claims["sub"])), **claims}
            found = _values(claims, self._options.roles_claim)
        roles = frozenset(self._options.roles[value] for value in found or () if value in self._options.roles)
        if not roles:
            raise RoleMissing
        return Person(str(claims["sub"])[:200], _name(claims), roles)

    async def end_address(self, return_to: str) -> str | None:
        """Where the provider's own session ends (RP-initiated logout); None where it offers no such thing."""
        try:
            found = (await self._describe()).get("end_session_endpoint")
        except SignInUnavailable:
            return None
        if not isinstance(found, str) or not self._is_ours(found):
            return None
        return _with_query(found, {"client_id": self._options.client_id, "post_logout_redirect_uri": return_to})

    async def _describe(self) -> Json:
        if self._description is None or self._now_s() - self._described_at > DISCOVERY_S:
            url = self._options.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = await self._get(url)
            if found.get("issuer") != self._options.issuer:
                raise SignInUnavailable(why="the provider calls itself something else")
            keys = found.get("jwks_uri")
            if not isinstance(keys, str) or not self._is_ours(keys):
                raise SignInUnavailable(why="no keys")
            if self._keys is None or self._description is None or self._description["jwks_uri"] != keys:
                self._keys = KeySource(keys, self._client)
            self._description, self._described_at = found, self._now_s()
        return self._description

    async def _endpoint(self, name: str) -> str:
        found = (await self._describe()).get(name)
        if not isinstance(found, str) or not self._is_ours(found):
            raise SignInUnavailable(why=name)
        return found

    def _is_ours(self, url: str) -> bool:
        """By the issuer's own scheme: never less protected than it. What is called lies under the policy besides."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        return parts.scheme in ("https", urlsplit(self._options.issuer).scheme) and not parts.fragment

    async def _redeem(self, code: str, sign_in: SignIn, redirect_uri: str) -> Json:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": sign_in.verifier,
        }
        headers = [("accept", "application/json")]
        endpoint, description = await self._endpoint("token_endpoint"), await self._describe()
        options = self._options
        if options.secret is None:
            form |= {"client_id": options.client_id, "client_assertion_type": ASSERTION_TYPE}
            form["client_assertion"] = self._assertion(description, endpoint)
        elif _takes_basic(description.get("token_endpoint_auth_methods_supported")):
            pair = f"{quote(options.client_id, safe='')}:{quote(options.secret, safe='')}"
            headers.append(("authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
        else:
            form |= {"client_id": options.client_id, "client_secret": options.secret}
        try:
            response, body = await send_form(self._client, endpoint, form, max_bytes=MAX_ANSWER_BYTES, headers=headers)
        except (httpx.HTTPError, OutboundRefused) as error:
            raise SignInUnavailable(why="token endpoint") from error
        if response.status_code >= 500:
            raise SignInUnavailable(why="token endpoint")
        found = _object(body)
        if response.status_code != 200 or found is None:
            raise SignInFailed(why="code")
        return found

    def _assertion(self, description: Json, endpoint: str) -> str:
        """The signed JWT by which we say who we are (private_key_jwt)."""
        listed = description.get("token_endpoint_auth_signing_alg_values_supported")
        known = tuple(each.value for each in SigningAlgorithm)
        algorithms = tuple(str(each) for each in listed) if isinstance(listed, list) and listed else known
        try:
            keys = () if self._options.keys_dir is None else read_keys(self._options.keys_dir)
            key = signing_key(keys, datetime.fromtimestamp(self._now_s(), UTC), algorithms)
        except (SigningKeyMissing, SigningKeyUnusable) as error:
            raise SignInUnavailable(why=error.code) from error
        now = int(self._now_s())
        claims = {
            "iss": self._options.client_id,
            "sub": self._options.client_id,
            "aud": [endpoint, self._options.issuer],
            "iat": now,
            "exp": now + ASSERTION_LIFE_S,
            "jti": secrets.token_urlsafe(24),
        }
        header = {"alg": key.algorithm.value, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, claims, key.private, algorithms=[key.algorithm.value])

    async def _checked(self, token: str, nonce: str) -> Json:
        """Claims of an ID token that holds (OpenID Connect Core 3.1.3.7). Raises SignInFailed."""
        options = self._options
        await self._describe()
        if self._keys is None or len(token) > MAX_CHARACTERS:
            raise SignInFailed(why="id token")
        try:
            header, _ = opened(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in ALGORITHMS or "crit" in header:
                raise SignInFailed(why="algorithm")
            key = await self._keys.key(str(algorithm), kid if isinstance(kid, str) else None)
            claims: Json = jwt.decode(token, key, algorithms=[str(algorithm)]).claims
            registry = jwt.JWTClaimsRegistry(
                now=int(self._now_s()),
                leeway=int(options.clock_skew_s),
                iss={"essential": True, "value": options.issuer},
                aud={"essential": True, "value": options.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(claims)
        except (Unauthenticated, JoseError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, SignInFailed):
                raise
            raise SignInFailed(why="id token") from error
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("azp", options.client_id) != options.client_id or (len(audiences) > 1 and "azp" not in claims):
            raise SignInFailed(why="authorized party")
        if not isinstance(claims["sub"], str) or not claims["sub"].strip():
            raise SignInFailed(why="subject")
        if not is_storable(claims):
            raise SignInFailed(why="id token")
        return claims

    async def _userinfo(self, tokens: Json, subject: str) -> Json:
        """What the userinfo endpoint adds; it must be about the same person (OpenID Connect Core 5.3.2)."""
        access, endpoint = tokens.get("access_token"), (await self._describe()).get("userinfo_endpoint")
        if not isinstance(access, str) or not isinstance(endpoint, str) or not self._is_ours(endpoint):
            return {}
        found = await self._get(endpoint, [("authorization", f"Bearer {access}")])
        if found.get("sub") != subject:
            raise SignInFailed(why="userinfo")
        return found

    async def _get(self, url: str, headers: list[tuple[str, str]] | None = None) -> Json:
        asked = [("accept", "application/json"), *(headers or [])]
        try:
            response, body = await get_limited(self._client, url, max_bytes=MAX_ANSWER_BYTES, headers=asked)
        except (httpx.HTTPError, OutboundRefused) as error:
            raise SignInUnavailable(why="the provider does not answer") from error
        found = _object(body)
        if response.status_code != 200 or found is None:
            raise SignInUnavailable(why="the provider does not answer")
        return found


def _takes_basic(methods: object) -> bool:
    """Whether a token endpoint takes the secret in a header, which it does where it does not say (Discovery 1.0, 3)."""
    return not isinstance(methods, list) or "client_secret_basic" in methods


def _object(body: bytes) -> Json | None:
    try:
        found = parse_foreign_json(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _values(claims: Json, path: str) -> list[str] | None:
    """Texts that a claim holds; None where there is no such claim."""
    # A claim may have dots in its own name (https://example.org/roles).
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return None
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]


def _name(claims: Json) -> str:
    """As it stands under signed results."""
    given = (claims.get(name) for name in ("name", "preferred_username", "email", "sub"))
    return next(each for each in given if isinstance(each, str) and each.strip())[:200]


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
