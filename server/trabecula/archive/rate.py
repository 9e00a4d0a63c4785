"""How fast a PACS is asked."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """So many tokens a second, and no more than ``burst`` saved up."""

    def __init__(self, per_s: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._now = now
        self._tokens = float(burst)
        self._at = now()

    def wait_s(self) -> float:
        """Seconds until there is a token; 0 when there is one."""
        self._fill()
        return max(0.0, (1.0 - self._tokens) / self._per_s)

    def take(self) -> None:
        """Take one; look at :meth:`wait_s` first."""
        self._fill()
        self._tokens -= 1.0

    def _fill(self) -> None:
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
