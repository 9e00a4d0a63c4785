"""Keeping guesses at passwords slow."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from trabecula.errors import TooManyAttempts

WINDOW_S: Final = 300.0
MOST_KEYS: Final = 10_000


class Throttle:
    """Counts failed attempts for each name and address in a sliding window; lives in one process."""

    def __init__(self, now_s: Callable[[], float], most: int = 8) -> None:
        self._now_s = now_s
        self._most = most
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, *keys: str) -> None:
        """Raises TooManyAttempts when one of the keys has failed too often."""
        for key in keys:
            failed = self._recent(key)
            if len(failed) >= self._most:
                raise TooManyAttempts(retry_after_s=max(1.0, failed[0] + WINDOW_S - self._now_s()))

    def failed(self, *keys: str) -> None:
        """Count a failed attempt."""
        for key in keys:
            recent = self._recent(key)
            recent.append(self._now_s())
            self._failed[key] = recent
            self._failed.move_to_end(key)
        while len(self._failed) > MOST_KEYS:
            self._failed.popitem(last=False)

    def _recent(self, key: str) -> deque[float]:
        earliest = self._now_s() - WINDOW_S
        return deque(at for at in self._failed.get(key, ()) if at > earliest)
