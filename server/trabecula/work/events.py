"""What the service tells metrics and logs: frozen events without patient data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb

from trabecula.errors import TrabeculaError
from trabecula.report import ScreeningReport
from trabecula.work.records import ScreeningRecord


@dataclass(frozen=True)
class ScreeningChanged:
    """A screening came in or changed its state."""

    record: ScreeningRecord
    fault: str | None = None
    """Type and place of the exception behind a failure, for operators."""
    report: ScreeningReport | None = None
    """With the state REPORTED or REFUSED. Holds patient data: read codes and timings only."""


@dataclass(frozen=True)
class UploadEnded:
    """An upload ended, well or not."""

    received_bytes: int
    outcome: str
    """``accepted``, ``repeated`` (known key and content), ``disconnected``, or the code of the error."""


@dataclass(frozen=True)
class WorkFault:
    """A screening could not be brought to an end in the store."""

    screening_id: str
    fault: str


@dataclass(frozen=True)
class AttemptTimed:
    """An attempt came to a result; what it took around the stages that the report tells."""

    screening_id: str
    fetch_s: float
    """Making the study's files readable (a download, with object storage)."""
    work_s: float
    """In the worker's child, from its order to its answer: all stages of the report, and the documents."""
    documents_s: float
    """Of that, what came after the report's own stages."""
    keep_s: float
    """Documents into the content store, durably."""
    commit_s: float
    """The transaction that ends the screening, with all that follows from a result."""


ServiceEvent = ScreeningChanged | UploadEnded | WorkFault | AttemptTimed
EventListener = Callable[[ServiceEvent], None]


def describe_fault(error: BaseException) -> str:
    """Type and place of an exception, and the detail of our own. Never a foreign message: it may quote the study."""
    detail = [error.detail] if isinstance(error, TrabeculaError) and error.detail else []
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    return " ".join([type(error).__name__, *detail, *reversed(places[-6:])])
