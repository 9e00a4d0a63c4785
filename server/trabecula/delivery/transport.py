"""HTTP to a destination: bounded in time and size, no redirects, answers read to their end or not at all."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from trabecula.delivery.answers import Answer, Setback, Verdict
from trabecula.delivery.destinations import Limits, WebDestination, outbound_policy
from trabecula.errors import OutboundRefused
from trabecula.outbound import guarded_client
from trabecula.texts import parse_foreign_json

Json = dict[str, Any]

FHIR_JSON: Final = "application/fhir+json"
_JSON_TYPES: Final = frozenset({FHIR_JSON, "application/json", "text/json", "application/json+fhir"})
_BASE_HEADERS: Final[Mapping[str, str]] = {
    "accept": FHIR_JSON,
    # An answer that is small packed may be huge unpacked
    "accept-encoding": "identity",
    "user-agent": "trabecula",
}


def open_client(destination: WebDestination) -> httpx.AsyncClient:
    """A client that reaches this destination and its token endpoint, and nothing else.

    Raises:
        OSError, ssl.SSLError: if the file of certificate authorities cannot be used.
    """
    file = destination.network.ca_file
    verify = ssl.create_default_context(cafile=str(file)) if file else ssl.create_default_context()
    return guarded_client(outbound_policy(destination), timeout_s=destination.limits.timeout_s, verify=verify)


@dataclass(frozen=True)
class Transport:
    """One destination's HTTP."""

    client: httpx.AsyncClient
    limits: Limits

    async def send(
        self,
        method: str,
        url: str,
        *,
        body: Json | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = FHIR_JSON,
    ) -> Answer:
        """One request.

        Raises:
            Setback: RETRY when no whole answer came (the server may have done what was asked), PARK when the address
                may not be called.
        """
        payload = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        sent = {**_BASE_HEADERS, **({} if body is None else {"content-type": content_type}), **(headers or {})}
        try:
            request = self.client.build_request(method, url, content=payload, data=form, headers=sent)
            # httpx bounds each read; a server that gives a byte now and then would keep us for ever
            async with asyncio.timeout(self.limits.timeout_s):
                response = await self.client.send(request, stream=True)
                try:
                    return _answer(response, await self._read(response))
                finally:
                    await response.aclose()
        except (OutboundRefused, httpx.InvalidURL) as error:
            raise Setback(Verdict.PARK, "address-refused") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Setback(Verdict.RETRY, "timed-out") from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Setback(Verdict.RETRY, "connection") from error
        except httpx.DecodingError as error:
            raise Setback(Verdict.RETRY, "answer-unusable") from error

    async def _read(self, response: httpx.Response) -> bytes:
        expect_plain(response)
        kept = bytearray()
        async for chunk in response.aiter_raw():
            kept += chunk
            if len(kept) > self.limits.max_response_bytes:
                raise Setback(Verdict.RETRY, "answer-too-large", status=response.status_code)
        return bytes(kept)


def expect_plain(response: httpx.Response) -> None:
    """That an answer is not packed: what is small packed may be huge unpacked.

    Raises:
        Setback: RETRY when it is, though we asked for ``identity``.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise Setback(Verdict.RETRY, "answer-unusable", status=response.status_code)


def _answer(response: httpx.Response, content: bytes) -> Answer:
    return Answer(
        status=response.status_code,
        body=_json(response.headers.get("content-type", ""), content),
        location=response.headers.get("location"),
        retry_after=response.headers.get("retry-after"),
    )


def _json(media_type: str, content: bytes) -> Json | None:
    if media_type.partition(";")[0].strip().lower() not in _JSON_TYPES:
        return None
    try:
        value = parse_foreign_json(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def resource_in(answer: Answer, resource_type: str) -> Json:
    """The resource of an answer that must hold one.

    Raises:
        Setback: RETRY when it holds something else, such as the login page of a proxy.
    """
    body = answer.body
    if body is None or body.get("resourceType") != resource_type:
        raise Setback(Verdict.RETRY, "answer-unusable", status=answer.status, outcome=answer.outcome)
    return body


def is_created(answer: Answer) -> bool:
    return answer.status == HTTPStatus.CREATED
