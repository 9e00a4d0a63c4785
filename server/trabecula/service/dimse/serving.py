"""The DICOM door as part of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from trabecula.config import Settings
from trabecula.record.audit import AccessListener
from trabecula.service.dimse.reception import Reception
from trabecula.service.dimse.scp import DimseServer
from trabecula.service.limits import ClientLimits
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.store import ScreeningStore


@dataclass(frozen=True, eq=False)
class DimseDoor:
    """Open as long as the block that made it."""

    reception: Reception
    server: DimseServer

    @property
    def port(self) -> int:
        return self.server.port

    def drain(self) -> None:
        """Take in nothing more: senders are told to try again."""
        self.reception.drain()


@asynccontextmanager
async def dimse_service(
    settings: Settings,
    database: Database,
    content: ContentStore,
    store: ScreeningStore,
    limits: ClientLimits | None = None,
    listeners: Sequence[AccessListener] = (),
) -> AsyncIterator[DimseDoor]:
    """Listen on ``dimse_listen`` during the block, and accept studies that are complete.

    Raises:
        ConfigurationError: if the address is taken, or the peers or the TLS files cannot be used.
    """
    reception = Reception(database, content, store, settings)
    server = DimseServer(reception, settings, limits, listeners)
    server.start()
    reception.start()
    try:
        yield DimseDoor(reception, server)
    finally:
        reception.drain()
        await server.close()
        await reception.close()
