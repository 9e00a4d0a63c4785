"""Keys of issuers are fetched once, kept, and fetched anew when a new one turns up; nobody can make us hammer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from live_http import Issuer

from trabecula.errors import Unauthenticated
from trabecula.outbound import guarded_client, parse_policy
from trabecula.service.auth.jwks import AGAIN_S, KEEP_S, STALE_S, KeySource


@dataclass
class KeyServer:
    """Answers with ``body`` and counts; ``down`` cuts the connection."""

    port: int = 0
    body: str = "{}"
    asked: int = 0
    down: bool = False
    clock: float = 1000.0
    tasks: list[Any] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await asyncio.sleep(0.02)
        if not self.down:
            data = self.body.encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data)
            await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[KeyServer]:
    found = KeyServer()
    listening = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    yield found
    listening.close()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with guarded_client(parse_policy("127.0.0.1", "127.0.0.0/8", plain_http=True)) as made:
        yield made


def source(server: KeyServer, client: httpx.AsyncClient) -> KeySource:
    return KeySource(f"http://127.0.0.1:{server.port}/jwks", client, now=lambda: server.clock)


async def test_many_at_once_ask_once_and_keys_are_kept(server: KeyServer, client: httpx.AsyncClient) -> None:
    server.body = json.dumps(Issuer.make().jwks)
    keys = source(server, client)
    await asyncio.gather(*(keys.key("ES384", "one") for _ in range(20)))
    assert server.asked == 1
    server.clock += KEEP_S + 1
    await keys.key("ES384", "one")
    assert server.asked == 2


async def test_a_new_key_is_found_but_unknown_ones_do_not_hammer(server: KeyServer, client: httpx.AsyncClient) -> None:
    old, new = Issuer.make(), Issuer.make(kid="two")
    server.body = json.dumps(old.jwks)
    keys = source(server, client)
    await keys.key("ES384", "one")
    server.body = json.dumps({"keys": [*old.jwks["keys"], *new.jwks["keys"]]})
    server.clock += AGAIN_S
    await keys.key("ES384", "two")
    assert server.asked == 2
    for number in range(10):
        with pytest.raises(Unauthenticated):
            await keys.key("ES384", f"unknown-{number}")
    assert server.asked == 2


async def test_keys_outlive_a_short_absence_of_the_issuer(server: KeyServer, client: httpx.AsyncClient) -> None:
    server.body = json.dumps(Issuer.make().jwks)
    keys = source(server, client)
    await keys.key("ES384", "one")
    server.down = True
    server.clock += KEEP_S + 1
    await keys.key("ES384", "one")
    server.clock += STALE_S
    with pytest.raises(Unauthenticated):
        await keys.key("ES384", "one")


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"keys": 1}', '{"keys": [1]}', '{"keys": [{"kty": "EC"}]}', "x" * 300_000]
)
async def test_odd_answers_are_no_keys(server: KeyServer, client: httpx.AsyncClient, body: str) -> None:
    server.body = body
    with pytest.raises(Unauthenticated):
        await source(server, client).key("ES384", "one")


async def test_a_key_for_another_purpose_does_not_count(server: KeyServer, client: httpx.AsyncClient) -> None:
    (key,) = Issuer.make().jwks["keys"]
    for wrong in ({**key, "use": "enc"}, {**key, "alg": "ES256"}):
        server.body = json.dumps({"keys": [wrong]})
        with pytest.raises(Unauthenticated):
            await source(server, client).key("ES384", "one")
    server.body = json.dumps({"keys": [key, {**key, "kid": "two"}]})
    both = source(server, client)
    with pytest.raises(Unauthenticated):
        await both.key("ES384", None)
    with pytest.raises(Unauthenticated):
        await both.key("RS384", "one")


async def test_short_rsa_keys_are_refused(server: KeyServer, client: httpx.AsyncClient) -> None:
    from joserfc.jwk import RSAKey

    short = RSAKey.generate_key(1024).as_dict(private=False)
    server.body = json.dumps({"keys": [{**short, "kid": "one"}]})
    with pytest.raises(Unauthenticated):
        await source(server, client).key("RS256", "one")
