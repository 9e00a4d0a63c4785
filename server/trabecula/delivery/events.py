"""What delivery tells metrics and logs: frozen events without patient data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trabecula.delivery.states import DeliveryState, DeliveryStep


@dataclass(frozen=True)
class DeliveryAttempted:
    """An attempt ended."""

    destination: str
    delivery_id: str
    attempt: int
    step: DeliveryStep
    reason: str | None
    """A code of docs/delivery.md; None for a success."""
    status: int | None
    """HTTP or DIMSE status of the last answer."""
    way: str | None
    seconds: float


@dataclass(frozen=True)
class DestinationRests:
    """A failing destination is left alone for a while."""

    destination: str
    failures: int
    seconds: float


@dataclass(frozen=True)
class DestinationAnswers:
    """A destination that had been failing answers again."""

    destination: str


@dataclass(frozen=True)
class OutboxStands:
    """How much waits, told at every sweep."""

    destination: str
    counts: Mapping[DeliveryState, int]
    """Of PENDING, SENDING and PARKED."""
    oldest_s: float
    """Age of the oldest that is pending or being sent; 0 when there is none."""


DeliveryEvent = DeliveryAttempted | DestinationRests | DestinationAnswers | OutboxStands
DeliveryListener = Callable[[DeliveryEvent], None]
