"""RPCs as accesses for the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from trabecula.record.audit import Access, Outcome
from trabecula.service.auth.callers import Caller
from trabecula.service.auth.calls import CALLS

INSTALLATION: Final = "trabecula"
"""What is named where a method is about no single resource."""


def access_of(method: str, caller: Caller, request_id: str, seen: Sequence[str], outcome: Outcome) -> Access | None:
    """What the audit trail is told of a call; None for what shows and changes nothing of a patient.

    Args:
        method: full name, with its slash.
        seen: ids of the screenings that it was about.
    """
    rule = CALLS[method]
    if rule.interaction is None:
        return None
    one = seen[0] if len(seen) == 1 and rule.interaction != "search-type" else None
    return Access(
        at=datetime.now(UTC),
        interaction=rule.interaction,
        action=rule.action,
        resource_type=rule.resource_type or INSTALLATION,
        client_id=caller.client_id,
        client_address=caller.address,
        request_id=request_id,
        outcome=outcome,
        resource_id=one,
        subject=caller.subject,
        query=method.rpartition("/")[2] if rule.resource_type is None else None,
    )
