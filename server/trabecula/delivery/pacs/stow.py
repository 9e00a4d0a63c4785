"""Results to a PACS by STOW-RS (PS3.18 10.5), with what each answer means for the delivery."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from trabecula.delivery.answers import Answer, Setback, Verdict, expect_ok
from trabecula.delivery.destinations import StowDestination
from trabecula.delivery.pacs.objects import ResultObject, result_objects
from trabecula.delivery.sending import Parcel, Sent
from trabecula.delivery.smart import Clock, TokenSource
from trabecula.delivery.transport import Transport, expect_plain
from trabecula.errors import OutboundRefused
from trabecula.texts import parse_foreign_json
from trabecula.work.content import ContentStore

Json = dict[str, Any]

WAY: Final = "stow-rs"
DICOM_JSON: Final = "application/dicom+json"
_FAILED: Final = "00081198"
_FAILURE_REASON: Final = "00081197"
_REFERENCED_UID: Final = "00081155"
_RETRIED_REASONS: Final = frozenset({0x0110, 0x0213, *range(0xA700, 0xA800)})
_CLASS_REASONS: Final = frozenset({0x0122, 0x0118})
_STATUS_CONFLICT: Final = 409


@dataclass(frozen=True)
class StowSender:
    """Sends the results of a screening to one PACS; a :data:`trabecula.delivery.sending.Send`."""

    destination: StowDestination
    content: ContentStore
    transport: Transport
    clock: Clock
    tokens: TokenSource | None = None

    async def __call__(self, parcel: Parcel) -> Sent:
        """All objects in one request. Sending them again is harmless: their UIDs are the same.

        Raises:
            Setback: RETRY when the PACS cannot be reached or has no room, PARK when it refuses.
        """
        objects = await result_objects(parcel, self.content, self.destination.objects)
        token = None if self.tokens is None else await self.tokens.token()
        answer = await self._post(objects, token)
        if answer.status == httpx.codes.UNAUTHORIZED and self.tokens is not None:
            answer = await self._post(objects, await self.tokens.token(refused=token))
        return sent_of(answer, objects, self.clock())

    async def _post(self, objects: Sequence[ResultObject], token: str | None) -> Answer:
        boundary = uuid.uuid4().hex
        headers = {
            "accept": DICOM_JSON,
            "accept-encoding": "identity",
            "content-type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "user-agent": "trabecula",
            **({} if token is None else {"authorization": f"Bearer {token}"}),
        }
        url = f"{self.destination.base_url.rstrip('/')}/studies"
        return await request(self.transport, "POST", url, headers=headers, content=multipart(objects, boundary))


def multipart(objects: Sequence[ResultObject], boundary: str) -> bytes:
    """The body of a STOW-RS request (PS3.18 8.6.1.2.2)."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join([*(head + each.file + b"\r\n" for each in objects), f"--{boundary}--\r\n".encode()])


def sent_of(answer: Answer, objects: Sequence[ResultObject], now: datetime) -> Sent:
    """What an answer means: 200 all stored, 202 some, 409 none, each with a reason per instance.

    Raises:
        Setback: RETRY or PARK.
    """
    failures = _failures(answer.body or {})
    kinds = {each.sop_uid: each.kind.value for each in objects}
    if not failures:
        expect_ok(answer, now)
        return Sent(WAY)
    if any(reason in _RETRIED_REASONS for reason in failures.values()):
        raise Setback(Verdict.RETRY, "out-of-resources", status=answer.status)
    refused = frozenset(kinds[uid] for uid, reason in failures.items() if reason in _CLASS_REASONS and uid in kinds)
    if len(refused) < len(failures):
        raise Setback(Verdict.PARK, "content-refused", status=answer.status)
    if len(refused) == len(kinds):
        raise Setback(Verdict.PARK, "sop-class-refused", status=answer.status)
    return Sent(WAY, refused)


def _failures(body: Json) -> dict[str, int]:
    """Failure reasons by SOP Instance UID (PS3.18 table 10.5.3-2)."""
    found: dict[str, int] = {}
    for item in _items(body.get(_FAILED)):
        uid, reason = _first(item.get(_REFERENCED_UID)), _first(item.get(_FAILURE_REASON))
        found[str(uid)] = reason if isinstance(reason, int) else 0xC000
    return found


def _items(element: object) -> list[Json]:
    value = element.get("Value") if isinstance(element, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _first(element: object) -> object:
    value = element.get("Value") if isinstance(element, dict) else None
    return value[0] if isinstance(value, list) and value else None


async def request(
    transport: Transport, method: str, url: str, *, headers: dict[str, str], content: bytes | None = None
) -> Answer:
    """One request with a body that is no FHIR; answers of DICOM JSON are read.

    Raises:
        Setback: RETRY when no whole answer came, PARK when the address may not be called.
    """
    limits = transport.limits
    built = transport.client.build_request(method, url, headers=headers, content=content)
    try:
        async with asyncio.timeout(limits.attempt_timeout_s):
            response = await transport.client.send(built, stream=True)
            try:
                expect_plain(response)
                kept = bytearray()
                async for chunk in response.aiter_raw():
                    kept += chunk
                    if len(kept) > limits.max_response_bytes:
                        raise Setback(Verdict.RETRY, "answer-too-large", status=response.status_code)
            finally:
                await response.aclose()
    except OutboundRefused as error:
        raise Setback(Verdict.PARK, "address-refused") from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise Setback(Verdict.RETRY, "timed-out") from error
    except (httpx.TransportError, httpx.StreamError) as error:
        raise Setback(Verdict.RETRY, "connection") from error
    return Answer(response.status_code, _json(bytes(kept)), None, response.headers.get("retry-after"))


def _json(content: bytes) -> Json | None:
    """A JSON object, or the array of a QIDO answer under ``items``."""
    try:
        value = parse_foreign_json(content)
    except ValueError:
        return None
    if isinstance(value, list):
        return {"items": value}
    return value if isinstance(value, dict) else None
