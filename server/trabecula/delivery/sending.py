"""What goes out and what became of it, as values; and the ways of sending, by kind of destination."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from trabecula.delivery.destinations import What
from trabecula.delivery.resource_set import Json
from trabecula.delivery.states import DeliveryState
from trabecula.work.records import ContentRef

TOPICS: Final = {What.RESULTS: "result", What.REFUSALS: "refusal"}
"""Why a delivery goes out that no person has asked for."""


@dataclass(frozen=True)
class Parcel:
    """One delivery in a worker's hands. Holds patient data; never logged."""

    delivery_id: str
    destination: str
    chain: str
    """Id of the result that it is a version of."""
    screening_id: str | None
    attempt: int
    created_at: datetime
    resources: tuple[Json, ...] = ()
    """For FHIR."""
    documents: tuple[tuple[str, ContentRef], ...] = ()
    """The screening's documents by kind; for a PACS, and for a FHIR server that takes only a document."""
    topic: str = ""
    received_at: datetime | None = None
    """When the study was accepted."""
    trace: str | None = None
    """W3C ``traceparent`` of the request that brought it."""
    follows: bool = False
    """Whether an older version of the result has been brought there."""


@dataclass(frozen=True)
class Sent:
    """All of it was acknowledged."""

    way: str
    """Rung of the ladder, or ``c-store``, ``stow-rs``."""
    left_out: frozenset[str] = frozenset()
    """Resource types or objects that the destination does not take."""


Send = Callable[[Parcel], Awaitable[Sent]]
"""Sends a parcel to one destination.

Raises:
    Setback: RETRY or PARK (any other verdict counts as PARK), with a reason and the OperationOutcome if there was one.
"""


@dataclass(frozen=True)
class DeliveryRow:
    """A delivery as operators see it; free of patient data."""

    delivery_id: str
    destination: str
    chain: str
    screening_id: str | None
    sequence: int
    topic: str
    state: DeliveryState
    attempt: int
    failures: int
    created_at: datetime
    due_at: datetime
    lease_until: datetime | None
    ended_at: datetime | None
    reason: str | None
    status: int | None
    way: str | None
    left_out: tuple[str, ...]
    superseded_by: str | None
