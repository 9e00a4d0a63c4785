"""Odd requests to the live HTTP service: by its OpenAPI document, as mutated FHIR and CDS bodies, and as raw bytes."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import quote_from_bytes

import cds_ehr
import httpx
import hypothesis
import schemathesis
from fuzz_cases import make_case
from fuzz_targets import dxa_report
from fuzz_values import mutate_bytes, mutate_json, mutate_text
from schemathesis.errors import SerializationNotPossible

from trabecula.hooks.services import Hook

HANG_S: Final = 10.0
_TELLTALES: Final = (b"Traceback (most recent", b'File "/', b"sqlalchemy", b"psycopg", b"asyncpg", b"site-packages")
_PATHS: Final = (
    b"/fhir/Observation?code=x", b"/fhir/Patient/1", b"/cds-services", b"/api/v1/worklist?count=1", b"/healthz", b"/",
    b"/fhir/metadata", b"/openapi.json", b"/login", b"/static/../../etc/passwd", b"/fhir/%00", b"/%ff%fe", b"*", b"//",
    b"http://evil/", b"/dicom-web/studies/1.2.3", b"/fhir/DiagnosticReport/a/_history/1", b"/results/%2e%2e/x",
)  # fmt: skip


@dataclass
class HttpTally:
    """What was counted."""

    requests: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def add(self, what: str, status: int | str, body: bytes, seconds: float, content_type: str = "") -> None:
        self.requests += 1
        self.statuses[f"{what} {status}"] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if status == 500:
            self.findings[f"{what}: 500"] += 1
        if seconds > HANG_S:
            self.findings[f"{what}: no answer in {HANG_S:.0f} s"] += 1
        if any(each in body for each in _TELLTALES):
            self.findings[f"{what}: the answer tells of the program's inside"] += 1
        if "json" in content_type and body and not _is_json(body):
            self.findings[f"{what}: the answer is not the JSON that it says"] += 1


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)


def fuzz_by_schema(base: str, examples: int, seed: int, tally: HttpTally) -> None:
    """What schemathesis makes of every operation of ``/openapi.json``: values that fit the schemas, and that do not."""
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    with httpx.Client(base_url=base, timeout=3 * HANG_S) as client:
        for result in schema.get_all_operations():
            operation = result.ok()
            documented = {int(status) for status in operation.definition.raw["responses"]}
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                _one_operation(client, operation, mode, documented, examples, seed, tally)


def _one_operation(
    client: httpx.Client, operation: Any, mode: Any, documented: set[int], examples: int, seed: int, tally: HttpTally
) -> None:
    what = f"{operation.method.upper()} {operation.path}"
    checks = list(hypothesis.HealthCheck)

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=examples, deadline=None, database=None, suppress_health_check=checks)
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        started = time.monotonic()
        try:
            answer = case.call(base_url=str(client.base_url), timeout=3 * HANG_S)
        except (ValueError, UnicodeError):
            return  # no request can be made of it
        tally.add(what, answer.status_code, answer.content, time.monotonic() - started, _kind(answer.headers))
        if answer.status_code not in documented:
            tally.findings[f"{what}: status {answer.status_code} is not in the document"] += 1

    try:
        ask()
    except (hypothesis.errors.Unsatisfiable, SerializationNotPossible):
        pass  # nothing breaks a schema without a rule; multipart/related is for `fuzz_bodies`
    except Exception as error:
        tally.findings[f"{what}: {type(error).__name__}"] += 1


def _kind(headers: Any) -> str:
    found = headers.get("content-type", "")
    return str(found[0] if isinstance(found, list) else found)


def fuzz_bodies(base: str, seed: int, count: int, tally: HttpTally) -> None:
    """Mutations of sound bodies to the addresses that take them, and of searches."""
    random = Random(f"http {seed}")
    bodies: tuple[tuple[str, Any, str], ...] = (
        ("/fhir", dxa_report(), "application/fhir+json"),
        ("/fhir/Observation", dxa_report()["entry"][1]["resource"], "application/fhir+json"),
        ("/fhir/DiagnosticReport", dxa_report()["entry"][0]["resource"], "application/fhir+json"),
        ("/cds-services/ctbone-patient-view", cds_ehr.call(Hook.PATIENT_VIEW), "application/json"),
        ("/fhir/ImagingStudy/$screen-bone", {"resourceType": "Parameters", "parameter": []}, "application/fhir+json"),
        ("/fhir/PlanDefinition/opportunistic-ct-bone/$apply", {"resourceType": "Parameters",
        "parameter": [{"name": "subject", "valueString": "Patient/1"}]}, "application/fhir+json"),
    )  # fmt: skip
    with httpx.Client(base_url=base, timeout=3 * HANG_S) as client:
        for _ in range(count):
            choice = random.random()
            if choice < 0.45:
                path, sound, kind = random.choice(bodies)
                _send(client, tally, "POST", path, mutate_json(sound, random), _odd_kind(kind, random))
            elif choice < 0.75:
                _search(client, tally, random)
            else:
                _stow(client, tally, random)


def _odd_kind(kind: str, random: Random) -> str:
    odd = ("text/html", "application/json; charset=utf-16", "", "application/xml", "a" * 900, "application/fhir+json;;")
    return kind if random.random() < 0.9 else random.choice(odd)


def _send(client: httpx.Client, tally: HttpTally, method: str, path: str, body: bytes, kind: str) -> None:
    started = time.monotonic()
    try:
        answer = client.request(method, path, content=body, headers={"content-type": kind})
    except httpx.InvalidURL:
        return
    seconds = time.monotonic() - started
    tally.add(
        f"{method} {path.partition('?')[0][:40]}", answer.status_code, answer.content, seconds, _kind(answer.headers)
    )


def _search(client: httpx.Client, tally: HttpTally, random: Random) -> None:
    kinds = (
        "Observation",
        "DiagnosticReport",
        "Patient",
        "Task",
        "AuditEvent",
        "PlanDefinition",
        "ValueSet",
        "Nothing",
    )
    query = random.choice((
        b"code=http://loinc.org|24701-5&date=ge2025-01-01&_count=5&_sort=-date&_total=accurate",
        b"patient=Patient/1&_include=DiagnosticReport:result&_summary=count&_lastUpdated=lt2026",
        b"identifier=urn:oid:1.2|4711&_elements=id&_revinclude=Observation:subject&status=final&page=abc",
        b"url=http://x&version=1&name=a&_id=b&subject:Patient=1&value-quantity=gt1||mg&category=imaging,laboratory",
    ))  # fmt: skip
    mutated = mutate_text(query, random).replace(b"#", b"%23")
    kind = random.choice(kinds)
    if random.random() < 0.3:
        _send(client, tally, "POST", f"/fhir/{kind}/_search", mutated, "application/x-www-form-urlencoded")
    else:
        text = quote_from_bytes(mutated[:6000], safe="=&|:/,%")
        _send(client, tally, "GET", f"/fhir/{kind}?{text}", b"", "")


def _stow(client: httpx.Client, tally: HttpTally, random: Random) -> None:
    """Mutated instances, in a multipart that may be mutated too."""
    case = make_case(77, random.randrange(100_000))
    files = [case.files[index] for index in sorted(case.mutated)[:3]]
    boundary = random.choice((b"abc", b"abc", b"", b"a" * 70, b"a" * 300, b"\xff"))
    head = b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + each + b"\r\n" for each in files) + b"--" + boundary + b"--\r\n"
    if random.random() < 0.4:
        body = mutate_bytes(body, random)
    kind = f'multipart/related; type="application/dicom"; boundary={boundary.decode("latin-1")}'
    path = "/dicom-web/studies" + random.choice(("", "", "/1.2.3.4", "/..", "/1.2.3.4.5.6"))
    try:
        _send(client, tally, "POST", path, body, kind)
    except (UnicodeEncodeError, httpx.LocalProtocolError):
        return


def fuzz_sockets(base: str, seed: int, count: int, tally: HttpTally) -> None:
    """Bytes that are nearly HTTP. An answer of 4xx, or a connection that is closed, is all that may come."""
    random = Random(f"raw {seed}")
    url = httpx.URL(base)
    for _ in range(count):
        data = _raw_request(random)
        started = time.monotonic()
        answer = _talk((url.host, url.port or 80), data, random)
        status = answer.split(b" ", 2)[1].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "closed"
        tally.add("raw", int(status) if status.isdecimal() else status, answer, time.monotonic() - started)


def _raw_request(random: Random) -> bytes:
    method = random.choice(
        (b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"\x16\x03\x01", b"get", b"A" * 9000)
    )
    version = random.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"ICY"))
    headers = [b"Host: x"]
    headers += random.sample(
        [
            b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
            b"Content-Length: 5, 6",
            b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Content-Type: application/json", b"Host: y",
            b"Expect: 100-continue", b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x",
            b"Cookie: " + b"a" * 9000,
            b"X: " + b"b" * 70_000, b"\x00: a", b": a", b"Authorization: Bearer \xff", b"Accept: " + b"*/*," * 2000,
            b"Range: bytes=0-,0-,0-", b"Forwarded: for=\"", b"X-Forwarded-For: " + b"1," * 3000,
            b"If-None-Match: W/\"\xff\"",
            b"Prefer: handling=lenient, respond-async", b"Accept-Encoding: br;q=nan",
            b"Accept: application/fhir+json;q=1e999",
        ],
        random.choice((0, 1, 1, 2, 3)),
    )  # fmt: skip
    body = random.choice((b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"{}", b"-1\r\n"))
    data = b" ".join((method, random.choice(_PATHS), version)) + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body
    return mutate_bytes(data, random) if random.random() < 0.5 else data


def _talk(address: tuple[str, int], data: bytes, random: Random) -> bytes:
    """Send, say that no more will come, and read what comes back."""
    try:
        with socket.create_connection(address, timeout=HANG_S + 5) as connection:
            connection.sendall(data)
            if random.random() < 0.95:
                connection.shutdown(socket.SHUT_WR)
            else:
                return b""
            received = b""
            while len(received) < 1 << 20 and (piece := connection.recv(65536)):
                received += piece
            return received
    except (ConnectionError, BrokenPipeError):
        return b""
    except TimeoutError:
        return b"hang"
