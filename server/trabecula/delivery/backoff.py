"""How long to wait."""

from __future__ import annotations

from collections.abc import Callable

from trabecula.delivery.destinations import Limits

Random = Callable[[], float]
"""Uniform in [0, 1)."""

LEAST_S = 1.0


def delay_s(limits: Limits, failures: int, random: Random, retry_after_s: float | None = None) -> float:
    """Seconds until the next attempt: exponential with full jitter, never before the server's Retry-After.

    Args:
        failures: attempts that have failed so far, 1 or more.
    """
    most = min(limits.max_delay_s, limits.first_delay_s * 2.0 ** min(failures - 1, 32))
    jittered = max(LEAST_S, most * random())
    # Jitter on top of Retry-After too, or everybody comes back in the same second
    return jittered if retry_after_s is None else retry_after_s + LEAST_S * random() + min(jittered, retry_after_s / 4)


def pause_s(limits: Limits, failures: int) -> float:
    """Seconds for which a failing destination is left alone; 0 while the breaker is closed."""
    over = failures - limits.breaker_failures
    return 0.0 if over < 0 else float(min(limits.max_delay_s, limits.breaker_pause_s * 2.0 ** min(over, 32)))
