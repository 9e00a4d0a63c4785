"""Health for the platform: ``grpc.health.v1`` on a port of its own, without TLS, because the kubelet's gRPC probe
can neither encrypt nor show a certificate (KEP-2727). It says nothing but SERVING and NOT_SERVING."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from sqlalchemy import text

from trabecula.config import split_address
from trabecula.errors import ConfigurationError, TrabeculaError
from trabecula.work.database import Database

ALIVE: Final = ""
STARTUP: Final = "startup"
"""SERVING once the models are loaded and the doors are open."""
READY: Final = "ready"
"""SERVING while it is started, the database (which holds the queue) answers, and it is not draining."""
LOOK_EVERY_S: Final = 2.0
LOOK_S: Final = 5.0
"""How long the database may take to answer."""
MAX_MESSAGE_BYTES: Final = 1024
MAX_CALLS: Final = 64

Look = Callable[[], Awaitable[bool]]


class HealthDoor:
    """Opens before the models are loaded and closes last, so that a probe always finds somebody."""

    def __init__(self) -> None:
        self.port = 0
        """Where it listens, once opened."""
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)],
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        self._watch: asyncio.Task[None] | None = None

    async def open(self, address: str) -> None:
        """Alive, and not started.

        Raises:
            ConfigurationError: if the address is taken.
        """
        split_address(address)
        for name in (STARTUP, READY):
            await self._set(name, serving=False)
        await self._set(ALIVE, serving=True)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(health_listen=address) from error
        await self._server.start()

    async def started(self, look: Look) -> None:
        """Started, and ready as often as ``look`` says so."""
        await self._set(READY, serving=await _answers(look))
        await self._set(STARTUP, serving=True)
        self._watch = asyncio.create_task(self._keep_looking(look), name="readiness")

    async def drain(self) -> None:
        """Not ready any more, whatever the database says; alive."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
            self._watch = None
        await self._set(READY, serving=False)

    async def close(self) -> None:
        await self.drain()
        await self._server.stop(None)

    async def _keep_looking(self, look: Look) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._set(READY, serving=await _answers(look))

    async def _set(self, name: str, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self._servicer.set(name, status.SERVING if serving else status.NOT_SERVING)


def database_answers(database: Database) -> Look:
    """Whether a statement comes back."""

    async def look() -> bool:
        try:
            async with database.transaction() as connection:
                await connection.execute(text("SELECT 1"))
        except TrabeculaError:
            return False
        return True

    return look


async def _answers(look: Look) -> bool:
    try:
        return await asyncio.wait_for(look(), LOOK_S)
    except TimeoutError:
        return False
