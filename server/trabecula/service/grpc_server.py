"""One gRPC server on one address: transport options, TLS, interceptors, health, reflection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from trabecula.config import Settings, split_address
from trabecula.errors import ConfigurationError
from trabecula.service.grpc_access import AccessInterceptor
from trabecula.service.interceptors import CallInterceptor, CallMetrics
from trabecula.service.tls_files import grpc_credentials
from trabecula.telemetry.tracing import Tracing

LAST_ANSWERS_S = 2.0
"""After draining: time for open calls to hand over their last messages."""
METADATA_BYTES: Final = 32 * 1024
"""Headers of one call; a token takes at most half of it."""
MOST_CALLS: Final = 512
"""Open at once, of all clients; more are told to try again (RESOURCE_EXHAUSTED)."""
MOST_STREAMS: Final = 128
"""Open at once on one connection; more wait in the client."""
HANDSHAKE_S: Final = 20
"""For TLS and HTTP/2 to begin; a connection that says nothing is let go."""


class GrpcServer:
    """Services behind one address."""

    def __init__(
        self,
        settings: Settings,
        metrics: CallMetrics,
        tracing: Tracing,
        services: Sequence[str],
        add: Callable[[grpc.aio.Server], None],
        access: AccessInterceptor,
    ) -> None:
        """Args:
        services: full names, for health and reflection.
        add: puts the servicers into the server.
        access: lets callers in.
        """
        self.port = 0
        """Where it listens, once started."""
        self._settings = settings
        self._services = tuple(services)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server = grpc.aio.server(
            interceptors=(CallInterceptor(metrics, tracing), access),
            maximum_concurrent_rpcs=MOST_CALLS,
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_metadata_size", METADATA_BYTES // 2),
                ("grpc.absolute_max_metadata_size", METADATA_BYTES),
                ("grpc.max_concurrent_streams", MOST_STREAMS),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
                ("grpc.so_reuseport", 0),
                # A client that vanished without a word is noticed.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (*self._services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str) -> None:
        """Open the door; health is SERVING.

        Raises:
            ConfigurationError: if the address is taken or the TLS files cannot be used.
        """
        split_address(address)
        try:
            credentials = _credentials(self._settings)
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(listen=address) from error
        await self._server.start()
        for name in ("", *self._services):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Health turns NOT_SERVING; calls go on."""
        await self._health.enter_graceful_shutdown()

    async def stop(self) -> None:
        await self._server.stop(LAST_ANSWERS_S)


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    return grpc_credentials(settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file)
