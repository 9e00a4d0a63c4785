"""An EHR that behaves badly, in front of one that does not: a proxy over real sockets, with faults on demand.

What it lets through goes to the FHIR server behind it. It also gives out access tokens (SMART Backend Services) and
can say or do otherwise than its CapabilityStatement.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qs

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

Json = dict[str, Any]
FHIR: Final = "application/fhir+json"


class Fault(StrEnum):
    """What may happen to one request."""

    REFUSE = "refuse"
    """The connection is cut before an answer; nothing is done."""
    UNAVAILABLE = "unavailable"
    """503 with Retry-After in seconds."""
    UNAVAILABLE_DATE = "unavailable-date"
    """503 with Retry-After as a date."""
    TOO_MANY = "too-many"
    SERVER_ERROR = "server-error"
    HANG = "hang"
    """No answer; nothing is done."""
    COMMIT_HANG = "commit-hang"
    """It is done, and no answer comes."""
    COMMIT_CUT = "commit-cut"
    """It is done, and the connection is cut in the middle of the answer."""
    COMMIT_ERROR = "commit-error"
    """It is done, and a gateway says 502."""
    COMMIT_GIANT = "commit-giant"
    """It is done, and the answer does not end."""
    SLOW_LORIS = "slow-loris"
    """It is done, and the answer comes byte by byte."""
    LOGIN_PAGE = "login-page"
    """200 and HTML; nothing is done."""
    NOT_JSON = "not-json"
    """It is done; the answer says JSON and is none."""
    REDIRECT = "redirect"
    """307 to another host."""
    UNAUTHORIZED = "unauthorized"
    """401 although the token is good."""
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    UNPROCESSABLE = "unprocessable"
    SEVERAL = "several"
    """412: several matches."""


PASSING: Final = (
    Fault.REFUSE,
    Fault.UNAVAILABLE,
    Fault.UNAVAILABLE_DATE,
    Fault.TOO_MANY,
    Fault.SERVER_ERROR,
    Fault.HANG,
    Fault.COMMIT_HANG,
    Fault.COMMIT_CUT,
    Fault.COMMIT_ERROR,
    Fault.COMMIT_GIANT,
    Fault.SLOW_LORIS,
    Fault.LOGIN_PAGE,
    Fault.NOT_JSON,
    Fault.UNAUTHORIZED,
)
"""What a sender has to outlive by itself."""
WAITING: Final = frozenset({Fault.HANG, Fault.COMMIT_HANG, Fault.SLOW_LORIS})
"""Cost the sender its whole patience."""
COMMITTING: Final = frozenset(
    {Fault.COMMIT_HANG, Fault.COMMIT_CUT, Fault.COMMIT_ERROR, Fault.COMMIT_GIANT, Fault.SLOW_LORIS, Fault.NOT_JSON}
)


@dataclass(frozen=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def is_write(self) -> bool:
        return self.method in ("POST", "PUT") and not self.path.startswith("/token")


@dataclass
class HostileEhr:
    """State and switches; ``serving`` opens it."""

    backend: str
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    faults: list[tuple[Callable[[Seen], bool], Fault]] = field(default_factory=list)
    """Each strikes once, the first that fits."""
    chance: float = 0.0
    """Of a passing fault for any request, drawn from ``random``."""
    passing: tuple[Fault, ...] = PASSING
    random: random.Random = field(default_factory=lambda: random.Random(6))
    down_until: datetime | None = None
    statement: Callable[[Json], Json] = lambda statement: statement
    """What it says of itself."""
    refused: Callable[[Seen], int | None] = lambda _: None
    """Status with which it refuses by deed."""
    jwks: Json | None = None
    """Public keys of the client; with them it wants access tokens."""
    token_life: timedelta = timedelta(seconds=300)
    token_endpoint: str | None = None
    """Where it says tokens are; None: here."""
    token_error: str | None = None
    elsewhere: str = "http://127.0.0.1:9"
    """Where it redirects to."""
    seen: list[Seen] = field(default_factory=list)
    committed: int = 0
    """Writes that reached the server behind."""
    url: str = ""
    tokens: dict[str, datetime] = field(default_factory=dict)
    assertions: list[Json] = field(default_factory=list)
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=30, verify=False))  # noqa: S501

    def strike(self, *faults: Fault, on: Callable[[Seen], bool] = lambda seen: seen.is_write) -> None:
        """Have these faults happen to the next requests that fit."""
        self.faults += [(on, fault) for fault in faults]

    @property
    def token_requests(self) -> int:
        return sum(each.path == "/token" for each in self.seen)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[HostileEhr]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            await self.client.aclose()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            seen = await _request(reader)
            self.seen.append(seen)
            await self._answer(seen, writer)
        with suppress(ConnectionError):
            writer.close()

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if self.down_until is not None and self.clock() < self.down_until:
            writer.transport.abort()
            return
        fault = self._fault(seen)
        if fault is not None and await self._before(fault, writer):
            return
        status, headers, body = await self._honest(seen)
        if fault is None:
            await _send(writer, status, body, headers)
        else:
            await self._after(fault, writer, status, body)

    def _fault(self, seen: Seen) -> Fault | None:
        for at, (fits, fault) in enumerate(self.faults):
            if fits(seen):
                del self.faults[at]
                return fault
        if self.random.random() < self.chance:
            return self.random.choice(self.passing)
        return None

    async def _before(self, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        """Whether the fault comes instead of an answer."""
        soon = format_datetime((self.clock() + timedelta(seconds=40)).astimezone(UTC), usegmt=True)
        refusals: dict[Fault, tuple[int, dict[str, str]]] = {
            Fault.UNAVAILABLE: (503, {"retry-after": "30"}),
            Fault.UNAVAILABLE_DATE: (503, {"retry-after": soon}),
            Fault.TOO_MANY: (429, {}),
            Fault.SERVER_ERROR: (500, {}),
            Fault.REDIRECT: (307, {"location": f"{self.elsewhere}/stolen"}),
            Fault.UNAUTHORIZED: (401, {}),
            Fault.FORBIDDEN: (403, {}),
            Fault.CONFLICT: (409, {}),
            Fault.UNPROCESSABLE: (422, {}),
            Fault.SEVERAL: (412, {}),
        }
        if fault is Fault.REFUSE:
            writer.transport.abort()
        elif fault is Fault.HANG:
            await asyncio.sleep(60)
        elif fault is Fault.LOGIN_PAGE:
            await _send(writer, 200, b"<html>Please log in</html>", {"content-type": "text/html"})
        elif fault in refusals:
            status, headers = refusals[fault]
            await _send(writer, status, json.dumps(outcome(fault.value)).encode(), headers)
        else:
            return False
        return True

    async def _after(self, fault: Fault, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        if fault is Fault.COMMIT_HANG:
            await asyncio.sleep(60)
        elif fault is Fault.COMMIT_CUT:
            writer.write(_head(status, len(body) + 100, {}) + body[: len(body) // 2])
            await writer.drain()
            writer.transport.abort()
        elif fault is Fault.COMMIT_ERROR:
            await _send(writer, 502, b"bad gateway", {"content-type": "text/plain"})
        elif fault is Fault.COMMIT_GIANT:
            writer.write(_head(status, 10**12, {}))
            while True:
                writer.write(b" " * 65536)
                await writer.drain()
        elif fault is Fault.SLOW_LORIS:
            writer.write(_head(status, len(body), {}))
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        elif fault is Fault.NOT_JSON:
            await _send(writer, status, b"{" * 100, {})

    async def _honest(self, seen: Seen) -> tuple[int, dict[str, str], bytes]:
        if seen.path == "/.well-known/smart-configuration":
            return 200, {}, json.dumps(self._smart_configuration()).encode()
        if seen.path == "/token":
            status, found = self._token(seen)
            return status, {"content-type": "application/json"}, json.dumps(found).encode()
        if self.jwks is not None and seen.path != "/metadata" and not self._has_token(seen):
            return 401, {"www-authenticate": "Bearer"}, json.dumps(outcome("login")).encode()
        by_deed = self.refused(seen)
        if by_deed is not None:
            return by_deed, {}, json.dumps(outcome("not-supported")).encode()
        return await self._forward(seen)

    async def _forward(self, seen: Seen) -> tuple[int, dict[str, str], bytes]:
        kept = ("content-type", "if-none-exist", "prefer", "accept")
        answer = await self.client.request(
            seen.method,
            f"{self.backend}{seen.path}",
            content=seen.body,
            headers={name: value for name, value in seen.headers.items() if name in kept},
        )
        if seen.is_write and answer.is_success:
            self.committed += 1
        content = answer.content
        if seen.path == "/metadata":
            content = json.dumps(self.statement(answer.json())).encode()
        headers = {name: answer.headers[name] for name in ("location", "etag") if name in answer.headers}
        return answer.status_code, headers, content

    def _smart_configuration(self) -> Json:
        return {
            "token_endpoint": self.token_endpoint or f"{self.url}/token",
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        }

    def _has_token(self, seen: Seen) -> bool:
        kind, _, token = seen.headers.get("authorization", "").partition(" ")
        return kind == "Bearer" and token in self.tokens and self.clock() < self.tokens[token]

    def _token(self, seen: Seen) -> tuple[int, Json]:
        form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        if self.token_error is not None:
            return 400, {"error": self.token_error}
        try:
            keys = KeySet.import_key_set(self.jwks or {"keys": []})  # type: ignore[arg-type]
            claims = jwt.decode(form["client_assertion"], keys, algorithms=["RS384", "ES384"]).claims
        except Exception:
            return 401, {"error": "invalid_client"}
        now = self.clock().timestamp()
        good = (
            form["grant_type"] == "client_credentials"
            and claims["iss"] == claims["sub"] == "trabecula-test"
            and claims["aud"] == f"{self.url}/token"
            and now < claims["exp"] <= now + 300
            and claims["jti"] not in {each["jti"] for each in self.assertions}
        )
        if not good:
            return 401, {"error": "invalid_client"}
        self.assertions.append(claims)
        token = f"token-{len(self.assertions)}-{self.random.getrandbits(64):x}"
        self.tokens[token] = self.clock() + self.token_life
        life = int(self.token_life.total_seconds())
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": life, "scope": form["scope"]}


def outcome(code: str) -> Json:
    """An OperationOutcome that quotes a patient, as real ones do."""
    issue = {"severity": "error", "code": code, "diagnostics": "CANARY-OUTCOME Jane Roe 1950-01-01"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def statement_with(
    *,
    transactions: bool = True,
    update_create: bool = True,
    conditional_create: bool = True,
    only: Collection[str] | None = None,
    read_only: Collection[str] = (),
    update: bool = True,
) -> Callable[[Json], Json]:
    """A CapabilityStatement cut down to these abilities."""

    def cut(statement: Json) -> Json:
        rest = statement["rest"][0]
        kept = [each for each in rest["resource"] if only is None or each["type"] in only or each["type"] == "Patient"]
        resources = []
        for each in kept:
            codes = [i["code"] for i in each["interaction"]]
            gone = {"create", "update"} if each["type"] in read_only else set() if update else {"update"}
            interaction = [{"code": code} for code in codes if code not in gone]
            able = {"updateCreate": update_create, "conditionalCreate": conditional_create}
            resources.append({**each, **able, "interaction": interaction})
        system = [{"code": "transaction"}] if transactions else []
        return {**statement, "rest": [{**rest, "interaction": system, "resource": resources}]}

    return cut


def refusing(statement: Callable[[Json], Json], base: Json) -> Callable[[Seen], int | None]:
    """Refusal by deed of whatever a statement does not offer; ``base`` is the honest server's own."""
    offered = statement(base)["rest"][0]
    types = {each["type"]: each for each in offered["resource"]}
    transactions = bool(offered["interaction"])

    def refuse(seen: Seen) -> int | None:
        path = seen.path.partition("?")[0].strip("/").split("/")
        if seen.method == "POST" and path == [""]:
            return None if transactions else 501
        able = types.get(path[0])
        if path[0] == "metadata":
            return None
        if able is None:
            return 404
        codes = {each["code"] for each in able["interaction"]}
        if seen.method == "POST":
            return None if "create" in codes else 405
        if seen.method == "PUT":
            return None if "update" in codes else 405
        return None

    return refuse


async def _request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


def _head(status: int, length: int, headers: dict[str, str]) -> bytes:
    whole = {"content-type": FHIR, **headers, "content-length": str(length), "connection": "close"}
    return f"HTTP/1.1 {status} X\r\n{''.join(f'{n}: {v}' + chr(13) + chr(10) for n, v in whole.items())}\r\n".encode()


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> None:
    writer.write(_head(status, len(body), headers) + body)
    await writer.drain()


def by_type(stored: dict[str, list[Json]], types: Sequence[str]) -> dict[str, int]:
    """How many of each type a server has."""
    return {each: len(stored.get(each, [])) for each in types}
