"""The verifier of tokens, put together from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from trabecula.config import PREFIX, Settings, listed
from trabecula.errors import ConfigurationError
from trabecula.outbound import guarded_client, parse_policy, trust
from trabecula.service.auth.jwks import KeySource
from trabecula.service.auth.tokens import TokenRules, TokenVerifier


@asynccontextmanager
async def token_verifier(settings: Settings) -> AsyncIterator[TokenVerifier | None]:
    """The verifier, for the time of the block; None when no issuer is named.

    Raises:
        ConfigurationError: if the settings cannot be used.
    """
    if not issuer_keys(settings):
        yield None
        return
    policy = parse_policy(settings.outbound_hosts, settings.outbound_networks)
    async with guarded_client(policy, verify=trust(settings.outbound_ca_file)) as outbound:
        yield checks_tokens(settings, outbound)


def checks_tokens(settings: Settings, outbound: httpx.AsyncClient) -> TokenVerifier:
    """A verifier that reads the issuers' keys through a guarded client.

    Raises:
        ConfigurationError: see :func:`issuer_keys`.
    """
    rules = TokenRules(
        clock_skew_s=settings.auth_clock_skew_s,
        v1_scopes=settings.auth_v1_scopes,
        patient_identifier_system=settings.auth_patient_identifier_system,
        patient_identifier_claim=settings.auth_patient_identifier_claim,
    )
    places = issuer_keys(settings)
    return TokenVerifier({issuer: KeySource(where, outbound) for issuer, where in places.items()}, rules)


def issuer_keys(settings: Settings) -> dict[str, str]:
    """Each accepted issuer and where its keys are.

    Raises:
        ConfigurationError: if the two lists do not go together.
    """
    issuers, places = listed(settings.auth_issuers), listed(settings.auth_jwks)
    if len(issuers) != len(places) or len(set(issuers)) != len(issuers):
        raise ConfigurationError(setting=PREFIX + "AUTH_JWKS", must_be="one place for each issuer")
    if any(place.startswith("http://") for place in places):
        raise ConfigurationError(setting=PREFIX + "AUTH_JWKS", must_be="https addresses or files")
    return dict(zip(issuers, places, strict=True))
