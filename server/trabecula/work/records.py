"""What the service knows of a screening, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Final

from trabecula.outcome import Stage
from trabecula.patient import PatientContext
from trabecula.work.states import Event, State, next_state


class DocumentKind(StrEnum):
    """Documents of an ended screening. The value is the file's name."""

    REPORT_JSON = "report.json"
    REPORT_HTML = "report.html"
    BUNDLE_JSON = "bundle.json"
    ANATOMY_NIFTI = "anatomy.nii.gz"
    ANATOMY_LABELS = "anatomy.labels.json"
    DICOM_SR = "sr.dcm"
    DICOM_SEG = "seg.dcm"
    DICOM_PDF = "pdf.dcm"
    DICOM_SC = "sc.dcm"


MEDIA_TYPES: Final = {
    DocumentKind.REPORT_JSON: "application/json",
    DocumentKind.REPORT_HTML: "text/html; charset=utf-8",
    DocumentKind.BUNDLE_JSON: "application/fhir+json; fhirVersion=4.0",
    DocumentKind.ANATOMY_NIFTI: "application/gzip",
    DocumentKind.ANATOMY_LABELS: "application/json",
    DocumentKind.DICOM_SR: "application/dicom",
    DocumentKind.DICOM_SEG: "application/dicom",
    DocumentKind.DICOM_PDF: "application/dicom",
    DocumentKind.DICOM_SC: "application/dicom",
}


class Priority(IntEnum):
    """Higher goes first; equal ones in the order they came."""

    ARCHIVE = 0
    ROUTINE = 10
    STAT = 20


class Source(StrEnum):
    """The door a study came through."""

    GRPC = "grpc"
    DIMSE = "dimse"
    DICOMWEB = "dicomweb"


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
class ContentRef:
    """Bytes kept by their hash."""

    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


@dataclass(frozen=True)
class Submission:
    """What came in, without the patient."""

    key_hash: str | None
    """SHA-256 of the client's idempotency key; None when it gave none."""
    fingerprint: str
    """SHA-256 over the files' hashes and the options: the same submission gives the same."""
    instances: int
    total_bytes: int
    priority: Priority = Priority.ROUTINE
    source: Source = Source.GRPC


@dataclass(frozen=True)
class ScreeningRecord:
    """One screening as the service sees it."""

    screening_id: str
    submission: Submission
    submitted_at: datetime
    state: State = State.QUEUED
    attempt: int = 0
    """How often a worker has taken it; the fence that keeps an overtaken worker from writing."""
    cancel_requested: bool = False
    started_at: datetime | None = None
    ended_at: datetime | None = None
    progress: StageProgress | None = None
    failure: Failure | None = None
    documents: tuple[DocumentKind, ...] = ()
    legal_hold: bool = False
    """Nothing of it is deleted while this is set."""
    pixels_deleted_at: datetime | None = None
    trace: str | None = None
    """W3C ``traceparent`` of the request that brought it."""

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
            AlreadyEnded: see :func:`trabecula.work.states.next_state`.
            IllegalTransition: likewise.
        """
        state = next_state(self.state, event)
        cancel = (self.cancel_requested or event is Event.CANCEL) and event is not Event.REVIVE
        if state is self.state:
            return replace(self, cancel_requested=cancel)
        return replace(
            self,
            state=state,
            attempt=0 if event is Event.REVIVE else self.attempt + (event is Event.START),
            cancel_requested=cancel,
            started_at=at if state is State.RUNNING else self.started_at,
            ended_at=at if state.ended else None,
            progress=self.progress if state is State.RUNNING else None,
            failure=failure,
            documents=documents,
        )


@dataclass(frozen=True)
class Job:
    """What a worker needs. Holds patient data; never logged."""

    screening_id: str
    instances: tuple[Path, ...]
    """The study's files, read only."""
    results: Path
    """Private empty folder for the documents."""
    patient: PatientContext
    want_masks: bool
