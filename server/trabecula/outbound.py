"""Where the program may call out to: hosts an operator has listed, and nothing else.

Addresses that come from outside (a hook's ``fhirServer``, a ``jku``, a token endpoint found by discovery) pass through
here before anything is sent, so that nobody makes the service call what they cannot reach themselves. The address that
was checked is the one connected to: a name that answers otherwise a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from trabecula.errors import ConfigurationError, OutboundRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to its addresses."""

DEFAULT_PORTS: Final = {"https": 443, "http": 80}
MAX_URL_CHARACTERS: Final = 2048
WHOLE_ANSWER_S: Final = 30.0
"""For a whole answer of :func:`get_limited` and :func:`send_form`, however slowly its bytes come."""
_NOT_PACKED: Final = ("accept-encoding", "identity")
"""What is small packed may be huge unpacked."""


@dataclass(frozen=True)
class OutboundUrl:
    """An address that may be called."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port; two addresses with the same origin share a server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class OutboundPolicy:
    """What an operator allows. The default allows nothing."""

    hosts: frozenset[str] = frozenset()
    """``ehr.example.org``, ``ehr.example.org:8443`` (that port only) or ``*.example.org`` (every name below it)."""
    networks: tuple[Network, ...] = ()
    """Networks of loopback, private and link-local addresses that listed hosts may lie in; public ones always may."""
    plain_http: bool = False
    """Whether ``http:`` may be used too; for tests and loopback."""

    def check(self, url: str) -> OutboundUrl:
        """The address taken apart, without asking the DNS.

        Raises:
            OutboundRefused: if it is not https, has a user, a fragment or odd characters, or is not listed.
        """
        if len(url) > MAX_URL_CHARACTERS or any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
            raise OutboundRefused(why="malformed")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise OutboundRefused(why="malformed") from None
        host = self._host(parts)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.plain_http):
            raise OutboundRefused(why="not https")
        port = DEFAULT_PORTS[parts.scheme] if port is None else port
        if not self._listed(host, port):
            raise OutboundRefused(why="host not listed")
        return OutboundUrl(url, parts.scheme, host, port)

    def _host(self, parts: SplitResult) -> str:
        if not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise OutboundRefused(why="malformed")
        return parts.hostname.rstrip(".").lower()

    def _listed(self, host: str, port: int) -> bool:
        below = (f"*.{host.split('.', at)[at]}" for at in range(1, host.count(".") + 1))
        shown = f"[{host}]" if ":" in host else host
        return any(name in self.hosts for name in (host, f"{shown}:{port}", *below))

    def check_address(self, address: str) -> Address:
        """Whether a host that is listed may be called at this address.

        Raises:
            OutboundRefused: if it is not a public address nor in a network that was named.
        """
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            raise OutboundRefused(why="malformed") from None
        found = _inner(found)
        named = any(found.version == network.version and found in network for network in self.networks)
        if not named and (not found.is_global or found.is_multicast or _is_special(found)):
            raise OutboundRefused(why="address not public and in no network that was named")
        return found


_EMBEDDING: Final = tuple(IPv6Network(each) for each in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))
"""NAT64 (RFC 6052), IPv4-compatible (RFC 4291) and IPv4-translated (RFC 2765): an IPv4 address in the last 32 bits."""
_SPECIAL: Final[tuple[Network, ...]] = tuple(
    ip_network(each)
    for each in ("fec0::/10", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16", "192.0.0.0/24", "192.88.99.0/24")
)
"""Not of the public internet, though older Pythons take some of them for it (IANA special-purpose registries)."""


def _is_special(address: Address) -> bool:
    return any(address.version == network.version and address in network for network in _SPECIAL)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, or itself."""
    if isinstance(address, IPv4Address):
        return address
    if int(address) > 1 and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def parse_policy(hosts: str, networks: str, *, plain_http: bool = False) -> OutboundPolicy:
    """A policy from settings: names and networks (CIDR), separated by commas.

    Raises:
        ConfigurationError: if a network or a host cannot be read.
    """
    names = frozenset(name for part in hosts.split(",") if (name := part.strip().lower()))
    if any("/" in name or "@" in name or name == "*" for name in names):
        raise ConfigurationError(setting="TRABECULA_OUTBOUND_HOSTS", must_be="host names, without scheme or path")
    try:
        ranges = tuple(ip_network(part.strip()) for part in networks.split(",") if part.strip())
    except ValueError as error:
        raise ConfigurationError(setting="TRABECULA_OUTBOUND_NETWORKS", must_be="networks in CIDR form") from error
    return OutboundPolicy(names, ranges, plain_http)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a host by the system's resolver, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Lets through what the policy allows, to the very address that was checked.

    Every request is looked at, so a redirect to elsewhere is refused too. Each host has connections of its own: two
    names at one address never share a TLS session.
    """

    def __init__(self, policy: OutboundPolicy, verify: ssl.SSLContext | bool = True, find: Resolve = resolve) -> None:
        self._policy = policy
        self._verify = verify
        self._find = find
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises OutboundRefused beside what httpx raises."""
        target = self._policy.check(str(request.url))
        address = await self._checked_address(target)
        transport = self._transports.get(target.origin)
        if transport is None:
            transport = httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False)
            self._transports[target.origin] = transport
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=request.headers,  # Host stays that of the name
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.host},
        )
        return await transport.handle_async_request(sent)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()

    async def _checked_address(self, target: OutboundUrl) -> Address:
        try:
            found = await self._find(target.host, target.port)
        except OSError as error:
            raise httpx.ConnectError("the host's name cannot be resolved") from error
        checked = [self._policy.check_address(each) for each in found]
        if not checked:
            raise httpx.ConnectError("the host has no address")
        return checked[0]


def trust(authorities: Path | None) -> ssl.SSLContext | bool:
    """Whom to trust: the public authorities, and besides them those of a file (PEM).

    Raises:
        ConfigurationError: if the file cannot be used.
    """
    if authorities is None:
        return True
    context = httpx.create_ssl_context(trust_env=False)
    try:
        context.load_verify_locations(authorities)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(setting="TRABECULA_OUTBOUND_CA_FILE", must_be="readable PEM") from error
    return context


def guarded_client(
    policy: OutboundPolicy, *, timeout_s: float = 10.0, verify: ssl.SSLContext | bool = True, find: Resolve = resolve
) -> httpx.AsyncClient:
    """A client that calls out under the policy: follows no redirect, reads no proxy from the environment."""
    transport = GuardedTransport(policy, verify, find)
    return httpx.AsyncClient(transport=transport, timeout=timeout_s, follow_redirects=False, trust_env=False)


async def get_limited(
    client: httpx.AsyncClient, url: str, *, max_bytes: int, headers: Iterable[tuple[str, str]] = ()
) -> tuple[httpx.Response, bytes]:
    """GET with a bound on the body and on the time for all of it.

    Raises:
        OutboundRefused: if the body is longer or packed, or the policy forbids the address.
        httpx.HTTPError: if no whole answer comes in time.
    """
    return await _whole(client, "GET", url, max_bytes, headers=[*headers, _NOT_PACKED])


async def send_form(
    client: httpx.AsyncClient,
    url: str,
    form: Mapping[str, str],
    *,
    max_bytes: int,
    headers: Iterable[tuple[str, str]] = (),
) -> tuple[httpx.Response, bytes]:
    """POST of a form with a bound on the answer's body; raises as :func:`get_limited`."""
    return await _whole(client, "POST", url, max_bytes, headers=[*headers, _NOT_PACKED], data=dict(form))


async def _whole(
    client: httpx.AsyncClient, method: str, url: str, max_bytes: int, **asked: Any
) -> tuple[httpx.Response, bytes]:
    try:
        # httpx bounds each read; a server that gives a byte now and then would keep us for ever
        async with asyncio.timeout(WHOLE_ANSWER_S), client.stream(method, url, **asked) as response:
            return response, await _limited(response, max_bytes)
    except TimeoutError as error:
        raise httpx.ReadTimeout("no whole answer in time") from error
    except httpx.InvalidURL as error:  # beside the tree of httpx.HTTPError
        raise OutboundRefused(why="malformed") from error


async def _limited(response: httpx.Response, max_bytes: int) -> bytes:
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise OutboundRefused(why="answer packed")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise OutboundRefused(why="answer too long", at_most_bytes=max_bytes)
    return bytes(body)
