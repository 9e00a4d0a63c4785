"""Keeping guesses at passwords slow."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from trabecula.errors import TooManyAttempts

WINDOW_S: Final = 300.0
MOST_KEYS: Final = 10_000
MOST_HASHED: Final = 2
"""Passwords checked at once: argon2 takes tens of milliseconds and 64 MiB for each, on purpose."""
MOST_WAITING: Final = 16
BUSY_RETRY_S: Final = 5.0


class Throttle:
    """Counts failed attempts for each name and address in a sliding window; lives in one process."""

    def __init__(self, now_s: Callable[[], float], most: int = 8) -> None:
        self._now_s = now_s
        self._most = most
        # Those of people who exist stay however many other names and addresses an attacker has; there are few of them.
        self._kept: dict[str, deque[float]] = {}
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._hashed = asyncio.Semaphore(MOST_HASHED)
        self._trying = 0

    def check(self, *keys: str) -> None:
        """Raises TooManyAttempts when one of the keys has failed too often."""
        for key in keys:
            failed = self._recent(key)
            if len(failed) >= self._most:
                raise TooManyAttempts(retry_after_s=max(1.0, failed[0] + WINDOW_S - self._now_s()))

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A turn to check a password. Raises TooManyAttempts when too many wait for theirs."""
        if self._trying >= MOST_HASHED + MOST_WAITING:
            raise TooManyAttempts(retry_after_s=BUSY_RETRY_S)
        self._trying += 1
        try:
            async with self._hashed:
                yield
        finally:
            self._trying -= 1

    def failed(self, name: str, *others: str, known: bool = False) -> None:
        """Count a failed attempt.

        Args:
            known: whether there is somebody of that name.
        """
        if known:
            self._kept[name] = self._recent(name)
            self._kept[name].append(self._now_s())
        for key in others if known else (name, *others):
            recent = self._recent(key)
            recent.append(self._now_s())
            self._failed[key] = recent
            self._failed.move_to_end(key)
        while len(self._failed) > MOST_KEYS:
            self._failed.popitem(last=False)

    def _recent(self, key: str) -> deque[float]:
        earliest = self._now_s() - WINDOW_S
        found = self._kept.get(key) or self._failed.get(key) or deque()
        return deque(at for at in found if at > earliest)
