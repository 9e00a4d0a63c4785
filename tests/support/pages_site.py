"""The pages on a real HTTP server and a real PostgreSQL, with results in it."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import report_samples as samples
import uvicorn
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from trabecula.clinical import load_constants
from trabecula.errors import TrabeculaError
from trabecula.outputs.page import to_html
from trabecula.outputs.r4 import FhirOptions, to_bundle
from trabecula.outputs.report_json import to_json
from trabecula.programme.tasks import DEFAULT_POLICY
from trabecula.record.audit import Access
from trabecula.report import ScreeningReport
from trabecula.service.auth.local_users import LocalUser, Person, Role, hash_password
from trabecula.service.auth.oidc import OpenIdProvider
from trabecula.service.auth.sessions import Sessions
from trabecula.service.follow_up import FollowUp, result_sink
from trabecula.service.http.outcomes import on_error
from trabecula.service.http.pages import Pages, routes
from trabecula.service.http.pages.throttle import Throttle
from trabecula.service.http.serving import bound
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.records import DocumentKind, Job, ScreeningRecord, Submission
from trabecula.work.runner import Completion
from trabecula.work.schema import document, screening

PASSWORD = "correct horse battery"  # noqa: S105
MRN = "urn:oid:1.2.3"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@cache
def users() -> dict[str, LocalUser]:
    """One person for each role; all have the same password."""
    hashed = hash_password(PASSWORD)
    roles = {"ada": {Role.RADIOLOGIST}, "ben": {Role.PROGRAMME}, "cleo": {Role.VIEWER}, "dan": {Role.AUDITOR}}
    return {
        name: LocalUser(Person(name, f"Dr. {name.title()} <Example>", frozenset(held)), hashed)
        for name, held in roles.items()
    }


@dataclass(frozen=True)
class Site:
    url: str
    pages: Pages
    accesses: list[Access]

    async def add_result(self, report: ScreeningReport | None = None) -> str:
        """A screening with its documents, resources and recall, as the service leaves it."""
        report = report or samples.reported()
        screening_id = str(uuid.uuid4())
        bundle = to_bundle(report, self.pages.site.options)
        texts = {
            DocumentKind.REPORT_JSON: to_json(report),
            DocumentKind.REPORT_HTML: to_html(samples.screening(report)),
            DocumentKind.BUNDLE_JSON: json.dumps(bundle),
        }
        refs = {kind: await self.pages.content.put(text.encode()) for kind, text in texts.items()}
        async with self.pages.database.transaction() as connection:
            values = {
                "id": screening_id, "state": report.status.value, "source": "grpc", "fingerprint": "0" * 64,
                "instances": 1, "total_bytes": 1, "submitted_at": NOW, "ended_at": NOW,
            }  # fmt: skip
            await connection.execute(insert(screening).values(values))
            rows = [
                {"screening_id": screening_id, "kind": kind.value, "sha256": ref.sha256, "size_bytes": ref.size_bytes}
                for kind, ref in refs.items()
            ]
            await connection.execute(insert(document), rows)
            with TemporaryDirectory() as folder:
                results = Path(folder)
                (results / DocumentKind.BUNDLE_JSON.value).write_text(texts[DocumentKind.BUNDLE_JSON])
                record = ScreeningRecord(screening_id, Submission(None, "0" * 64, 1, 1), NOW)
                job = Job(screening_id, (), results, report.patient, want_masks=False)
                done = Completion(report.status, tuple(texts), report)
                await result_sink(self.pages.site)(connection, record, job, done)
        return screening_id


@asynccontextmanager
async def pages_site(
    database: Database,
    content: ContentStore,
    more: Callable[[Site], list[BaseRoute]] = lambda _: [],
    *,
    provider: OpenIdProvider | None = None,
    clock_s: Callable[[], float] = NOW.timestamp,
    listening: socket.socket | None = None,
) -> AsyncIterator[Site]:
    """Serve on a free port until left; ``more`` adds routes."""
    listening = listening or bound("127.0.0.1:0")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    accesses: list[Access] = []

    async def note(access: Access) -> None:
        accesses.append(access)

    site = FollowUp(FhirOptions(patient_identifier_system=MRN), (), MRN, DEFAULT_POLICY, lambda: NOW)
    pages = Pages(
        database=database,
        content=content,
        constants=load_constants(),
        users=users(),
        sessions=Sessions(b"k" * 32, 3600.0, clock_s),
        throttle=Throttle(NOW.timestamp, most=3),
        site=site,
        secure_cookies=False,
        listeners=(note,),
        base_url=url,
        provider=provider,
    )
    handlers = {TrabeculaError: on_error, HTTPException: on_error}
    running = Site(url, pages, accesses)
    app = Starlette(routes=[*more(running), *routes(pages)], exception_handlers=handlers)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield running
    finally:
        server.should_exit = True
        await serving
