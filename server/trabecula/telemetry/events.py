"""What happens, as frozen values. No field can hold patient data: ids of this service, codes of closed sets, numbers.

``screening_id`` goes through all that belongs together; ``trace`` is the W3C ``traceparent`` of what caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trabecula.telemetry.facts import SeriesFacts
from trabecula.telemetry.stages import Passage, WatchedStage


class Outcome(StrEnum):
    """How a screening ended."""

    REPORTED = "reported"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptOutcome(StrEnum):
    """How an attempt at a screening ended."""

    REPORTED = "reported"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REQUEUED = "requeued"


class DeliveryOutcome(StrEnum):
    """How an attempt at a delivery ended."""

    DELIVERED = "delivered"
    ERROR = "error"
    """It failed and is tried again."""
    PARKED = "parked"
    """It failed and waits for a person."""


class DestinationKind(StrEnum):
    FHIR = "fhir"
    STOW = "stow"
    DIMSE = "dimse"


# A screening's life


@dataclass(frozen=True)
class ScreeningQueued:
    """A screening waits for a worker: accepted, revived, or put back after an attempt."""

    screening_id: str
    attempt: int
    """That has ended; 0 for one that came in."""
    reason: str | None = None
    """Code of why it was put back."""
    fault: str | None = None
    """Type and place of the exception behind it."""
    trace: str | None = None
    accepted_s: float | None = None
    """What it took to make it durable; None for one that did not come in now."""


@dataclass(frozen=True)
class AttemptStarted:
    """A worker has taken it."""

    screening_id: str
    attempt: int
    waited_s: float
    """Since it was accepted."""
    trace: str | None = None


@dataclass(frozen=True)
class StageStarted:
    screening_id: str
    attempt: int
    stage: WatchedStage


@dataclass(frozen=True)
class StageEnded:
    """A stage was left. One of an attempt may be left and entered again (``measure``)."""

    screening_id: str
    attempt: int
    passage: Passage


@dataclass(frozen=True)
class StageFailed:
    """An attempt ended in this stage, and not by a result."""

    screening_id: str
    attempt: int
    stage: WatchedStage
    reason: str
    """Code of the error (:mod:`trabecula.errors`)."""


@dataclass(frozen=True)
class AttemptEnded:
    """The worker is free again."""

    screening_id: str
    attempt: int
    stages_s: Mapping[WatchedStage, float] = field(default_factory=dict)
    """Seconds in each stage that has ended."""
    trace: str | None = None


@dataclass(frozen=True)
class ResultKept:
    """What an attempt took to make its result durable: the end of the stage ``report``."""

    screening_id: str
    attempt: int
    documents_s: float
    """Written by the worker's process, after the report's own stages."""
    keep_s: float
    """Into the content store."""
    commit_s: float
    """The transaction that ends the screening, with all that follows from a result."""


@dataclass(frozen=True)
class ScreeningEnded:
    """A screening has come to its end, after the commit."""

    screening_id: str
    outcome: Outcome
    attempt: int
    turnaround_s: float
    """Since it was accepted."""
    refusals: tuple[str, ...] = ()
    category: str | None = None
    failure: str | None = None
    """Code of the error."""
    fault: str | None = None
    trace: str | None = None


@dataclass(frozen=True)
class SeriesMeasured:
    """What one series looked like. Says nothing of which screening it was: figures of one person are not for logs."""

    facts: SeriesFacts


@dataclass(frozen=True)
class WorkFault:
    """A screening could not be brought to an end in the store; the sweep finds it later."""

    screening_id: str
    fault: str


# Doors


@dataclass(frozen=True)
class UploadEnded:
    """An upload ended, well or not."""

    received_bytes: int
    outcome: str
    """``accepted``, ``repeated`` (known key and content), ``disconnected``, or the code of the error."""


@dataclass(frozen=True)
class RequestLimited:
    """A client asked for more than its share and was turned away."""

    door: str
    """``grpc``, ``http`` or ``dimse``."""


@dataclass(frozen=True)
class AccessMade:
    """Somebody looked at or changed what is known of patients; who and whose is in the AuditEvent alone."""

    interaction: str
    """R4 restful-interaction."""
    outcome: str
    """R4 audit-event-outcome: ``0``, ``4`` or ``8``."""


@dataclass(frozen=True)
class ReviewMade:
    """A person has decided on a result."""

    decision: str
    """``accept``, ``correct`` or ``reject``."""


# Delivery


@dataclass(frozen=True)
class DeliveryEnded:
    """An attempt at a delivery ended."""

    destination: str
    """By the name that the site gave it."""
    kind: DestinationKind
    delivery_id: str
    attempt: int
    outcome: DeliveryOutcome
    reason: str | None
    """A code of docs/delivery.md; None for a success."""
    status: int | None
    """HTTP or DIMSE status of the last answer."""
    way: str | None
    seconds: float
    screening_id: str | None = None
    turnaround_s: float | None = None
    """From the acceptance of the study, when a machine's result was delivered; a person's sign-off has no turnaround
    of the service."""
    trace: str | None = None


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


# CDS Hooks


@dataclass(frozen=True)
class HookCalled:
    """A call has ended. ``call`` is a hook, ``discovery`` or ``feedback``; ``outcome`` ``ok`` or an error code."""

    call: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class CardShown:
    hook: str
    kind: str
    indicator: str


@dataclass(frozen=True)
class FeedbackGiven:
    """Feedback has come that was not there before."""

    hook: str
    outcome: str
    reason: str


# Models


@dataclass(frozen=True)
class ModelLoaded:
    """A worker's process has opened a model."""

    name: str
    version: str
    digest: str
    """SHA-256 of its file."""
    seconds: float


Event = (
    ScreeningQueued
    | AttemptStarted
    | StageStarted
    | StageEnded
    | StageFailed
    | AttemptEnded
    | ResultKept
    | ScreeningEnded
    | SeriesMeasured
    | WorkFault
    | UploadEnded
    | RequestLimited
    | AccessMade
    | ReviewMade
    | DeliveryEnded
    | DestinationRests
    | DestinationAnswers
    | HookCalled
    | CardShown
    | FeedbackGiven
    | ModelLoaded
)
Listener = Callable[[Event], None]
"""Called in whatever thread the event happens in; does not block."""
