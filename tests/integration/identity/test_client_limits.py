"""No client takes the service from the others, at any door; and the limiter itself stays small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from live_http import LiveHttp, live_http
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from trabecula.config import Settings
from trabecula.errors import ConfigurationError, TooManyRequests
from trabecula.service.dimse.serving import DimseDoor, dimse_service
from trabecula.service.http.guard import Guard, Limits, admit
from trabecula.service.http.options import http_options
from trabecula.service.http.serving import HttpServer, bound
from trabecula.service.limits import BURST_S, ClientLimits, Rate, network_of
from trabecula.telemetry.events import Event, RequestLimited
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.store import ScreeningStore


def limits(told: list[Event] | None = None, **changes: object) -> ClientLimits:
    settings = replace(Settings(), **changes)  # type: ignore[arg-type]
    return ClientLimits(settings, ([] if told is None else told).append, lambda: 0.0)


def test_a_client_may_ask_at_once_for_ten_seconds_worth_and_then_waits_its_turn() -> None:
    now = [100.0]
    rate = Rate(2.0, lambda: now[0])
    for _ in range(int(2 * BURST_S)):
        rate.take("a")
    with pytest.raises(TooManyRequests) as caught:
        rate.take("a")
    assert caught.value.fields["retry_after_s"] == pytest.approx(0.5)
    rate.take("b")
    now[0] += 0.5
    rate.take("a")
    with pytest.raises(TooManyRequests):
        rate.take("a")
    now[0] += 3600.0
    for _ in range(int(2 * BURST_S)):
        rate.take("a")


@pytest.mark.parametrize("waited_s", [0.0, 0.06, 0.17, 0.36, 0.44])
def test_who_waits_as_long_as_told_is_let_in(waited_s: float) -> None:
    now = [100.0]
    rate = Rate(2.0, lambda: now[0])
    for _ in range(int(2 * BURST_S)):
        rate.take("a")
    now[0] += waited_s
    with pytest.raises(TooManyRequests) as caught:
        rate.take("a")
    now[0] += float(str(caught.value.fields["retry_after_s"])) + 1e-6
    rate.take("a")


def test_a_million_addresses_do_not_fill_the_memory() -> None:
    rate = Rate(2.0, lambda: 0.0, most=1000)
    for _ in range(20):
        rate.take("busy")
    for number in range(1_000_000):
        rate.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number % 500 == 0:
            with pytest.raises(TooManyRequests):  # whoever goes on asking is not forgotten
                rate.take("busy")
    assert len(rate._paid_at) <= 1000


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        (None, "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_what_an_address_is_counted_as(address: str | None, counted: str) -> None:
    assert network_of(address) == counted


@asynccontextmanager
async def serving(clients: ClientLimits, proxies: tuple[str, ...] = ()) -> AsyncIterator[str]:
    """A door behind the guard: ``/<client>`` counts as that client's, and waits where asked to."""
    held = asyncio.Event()

    async def endpoint(request: Request) -> Response:
        admit(request, request.path_params["client"])
        if "hold" in request.query_params:
            await held.wait()
        if "release" in request.query_params:
            held.set()
        return PlainTextResponse(request.client.host if request.client else "")

    middleware = [Middleware(Guard, limits=Limits(1000, 30.0), tls=False, clients=clients)]
    app = Starlette(routes=[Route("/{client}", endpoint, methods=["GET"])], middleware=middleware)
    server = HttpServer(app, bound("127.0.0.1:0"), None, proxies)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def test_http_requests_of_one_client_are_limited_and_told_when_to_come_back() -> None:
    told: list[Event] = []
    async with serving(limits(told, client_requests_per_s=1)) as base, httpx.AsyncClient(base_url=base) as http:
        answers = [await http.get("/loud") for _ in range(11)]
        assert [each.status_code for each in answers] == [200] * 10 + [429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json()["issue"][0]["code"] == "throttled"
        assert (await http.get("/quiet")).status_code == 200
    assert told == [RequestLimited("http")]


async def test_http_requests_of_one_address_are_limited_before_anybody_is_asked() -> None:
    async with serving(limits(address_requests_per_s=1)) as base, httpx.AsyncClient(base_url=base) as http:
        answers = [await http.get(f"/{number}") for number in range(11)]
        assert [each.status_code for each in answers] == [200] * 10 + [429]


async def test_requests_of_one_client_that_are_open_at_once_are_limited() -> None:
    async with serving(limits(client_max_calls=2)) as base, httpx.AsyncClient(base_url=base) as http:
        held = [asyncio.create_task(http.get("/loud?hold=1")) for _ in range(2)]
        await asyncio.sleep(0.3)
        assert (await http.get("/loud")).status_code == 429
        assert (await http.get("/quiet?release=1")).status_code == 200
        assert [(await each).status_code for each in held] == [200, 200]
        assert (await http.get("/loud")).status_code == 200  # their places are free again


async def test_a_proxy_is_believed_only_where_it_is_named() -> None:
    told = {"x-forwarded-for": "203.0.113.9"}
    async with serving(limits()) as base, httpx.AsyncClient(base_url=base, headers=told) as http:
        assert (await http.get("/a")).text == "127.0.0.1"
    async with serving(limits(), ("10.0.0.0/8",)) as base, httpx.AsyncClient(base_url=base, headers=told) as http:
        assert (await http.get("/a")).text == "127.0.0.1"
    async with serving(limits(), ("127.0.0.0/8",)) as base, httpx.AsyncClient(base_url=base, headers=told) as http:
        assert (await http.get("/a")).text == "203.0.113.9"
        # What a client wrote in front of the proxy's own word is not believed.
        answer = await http.get("/a", headers={"x-forwarded-for": "198.51.100.1, 203.0.113.9"})
        assert answer.text == "203.0.113.9"


def test_a_proxy_that_is_no_network_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        http_options(Settings(trusted_proxies="*"))


async def test_the_fhir_facade_counts_by_token(database: Database, tmp_path: Path) -> None:
    clients = limits(client_requests_per_s=1)
    site: LiveHttp
    async with live_http(database, tmp_path, auth=True, clients=clients) as site:
        loud, quiet = site.bearer(client_id="loud"), site.bearer(client_id="quiet")
        codes = [(await site.get("Observation?_count=1", headers=loud)).status_code for _ in range(11)]
        assert codes == [200] * 10 + [429]
        assert (await site.get("Observation?_count=1", headers=quiet)).status_code == 200


def associate(port: int, title: str) -> Association:
    entity = AE(title)
    entity.add_requested_context(Verification)
    entity.acse_timeout = entity.dimse_timeout = 10
    return entity.associate("127.0.0.1", port, ae_title="TRABECULA")


def works(association: Association) -> bool:
    return association.is_established and association.send_c_echo().get("Status") == 0


async def test_one_modality_has_so_many_associations_open(database: Database, content: FolderContent) -> None:
    settings = replace(
        Settings(), dimse_listen="127.0.0.1:0", dimse_peers="CT@127.0.0.0/8, PACS@127.0.0.0/8", client_max_uploads=1
    )
    clients = ClientLimits(settings)
    door: DimseDoor
    async with dimse_service(settings, database, content, ScreeningStore(database, content=content), clients) as door:
        first = await asyncio.to_thread(associate, door.port, "CT")
        assert await asyncio.to_thread(works, first)
        second = await asyncio.to_thread(associate, door.port, "CT")
        assert not await asyncio.to_thread(works, second)
        other = await asyncio.to_thread(associate, door.port, "PACS")
        assert await asyncio.to_thread(works, other)
        await asyncio.to_thread(first.release)
        await asyncio.sleep(0.5)
        third = await asyncio.to_thread(associate, door.port, "CT")
        assert await asyncio.to_thread(works, third)
        for each in (third, other):
            await asyncio.to_thread(each.release)
