"""The HTTP service on a free port over a real database, and tokens it accepts."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from trabecula.outbound import OutboundPolicy, guarded_client
from trabecula.record.audit import keep_accesses
from trabecula.service.auth.jwks import KeySource
from trabecula.service.auth.tokens import TokenRules, TokenVerifier
from trabecula.service.http.app import HttpDependencies, build_app
from trabecula.service.http.options import HttpOptions
from trabecula.service.http.serving import HttpServer, bound
from trabecula.work.database import Database

ISSUER = "https://auth.hospital.test"


@dataclass(frozen=True)
class Issuer:
    """An authorization server's keys, and tokens signed with them."""

    key: ECKey | RSAKey
    algorithm: str = "ES384"
    kid: str = "one"

    @classmethod
    def make(cls, algorithm: str = "ES384", kid: str = "one") -> Issuer:
        curve = {"ES256": "P-256", "ES384": "P-384"}.get(algorithm)
        key = ECKey.generate_key(curve) if curve else RSAKey.generate_key(2048)
        return cls(key, algorithm, kid)

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**self.key.as_dict(private=False), "kid": self.kid, "use": "sig"}]}

    def token(self, audience: object, scope: str, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token; claims given as None are left out."""
        now = int(time.time())
        whole = {
            "iss": ISSUER,
            "aud": audience,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "client_id": "test-client",
            "scope": scope,
            **claims,
        }
        given = {name: value for name, value in whole.items() if value is not None}
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        return str(jwt.encode(head, given, self.key, algorithms=[self.algorithm]))


@dataclass
class LiveHttp:
    """A running HTTP service."""

    base: str
    database: Database
    issuer: Issuer
    client: httpx.AsyncClient = field(repr=False)

    @property
    def fhir(self) -> str:
        return f"{self.base}/fhir"

    def bearer(self, scope: str = "system/*.rs", **claims: Any) -> dict[str, str]:
        """An Authorization header."""
        return {"authorization": f"Bearer {self.issuer.token(self.fhir, scope, **claims)}"}

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(f"{self.fhir}/{path}", **options)


@asynccontextmanager
async def live_http(
    database: Database,
    folder: Path,
    *,
    auth: bool = False,
    rules: TokenRules | None = None,
    options: HttpOptions | None = None,
    listeners: Sequence[Any] | None = None,
    **dependencies: Any,
) -> AsyncIterator[LiveHttp]:
    """Serve until the end of the block."""
    issuer = Issuer.make()
    keys = folder / "issuer.json"
    keys.write_text(json.dumps(issuer.jwks), encoding="utf-8")
    async with guarded_client(OutboundPolicy()) as outbound, httpx.AsyncClient(timeout=30.0) as client:
        verifier = TokenVerifier({ISSUER: KeySource(str(keys), outbound)}, rules or TokenRules()) if auth else None
        chosen = replace(options or HttpOptions(), auth_off=not auth)
        told = [keep_accesses(database)] if listeners is None else listeners
        app = build_app(HttpDependencies(chosen, database, verifier, told, **dependencies))
        server = HttpServer(app, bound("127.0.0.1:0"))
        await server.start()
        try:
            yield LiveHttp(f"http://127.0.0.1:{server.port}", database, issuer, client)
        finally:
            await server.stop()
