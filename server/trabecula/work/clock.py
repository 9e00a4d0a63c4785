"""The program's clock; whoever needs another one in tests is given it."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
