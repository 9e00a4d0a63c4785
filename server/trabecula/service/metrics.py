"""Screening metrics, fed by the service's events. Labels come from closed sets only."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from trabecula import __version__
from trabecula.errors import DatabaseUnavailable
from trabecula.work.events import AttemptTimed, ScreeningChanged, ServiceEvent, UploadEnded, WorkFault
from trabecula.work.states import State
from trabecula.work.store import ScreeningStore

STAGE_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
LOAD_EVERY_S: Final = 5.0


class ScreeningMetrics:
    """Call it with each event."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Args:
        registry: made by the caller; nothing is registered at import.
        """
        Info("trabecula_build", "Version of the program.", registry=registry).info({"version": __version__})
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
        self._attempts = Counter(
            "trabecula_attempts_total", "Attempts at a screening, by how they ended.", ("outcome",), registry=registry
        )
        self._dead = Counter(
            "trabecula_dead_jobs_total", "Screenings that ended as dead letters.", ("reason",), registry=registry
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
        elif isinstance(event, AttemptTimed):
            for stage in ("fetch", "documents", "keep", "commit"):
                self._stages.labels(stage).observe(getattr(event, f"{stage}_s"))
        else:
            self._changed(event)

    def _changed(self, event: ScreeningChanged) -> None:
        record = event.record
        if record.state is State.RUNNING and record.attempt == 1 and record.started_at is not None:
            self._wait.observe(max(0.0, (record.started_at - record.submitted_at).total_seconds()))
        if record.state is State.QUEUED and record.attempt > 0:
            self._attempts.labels("requeued").inc()
        if record.ended_at is not None:
            self._screenings.labels(record.state.value).inc()
            self._turnaround.observe(max(0.0, (record.ended_at - record.submitted_at).total_seconds()))
            if record.attempt > 0:
                self._attempts.labels(record.state.value).inc()
        if record.failure is not None:
            self._failures.labels(record.failure.code).inc()
            self._dead.labels(record.failure.code).inc()
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


class LoadGauges:
    """How much there is to do, read from the store now and then; the same in every process that shares it."""

    def __init__(self, store: ScreeningStore, registry: CollectorRegistry) -> None:
        self._store = store
        self._jobs = Gauge("trabecula_jobs", "Screenings that have not ended.", ("state",), registry=registry)
        self._oldest = Gauge(
            "trabecula_oldest_job_age_seconds", "Age of the oldest screening that has not ended.", registry=registry
        )
        for state in (State.QUEUED, State.RUNNING):
            self._jobs.labels(state.value)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="load gauges")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with suppress(DatabaseUnavailable):
                load = await self._store.load()
                for state, number in load.jobs.items():
                    self._jobs.labels(state.value).set(number)
                self._oldest.set(load.oldest_age_s or 0.0)
            await asyncio.sleep(LOAD_EVERY_S)
