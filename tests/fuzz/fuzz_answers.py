"""A hostile EHR, archive and sign-in provider over real sockets, and our clients that ask them.

Whatever they answer, a client gives an error of the tree or a value that can be kept, within its own limits.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import cds_ehr
import fhir_samples
import psutil
from fuzz_cases import make_case
from fuzz_targets import capability_statement
from fuzz_values import ODD, mutate_bytes, mutate_json
from joserfc import jwt
from joserfc.jwk import RSAKey

from trabecula.delivery.answers import Setback
from trabecula.delivery.archive import open_archive
from trabecula.delivery.capability import Rung, capability_document, parse_capability
from trabecula.delivery.destinations import (
    FhirDestination,
    Limits,
    Network,
    PatientSystem,
    SmartAuth,
    StowDestination,
)
from trabecula.delivery.ladder import Known, Ladder
from trabecula.delivery.pacs.pull import PullLimits
from trabecula.delivery.patients import find_patient
from trabecula.delivery.resource_set import Key, from_bundle
from trabecula.delivery.ways import fhir_client
from trabecula.errors import TrabeculaError
from trabecula.hooks.ehr import reader
from trabecula.hooks.prefetch import chart_of, patient_in
from trabecula.hooks.requests import FhirAccess
from trabecula.hooks.services import Need
from trabecula.keys import SigningAlgorithm, generate_key
from trabecula.outbound import guarded_client, parse_policy
from trabecula.service.auth.jwks import KeySource
from trabecula.service.auth.local_users import Role
from trabecula.service.auth.oidc import OidcOptions, OpenIdProvider, SignIn
from trabecula.texts import is_storable
from trabecula.work.content import FolderContent

HANG_S: Final = 10.0
TIMEOUT_S: Final = 1.0
MOST_BYTES: Final = 1 << 20
MEMORY_BYTES: Final = 512 << 20
NOW: Final = datetime(2026, 3, 14, tzinfo=UTC)
SYSTEM, VALUE = "urn:oid:1.2.3", "4711"
CLIENT, NONCE = "trabecula", "nonce"
STUDY: Final = "1.2.826.0.1.99"
_LOOPBACK: Final = parse_policy("127.0.0.1", "127.0.0.0/8", plain_http=True)
_KEY: Final = RSAKey.generate_key(2048, {"kid": "k", "alg": "RS256", "use": "sig"})


@dataclass
class AnswersTally:
    """What was counted."""

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[str]] = field(default_factory=dict)
    slowest_s: float = 0.0
    peak_mib: int = 0
    elsewhere: int = 0
    """Calls that reached an address that no site has named."""


class Hostile:
    """One server; every answer is a sound one, mutated or replaced by the dice."""

    def __init__(self, random: Random, sound: float) -> None:
        self.random = random
        self._sound = sound
        self.base = ""
        self.elsewhere = ""
        """Address of a server that must never be called."""

    async def serve(self, reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while True:
                head = await reading.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b" ", 2)
                lines = head.lower().split(b"\r\n")
                size = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                body = await reading.readexactly(size)
                if not await self._answer(method.decode(), target.decode("latin-1"), body, writing):
                    break
        writing.close()

    async def _answer(self, method: str, target: str, body: bytes, writing: asyncio.StreamWriter) -> bool:
        random = self.random
        value, status, kind, headers = self._right(method, target, body)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        if random.random() < self._sound:
            return await _write(writing, status, kind, headers, data)
        if random.random() < 0.65:
            data = mutate_bytes(data, random) if isinstance(value, bytes) else mutate_json(value, random)
            if random.random() < 0.2:
                status = random.choice((200, 201, 204, 400, 401, 403, 404, 409, 410, 412, 422, 429, 500, 501, 503))
            if random.random() < 0.2:
                headers |= {"location": str(random.choice(ODD))[:300], "retry-after": str(random.choice(_WHEN))}
            return await _write(writing, status, kind, headers, data)
        return await self._worse(status, kind, data, writing)

    async def _worse(self, status: int, kind: str, data: bytes, writing: asyncio.StreamWriter) -> bool:
        random = self.random
        choice = random.randrange(11)
        if choice == 0:
            where = random.choice(
                (self.elsewhere, "http://169.254.169.254/latest", "//evil/", "file:///etc/passwd", "")
            )
            return await _write(writing, random.choice((301, 302, 307, 308)), kind, {"location": where}, b"")
        if choice == 1:
            bomb = gzip.compress(b"\0" * (200 << 20), 1) if random.random() < 0.3 else gzip.compress(data)
            packing = random.choice(("gzip", "deflate", "br", "zstd", "gzip, gzip"))
            return await _write(writing, status, kind, {"content-encoding": packing}, bomb)
        if choice == 2:
            writing.write(_head(status, kind, {"content-length": str(len(data) + 5000)}) + data)
        elif choice == 3:
            writing.write(_head(status, kind, {"transfer-encoding": "chunked"}))
            for _ in range(200):
                writing.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
                await writing.drain()
        elif choice == 4:
            writing.write(_head(status, kind, {"content-length": "100000000"}))
            for byte in data[:200] or b"x" * 200:
                writing.write(bytes((byte,)))
                await writing.drain()
                await asyncio.sleep(0.02)
        elif choice == 5:
            writing.write(mutate_bytes(_head(status, kind, {"content-length": str(len(data))}) + data, random))
        elif choice == 6:
            writing.write(
                random.choice((b"", b"HTTP/9.9 200\r\n\r\n", b"\x16\x03\x01", b"HTTP/1.1 \xff\r\n\r\n", b"\r\n" * 9))
            )
        elif choice == 7:
            await asyncio.sleep(2 * TIMEOUT_S)
        elif choice == 8:
            return await _write(writing, status, random.choice(_KINDS), {}, data)
        elif choice == 9:
            depth = random.choice((500, 5000, 200_000))
            return await _write(writing, status, kind, {}, b'{"a":[' * depth)
        else:
            return await _write(
                writing, status, kind, {f"x-{n}": "y" * 900 for n in range(random.choice((1, 90, 400)))}, data
            )
        await writing.drain()
        return False

    def _right(self, method: str, target: str, body: bytes) -> tuple[Any, int, str, dict[str, str]]:
        """What a well-behaved server would answer: value, status, content type, headers."""
        path = target.partition("?")[0]
        if path.endswith("/metadata"):
            return capability_statement(), 200, "application/fhir+json", {}
        if path.endswith("smart-configuration"):
            return {"token_endpoint": f"{self.base}/token", "capabilities": []}, 200, "application/json", {}
        if path.endswith("openid-configuration"):
            return self._description(), 200, "application/json", {}
        if path.endswith("/jwks"):
            return {"keys": [_KEY.as_dict(private=False)]}, 200, "application/json", {}
        if path.endswith("/token"):
            return self._tokens(), 200, "application/json", {}
        if path.endswith("/userinfo"):
            return {"sub": "anna", "name": "Anna", "groups": ["radiologists"]}, 200, "application/json", {}
        if path.endswith("/series"):
            return self._series(), 200, "application/dicom+json", {}
        if "/series/" in path:
            case = make_case(3, self.random.randrange(5000))
            parts = b"".join(
                b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in case.files[:3]
            )
            return parts + b"--b--\r\n", 200, 'multipart/related; type="application/dicom"; boundary=b', {}
        return self._fhir(method, path, body)

    def _description(self) -> dict[str, Any]:
        names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint")
        places = {name: f"{self.base}/{name.partition('_')[0]}" for name in names}
        return {"issuer": self.base, "jwks_uri": f"{self.base}/jwks", **places, "response_types_supported": ["code"]}

    def _tokens(self) -> dict[str, Any]:
        claims = {"iss": self.base, "aud": CLIENT, "sub": "anna", "nonce": NONCE, "iat": int(time.time()),
                  "exp": int(time.time()) + 300, "name": "Anna", "groups": ["radiologists"]}  # fmt: skip
        if self.random.random() < 0.5:
            claims[self.random.choice(list(claims))] = self.random.choice(ODD)
        with suppress(ValueError, TypeError, UnicodeError):
            signed = jwt.encode({"alg": "RS256", "kid": "k"}, claims, _KEY)
            return {"access_token": "a", "token_type": "bearer", "expires_in": 300, "id_token": signed}
        return {"access_token": "a", "token_type": "bearer"}

    def _series(self) -> list[Any]:
        row = {"00080060": {"vr": "CS", "Value": ["CT"]}, "0020000E": {"vr": "UI", "Value": ["1.2.3"]},
               "00201209": {"vr": "IS", "Value": [3]}, "00081190": {"vr": "UR", "Value": [self.elsewhere]}}  # fmt: skip
        return [row]

    def _fhir(self, method: str, path: str, body: bytes) -> tuple[Any, int, str, dict[str, str]]:
        kind = "application/fhir+json"
        last = path.rstrip("/").rpartition("/")[2]
        if method == "GET":
            patient = {"resourceType": "Patient", "id": cds_ehr.PATIENT_ID,
                       "identifier": [{"system": SYSTEM, "value": VALUE}]}  # fmt: skip
            found = [patient] if last == "Patient" else [cds_ehr.dxa_report("2025-03-01")]
            following = f"{self.base}/fhir/{last}?page=2" if self.random.random() < 0.3 else None
            return cds_ehr.bundle(*found, following=following), 200, kind, {}
        sent = json.loads(body) if body else {}
        entries = sent.get("entry") if sent.get("type") == "transaction" else None
        if entries is None:
            made = {**sent, "id": sent.get("id", "made-1")}
            return made, 201, kind, {"location": f"{self.base}/fhir/{last}/made-1/_history/1"}
        answers = [{"response": {"status": "201 Created", "location": f"{e['resource']['resourceType']}/m{n}"}}
                   for n, e in enumerate(entries)]  # fmt: skip
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}, 200, kind, {}


_WHEN: Final = (
    "1",
    "-1",
    "9" * 400,
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 1 Jan 0001 00:00:00 +2359",
    "soon",
    "²",
    "a, b",
)
_KINDS: Final = ("text/html", "", "application/xml", "application/json; charset=utf-16", "multipart/related", ";;",
                 "a" * 3000,
                 "multipart/related; boundary=", 'multipart/related; boundary="' + "b" * 500 + '"')  # fmt: skip


def _head(status: int, kind: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n"


async def _write(writing: asyncio.StreamWriter, status: int, kind: str, headers: dict[str, str], data: bytes) -> bool:
    data = b"" if status in (204, 304) else data
    writing.write(_head(status, kind, {**headers, "content-length": str(len(data))}) + data)
    await writing.drain()
    return True


# Clients


class _Memory:
    """What has been acknowledged, without a database."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}

    async def recall(self, keys: Any) -> Mapping[Key, Known]:
        return {key: self._known[key] for key in keys if key in self._known}

    async def remember(self, key: Key, known: Known) -> None:
        if not is_storable([*key, known.server_id]) or len(known.server_id) > 64:
            raise AssertionError("an id that cannot be kept")
        self._known[key] = known


def _fhir(base: str, keys: Path | None = None) -> FhirDestination:
    limits = Limits(timeout_s=TIMEOUT_S, max_response_bytes=MOST_BYTES)
    auth: dict[str, Any] = {} if keys is None else {"auth": SmartAuth(CLIENT, key_folder=keys)}
    network = Network(("127.0.0.0/8",), plain_http=True)
    return FhirDestination(
        "fhir", "ehr", f"{base}/fhir", (PatientSystem(SYSTEM),), network=network, limits=limits, **auth
    )


async def _deliver(server: Hostile, _room: Path) -> str:
    """Ask what it can do, find the patient, write on one rung after the other."""
    destination = _fhir(server.base)
    client = fhir_client(destination, None, lambda: NOW)
    resources = from_bundle(server.random.choice(list(fhir_samples.bundles().values())))
    sound = parse_capability(capability_statement())
    async with client.transport.client:
        capability = await client.capability()
        if not is_storable(capability_document(capability)):
            raise AssertionError("a capability that cannot be kept")
        await find_patient(VALUE, None, destination.patient, client.search, client.read)
        ladder = Ladder(client, sound, destination.limits, _Memory())
        await ladder.write(server.random.choice(list(Rung)), resources)
    return "delivered"


async def _token(server: Hostile, room: Path) -> str:
    client = fhir_client(_fhir(server.base, room / "keys"), None, lambda: NOW)
    async with client.transport.client:
        await client.call("GET", "Patient/1")
    return "answered"


async def _sign_in(server: Hostile, _room: Path) -> str:
    options = OidcOptions(server.base, CLIENT, "secret", None, "openid", "groups", {"radiologists": Role.RADIOLOGIST})
    async with guarded_client(_LOOPBACK, timeout_s=TIMEOUT_S) as client:
        provider = OpenIdProvider(options, client)
        begun = SignIn("state", NONCE, "verifier" * 8, "/")
        await provider.address(begun, "http://x/")
        person = await provider.person({"state": "state", "code": "c"}, begun, "http://x/")
        await provider.end_address("http://x/")
    if not is_storable([person.id, person.name]) or not person.name.strip():
        raise AssertionError("a person that cannot be kept")
    return "signed in"


async def _keys(server: Hostile, _room: Path) -> str:
    async with guarded_client(_LOOPBACK, timeout_s=TIMEOUT_S) as client:
        await KeySource(f"{server.base}/jwks", client).key("RS256", "k")
    return "key"


async def _prefetch(server: Hostile, _room: Path) -> str:
    async with guarded_client(_LOOPBACK, timeout_s=TIMEOUT_S) as client:
        asked = {
            need.value: f"{'Patient' if need is Need.PATIENT else 'DiagnosticReport'}?x={need.value}" for need in Need
        }
        found = await reader(client)(FhirAccess(f"{server.base}/fhir", "token"), asked, 2 * TIMEOUT_S)
    given = {need: found[need.value] for need in Need if need.value in found}
    patient_in(given.get(Need.PATIENT), cds_ehr.PATIENT_ID)
    chart_of(given, cds_ehr.PATIENT_ID)
    return f"read {min(len(given), 1)}"


async def _pull(server: Hostile, room: Path) -> str:
    limits = Limits(timeout_s=TIMEOUT_S, attempt_timeout_s=2 * TIMEOUT_S, max_response_bytes=MOST_BYTES)
    network = Network(("127.0.0.0/8",), plain_http=True)
    destination = StowDestination("stow", "pacs", f"{server.base}/dicom-web", network=network, limits=limits)
    content = FolderContent(room / "content")
    archive = open_archive(destination, content, PullLimits(20, MOST_BYTES), None, lambda: NOW)
    try:
        async with archive.transport.client:
            refs = await archive(STUDY)
    finally:
        left = [path for path in (room / "content" / "staging").rglob("*") if path.is_file() and path.suffix != ".lock"]
        if left:
            raise AssertionError("staged files were left")
    if await content.missing(list(refs)):
        raise AssertionError("announced and not there")
    return "pulled"


CLIENTS: Final[Mapping[str, tuple[Callable[[Hostile, Path], Awaitable[str]], float, float]]] = {
    "delivery": (_deliver, 0.9, 30.0),
    "token": (_token, 0.6, 4.0),
    "sign-in": (_sign_in, 0.7, 8.0),
    "keys": (_keys, 0.4, 2.0),
    "prefetch": (_prefetch, 0.6, 3.0),
    "archive": (_pull, 0.4, 20.0),
}
"""What asks, how often the server is well-behaved, and how long all of it may take by the client's own limits."""


async def fuzz_answers(seed: int, calls: int, room: Path, tally: AnswersTally) -> None:
    """So many calls of each client, each to a server of its own."""
    before = psutil.Process().memory_info().rss
    generate_key(room / "keys", SigningAlgorithm.ES384, NOW, NOW)
    async with _listening(_count_elsewhere(tally)) as elsewhere:
        for name, (call, sound, limit_s) in CLIENTS.items():
            for number in range(calls):
                server = Hostile(Random(f"answers {name} {seed} {number}"), sound)
                server.elsewhere = elsewhere
                async with _listening(server.serve) as base:
                    server.base = base
                    await _one(name, call, server, room, limit_s, tally, f"{name}-{seed}-{number}")
                grown = psutil.Process().memory_info().rss - before
                tally.peak_mib = max(tally.peak_mib, grown >> 20)
    if tally.peak_mib > MEMORY_BYTES >> 20:
        tally.findings["memory grows"] = []
    if tally.elsewhere:
        tally.findings["an address that no site has named was called"] = []


def _count_elsewhere(tally: AnswersTally) -> Callable[[Any, asyncio.StreamWriter], Awaitable[None]]:
    async def count(_reading: Any, writing: asyncio.StreamWriter) -> None:
        tally.elsewhere += 1
        writing.close()

    return count


async def _one(
    name: str, call: Callable[[Hostile, Path], Awaitable[str]], server: Hostile, room: Path, limit_s: float,
    tally: AnswersTally, case: str,
) -> None:  # fmt: skip
    started = time.monotonic()
    try:
        async with asyncio.timeout(limit_s + HANG_S):
            outcome = await call(server, room)
    except Setback as error:
        if not is_storable([error.outcome, error.reason, error.status]):
            tally.findings.setdefault(f"{name}: an outcome that cannot be kept", []).append(case)
        outcome = error.reason
    except TrabeculaError as error:
        error.client_message.encode("utf-8")
        outcome = error.code
    except Exception as error:
        tally.findings.setdefault(f"{name}: {type(error).__name__}: {error}"[:200], []).append(case)
        outcome = "FAULT"
    tally.calls += 1
    tally.outcomes[f"{name}: {outcome}"] += 1
    tally.slowest_s = max(tally.slowest_s, time.monotonic() - started)


@asynccontextmanager
async def _listening(serve: Callable[..., Awaitable[None]]) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
