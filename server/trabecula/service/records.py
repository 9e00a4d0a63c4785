"""What the service knows of a screening, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from trabecula.outcome import Stage
from trabecula.patient import PatientContext
from trabecula.service.states import Event, State, next_state


class DocumentKind(StrEnum):
    """Documents of an ended screening. The value is the file's name."""

    REPORT_JSON = "report.json"
    REPORT_HTML = "report.html"
    BUNDLE_JSON = "bundle.json"
    ANATOMY_NIFTI = "anatomy.nii.gz"
    ANATOMY_LABELS = "anatomy.labels.json"


MEDIA_TYPES: Final = {
    DocumentKind.REPORT_JSON: "application/json",
    DocumentKind.REPORT_HTML: "text/html; charset=utf-8",
    DocumentKind.BUNDLE_JSON: "application/fhir+json; fhirVersion=4.0",
    DocumentKind.ANATOMY_NIFTI: "application/gzip",
    DocumentKind.ANATOMY_LABELS: "application/json",
}


@dataclass(frozen=True)
class Failure:
    """Why a screening ended without a result; free of patient data."""

    code: str
    message: str
    input_error: bool


@dataclass(frozen=True)
class StageProgress:
    stage: Stage
    fraction: float


@dataclass(frozen=True)
class Submission:
    """What came in, without the patient."""

    key_hash: str | None
    """SHA-256 of the client's idempotency key; None when it gave none."""
    fingerprint: str
    """SHA-256 over the files' hashes and the options: the same submission gives the same."""
    instances: int
    total_bytes: int


@dataclass(frozen=True)
class ScreeningRecord:
    """One screening as the service sees it."""

    screening_id: str
    submission: Submission
    submitted_at: datetime
    state: State = State.QUEUED
    cancel_requested: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    progress: StageProgress | None = None
    failure: Failure | None = None
    documents: tuple[DocumentKind, ...] = ()

    def after(
        self,
        event: Event,
        at: datetime,
        *,
        failure: Failure | None = None,
        documents: tuple[DocumentKind, ...] = (),
    ) -> ScreeningRecord:
        """The record after an event.

        Raises:
            AlreadyEnded: see :func:`trabecula.service.states.next_state`.
            IllegalTransition: likewise.
        """
        state = next_state(self.state, event)
        if state is self.state:
            return replace(self, cancel_requested=self.cancel_requested or event is Event.CANCEL)
        return replace(
            self,
            state=state,
            cancel_requested=self.cancel_requested or event is Event.CANCEL,
            started_at=at if state is State.RUNNING else self.started_at,
            ended_at=at if state.ended else None,
            progress=None if state.ended else self.progress,
            failure=failure,
            documents=documents,
        )


@dataclass(frozen=True)
class Job:
    """What a worker needs. Holds patient data; lives in memory only."""

    screening_id: str
    spool: Path
    """Folder with the instances; deleted when the job has ended."""
    results: Path
    """Folder for the documents."""
    patient: PatientContext
    want_masks: bool
