"""How much one client may ask for, so that none takes the service from the others. Counted in each process."""

from __future__ import annotations

from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from math import ceil
from threading import Lock
from time import monotonic
from typing import Final

from trabecula.config import Settings
from trabecula.errors import TooManyRequests
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener, RequestLimited

BURST_S: Final = 10.0
"""A client that was quiet may ask at once for what it may ask for in so many seconds."""
MOST_CLIENTS: Final = 10_000
"""Remembered at once; the one that was quiet for longest is forgotten first."""
BUSY_RETRY_S: Final = 1.0
"""Told to a client that has too much open."""


class Rate:
    """Generic cell rate algorithm: for each key the moment at which its past requests are paid for."""

    def __init__(self, per_s: float, now_s: Callable[[], float] = monotonic, most: int = MOST_CLIENTS) -> None:
        self._each_s = 1.0 / per_s
        self._now_s = now_s
        self._most = most
        self._paid_at: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def take(self, key: str) -> None:
        """Raises TooManyRequests with the time after which the next one is let in."""
        with self._lock:
            now = self._now_s()
            paid_at = max(now, self._paid_at.get(key, now)) + self._each_s
            if (early_s := paid_at - now - BURST_S) > 0:
                self._paid_at.move_to_end(key)  # whoever goes on asking is not forgotten
                raise TooManyRequests(retry_after_s=ceil(round(early_s * 10, 6)) / 10)  # up: after it, in
            self._paid_at[key] = paid_at
            self._paid_at.move_to_end(key)
            if len(self._paid_at) > self._most:
                self._paid_at.popitem(last=False)


class Places:
    """How much of something a key has open; a key with nothing open takes no memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Tally[str] = Tally()
        self._lock = Lock()  # DICOM's associations live in threads

    def take(self, key: str) -> None:
        """Raises TooManyRequests when the key has them all."""
        with self._lock:
            self.check(self._open.get(key, 0))
            self._open[key] += 1

    def check(self, are_open: int) -> None:
        """Raises TooManyRequests when so many are all that there are."""
        if are_open >= self._most:
            raise TooManyRequests(retry_after_s=BUSY_RETRY_S, open_at_most=self._most)

    def leave(self, key: str) -> None:
        """Give one back."""
        with self._lock:
            self._open[key] -= 1
            if self._open[key] <= 0:
                del self._open[key]


class ClientLimits:
    """The limits of one process, at all of its doors."""

    def __init__(self, settings: Settings, tell: Listener = nobody, now_s: Callable[[], float] = monotonic) -> None:
        self._tell = tell
        self._clients = {door: Rate(settings.client_requests_per_s, now_s) for door in ("grpc", "http", "dimse")}
        self._addresses = {door: Rate(settings.address_requests_per_s, now_s) for door in ("grpc", "http", "dimse")}
        self._calls = Places(settings.client_max_calls)
        self._uploads = Places(settings.client_max_uploads or 2**31)

    def address(self, door: str, address: str | None) -> None:
        """A request came from an address. Raises TooManyRequests."""
        with self._counted(door):
            self._addresses[door].take(network_of(address))

    def client(self, door: str, client: str) -> None:
        """A request is known to be of a client. Raises TooManyRequests."""
        with self._counted(door):
            self._clients[door].take(client)

    @contextmanager
    def call(self, door: str, client: str) -> Iterator[None]:
        """A call is open for the time of the block. Raises TooManyRequests."""
        with self._counted(door):
            self._calls.take(client)
        try:
            yield
        finally:
            self._calls.leave(client)

    @contextmanager
    def upload(self, door: str, client: str) -> Iterator[None]:
        """An upload is open for the time of the block. Raises TooManyRequests."""
        with self._counted(door):
            self._uploads.take(client)
        try:
            yield
        finally:
            self._uploads.leave(client)

    def check_uploads(self, door: str, are_open: int) -> None:
        """Whether a client with so many open uploads may begin another one. Raises TooManyRequests."""
        with self._counted(door):
            self._uploads.check(are_open)

    @contextmanager
    def _counted(self, door: str) -> Iterator[None]:
        try:
            yield
        except TooManyRequests:
            self._tell(RequestLimited(door))
            raise


def network_of(address: str | None) -> str:
    """What an address is counted as: of IPv6, everybody has a /64 to choose addresses from."""
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
