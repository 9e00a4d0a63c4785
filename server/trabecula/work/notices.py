"""Hearing of changes: LISTEN on the store's channel, for whoever watches a screening.

A notice that was missed costs its watcher a moment, not an answer: watchers read again each second or so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg
import structlog
from psycopg import sql

from trabecula.work.changes import CHANNEL

RECONNECT_S: Final = 1.0


class Notices:
    """One connection that listens, for all watchers of this process."""

    def __init__(self, parameters: Mapping[str, str], channel: str = CHANNEL) -> None:
        """Args:
        parameters: connection parameters of libpq.
        channel: of PostgreSQL; a notice's payload is the id of a screening.
        """
        self._parameters = dict(parameters)
        self._channel = channel
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="notices")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @contextmanager
    def watching(self, screening_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of the screening; the watcher clears it."""
        changed = asyncio.Event()
        watchers = self._watchers.setdefault(screening_id, set())
        watchers.add(changed)
        try:
            yield changed
        finally:
            watchers.discard(changed)
            if not watchers:
                self._watchers.pop(screening_id, None)

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters) as connection:  # type: ignore[arg-type]
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    self._wake_all()  # of what happened while nobody listened
                    async for notice in connection.notifies():
                        for changed in self._watchers.get(notice.payload, ()):
                            changed.set()
            except psycopg.Error as error:
                structlog.get_logger().warning("notices wait for the database", fault=type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for changed in watchers:
                changed.set()
