"""Every metric of the program's own: name, kind, labels and what each label may say.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, ``_total`` on counters. Label values
come from closed sets; what is not in the set counts as ``other``. No metric names a patient, a study, a site or a
scanner.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trabecula import errors
from trabecula.assessment.assessment import Category
from trabecula.outcome import RefusalCode
from trabecula.telemetry.events import AttemptOutcome, DeliveryOutcome, Outcome
from trabecula.telemetry.facts import TISSUE_NAMES
from trabecula.telemetry.stages import WatchedStage

OTHER: Final = "other"
ERROR_CODES: Final = tuple(
    sorted(
        {
            each.code
            for _, each in inspect.getmembers(errors, inspect.isclass)
            if issubclass(each, errors.TrabeculaError)
        }
    )
)
"""Codes of all errors of the program's one tree."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Teller(StrEnum):
    """Which processes give a metric."""

    API = "api"
    WORKER = "worker"
    EVERY = "every process"
    SHARED = "every process, the same value"
    """Read from the database: never added up over processes; take ``max``."""


STAGE_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
WAIT_S: Final = (
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0,
)  # fmt: skip
CALL_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
TISSUE_HU: Final = (
    *(-1050.0, -1030.0, -1020.0, -1010.0, -1000.0, -990.0, -980.0, -970.0, -950.0),
    *(-140.0, -130.0, -120.0, -115.0, -110.0, -105.0, -100.0, -95.0, -90.0, -80.0, -70.0),
    *(0.0, 20.0, 30.0, 40.0, 45.0, 50.0, 55.0, 60.0, 70.0, 80.0, 100.0, 150.0, 200.0, 300.0, 400.0),
)
VERTEBRA_HU: Final = (
    -50.0, 0.0, 25.0, 50.0, 75.0, 90.0, 100.0, 110.0, 120.0, 135.0, 150.0, 160.0, 175.0, 200.0, 250.0, 300.0,
)  # fmt: skip
DENSITY_MG_CM3: Final = (
    0.0, 20.0, 40.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0, 160.0, 180.0, 200.0, 250.0, 300.0,
)  # fmt: skip
THICKNESS_M: Final = (0.0005, 0.000625, 0.001, 0.00125, 0.0015, 0.002, 0.0025, 0.003, 0.00375, 0.005, 0.0075, 0.01)
TUBE_V: Final = (70e3, 80e3, 90e3, 100e3, 110e3, 120e3, 130e3, 140e3, 150e3)
RATIO: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class MetricSpec:
    """One metric."""

    name: str
    kind: Kind
    help: str
    teller: Teller
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values that each label may have; empty: named by the operator's own files (models, destinations, versions)."""
    buckets: tuple[float, ...] = ()
    zero: bool = True
    """Every combination of values is there from the start, at 0: the first event of all is an increase as well."""


def _one(name: str, kind: Kind, teller: Teller, text: str, /, **more: object) -> MetricSpec:
    labels = {key: value for key, value in more.items() if key not in ("buckets", "zero")}
    buckets, zero = more.get("buckets", ()), more.get("zero", True)
    return MetricSpec(name, kind, text, teller, labels, buckets, bool(zero))  # type: ignore[arg-type]


DELIVERY_REASONS: Final = (
    "address-refused", "answer-too-large", "answer-unusable", "association-rejected", "bad-request", "conflict",
    "connection", "content-refused", "forbidden", "gave-up", "gone", "invalid-client", "invalid-scope",
    "media-type-refused", "no-capability-statement", "no-dicom-results", "no-smart-configuration", "not-found",
    "not-r4", "nothing-writable", "out-of-resources", "patient-ambiguous", "patient-identifier-unusable",
    "patient-inactive", "patient-issuer-unknown", "patient-merged-unclear", "patient-not-found",
    "patient-not-identified", "redirected", "refused", "search-elsewhere", "search-endless", "server-error",
    "several-matches", "signing-key-missing", "signing-key-unusable", "smart-configuration-failed",
    "sop-class-refused", "stopped", "timed-out", "token-endpoint-failed", "token-endpoint-not-allowed",
    "token-request-refused", "token-type-unknown", "too-large", "too-many-requests", "unauthorized",
    "unauthorized-client", "unforeseen", "update-not-supported",
)  # fmt: skip
"""Reasons of docs/delivery.md why an attempt at a delivery failed."""

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_STAGES = tuple(each.value for each in WatchedStage)
_REASONS = (*ERROR_CODES, OTHER)
_CALLS = ("patient-view", "order-select", "order-sign", "encounter-discharge", "discovery", "feedback", "call")

SPECS: Final = (
    _one("trabecula_stage_duration_seconds", _H, Teller.WORKER, "Time of one attempt in a stage that ended.", stage=_STAGES, buckets=STAGE_S),  # noqa: E501
    _one("trabecula_stage_failures_total", _C, Teller.WORKER, "Attempts that ended in a stage by an error, by its code.", stage=_STAGES, reason=(*_REASONS, *DELIVERY_REASONS), zero=False),  # noqa: E501
    _one("trabecula_screenings_total", _C, Teller.EVERY, "Screenings ended.", outcome=tuple(Outcome)),
    _one("trabecula_attempts_total", _C, Teller.EVERY, "Attempts at a screening, by how they ended.", outcome=tuple(AttemptOutcome)),  # noqa: E501
    _one("trabecula_rejections_total", _C, Teller.WORKER, "Refusals, by refusal code.", reason=tuple(RefusalCode)),
    _one("trabecula_findings_total", _C, Teller.WORKER, "Reported screenings, by category.", category=tuple(Category)),
    _one("trabecula_turnaround_seconds", _H, Teller.WORKER, "From the acceptance of a study to the delivery of its result; to its end where nothing is delivered.", buckets=WAIT_S),  # noqa: E501
    _one("trabecula_job_wait_seconds", _H, Teller.WORKER, "From the acceptance of a study to its first attempt.", buckets=WAIT_S),  # noqa: E501
    _one("trabecula_jobs", _G, Teller.SHARED, "Screenings that have not ended.", state=("queued", "running")),
    _one("trabecula_oldest_job_age_seconds", _G, Teller.SHARED, "Age of the oldest screening that has not ended; 0 without one."),  # noqa: E501
    _one("trabecula_dead_jobs_total", _C, Teller.EVERY, "Screenings that ended as dead letters, by error code.", reason=_REASONS),  # noqa: E501
    _one("trabecula_worker_slots", _G, Teller.WORKER, "Studies that may be worked on at the same time.", state=("busy", "idle")),  # noqa: E501
    _one("trabecula_fhir_deliveries_total", _C, Teller.WORKER, "Attempts to bring a result to a FHIR server.", outcome=tuple(DeliveryOutcome)),  # noqa: E501
    _one("trabecula_pacs_deliveries_total", _C, Teller.WORKER, "Attempts to bring a result to a PACS.", outcome=tuple(DeliveryOutcome)),  # noqa: E501
    _one("trabecula_outbox_deliveries", _G, Teller.SHARED, "Deliveries that are not done.", destination=(), state=("pending", "sending", "parked")),  # noqa: E501
    _one("trabecula_model_load_duration_seconds", _H, Teller.WORKER, "Reading, checking and opening a model.", model=(), buckets=STAGE_S),  # noqa: E501
    _one("trabecula_model_info", _G, Teller.WORKER, "Models in use; 1.", name=(), version=(), digest=()),
    _one("trabecula_build_info", _G, Teller.EVERY, "The program; 1. The digest is of its installed files.", name=(), version=(), digest=()),  # noqa: E501
    _one("trabecula_reference_tissue_attenuation_hu", _H, Teller.WORKER, "Reference tissues as scanned.", tissue=tuple(TISSUE_NAMES.values()), buckets=TISSUE_HU),  # noqa: E501
    _one("trabecula_vertebra_attenuation_hu", _H, Teller.WORKER, "Mean trabecular attenuation of the vertebrae that count, as scanned.", buckets=VERTEBRA_HU),  # noqa: E501
    _one("trabecula_slice_thickness_meters", _H, Teller.WORKER, "Of the chosen series.", buckets=THICKNESS_M),
    _one("trabecula_tube_voltage_volts", _H, Teller.WORKER, "Of the chosen series.", buckets=TUBE_V),
    _one("trabecula_bmd_mg_cm3", _H, Teller.WORKER, "Mean trabecular density of the vertebrae that count, K2HPO4 scale.", buckets=DENSITY_MG_CM3),  # noqa: E501
    _one("trabecula_segmentation_confidence_ratio", _H, Teller.WORKER, "How sure the segmentation is of the levels that count; the lowest of a series.", buckets=RATIO),  # noqa: E501
    _one("trabecula_drift_psi", _G, Teller.SHARED, "Population stability index of the newest evaluation.", feature=()),
    _one("trabecula_drift_window_series", _G, Teller.SHARED, "Series that the newest evaluation compared.", feature=()),
    _one("trabecula_drift_last_evaluation_timestamp_seconds", _G, Teller.SHARED, "When drift was evaluated last; 0 for never."),  # noqa: E501
    _one("trabecula_uploads_total", _C, Teller.API, "Uploads ended.", outcome=("accepted", "repeated", "disconnected", *_REASONS)),  # noqa: E501
    _one("trabecula_upload_bytes_total", _C, Teller.API, "Bytes received."),
    _one("trabecula_limited_total", _C, Teller.API, "Requests turned away because a client asked for more than its share.", door=("grpc", "http", "dimse", OTHER)),  # noqa: E501
    _one("trabecula_accesses_total", _C, Teller.API, "Accesses to what is known of patients; who and whose is in the AuditEvents.", interaction=("read", "vread", "history-instance", "search-type", "create", "update", "delete", "operation", OTHER), outcome=("0", "4", "8", OTHER), zero=False),  # noqa: E501
    _one("trabecula_reviews_total", _C, Teller.API, "Decisions of people on results.", decision=("accept", "correct", "reject", OTHER)),  # noqa: E501
    _one("trabecula_cds_calls_total", _C, Teller.API, "Calls of CDS Hooks.", call=(*_CALLS, OTHER), outcome=("ok", "unforeseen", *_REASONS), zero=False),  # noqa: E501
    _one("trabecula_cds_answer_seconds", _H, Teller.API, "From call to answer of CDS Hooks.", call=(*_CALLS, OTHER), buckets=CALL_S, zero=False),  # noqa: E501
    _one("trabecula_cds_cards_total", _C, Teller.API, "Cards shown.", hook=(), kind=(), indicator=()),
    _one("trabecula_cds_feedback_total", _C, Teller.API, "What became of cards.", hook=(), outcome=(), reason=()),
)  # fmt: skip
"""In the order of docs/monitoring.md."""
BY_NAME: Final = {each.name: each for each in SPECS}


class Metrics:
    """The metrics of one registry. Made anew for each service; nothing is registered at import."""

    def __init__(self, registry: CollectorRegistry, names: tuple[str, ...] | None = None) -> None:
        """Args:
        names: only these; None: all.
        """
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for spec in SPECS:
            if names is None or spec.name in names:
                self._make(spec, registry)

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Add to a counter."""
        counter = self._counters[name]
        (counter.labels(*_values(name, labels)) if labels else counter).inc(amount)

    def observe(self, name: str, value: float, exemplar: Mapping[str, str] | None = None, /, **labels: str) -> None:
        """Put a value into a histogram; an exemplar names a trace, and nothing else."""
        histogram = self._histograms[name]
        child = histogram.labels(*_values(name, labels)) if labels else histogram
        child.observe(value, None if exemplar is None else dict(exemplar))

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[name]
        (gauge.labels(*_values(name, labels)) if labels else gauge).set(value)

    def forget(self, name: str) -> None:
        """Drop all series of a gauge, before they are told anew."""
        self._gauges[name].clear()

    def _make(self, spec: MetricSpec, registry: CollectorRegistry) -> None:
        labels = tuple(spec.labels)
        made: Counter | Gauge | Histogram
        if spec.kind is Kind.COUNTER:
            made = self._counters[spec.name] = Counter(spec.name, spec.help, labels, registry=registry)
        elif spec.kind is Kind.GAUGE:
            made = self._gauges[spec.name] = Gauge(spec.name, spec.help, labels, registry=registry)
        else:
            made = self._histograms[spec.name] = Histogram(
                spec.name, spec.help, labels, buckets=spec.buckets, registry=registry
            )
        if spec.zero and labels and all(spec.labels.values()):
            for values in product(*spec.labels.values()):
                made.labels(*(str(value) for value in values))


def _values(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Values in the order of the metric's labels; ``other`` for one that is none of its set."""
    allowed = BY_NAME[name].labels
    return tuple(labels[each] if not known or labels[each] in known else OTHER for each, known in allowed.items())
