"""Our clients, answered by hostile EHRs, archives and sign-in providers over real sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fuzz_answers
import httpx
import pytest
from fuzz_answers import CLIENT, NONCE, SYSTEM, _fhir, _head, _listening

from trabecula.delivery.answers import Answer, Setback, retry_after_s, verdict_of
from trabecula.delivery.fhir_client import body_id
from trabecula.delivery.ladder import _entry_answer
from trabecula.delivery.ways import fhir_client
from trabecula.errors import OutboundRefused, SignInUnavailable
from trabecula.outbound import get_limited, guarded_client, parse_policy
from trabecula.service.auth.oidc import OidcOptions, OpenIdProvider, SignIn
from trabecula.texts import parse_foreign_json

NOW = datetime(2026, 3, 14, tzinfo=UTC)
LOCAL = parse_policy("127.0.0.1", "127.0.0.0/8", plain_http=True)


def answering(*answers: bytes) -> Callable[..., Awaitable[None]]:
    """A server that gives these, one a request, and the last one from then on."""
    waiting = list(answers)

    async def serve(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        await reading.readuntil(b"\r\n\r\n")
        writing.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        await writing.drain()
        writing.close()

    return serve


def whole(body: bytes, kind: str = "application/fhir+json", **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _head(200, kind, {**named, "content-length": str(len(body)), "connection": "close"}) + body


def test_no_answer_brings_a_client_down(tmp_path: Path) -> None:
    tally = fuzz_answers.AnswersTally()
    asyncio.run(fuzz_answers.fuzz_answers(5, 2, tmp_path, tally))
    assert tally.findings == {}
    assert tally.calls == 2 * len(fuzz_answers.CLIENTS)


async def test_what_is_packed_is_not_unpacked() -> None:
    bomb = whole(gzip.compress(b"\0" * (64 << 20)), content_encoding="gzip")
    async with _listening(answering(bomb)) as base, guarded_client(LOCAL) as client:
        with pytest.raises(OutboundRefused) as met:
            await get_limited(client, base, max_bytes=1 << 30)
    assert met.value.fields["why"] == "answer packed"


async def test_an_answer_that_dribbles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trabecula.outbound.WHOLE_ANSWER_S", 0.5)

    async def dribble(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        await reading.readuntil(b"\r\n\r\n")
        writing.write(_head(200, "application/json", {"content-length": "100000"}))
        while True:
            writing.write(b" ")
            await asyncio.sleep(0.1)

    async with _listening(dribble) as base, guarded_client(LOCAL) as client, asyncio.timeout(60):
        with pytest.raises(httpx.ReadTimeout):
            await get_limited(client, base, max_bytes=100_000)


async def test_an_address_that_is_none_is_refused() -> None:
    async with guarded_client(LOCAL) as client:
        for address in ("http://127.0.0.1:99999999/", "http://127.0.0.1/\x00", "http://[::1"):
            with pytest.raises(OutboundRefused):
                await get_limited(client, address, max_bytes=1000)


@pytest.mark.parametrize("body", [
    b'{"resourceType": "Bundle", "entry": null, "link": null}',
    b'{"resourceType": "Bundle", "entry": [1], "link": [2]}',
    b'{"resourceType": "Bundle", "link": [{"relation": "next", "url": "http://["}]}',
    b'{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}, "search": null}]}',
])  # fmt: skip
async def test_a_search_of_another_shape_is_no_fault(body: bytes) -> None:
    async with _listening(answering(whole(body))) as base:
        client = fhir_client(_fhir(base), None, lambda: NOW)
        async with client.transport.client:
            try:
                found: Any = await client.search("Patient", {"identifier": f"{SYSTEM}|1"})
            except Setback as setback:
                found = setback.reason
    assert found in ([], "search-elsewhere", [{"resourceType": "Patient"}])


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": "\\ud800"}',
                                  '{"\\u0000": 1}',
                                  "[" * 100_000])  # fmt: skip
def test_what_no_database_can_keep_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of JSON's
        parse_foreign_json(text)


def test_odd_parts_of_answers_mean_what_they_can() -> None:
    assert verdict_of(Answer(422, {"resourceType": "OperationOutcome", "issue": None})) == "park"
    assert verdict_of(Answer(422, {"resourceType": "OperationOutcome", "issue": [{"severity": []}]})) == "park"
    assert retry_after_s("Mon, 1 Jan 0001 00:00:00 +9999", NOW) in (None, 0.0)
    assert _entry_answer({"response": []}).status == 502
    assert _entry_answer({"response": {"status": "99"}}).status == 502
    assert body_id({"resourceType": "Patient", "id": "../../x"}, "Patient") is None
    assert body_id({"resourceType": "Patient", "id": 7}, "Patient") is None
    assert body_id({"resourceType": "Patient", "id": "a-1"}, "Patient") == "a-1"


@pytest.mark.parametrize("name", ["authorization_endpoint", "jwks_uri"])
async def test_a_provider_whose_addresses_are_none_cannot_be_used(name: str) -> None:
    description: list[bytes] = []
    async with _listening(lambda *streams: answering(*description)(*streams)) as base, guarded_client(LOCAL) as client:
        places = {"authorization_endpoint": f"{base}/a", "jwks_uri": f"{base}/k", name: "http://["}
        body = str({"issuer": base, **places}).replace("'", '"').encode()
        description.append(whole(body, "application/json"))
        provider = OpenIdProvider(OidcOptions(base, CLIENT, "secret", None, "openid", "groups", {}), client)
        with pytest.raises(SignInUnavailable):
            await provider.address(SignIn("s", NONCE, "v" * 50, "/"), "http://x/")
