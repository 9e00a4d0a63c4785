"""What others look up: SMART configuration, our public keys, health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from trabecula.keys import public_jwks
from trabecula.service.auth.scopes import SUPPORTED
from trabecula.service.auth.tokens import ALGORITHMS
from trabecula.service.http.options import FHIR_PATH, HttpOptions

Json = dict[str, Any]
Check = Callable[[], Awaitable[bool]]

KEYS_MAX_AGE_S: Final = 300
"""How long others may keep our keys; a new one must be shown for longer before it signs."""
CHECK_S: Final = 3.0


@dataclass(frozen=True)
class WellKnown:
    """Open to everybody; holds nothing of any patient."""

    options: HttpOptions
    checks: dict[str, Check]
    """What must answer for this instance to be ready, by name."""

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/.well-known/jwks.json", self.keys, methods=["GET"]),
            Route("/.well-known/smart-configuration", self.smart, methods=["GET"]),
            Route(f"{FHIR_PATH}/.well-known/smart-configuration", self.smart, methods=["GET"]),
        ]

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """Whether the process serves at all."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        """Whether this instance should get requests; 503 names what does not answer."""
        answers = await asyncio.gather(*(_answers(check) for check in self.checks.values()))
        states = {name: "ok" if good else "unavailable" for name, good in zip(self.checks, answers, strict=True)}
        whole = all(answers)
        return JSONResponse({"status": "ok" if whole else "unavailable", "checks": states}, 200 if whole else 503)

    async def keys(self, request: Request) -> Response:  # noqa: ARG002
        """Public halves of every key that is not retired."""
        found = await asyncio.to_thread(public_jwks, self.options.keys_dir)
        headers = {"Cache-Control": f"public, max-age={KEYS_MAX_AGE_S}"}
        return JSONResponse(found, headers=headers, media_type="application/jwk-set+json")

    async def smart(self, request: Request) -> Response:  # noqa: ARG002
        """SMART App Launch 2, section "Conformance": who gives tokens for this service."""
        return JSONResponse(smart_configuration(self.options), headers=_CACHED)


_CACHED: Final = {"Cache-Control": "public, max-age=300"}


def smart_configuration(options: HttpOptions) -> Json:
    """The configuration; endpoints only where the site has named its authorization server, which is not ours.

    No ``jwks_uri``: that would be the authorization server's; our own keys, as a client, are at
    ``/.well-known/jwks.json``.
    """
    found: Json = {
        "authorization_endpoint": options.authorize_url,
        "token_endpoint": options.token_url,
        "grant_types_supported": ["client_credentials", *(["authorization_code"] if options.authorize_url else [])],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": list(SUPPORTED),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2", "permission-patient", "permission-user"],
    }
    return {name: value for name, value in found.items() if value is not None}


async def _answers(check: Check) -> bool:
    try:
        return await asyncio.wait_for(check(), CHECK_S)
    except TimeoutError:
        return False
