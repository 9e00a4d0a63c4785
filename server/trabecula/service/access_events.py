"""Accesses as events: that one was made, and how it ended. Who and whose is in the AuditEvent alone."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.record.audit import Access, AccessListener, CallListener
from trabecula.telemetry.events import AccessMade, Listener


def tells_accesses(tell: Listener) -> AccessListener:
    """A listener beside the one that writes AuditEvents."""

    async def told(access: Access) -> None:
        tell(AccessMade(access.interaction, access.outcome.value))

    return told


def also_tells(keep: CallListener, tell: Listener) -> CallListener:
    """The same listener, and the event once the access is on record."""

    async def kept(access: Access, screening_ids: Sequence[str]) -> None:
        await keep(access, screening_ids)
        tell(AccessMade(access.interaction, access.outcome.value))

    return kept
