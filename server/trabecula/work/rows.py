"""Between rows and values."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from trabecula.outcome import Stage
from trabecula.patient import PatientContext
from trabecula.work.records import (
    DocumentKind,
    Failure,
    Priority,
    ScreeningRecord,
    Source,
    StageProgress,
    Submission,
)
from trabecula.work.states import State

_PATIENT = TypeAdapter(PatientContext)


def record_from_row(row: RowMapping, documents: Collection[str] = ()) -> ScreeningRecord:
    """A row of ``screening``, and the kinds of its rows in ``document``."""
    failure = None
    if row["failure_code"] is not None:
        failure = Failure(row["failure_code"], row["failure_message"] or "", bool(row["failure_input_error"]))
    progress = None
    if row["progress_stage"] is not None:
        progress = StageProgress(Stage(row["progress_stage"]), row["progress_fraction"] or 0.0)
    return ScreeningRecord(
        screening_id=row["id"],
        submission=Submission(
            key_hash=row["key_hash"],
            fingerprint=row["fingerprint"],
            instances=row["instances"],
            total_bytes=row["total_bytes"],
            priority=Priority(row["priority"]),
            source=Source(row["source"]),
        ),
        submitted_at=row["submitted_at"],
        state=State(row["state"]),
        attempt=row["attempt"],
        cancel_requested=row["cancel_requested"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        progress=progress,
        failure=failure,
        documents=tuple(kind for kind in DocumentKind if kind.value in documents),
        legal_hold=row["legal_hold"],
        pixels_deleted_at=row["pixels_deleted_at"],
        trace=row["traceparent"],
    )


def new_row(record: ScreeningRecord, patient: PatientContext, want_masks: bool) -> dict[str, Any]:
    """All columns of an accepted study."""
    submission = record.submission
    return {
        "id": record.screening_id,
        "priority": int(submission.priority),
        "source": submission.source.value,
        "key_hash": submission.key_hash,
        "fingerprint": submission.fingerprint,
        "instances": submission.instances,
        "total_bytes": submission.total_bytes,
        "patient": dataclasses.asdict(patient),
        "want_masks": want_masks,
        "submitted_at": record.submitted_at,
        "traceparent": record.trace,
        **life_of(record),
    }


def life_of(record: ScreeningRecord) -> dict[str, Any]:
    """The columns that :meth:`ScreeningRecord.after` changes."""
    progress, failure = record.progress, record.failure
    return {
        "state": record.state.value,
        "attempt": record.attempt,
        "cancel_requested": record.cancel_requested,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "progress_stage": progress.stage.value if progress else None,
        "progress_fraction": progress.fraction if progress else None,
        "failure_code": failure.code if failure else None,
        "failure_message": failure.message if failure else None,
        "failure_input_error": failure.input_error if failure else None,
    }


def patient_from_row(row: RowMapping) -> PatientContext:
    """The patient context as it was sent; empty once it was deleted."""
    return _PATIENT.validate_python(row["patient"] or {})
