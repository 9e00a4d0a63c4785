"""The service wired together: store, worker, core, servicer, health, reflection, metrics."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from trabecula.config import Settings, split_address
from trabecula.errors import ConfigurationError
from trabecula.service.core import ScreeningCore
from trabecula.service.interceptors import CallInterceptor, CallMetrics
from trabecula.service.logs import log_event
from trabecula.service.metrics import ScreeningMetrics
from trabecula.service.servicer import ScreeningServicer
from trabecula.service.store import FolderStore
from trabecula.service.work import Runner
from trabecula.v1 import screening_pb2, screening_pb2_grpc

SERVICE_NAME = screening_pb2.DESCRIPTOR.services_by_name["ScreeningService"].full_name
LAST_ANSWERS_S = 2.0
"""After draining: time for open calls to hand over their last messages."""


class Server:
    """One running service on one event loop.

    Use it as an async context manager, or :func:`serve` to run it until a signal comes.
    """

    def __init__(self, settings: Settings, runner: Runner, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.core = ScreeningCore(
            FolderStore(settings.state_dir / "screenings"),
            runner,
            settings,
            listeners=(ScreeningMetrics(self.registry), log_event),
        )
        self.port = 0
        """Where it listens, once started."""
        self._settings = settings
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server = grpc.aio.server(
            interceptors=(CallInterceptor(CallMetrics(self.registry)),),
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.so_reuseport", 0),
                # A client that vanished without a word is noticed.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        screening_pb2_grpc.add_ScreeningServiceServicer_to_server(ScreeningServicer(self.core), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)

    async def start(self) -> None:
        """Load the models, then open the door.

        Raises:
            ModelError: if the models cannot be loaded.
            ConfigurationError: if the address is taken or the TLS files cannot be used.
        """
        await self.core.start()
        self.port = self._bind()
        await self._server.start()
        for name in ("", SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, drain_s: float) -> None:
        """Turn health to NOT_SERVING, let accepted work end for so long, then close."""
        await self._health.enter_graceful_shutdown()
        await self.core.drain(drain_s)
        await self.core.close()
        await self._server.stop(LAST_ANSWERS_S)

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0.0)

    def _bind(self) -> int:
        address = self._settings.listen
        split_address(address)
        try:
            credentials = _credentials(self._settings)
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(listen=address) from error


async def serve(
    settings: Settings, runner: Runner, ready: Callable[[int], Awaitable[None] | None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once.

    Args:
        ready: told the port once the service takes calls.
    """
    log = structlog.get_logger()
    server = Server(settings, runner)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.start()
    _serve_metrics(settings, server.registry)
    log.info("serving", port=server.port, tls=settings.tls_certificate_file is not None)
    if ready is not None and (waiting := ready(server.port)) is not None:
        await waiting
    await stop.wait()
    log.info("draining", at_most_s=settings.drain_timeout_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    await server.stop(settings.drain_timeout_s)
    log.info("stopped")


def _serve_metrics(settings: Settings, registry: CollectorRegistry) -> None:
    if settings.metrics_listen is None:
        return
    host, port = split_address(settings.metrics_listen)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        start_http_server(port, host.strip("[]"), registry)
    except OSError as error:
        raise ConfigurationError(metrics_listen=settings.metrics_listen) from error


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    authority = settings.tls_client_ca_file.read_bytes() if settings.tls_client_ca_file else None
    pair = (settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
