"""What every request passes: limits on size and time, security headers, an access log without a word of a patient.

The log names the operation, never the address: a query string, and at a hostile hand a path, may hold an identifier.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trabecula.errors import InvalidRequest, RequestTimedOut, RequestTooLarge, TrabeculaError, Unforeseen
from trabecula.service.http.outcomes import error_response
from trabecula.service.limits import ClientLimits, network_of
from trabecula.telemetry.faults import describe_fault

_REQUEST_ID: Final = re.compile(rb"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""A UUID or a trace id. A freer form would let a client write an accession number into our logs."""
DOOR: Final = "http"
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_TARGET_BYTES: Final = 8192
"""Path and query together."""

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Set where the answer does not set them itself (pages have a policy of their own)."""
NO_STORE: Final = (b"cache-control", b"no-store")
HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True)
class Limits:
    """Of one request. Bytes and seconds."""

    body_bytes: int
    time_s: float
    larger: tuple[tuple[str, int], ...] = ()
    """Other limits for bodies below a path."""

    def body_bytes_at(self, path: str) -> int:
        return next((size for start, size in self.larger if path.startswith(start)), self.body_bytes)


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, limits: Limits, *, tls: bool, clients: ClientLimits | None = None) -> None:
        """Args:
        clients: how much each client may ask for; None sets no such limit.
        """
        self._app = app
        self._limits = limits
        self._clients = clients
        self._always = (*SECURITY_HEADERS, NO_STORE, *((HSTS,) if tls else ()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no WebSocket is spoken here
        started = time.perf_counter()
        scope["request_id"] = _request_id(scope)
        answer = _Answer(send, scope["request_id"], self._always)
        try:
            await self._within_limits(scope, receive, answer)
        except TrabeculaError as error:
            await self._fail(error, scope, receive, answer)
        except ClientDisconnect:
            pass  # nobody is there to be told
        except Exception as error:
            # The last resort: nothing of the fault goes to the client, and no value of it into the log.
            structlog.get_logger().error("request failed", fault=describe_fault(error), request_id=scope["request_id"])
            await self._fail(Unforeseen(), scope, receive, answer)
        finally:
            _log(scope, answer.status, time.perf_counter() - started)

    async def _within_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > MAX_TARGET_BYTES:
            raise RequestTooLarge(part="address", at_most_bytes=MAX_TARGET_BYTES)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            raise RequestTooLarge(part="header", at_most_bytes=MAX_HEADER_BYTES)
        if {b"transfer-encoding", b"content-length"} <= {name for name, _ in scope["headers"]}:
            # A proxy may end such a request elsewhere than we do, and take the rest for another one (RFC 9112, 6.1).
            raise InvalidRequest(field="Content-Length and Transfer-Encoding", why="one of them, not both")
        if self._clients is not None:
            self._clients.address(DOOR, address_in(scope))
        with ExitStack() as places:
            scope["admission"] = partial(self._admit, places)
            scope["upload-admission"] = partial(self._admit_upload, places)
            try:
                async with asyncio.timeout(self._limits.time_s) as deadline:
                    # An operation that waits for a study moves its deadline itself.
                    scope["deadline"] = deadline
                    await self._app(scope, self._bounded(scope, receive), send)
            except TimeoutError:
                raise RequestTimedOut from None

    def _admit(self, places: ExitStack, client: str) -> None:
        if self._clients is not None:
            self._clients.client(DOOR, client)
            places.enter_context(self._clients.call(DOOR, client))

    def _admit_upload(self, places: ExitStack, client: str) -> None:
        if self._clients is not None:
            places.enter_context(self._clients.upload(DOOR, client))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        limit = self._limits.body_bytes_at(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced[:20]) > limit:
            raise RequestTooLarge(part="body", at_most_bytes=limit)
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise RequestTooLarge(part="body", at_most_bytes=limit)
            return message

        return bounded

    async def _fail(self, error: TrabeculaError, scope: Scope, receive: Receive, answer: _Answer) -> None:
        if answer.status:
            raise error  # half an answer is out: the connection is cut
        response = error_response(error)
        response.headers["connection"] = "close"
        await response(scope, receive, answer)


def admit(request: Request, client: str, *, known: bool = True) -> None:
    """Count a request as its client's, once it is known who that is; until the answer is out it is open.

    Args:
        known: False where nobody is asked who they are: then the address counts.

    Raises:
        TooManyRequests: if the client asks too often, or has too much open.
    """
    _admit_as(request, "admission", client, known=known)


def admit_upload(request: Request, client: str, *, known: bool = True) -> None:
    """Count a request among its client's uploads until the answer is out. Raises TooManyRequests."""
    _admit_as(request, "upload-admission", client, known=known)


def _admit_as(request: Request, what: str, client: str, *, known: bool) -> None:
    admission = request.scope.get(what)
    if admission is not None:
        admission(f"client {client}" if known else f"address {network_of(address_in(request.scope))}")


def address_in(scope: Scope) -> str | None:
    """IP address of the client, as far as trusted proxies tell."""
    client = scope.get("client")
    return client[0] if client else None


class _Answer:
    """``send`` that adds what every answer bears, and remembers the status."""

    def __init__(self, send: Send, request_id: str, always: tuple[tuple[bytes, bytes], ...]) -> None:
        self._send = send
        self._always = (*always, (b"x-request-id", request_id.encode()))
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            named = {name.lower() for name, _ in headers}
            message = {**message, "headers": [*headers, *(each for each in self._always if each[0] not in named)]}
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """The client's, when it can be nothing but an id, so that both sides' logs can be read together."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return str(uuid.uuid4())


def _log(scope: Scope, status: int, seconds: float) -> None:
    endpoint = scope.get("endpoint")
    structlog.get_logger().info(
        "http request",
        method=scope["method"] if scope["method"] in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} else "other",
        operation=getattr(endpoint, "operation", None) or getattr(endpoint, "__name__", "none"),
        status=status,
        duration_ms=round(seconds * 1000, 1),
        request_id=scope["request_id"],
    )
