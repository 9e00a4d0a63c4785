"""The service wired together: database, store, work, core, servicer, health, reflection, metrics."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from trabecula.config import Role, Settings, split_address
from trabecula.errors import ConfigurationError
from trabecula.service.core import ScreeningCore
from trabecula.service.intake import Intake
from trabecula.service.interceptors import CallInterceptor, CallMetrics
from trabecula.service.logs import log_event
from trabecula.service.metrics import LoadGauges, ScreeningMetrics
from trabecula.service.servicer import ScreeningServicer
from trabecula.service.wiring import queue_tasks, result_sinks
from trabecula.v1 import screening_pb2, screening_pb2_grpc
from trabecula.work.content import ContentStore
from trabecula.work.database import Database, open_database
from trabecula.work.notices import Notices
from trabecula.work.open_content import open_content
from trabecula.work.runner import Runner
from trabecula.work.running import Work, WorkLimits
from trabecula.work.store import ScreeningStore

SERVICE_NAME = screening_pb2.DESCRIPTOR.services_by_name["ScreeningService"].full_name
LAST_ANSWERS_S = 2.0
"""After draining: time for open calls to hand over their last messages."""
WORK_FOLDER = "work"


class Server:
    """One running service on one event loop, in one of the roles of :class:`trabecula.config.Role`.

    Use it as an async context manager, or :func:`serve` to run it until a signal comes.
    """

    database: Database
    content: ContentStore
    store: ScreeningStore
    core: ScreeningCore

    def __init__(self, settings: Settings, runner: Runner | None, registry: CollectorRegistry | None = None) -> None:
        """Args:
        runner: works on the studies; None with the role ``api``.
        """
        self.registry = registry or CollectorRegistry()
        self.port = 0
        """Where it listens, once started; 0 with the role ``worker``."""
        self._settings = settings
        self._runner = runner
        self._listeners = (ScreeningMetrics(self.registry), log_event)
        self._open = AsyncExitStack()
        self._stopped = False
        self._work: Work | None = None
        self._grpc: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]

    async def start(self) -> None:
        """Open the database, load the models, then open the door.

        Raises:
            DatabaseError: if the database cannot be used.
            ModelError: if the models cannot be loaded.
            ConfigurationError: if the address is taken or the TLS files cannot be used.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop(0.0)
            raise

    async def _start(self) -> None:
        settings, opened = self._settings, self._open
        self.database = await opened.enter_async_context(open_database(settings))
        self.content = await opened.enter_async_context(open_content(settings))
        self.store = ScreeningStore(
            self.database,
            content=self.content,
            max_attempts=settings.max_attempts,
            sinks=result_sinks(settings),
            listeners=self._listeners,
        )
        gauges = LoadGauges(self.store, self.registry)
        gauges.start()
        opened.push_async_callback(gauges.close)
        if settings.role is not Role.API and self._runner is not None:
            await self._start_work(self._runner)
        if settings.role is not Role.WORKER:
            await self._start_grpc()

    async def _start_work(self, runner: Runner) -> None:
        settings = self._settings
        limits = WorkLimits(
            settings.workers, settings.screening_timeout_s, settings.heartbeat_s, settings.stalled_after_s
        )
        self._work = Work(
            self.database,
            self.content,
            self.store,
            runner,
            limits,
            settings.state_dir / WORK_FOLDER,
            queue_tasks(settings, self.database, self.content),
            self._listeners,
        )
        await self._work.start()

    async def _start_grpc(self) -> None:
        settings = self._settings
        notices = Notices(self.database.parameters)
        notices.start()
        self._open.push_async_callback(notices.close)
        self.core = ScreeningCore(
            self.store, self.content, notices, Intake(self.content, settings), settings, self._listeners
        )
        self._grpc = self._make_grpc()
        self.port = self._bind(self._grpc)
        await self._grpc.start()
        for name in ("", SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, drain_s: float) -> None:
        """Turn health to NOT_SERVING, let running studies end for so long and put back the rest, then close."""
        if self._stopped:
            return
        self._stopped = True
        await self._health.enter_graceful_shutdown()
        if self._grpc is not None:
            self.core.drain()
        if self._work is not None:
            await self._work.stop(drain_s)
        if self._grpc is not None:
            await self._grpc.stop(LAST_ANSWERS_S)
        await self._open.aclose()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0.0)

    def _make_grpc(self) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(
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
        screening_pb2_grpc.add_ScreeningServiceServicer_to_server(ScreeningServicer(self.core), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if settings.reflection:
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        return server

    def _bind(self, server: grpc.aio.Server) -> int:
        address = self._settings.listen
        split_address(address)
        try:
            credentials = _credentials(self._settings)
            if credentials is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, credentials)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(listen=address) from error


async def serve(
    settings: Settings, runner: Runner | None, ready: Callable[[int], Awaitable[None] | None] | None = None
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
    log.info("serving", role=settings.role.value, port=server.port, tls=settings.tls_certificate_file is not None)
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
