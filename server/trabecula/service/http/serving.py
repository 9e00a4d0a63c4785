"""uvicorn on the service's own event loop: start, where it listens, stop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from trabecula.config import split_address
from trabecula.errors import ConfigurationError
from trabecula.service.http.guard import MAX_HEADER_BYTES

HEADER_S: Final = 10.0
"""Time for the head of a request to arrive in; the body has the time of the request."""
MAX_CONNECTIONS: Final = 512
LAST_ANSWERS_S: Final = 5


class _Protocol(H11Protocol):
    """Lets go of clients that open a connection and then dribble."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEADER_S, self._let_go)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _let_go(self) -> None:
        self._late = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


class _Server(Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the service's business."""
        yield


class HttpServer:
    """One HTTP door."""

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        tls: ssl.SSLContext | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        """Args:
        listening: from :func:`bound`; closed with the server.
        proxies: networks of proxies that tell the truth about the client (``X-Forwarded-For``).
        """
        self._listening = listening
        self._server = _Server(
            Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_keep_alive=15,
                timeout_graceful_shutdown=LAST_ANSWERS_S,
                limit_concurrency=MAX_CONNECTIONS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ssl_context_factory=None if tls is None else lambda _config, _default: tls,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.port = int(listening.getsockname()[1])

    async def start(self) -> None:
        """Open the door."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listening]), name="http")
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.01)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Take no more requests, let those under way end for a few seconds, then close."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None


def bound(address: str) -> socket.socket:
    """A socket at host:port; port 0 takes a free one.

    Raises:
        ConfigurationError: if the address cannot be used.
    """
    host, port = split_address(address)
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; else each answer waits 40 ms for a delayed ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigurationError(http_listen=address) from error
    return listening
