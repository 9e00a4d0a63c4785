"""Calls go only where the operator said, whatever name or address is handed in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from trabecula.errors import ConfigurationError, OutboundRefused
from trabecula.outbound import OutboundPolicy, get_limited, guarded_client, parse_policy

POLICY = parse_policy("ehr.example.org, ehr.example.org:8443, *.hospital.test, 127.0.0.1", "10.1.0.0/16")


@pytest.mark.parametrize(
    "url",
    [
        "https://ehr.example.org/fhir",
        "https://EHR.example.org./fhir",
        "https://ehr.example.org:8443/fhir",
        "https://a.b.hospital.test/x",
    ],
)
def test_listed_hosts_may_be_called(url: str) -> None:
    assert POLICY.check(url).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "http://ehr.example.org/",
        "https://evil.test/",
        "https://ehr.example.org@evil.test/",
        "https://evil.test\\@ehr.example.org/",
        "https://ehr.example.org#@evil.test/",
        "https://user:secret@ehr.example.org/",
        "https://hospital.test.evil.test/",
        "https://hospital.test/",
        "https://xhospital.test/",
        "https://ehr.example.org:99999/",
        "https://ehr.example.org\t.evil.test/",
        "file:///etc/passwd",
        "//ehr.example.org/",
        "https:///x",
        "https://[::1/",
        "",
        "https://ehr.example.org/" + "a" * 3000,
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        POLICY.check(url)


def test_a_port_in_the_list_is_that_port_only() -> None:
    policy = parse_policy("one.test:8443", "")
    assert policy.check("https://one.test:8443/").port == 8443
    with pytest.raises(OutboundRefused):
        policy.check("https://one.test/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.2.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:10.2.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "::7f00:1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::7f00:1",
        "2001:0:7f00:1::",
        "fec0::1",
        "3fff::1",
        "192.0.0.9",
        "192.88.99.1",
        "::",
        "255.255.255.255",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "100.64.0.1",
        "nonsense",
    ],
)
def test_addresses_inside_are_refused_unless_named(address: str) -> None:
    with pytest.raises(OutboundRefused):
        POLICY.check_address(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "8.8.8.8", "2606:4700::1111"])
def test_public_and_named_addresses_are_allowed(address: str) -> None:
    POLICY.check_address(address)


@given(st.text(max_size=80))
def test_no_text_makes_the_check_fall_over(text: str) -> None:
    for url in (text, f"https://{text}", f"https://ehr.example.org{text}"):
        try:
            target = POLICY.check(url)
        except OutboundRefused:
            continue
        assert httpx.URL(target.url).host.rstrip(".").lower() == target.host


@pytest.mark.parametrize(("hosts", "networks"), [("https://x.test", ""), ("*", ""), ("", "10.0.0.0/99"), ("a@b", "")])
def test_settings_that_cannot_be_meant_are_refused(hosts: str, networks: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_policy(hosts, networks)


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers with its Host header; /away redirects, /long never ends soon."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        host = next(line[6:] for line in head.splitlines() if line.lower().startswith("host:"))
        body = b"x" * 5000 if path == "/long" else host.encode()
        status = b"302 Found\r\nLocation: https://evil.test/" if path == "/away" else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def finder(*answers: str) -> tuple[list[str], object]:
    asked: list[str] = []

    async def find(host: str, port: int) -> Sequence[str]:  # noqa: ARG001
        asked.append(host)
        return [answers[min(len(asked), len(answers)) - 1]]

    return asked, find


async def test_the_checked_address_is_the_one_called_and_the_name_stays(port: int) -> None:
    policy = parse_policy(f"named.test:{port}", "127.0.0.0/8", plain_http=True)
    asked, find = finder("127.0.0.1", "203.0.113.9")
    async with guarded_client(policy, find=find) as client:  # type: ignore[arg-type]
        response = await client.get(f"http://named.test:{port}/")
    assert response.text == f"named.test:{port}"
    assert asked == ["named.test"]


async def test_a_listed_name_that_points_inside_is_refused(port: int) -> None:
    policy = parse_policy(f"named.test:{port}", "", plain_http=True)
    _, find = finder("127.0.0.1")
    async with guarded_client(policy, find=find) as client:  # type: ignore[arg-type]
        with pytest.raises(OutboundRefused):
            await client.get(f"http://named.test:{port}/")


async def test_redirects_are_not_followed_and_if_they_are_they_are_checked(port: int) -> None:
    policy = parse_policy("127.0.0.1", "127.0.0.0/8", plain_http=True)
    async with guarded_client(policy) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/away")).status_code == 302
        with pytest.raises(OutboundRefused):
            await client.get(f"http://127.0.0.1:{port}/away", follow_redirects=True)


async def test_a_long_answer_is_cut_off(port: int) -> None:
    policy = OutboundPolicy(frozenset({"127.0.0.1"}), parse_policy("", "127.0.0.0/8").networks, plain_http=True)
    async with guarded_client(policy) as client:
        with pytest.raises(OutboundRefused):
            await get_limited(client, f"http://127.0.0.1:{port}/long", max_bytes=1000)
        _, body = await get_limited(client, f"http://127.0.0.1:{port}/", max_bytes=1000)
    assert body.startswith(b"127.0.0.1")
