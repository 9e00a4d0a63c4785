"""CDS Hooks on a real HTTP server and a real PostgreSQL, with results in it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import report_samples as samples
import uvicorn
from cds_ehr import ISS, JKU, SYSTEM, Signer
from prometheus_client import CollectorRegistry
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from trabecula.clinical import load_constants
from trabecula.config import Settings
from trabecula.errors import TrabeculaError
from trabecula.hooks.services import Hook
from trabecula.outbound import guarded_client, parse_policy
from trabecula.outputs.r4 import FhirOptions, to_bundle
from trabecula.record.audit import keep_accesses
from trabecula.record.publish import publish, resources_of
from trabecula.report import ScreeningReport
from trabecula.service.http.cds import CdsHooks, cds_hooks
from trabecula.service.http.guard import Guard, Limits
from trabecula.service.http.outcomes import on_error
from trabecula.telemetry.catalogue import Metrics
from trabecula.telemetry.metrics import MetricsListener
from trabecula.work.database import Database
from trabecula.work.schema import screening

Json = dict[str, Any]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True)
class CdsSite:
    """A running service, and the EHR that calls it."""

    url: str
    """As the tokens' audience names it."""
    hooks: CdsHooks
    database: Database
    registry: CollectorRegistry
    signer: Signer
    http: httpx.AsyncClient

    def address(self, hook: Hook) -> str:
        return f"{self.url}/cds-services/trabecula-{hook.value}"

    async def get(self, url: str, token: str | None = None, **headers: str) -> httpx.Response:
        return await self.http.get(url, headers=self._headers(url, token) | headers)

    async def post(self, url: str, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **self._headers(url, token), **headers}
        return await self.http.post(url, content=data, headers=sent)

    async def call(self, hook: Hook, body: Json) -> httpx.Response:
        """One call, signed as an EHR signs it."""
        return await self.post(self.address(hook), body)

    def _headers(self, url: str, token: str | None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.signer.token(url) if token is None else token}"}

    async def add_result(self, report: ScreeningReport | None = None, options: FhirOptions | None = None) -> str:
        """A result in the record, as the service leaves it; its screening's id."""
        report = report or samples.reported()
        options = options or FhirOptions(patient_identifier_system=SYSTEM)
        screening_id = str(uuid.uuid4())
        bundle = to_bundle(report, options)
        async with self.database.transaction() as connection:
            values = {
                "id": screening_id, "state": report.status.value, "source": "grpc", "fingerprint": "0" * 64,
                "instances": 1, "total_bytes": 1, "submitted_at": NOW, "ended_at": NOW,
            }  # fmt: skip
            await connection.execute(insert(screening).values(values))
            await publish(connection, screening_id, report, resources_of(bundle))
        return screening_id


def clients_file(folder: Path, signer: Signer, *, more: str = "", iss: str = ISS, jku: str = JKU) -> Path:
    """A site's file with one EHR whose keys were handed over by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ehr.jwks.json").write_text(json.dumps(signer.jwks()))
    path = folder / "cds-clients.toml"
    path.write_text(
        f'[[client]]\nname = "test-ehr"\niss = "{iss}"\njku = ["{jku}"]\njwks_file = "ehr.jwks.json"\n{more}\n'
    )
    return path


@asynccontextmanager
async def cds_site(
    database: Database, settings: Settings, signer: Signer | None = None, *, origins: tuple[str, ...] = ()
) -> AsyncIterator[CdsSite]:
    """Serve on a free port until left.

    Args:
        settings: ``cds_*``, ``auth`` and ``outbound_*`` are used; plain http may be called, as tests do.
        origins: of browsers that may call.
    """
    signer = signer or Signer()
    registry = CollectorRegistry()
    policy = replace(parse_policy(settings.outbound_hosts, settings.outbound_networks), plain_http=True)
    server = uvicorn.Server(uvicorn.Config(_nothing, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    config = server.config
    sockets = [config.bind_socket()]
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    async with guarded_client(policy) as outbound, httpx.AsyncClient() as http:
        hooks = cds_hooks(
            settings, database, load_constants(), outbound, MetricsListener(Metrics(registry)),
            public_base_url=url, listeners=[keep_accesses(database)],
        )  # fmt: skip
        assert hooks is not None
        handlers: Any = {TrabeculaError: on_error, HTTPException: on_error}
        app: Any = Starlette(routes=hooks.routes(), exception_handlers=handlers)
        app = CORSMiddleware(app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])
        config.app = Guard(app, Limits(settings.http_max_body_bytes, settings.http_timeout_s), tls=False)
        serving = asyncio.create_task(server.serve(sockets))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield CdsSite(url, hooks, database, registry, signer, http)
        finally:
            server.should_exit = True
            await serving


async def _nothing(*_: Any) -> None:
    raise AssertionError("the application is set before the first call")
