"""The door: who may come in when there is much to do. Archive work is turned away first, urgent work last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trabecula.config import Settings
from trabecula.errors import Overloaded
from trabecula.work.reading import Load
from trabecula.work.records import Priority
from trabecula.work.states import State
from trabecula.work.store import ScreeningStore

SHARE: Final = {Priority.ARCHIVE: 0.5, Priority.ROUTINE: 1.0, Priority.STAT: 1.25}
"""Of ``queue_capacity``, what may wait when one more of this priority comes."""
UPLOADS_FULL_RETRY_S: Final = 5.0
NOTHING_SEEN_RETRY_S: Final = 15.0
"""What a client is asked to wait while no study has been timed yet."""
LONGEST_RETRY_S: Final = 600.0


def places(priority: Priority, capacity: int) -> int:
    """How many studies may wait before one of this priority is turned away."""
    return math.ceil(SHARE[priority] * capacity)


def retry_after_s(load: Load, excess: int) -> float:
    """When so many places will be free, going by how long the last studies took and how many run now."""
    if load.mean_run_s is None:
        return NOTHING_SEEN_RETRY_S
    at_once = max(1, load.jobs[State.RUNNING])
    return min(LONGEST_RETRY_S, max(1.0, excess * load.mean_run_s / at_once))


class Admission:
    """Counts the uploads of this process; what waits is counted in the store, over all processes."""

    def __init__(self, store: ScreeningStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._uploads = 0

    @contextmanager
    def upload(self) -> Iterator[None]:
        """A place among the uploads, for the time of the block.

        Raises:
            Overloaded: when all are taken.
        """
        if self._uploads >= self._settings.max_concurrent_uploads:
            raise Overloaded(retry_after_s=UPLOADS_FULL_RETRY_S)
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def check(self, priority: Priority) -> None:
        """Turn a study away when too many wait; call it inside :meth:`upload`.

        Raises:
            Overloaded: with the time after which there should be room.
        """
        load = await self._store.load()
        waiting = load.jobs[State.QUEUED] + self._uploads - 1
        excess = waiting - places(priority, self._settings.queue_capacity) + 1
        if excess > 0:
            raise Overloaded(retry_after_s=round(retry_after_s(load, excess), 1))
