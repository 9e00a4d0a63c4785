"""Access tokens: signed JWTs of issuers that the operator has named (RFC 9068, SMART App Launch 2)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from joserfc import jwt
from joserfc.errors import ClaimError, JoseError

from trabecula.errors import Unauthenticated
from trabecula.record.parameters import patient_keys
from trabecula.service.auth.jwks import KeySource
from trabecula.service.auth.scopes import Grant, Permission, Reach, parse_scopes, reach

ALGORITHMS: Final = ("RS256", "RS384", "ES256", "ES384")
MAX_CHARACTERS: Final = 16_384
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})


@dataclass(frozen=True)
class Principal:
    """Who is asking, and what they may."""

    client_id: str
    subject: str | None
    """The user, where there is one."""
    issuer: str
    grants: tuple[Grant, ...]
    patient_names: tuple[str, ...] = ()
    """The token's patient: ``Patient/<id>`` and ``system|value``."""
    unrestricted: bool = False
    """Authorization is switched off."""
    words: frozenset[str] = frozenset()
    """Every scope of the token and every value of its ``roles``, as they stand there."""
    expires_at_s: float | None = None
    """Unix time from which the token is not in force; None for one that never ends."""

    def reach(self, resource_type: str, permission: Permission) -> Reach:
        """How far this access goes; a patient's scope without a patient goes nowhere."""
        if self.unrestricted:
            return Reach.ALL
        found = reach(self.grants, resource_type, permission)
        return Reach.NONE if found is Reach.PATIENT and not self.patient_names else found

    @property
    def compartment(self) -> tuple[UUID, ...]:
        """Keys of the token's patient."""
        found: list[UUID] = []
        for name in self.patient_names:
            if "|" in name:
                # Exactly this system: the key that matches under any system is left out.
                found.append(patient_keys("patient", None, name)[1])
            else:
                found.append(patient_keys("patient", name, None)[0])
        return tuple(found)


LATEST_S: Final = 2**53
"""Of times in claims: beyond, JSON numbers are not exact (RFC 8259, section 6)."""
ANYBODY: Final = Principal("anonymous", None, "", (), unrestricted=True)
"""While authorization is switched off."""


@dataclass(frozen=True)
class TokenRules:
    """What the operator asks of tokens."""

    clock_skew_s: float = 30.0
    v1_scopes: bool = False
    patient_identifier_system: str | None = None
    """When set, the ``patient`` claim is also an identifier of this system."""
    patient_identifier_claim: str = "patient_identifier"
    """Claim with the patient's identifier: ``system|value`` or an Identifier, or a list of them."""


class TokenVerifier:
    """Checks Bearer tokens."""

    def __init__(
        self, issuers: Mapping[str, KeySource], rules: TokenRules, now: Callable[[], float] = time.time
    ) -> None:
        """Args:
        issuers: accepted ``iss`` and where their keys are.
        now: seconds since 1970.
        """
        self._issuers = dict(issuers)
        self._rules = rules
        self._now = now

    async def verify(self, token: str, audiences: Sequence[str]) -> Principal:
        """Who the token speaks for.

        Args:
            audiences: names of this service, one of which ``aud`` must hold.

        Raises:
            Unauthenticated: if it is not signed by an accepted issuer, not for us, or not in force.
        """
        header, unchecked = opened(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS or "crit" in header or str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise Unauthenticated(why="header")
        source = self._issuers.get(str(unchecked.get("iss")))
        if source is None:
            raise Unauthenticated(why="issuer")
        kid = header.get("kid")
        key = await source.key(str(algorithm), kid if isinstance(kid, str) else None)
        try:
            claims = jwt.decode(token, key, algorithms=[str(algorithm)]).claims
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated(why="signature") from error
        self._check(claims, audiences)
        return self._principal(claims)

    def _check(self, claims: dict[str, Any], audiences: Sequence[str]) -> None:
        accepted = [name for each in audiences for name in (each.rstrip("/"), each.rstrip("/") + "/")]
        registry = jwt.JWTClaimsRegistry(
            now=int(self._now()),
            leeway=int(self._rules.clock_skew_s),
            exp={"essential": True},
            aud={"essential": True, "values": accepted},
        )
        try:
            registry.validate(claims)
        except ClaimError as error:
            raise Unauthenticated(why=f"claim {error.claim}") from error
        except (JoseError, ValueError, TypeError, OverflowError) as error:
            raise Unauthenticated(why="claims") from error
        if not claims["exp"] <= LATEST_S:
            raise Unauthenticated(why="claim exp")

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        scope = claims.get("scope", claims.get("scp", ""))
        listed = scope.split() if isinstance(scope, str) else scope if isinstance(scope, list) else []
        words = [word for word in listed if isinstance(word, str)]
        roles = claims.get("roles")
        named = [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
        client = next((claims[name] for name in ("client_id", "azp", "cid", "sub") if name in claims), None)
        if not isinstance(client, str) or not client:
            raise Unauthenticated(why="client")
        subject = claims.get("fhirUser") or claims.get("sub")
        return Principal(
            client[:256],
            subject[:256] if isinstance(subject, str) and subject != client else None,
            str(claims["iss"]),
            parse_scopes(words, v1=self._rules.v1_scopes),
            self._patient(claims),
            words=frozenset((*words, *named)),
            expires_at_s=float(claims["exp"]) + self._rules.clock_skew_s,
        )

    def _patient(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the patient of the launch."""
        names: list[str] = []
        patient = claims.get("patient")
        if isinstance(patient, str) and patient:
            names.append(patient if "/" in patient else f"Patient/{patient}")
            if self._rules.patient_identifier_system is not None:
                names.append(f"{self._rules.patient_identifier_system}|{patient}")
        given = claims.get(self._rules.patient_identifier_claim)
        for each in given if isinstance(given, list) else [given]:
            if isinstance(each, str) and "|" in each.strip("|"):
                names.append(each)
            elif isinstance(each, dict) and isinstance(each.get("system"), str) and isinstance(each.get("value"), str):
                names.append(f"{each['system']}|{each['value']}")
        return tuple(dict.fromkeys(names))


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as a token states them, not yet believed.

    Raises:
        Unauthenticated: if it is not a signed token (JWS, compact).
    """
    parts = token.split(".")
    if len(token) > MAX_CHARACTERS or len(parts) != 3:
        raise Unauthenticated(why="not a signed token")
    try:
        opened = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2]]
    except (ValueError, RecursionError):
        raise Unauthenticated(why="not a signed token") from None
    header, claims = opened
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Unauthenticated(why="not a signed token")
    return header, claims
