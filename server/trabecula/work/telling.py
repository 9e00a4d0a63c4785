"""Steps of a screening as events."""

from __future__ import annotations

from trabecula.report import ScreeningReport
from trabecula.telemetry.events import AttemptStarted, Outcome, ScreeningEnded, ScreeningQueued
from trabecula.work.records import ScreeningRecord
from trabecula.work.states import State


def step_of(
    record: ScreeningRecord,
    *,
    reason: str | None = None,
    fault: str | None = None,
    report: ScreeningReport | None = None,
    accepted_s: float | None = None,
) -> ScreeningQueued | AttemptStarted | ScreeningEnded:
    """What the step that led to this record is told as.

    Args:
        reason: code of why an attempt was given back.
        fault: type and place of the exception behind it.
        accepted_s: what it took to accept it.
        report: with the states REPORTED and REFUSED; its codes alone are told.
    """
    identity, trace = record.screening_id, record.trace
    if record.state is State.QUEUED:
        return ScreeningQueued(identity, record.attempt, reason, fault, trace, accepted_s)
    if record.state is State.RUNNING:
        began = record.started_at or record.submitted_at
        return AttemptStarted(identity, record.attempt, max(0.0, (began - record.submitted_at).total_seconds()), trace)
    over = record.ended_at or record.submitted_at
    assessment = report.assessment if report is not None else None
    return ScreeningEnded(
        screening_id=identity,
        outcome=Outcome(record.state.value),
        attempt=record.attempt,
        turnaround_s=max(0.0, (over - record.submitted_at).total_seconds()),
        refusals=tuple(each.code.value for each in report.refusals) if report is not None else (),
        category=assessment.category.value if assessment is not None else None,
        failure=record.failure.code if record.failure is not None else None,
        fault=fault,
        trace=trace,
    )
