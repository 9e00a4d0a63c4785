"""The listener that counts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import singledispatchmethod
from importlib.metadata import distribution
from typing import Final

from trabecula import __version__
from trabecula.errors import DatabaseUnavailable
from trabecula.telemetry import events
from trabecula.telemetry.catalogue import Metrics
from trabecula.telemetry.context import trace_id_of
from trabecula.telemetry.events import AttemptOutcome, DestinationKind, Event, Outcome
from trabecula.telemetry.facts import TISSUE_NAMES
from trabecula.telemetry.stages import WatchedStage

PROGRAM: Final = "trabecula"
MM_PER_M: Final = 1000.0
V_PER_KV: Final = 1000.0


class MetricsListener:
    """Call it with each event."""

    def __init__(self, metrics: Metrics, slots: int = 0, delivered: Collection[Outcome] = ()) -> None:
        """Args:
        slots: studies that this process works on at the same time; 0 for one that is no worker.
        delivered: outcomes that some destination wants: their turnaround ends with the delivery.
        """
        self._metrics = metrics
        self._slots = slots
        self._busy = 0
        self._delivered = frozenset(delivered)
        metrics.gauge("trabecula_build_info", 1.0, name=PROGRAM, version=__version__, digest=program_digest())
        self._tell_slots()

    def __call__(self, event: Event) -> None:
        self._on(event)

    @singledispatchmethod
    def _on(self, event: Event) -> None:
        """Events that nothing is counted of."""

    @_on.register
    def _(self, event: events.ScreeningQueued) -> None:
        if event.attempt > 0:
            self._metrics.count("trabecula_attempts_total", outcome=AttemptOutcome.REQUEUED.value)

    @_on.register
    def _(self, event: events.AttemptStarted) -> None:
        if event.attempt == 1:
            self._metrics.observe("trabecula_job_wait_seconds", event.waited_s, _exemplar(event.trace))
        self._busy += 1
        self._tell_slots()

    @_on.register
    def _(self, event: events.AttemptEnded) -> None:
        for stage, seconds in event.stages_s.items():
            self._metrics.observe(
                "trabecula_stage_duration_seconds", seconds, _exemplar(event.trace), stage=stage.value
            )
        self._busy -= 1
        self._tell_slots()

    @_on.register
    def _(self, event: events.StageFailed) -> None:
        self._metrics.count("trabecula_stage_failures_total", stage=event.stage.value, reason=event.reason)

    @_on.register
    def _(self, event: events.ScreeningEnded) -> None:
        metrics = self._metrics
        metrics.count("trabecula_screenings_total", outcome=event.outcome.value)
        if event.attempt > 0:
            metrics.count("trabecula_attempts_total", outcome=event.outcome.value)
        for code in event.refusals:
            metrics.count("trabecula_rejections_total", reason=code)
        if event.category is not None:
            metrics.count("trabecula_findings_total", category=event.category)
        if event.failure is not None:
            metrics.count("trabecula_dead_jobs_total", reason=event.failure)
        if event.outcome not in self._delivered and event.outcome is not Outcome.CANCELLED:
            metrics.observe("trabecula_turnaround_seconds", event.turnaround_s, _exemplar(event.trace))

    @_on.register
    def _(self, event: events.SeriesMeasured) -> None:
        facts, observe = event.facts, self._metrics.observe
        for each in facts.tissues:
            observe("trabecula_reference_tissue_attenuation_hu", each.hu, tissue=TISSUE_NAMES[each.tissue])
        for name, value, divisor in (
            ("trabecula_vertebra_attenuation_hu", facts.vertebra_hu, 1.0),
            ("trabecula_slice_thickness_meters", facts.slice_thickness_mm, MM_PER_M),
            ("trabecula_tube_voltage_volts", facts.kvp, 1.0 / V_PER_KV),
            ("trabecula_bmd_mg_cm3", facts.bmd_mg_cm3, 1.0),
            ("trabecula_segmentation_confidence_ratio", facts.confidence, 1.0),
        ):
            if value is not None:
                observe(name, value / divisor)

    @_on.register
    def _(self, _event: events.WorkFault) -> None:
        stage, reason = WatchedStage.REPORT.value, DatabaseUnavailable.code
        self._metrics.count("trabecula_stage_failures_total", stage=stage, reason=reason)

    @_on.register
    def _(self, event: events.UploadEnded) -> None:
        self._metrics.count("trabecula_uploads_total", outcome=event.outcome)
        self._metrics.count("trabecula_upload_bytes_total", event.received_bytes)

    @_on.register
    def _(self, event: events.RequestLimited) -> None:
        self._metrics.count("trabecula_limited_total", door=event.door)

    @_on.register
    def _(self, event: events.AccessMade) -> None:
        self._metrics.count("trabecula_accesses_total", interaction=event.interaction, outcome=event.outcome)

    @_on.register
    def _(self, event: events.ReviewMade) -> None:
        self._metrics.count("trabecula_reviews_total", decision=event.decision)

    @_on.register
    def _(self, event: events.DeliveryEnded) -> None:
        kind = "fhir" if event.kind is DestinationKind.FHIR else "pacs"
        exemplar = _exemplar(event.trace)
        self._metrics.count(f"trabecula_{kind}_deliveries_total", outcome=event.outcome.value)
        self._metrics.observe(
            "trabecula_stage_duration_seconds", event.seconds, exemplar, stage=WatchedStage.DELIVER.value
        )
        if event.outcome is events.DeliveryOutcome.DELIVERED:
            if event.turnaround_s is not None:
                self._metrics.observe("trabecula_turnaround_seconds", event.turnaround_s, exemplar)
        else:
            self._metrics.count(
                "trabecula_stage_failures_total",
                stage=WatchedStage.DELIVER.value,
                reason=event.reason or "internal",
            )

    @_on.register
    def _(self, event: events.HookCalled) -> None:
        self._metrics.count("trabecula_cds_calls_total", call=event.call, outcome=event.outcome)
        self._metrics.observe("trabecula_cds_answer_seconds", event.seconds, call=event.call)

    @_on.register
    def _(self, event: events.CardShown) -> None:
        self._metrics.count("trabecula_cds_cards_total", hook=event.hook, kind=event.kind, indicator=event.indicator)

    @_on.register
    def _(self, event: events.FeedbackGiven) -> None:
        self._metrics.count("trabecula_cds_feedback_total", hook=event.hook, outcome=event.outcome, reason=event.reason)

    @_on.register
    def _(self, event: events.ModelLoaded) -> None:
        self._metrics.observe("trabecula_model_load_duration_seconds", event.seconds, model=event.name)
        self._metrics.gauge("trabecula_model_info", 1.0, name=event.name, version=event.version, digest=event.digest)

    def _tell_slots(self) -> None:
        if self._slots:
            self._metrics.gauge("trabecula_worker_slots", self._busy, state="busy")
            self._metrics.gauge("trabecula_worker_slots", max(0, self._slots - self._busy), state="idle")


def _exemplar(trace: str | None) -> dict[str, str] | None:
    identity = trace_id_of(trace)
    return None if identity is None else {"trace_id": identity}


def program_digest() -> str:
    """SHA-256 over the program's installed files as its distribution lists them; of the version where it lists none."""
    digest = hashlib.sha256(__version__.encode())
    for each in sorted(distribution(PROGRAM).files or (), key=str):
        if each.hash is not None:
            digest.update(f"{each}={each.hash.value}\n".encode())
    return digest.hexdigest()[:16]
