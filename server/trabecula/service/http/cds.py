"""CDS Hooks over HTTP: discovery, services, feedback (https://cds-hooks.hl7.org/2.0/).

A call is checked, read, answered and counted here; everything that decides is in :mod:`trabecula.hooks`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trabecula.clinical import ClinicalConstants
from trabecula.config import Settings, split_address
from trabecula.errors import (
    ClientNotTrusted,
    ConfigurationError,
    ResourceNotFound,
    TrabeculaError,
    UnsupportedMediaType,
)
from trabecula.hooks.answer import HookAnswers
from trabecula.hooks.cards import Card
from trabecula.hooks.clients import OPEN, Client, load_clients
from trabecula.hooks.ehr import reader
from trabecula.hooks.policy import card_policy
from trabecula.hooks.requests import Feedback
from trabecula.hooks.results import results_in
from trabecula.hooks.services import BY_ID, Service, discovery
from trabecula.hooks.store import keep_cards, keep_feedback, reason_label, use_token
from trabecula.hooks.tokens import TokenChecker
from trabecula.hooks.wire import read_feedback, read_request
from trabecula.record.audit import Access, AccessListener
from trabecula.service.auth.jwks import KeySource
from trabecula.service.http.guard import admit
from trabecula.telemetry.events import CardShown, FeedbackGiven, HookCalled, Listener
from trabecula.work.database import Database

PATH: Final = "/cds-services"
CheckToken = Callable[[str, str], Awaitable[Client]]
"""From a token and the address called to who calls; raises Unauthenticated."""
KeepFeedback = Callable[[Sequence[Feedback], Service, Client], Awaitable[tuple[Feedback, ...]]]


@dataclass(frozen=True)
class CdsHooks:
    """The services of one installation."""

    answers: HookAnswers
    keep_feedback: KeepFeedback
    check_token: CheckToken | None
    """None: open to everybody who can reach the address."""
    tell: Listener
    listeners: Sequence[AccessListener] = ()
    """Told of each access to stored results."""

    def routes(self) -> list[Route]:
        """Routes below the root of the HTTP service."""
        return [
            Route(PATH, self._counted("discovery", self._discover), methods=["GET"]),
            Route(f"{PATH}/{{id}}", self._counted("call", self._call), methods=["POST"]),
            Route(f"{PATH}/{{id}}/feedback", self._counted("feedback", self._feedback), methods=["POST"]),
        ]

    async def _discover(self, request: Request) -> Response:
        await self._client(request, PATH)
        return _json(discovery())

    async def _call(self, request: Request) -> Response:
        service_id = request.path_params["id"]
        client = await self._client(request, f"{PATH}/{service_id}")
        service = _service(service_id)
        call = read_request(await self._body(request), service)
        answer = await self.answers(service, call, client)
        if answer.patients:
            await self._note(request, client, call.context.user_id, answer.patients)
        for card in answer.cards:
            self.tell(CardShown(service.hook.value, card.kind.value, card.indicator.value))
        return _json({"cards": [card.as_json() for card in answer.cards]})

    async def _feedback(self, request: Request) -> Response:
        service_id = request.path_params["id"]
        client = await self._client(request, f"{PATH}/{service_id}/feedback")
        service = _service(service_id)
        new = await self.keep_feedback(read_feedback(await self._body(request)), service, client)
        for each in new:
            self.tell(_feedback_given(service, each))
        return Response(status_code=200)

    async def _note(self, request: Request, client: Client, user: str, patients: tuple[str, ...]) -> None:
        """Tell of the access to stored results, before the answer goes out."""
        access = Access(
            at=datetime.now(UTC),
            interaction="operation",
            action="E",
            resource_type="DiagnosticReport",
            client_id=client.name,
            client_address=None if request.client is None else request.client.host,
            request_id=request.scope.get("request_id", "-"),
            subject=user,
            patients=patients,
        )
        for listener in self.listeners:
            await listener(access)

    async def _client(self, request: Request, path: str) -> Client:
        """Who calls; the audience is the address as the site publishes it, never as a header names it."""
        if self.check_token is None:
            admit(request, OPEN.name, known=False)
            return OPEN
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ClientNotTrusted(why="no bearer token")
        client = await self.check_token(token.strip(), self.answers.policy.public_base_url + path)
        admit(request, client.name)
        return client

    async def _body(self, request: Request) -> bytes:
        media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType(accepted="application/json")
        return await request.body()

    def _counted(self, what: str, handle: Callable[[Request], Awaitable[Response]]) -> Any:
        """The handler with its time and status counted; errors go on to the application's own handler."""

        async def counted(request: Request) -> Response:
            started = time.perf_counter()
            outcome = "unforeseen"
            try:
                response = await handle(request)
                outcome = "ok"
            except TrabeculaError as error:
                outcome = error.code
                raise
            finally:
                service = BY_ID.get(request.path_params.get("id", ""))
                name = what if service is None else service.hook.value
                seconds = time.perf_counter() - started
                self.tell(HookCalled(name if what != "feedback" else what, outcome, seconds))
            return response

        counted.operation = f"cds-{what}"  # type: ignore[attr-defined] # the access log's name for it
        return counted


def cds_hooks(
    settings: Settings,
    database: Database,
    constants: ClinicalConstants,
    outbound: httpx.AsyncClient,
    tell: Listener,
    *,
    public_base_url: str | None = None,
    listeners: Sequence[AccessListener] = (),
) -> CdsHooks | None:
    """The services as the settings ask for them; None where they are not offered.

    Args:
        outbound: a guarded client; reads keys and EHRs.
        public_base_url: address of the HTTP service as clients know it; None takes that of the settings.
        listeners: told of each access to stored results.

    Raises:
        ClientsFileError: if the clients' file cannot be used.
        ClinicalDataError: if a number is missing.
        ConfigurationError: if the address of the service is not known.
    """
    if settings.cds_clients_file is None and settings.auth != "off":
        return None
    policy = card_policy(constants, public_base_url or _base_url(settings), settings.fhir_base_url)

    async def keep(cards: Sequence[Card], service: Service, client: Client, at: datetime) -> None:
        await keep_cards(database.direct, cards, service.id, client.name, at)

    async def keep_said(items: Sequence[Feedback], service: Service, client: Client) -> tuple[Feedback, ...]:
        async with database.transaction() as connection:
            return await keep_feedback(connection, items, service.id, client.name, datetime.now(UTC))

    return CdsHooks(
        answers=HookAnswers(policy, results_in(database), reader(outbound), keep, settings.cds_read_budget_s),
        keep_feedback=keep_said,
        check_token=_checker(settings, database, outbound),
        tell=tell,
        listeners=tuple(listeners),
    )


def _base_url(settings: Settings) -> str:
    """Audiences of tokens and links on cards need an address that does not follow the caller's Host header."""
    if settings.public_base_url is not None:
        return settings.public_base_url
    if settings.http_listen is None or split_address(settings.http_listen)[1] == 0:
        raise ConfigurationError(setting="TRABECULA_PUBLIC_BASE_URL", must_be="set for CDS Hooks")
    scheme = "http" if settings.http_tls_certificate_file is None else "https"
    return f"{scheme}://{settings.http_listen}"


def _checker(settings: Settings, database: Database, outbound: httpx.AsyncClient) -> CheckToken | None:
    if settings.cds_clients_file is None:
        return None

    async def once(digest: bytes, expires_at: datetime) -> bool:
        return await use_token(database.direct, digest, expires_at)

    clients = load_clients(settings.cds_clients_file)
    return TokenChecker(
        clients, lambda where: KeySource(where, outbound), once, clock_skew_s=settings.auth_clock_skew_s
    )


def _feedback_given(service: Service, item: Feedback) -> FeedbackGiven:
    reason = reason_label(item.accepted, item.reason_system, item.reason_code)
    return FeedbackGiven(service.hook.value, "accepted" if item.accepted else "overridden", reason)


def _service(service_id: str) -> Service:
    service = BY_ID.get(service_id)
    if service is None:
        raise ResourceNotFound(kind="CDS service")
    return service


def _json(value: object) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
