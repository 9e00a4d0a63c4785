"""The service wired together: database, store, work, core, servicers, metrics."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server

from trabecula.config import Role, Settings, split_address
from trabecula.errors import ConfigurationError
from trabecula.record.audit import keep_accesses, keep_calls
from trabecula.service.access_events import also_tells, tells_accesses
from trabecula.service.admin import AdminServicer
from trabecula.service.auth.callers import caller_check
from trabecula.service.auth.tokens import TokenVerifier
from trabecula.service.auth.wiring import token_verifier
from trabecula.service.core import ScreeningCore
from trabecula.service.grpc_access import AccessInterceptor
from trabecula.service.grpc_server import GrpcServer
from trabecula.service.health import HealthDoor, database_answers
from trabecula.service.http.serving import HttpServer
from trabecula.service.http.wiring import Surroundings, http_service
from trabecula.service.intake import Intake
from trabecula.service.interceptors import CallMetrics
from trabecula.service.limits import ClientLimits
from trabecula.service.load_gauges import LoadGauges
from trabecula.service.servicer import ScreeningServicer
from trabecula.service.telemetry import watch
from trabecula.service.wiring import queue_tasks, result_sinks, retention_rules
from trabecula.v1 import admin_pb2, admin_pb2_grpc, screening_pb2, screening_pb2_grpc
from trabecula.work.content import ContentStore
from trabecula.work.database import Database, open_database
from trabecula.work.gc import policy_of
from trabecula.work.notices import Notices
from trabecula.work.open_content import open_content
from trabecula.work.runner import Runner
from trabecula.work.running import Work, WorkLimits
from trabecula.work.store import ScreeningStore

if TYPE_CHECKING:
    from trabecula.service.dimse.serving import DimseDoor

SERVICE_NAME = screening_pb2.DESCRIPTOR.services_by_name["ScreeningService"].full_name
ADMIN_SERVICE_NAME = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
WORK_FOLDER = "work"


class Server:
    """One running service on one event loop, in one of the roles of :class:`trabecula.config.Role`.

    Use it as an async context manager, or :func:`serve` to run it until a signal comes.
    """

    database: Database
    content: ContentStore
    store: ScreeningStore
    core: ScreeningCore
    """Not with the roles ``worker`` and ``admin``."""

    def __init__(self, settings: Settings, runner: Runner | None, registry: CollectorRegistry | None = None) -> None:
        """Args:
        runner: works on the studies; None with the roles ``api`` and ``admin``.
        """
        self.registry = registry or CollectorRegistry()
        self._settings = settings
        self._runner = runner
        self._watch = watch(settings, self.registry)
        self._tell = self._watch.tell
        self._calls = CallMetrics(self.registry)
        self._limits = ClientLimits(settings, self._tell)
        self._verifier: TokenVerifier | None = None
        self._open = AsyncExitStack()
        self._stopped = False
        self._work: Work | None = None
        self._grpc: GrpcServer | None = None
        self._admin: GrpcServer | None = None
        self._http: HttpServer | None = None
        self._dimse: DimseDoor | None = None
        self._health: HealthDoor | None = None

    @property
    def dimse_port(self) -> int:
        """Where studies come by C-STORE; 0 without ``dimse_listen``."""
        return self._dimse.port if self._dimse is not None else 0

    @property
    def port(self) -> int:
        """Where it takes studies, once started; 0 with the roles ``worker`` and ``admin``."""
        return self._grpc.port if self._grpc is not None else 0

    @property
    def admin_port(self) -> int:
        """Where operators call; 0 without ``admin_listen``."""
        return self._admin.port if self._admin is not None else 0

    @property
    def http_port(self) -> int:
        """Where FHIR, CDS Hooks and pages are; 0 without ``http_listen``."""
        return self._http.port if self._http is not None else 0

    @property
    def health_port(self) -> int:
        """Where the platform's probes ask; 0 without ``health_listen``."""
        return self._health.port if self._health is not None else 0

    async def start(self) -> None:
        """Open the database, load the models, then open the doors.

        Raises:
            DatabaseError: if the database cannot be used.
            ModelError: if the models cannot be loaded.
            ConfigurationError: if an address is taken or the TLS files cannot be used.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop(0.0)
            raise

    async def _start(self) -> None:
        settings, opened = self._settings, self._open
        if settings.health_listen is not None:
            self._health = HealthDoor()
            opened.push_async_callback(self._health.close)
            await self._health.open(settings.health_listen)
        check_schema = settings.role is not Role.ADMIN
        self.database = await opened.enter_async_context(open_database(settings, check_schema=check_schema))
        self.content = await opened.enter_async_context(open_content(settings))
        self.store = ScreeningStore(
            self.database,
            content=self.content,
            max_attempts=settings.max_attempts,
            sinks=result_sinks(settings),
            tell=self._tell,
        )
        if settings.role is not Role.ADMIN:
            gauges = LoadGauges(self.database, self.store, self._watch.metrics)
            gauges.start()
            opened.push_async_callback(gauges.close)
        if settings.role in (Role.ALL, Role.WORKER) and self._runner is not None:
            await self._start_work(self._runner)
        self._verifier = await opened.enter_async_context(token_verifier(settings))
        if settings.admin_listen is not None:
            await self._start_admin(settings.admin_listen)
        if settings.role in (Role.ALL, Role.API):
            await self._start_grpc()
            await self._start_http()
            if settings.dimse_listen is not None:
                await self._start_dimse()
        if self._health is not None:
            await self._health.started(database_answers(self.database))

    async def _start_work(self, runner: Runner) -> None:
        settings = self._settings
        runner.tell = self._tell
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
            queue_tasks(settings, self.database, self.content, self._tell),
            self._tell,
        )
        await self._work.start()

    async def _start_grpc(self) -> None:
        settings = self._settings
        notices = Notices(self.database.parameters)
        notices.start()
        self._open.push_async_callback(notices.close)
        intake = Intake(self.content, settings)
        self.core = ScreeningCore(self.store, self.content, notices, intake, settings, self._tell)
        add = partial(screening_pb2_grpc.add_ScreeningServiceServicer_to_server, ScreeningServicer(self.core))
        access = self._access(settings.listen)
        self._grpc = GrpcServer(settings, self._calls, self._watch.tracing, [SERVICE_NAME], add, access)
        await self._grpc.start(settings.listen)

    def _access(self, address: str) -> AccessInterceptor:
        """Who may call at an address, how much, and the record of it."""
        check = caller_check(self._settings, self._verifier, address)
        keep = keep_calls(self.database, self._settings.fhir_base_url.rstrip("/"))
        return AccessInterceptor(check, self._limits, also_tells(keep, self._tell))

    async def _start_http(self) -> None:
        archive = self._settings.dicomweb_archive is not None
        opened = (self.database, self.store, self.content)
        around = Surroundings(*opened, self._accepting, archive, self._tell, self._watch.tracing, self._limits)
        self._http = await self._open.enter_async_context(http_service(self._settings, around))

    async def _start_dimse(self) -> None:
        # Imported here: most deployments take studies in by other doors, and do without pynetdicom's threads.
        from trabecula.service.dimse.serving import dimse_service

        opened = (self.database, self.content, self.store)
        listeners = (
            keep_accesses(self.database, self._settings.fhir_base_url.rstrip("/")),
            tells_accesses(self._tell),
        )
        door = dimse_service(self._settings, *opened, self._limits, listeners)
        self._dimse = await self._open.enter_async_context(door)

    async def _accepting(self) -> bool:
        return not self._stopped

    async def _start_admin(self, address: str) -> None:
        settings = self._settings
        servicer = AdminServicer(
            self.store,
            self.database,
            self.content,
            policy_of(settings),
            retention_rules(),
            settings.backup_dir,
        )
        add = partial(admin_pb2_grpc.add_AdminServiceServicer_to_server, servicer)
        access = self._access(address)
        self._admin = GrpcServer(settings, self._calls, self._watch.tracing, [ADMIN_SERVICE_NAME], add, access)
        await self._admin.start(address)

    async def stop(self, drain_s: float) -> None:
        """Turn health to NOT_SERVING, let running studies end for so long and put back the rest, then close."""
        if self._stopped:
            return
        self._stopped = True
        if self._health is not None:
            await self._health.drain()
        doors = [door for door in (self._grpc, self._admin) if door is not None]
        for door in doors:
            await door.drain()
        if self._grpc is not None:
            self.core.drain()
        if self._dimse is not None:
            self._dimse.drain()
        if self._work is not None:
            await self._work.stop(drain_s)
        await asyncio.gather(*(door.stop() for door in doors))
        await self._open.aclose()
        await asyncio.to_thread(self._watch.tracing.close)

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0.0)


async def serve(
    settings: Settings, runner: Runner | None, ready: Callable[[int], Awaitable[None] | None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal stops at once.

    Args:
        ready: told the port once the service takes calls; that of the operators' service with the role ``admin``.
    """
    log = structlog.get_logger()
    server = Server(settings, runner)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.start()
    _serve_metrics(settings, server.registry)
    tls = settings.tls_certificate_file is not None
    ports = {"port": server.port, "admin_port": server.admin_port, "http_port": server.http_port}
    ports["dimse_port"] = server.dimse_port
    ports["health_port"] = server.health_port
    log.info("serving", role=settings.role.value, tls=tls, **ports)
    if ready is not None and (waiting := ready(server.port or server.admin_port)) is not None:
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
