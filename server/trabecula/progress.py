"""How a running screening tells its caller where it is, and how the caller stops it."""

from __future__ import annotations

from collections.abc import Callable

from trabecula.outcome import Stage

ProgressListener = Callable[[Stage, float], None]
"""Called with the stage and the fraction of that stage done (0 .. 1), at least at its start and end and
between inference tiles. It may raise :class:`trabecula.errors.Cancelled`; stages let that through."""


def no_progress(stage: Stage, fraction: float) -> None:
    """Listener for callers that do not care."""
