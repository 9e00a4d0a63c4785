"""Screening metrics, fed by the service's events. Labels come from closed sets only."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from trabecula import __version__
from trabecula.service.events import ScreeningChanged, ServiceEvent, UploadEnded, WorkFault
from trabecula.service.states import State

STAGE_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)


class ScreeningMetrics:
    """Call it with each event."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Args:
        registry: made by the caller; nothing is registered at import.
        """
        self._states: dict[str, State] = {}
        Info("trabecula_build", "Version of the program.", registry=registry).info({"version": __version__})
        self._jobs = Gauge("trabecula_jobs", "Screenings that have not ended.", ("state",), registry=registry)
        for state in (State.QUEUED, State.RUNNING):
            self._jobs.labels(state.value)
        self._screenings = Counter("trabecula_screenings_total", "Screenings ended.", ("outcome",), registry=registry)
        self._failures = Counter(
            "trabecula_failures_total", "Screenings that failed, by error code.", ("reason",), registry=registry
        )
        self._rejections = Counter(
            "trabecula_rejections_total", "Refusals, by refusal code.", ("reason",), registry=registry
        )
        self._findings = Counter(
            "trabecula_findings_total", "Reported screenings, by category.", ("category",), registry=registry
        )
        self._uploads = Counter("trabecula_uploads_total", "Uploads ended.", ("outcome",), registry=registry)
        self._upload_bytes = Counter("trabecula_upload_bytes_total", "Bytes received.", registry=registry)
        self._wait = Histogram(
            "trabecula_job_wait_seconds", "From acceptance to start.", buckets=STAGE_BUCKETS_S, registry=registry
        )
        self._turnaround = Histogram(
            "trabecula_turnaround_seconds", "From acceptance to end.", buckets=STAGE_BUCKETS_S, registry=registry
        )
        self._stages = Histogram(
            "trabecula_stage_duration_seconds", "By stage.", ("stage",), buckets=STAGE_BUCKETS_S, registry=registry
        )

    def __call__(self, event: ServiceEvent) -> None:
        if isinstance(event, UploadEnded):
            self._uploads.labels(event.outcome).inc()
            self._upload_bytes.inc(event.received_bytes)
        elif isinstance(event, WorkFault):
            self._failures.labels("store").inc()
        else:
            self._changed(event)

    def _changed(self, event: ScreeningChanged) -> None:
        record = event.record
        before = self._states.pop(record.screening_id, None)
        if before is not None:
            self._jobs.labels(before.value).dec()
        if not record.state.ended:
            self._states[record.screening_id] = record.state
            self._jobs.labels(record.state.value).inc()
        if record.state is State.RUNNING and record.started_at is not None:
            self._wait.observe((record.started_at - record.submitted_at).total_seconds())
        if record.ended_at is not None:
            self._screenings.labels(record.state.value).inc()
            self._turnaround.observe((record.ended_at - record.submitted_at).total_seconds())
        if record.failure is not None:
            self._failures.labels(record.failure.code).inc()
        self._report(event)

    def _report(self, event: ScreeningChanged) -> None:
        report = event.report
        if report is None:
            return
        for refusal in report.refusals:
            self._rejections.labels(refusal.code.value).inc()
        if report.assessment is not None:
            self._findings.labels(report.assessment.category.value).inc()
        for stage, seconds in report.timings_s.items():
            if stage != "total":
                self._stages.labels(stage).observe(seconds)
