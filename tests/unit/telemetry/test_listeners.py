"""Events, the dispatcher, and what metrics and logs make of them."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

import pytest
import report_samples
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from trabecula.calibration.calibration import ReferenceTissue
from trabecula.telemetry import events
from trabecula.telemetry.catalogue import Metrics
from trabecula.telemetry.dispatch import Dispatcher
from trabecula.telemetry.events import DeliveryEnded, DeliveryOutcome, DestinationKind, Event, Outcome, ScreeningEnded
from trabecula.telemetry.facts import SeriesFacts, TissueFact, age_band, facts_of
from trabecula.telemetry.logs import log_event
from trabecula.telemetry.metrics import MetricsListener
from trabecula.telemetry.stages import WatchedStage

ID = "7a1b0f5e-64d5-5d0c-9d3e-0c1f7a6c2f11"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ALL = typing.get_args(Event)
IDS_AND_CODES = {
    "screening_id", "delivery_id", "destination", "reason", "fault", "trace", "failure", "category", "refusals",
    "outcome", "door", "interaction", "way", "call", "hook", "kind", "indicator", "decision", "name",
    "version", "digest",
}  # fmt: skip
"""Fields that are text. Whoever adds one says here that it can hold no patient data."""


class Listening:
    """Metrics of one registry."""

    def __init__(self, slots: int = 2, delivered: tuple[Outcome, ...] = ()) -> None:
        self.registry = CollectorRegistry()
        self.tell = MetricsListener(Metrics(self.registry), slots, delivered)

    def __call__(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        return self.registry.get_sample_value(name, dict(labels or {}))


def ended(outcome: Outcome = Outcome.REPORTED, **more: Any) -> ScreeningEnded:
    return ScreeningEnded(ID, outcome, 1, 12.5, **more)


def delivered(outcome: DeliveryOutcome, **more: Any) -> DeliveryEnded:
    kind = more.pop("kind", DestinationKind.FHIR)
    reason = None if outcome is DeliveryOutcome.DELIVERED else "timed-out"
    return DeliveryEnded("ehr", kind, ID, 1, outcome, reason, None, None, 0.4, **more)


@pytest.mark.parametrize("event", ALL)
def test_events_are_frozen_and_have_no_place_for_free_text(event: type[Any]) -> None:
    assert event.__dataclass_params__.frozen
    for field in dataclasses.fields(event):
        text = "str" in str(field.type) and "Mapping" not in str(field.type)
        assert not text or field.name in IDS_AND_CODES, f"{event.__name__}.{field.name}"


def test_the_figures_of_a_person_say_nothing_of_whose_they_are() -> None:
    assert [field.name for field in dataclasses.fields(events.SeriesMeasured)] == ["facts"]
    report = report_samples.reported()
    written = repr(facts_of(report))
    assert report.study is not None
    for secret in (report.study.study_instance_uid, report.study.patient_id, report.screening_id):
        assert secret is None or secret not in written


def test_a_listener_that_fails_harms_neither_work_nor_the_others() -> None:
    heard: list[Event] = []

    def broken(_: Event) -> None:
        raise ValueError("CANARY^PATIENT")

    with capture_logs() as logged:
        Dispatcher((broken, heard.append, broken))(ended())
    assert heard == [ended()]
    assert [line["event"] for line in logged] == ["listener failed"] * 2
    assert logged[0]["told"] == "ScreeningEnded"
    assert "CANARY" not in json.dumps(logged, default=str)


def test_each_event_is_taken_by_every_listener() -> None:
    samples: dict[str, Any] = {
        "screening_id": ID, "delivery_id": ID, "attempt": 1, "waited_s": 1.0, "stage": WatchedStage.SEGMENT,
        "passage": None, "turnaround_s": 1.0, "facts": facts_of(report_samples.reported()), "fault": "x",
        "received_bytes": 1, "outcome": Outcome.FAILED, "door": "grpc", "interaction": "read", "destination": "ehr",
        "kind": DestinationKind.FHIR, "status": None, "way": None, "seconds": 1.0, "failures": 1, "call": "feedback",
        "hook": "patient-view", "indicator": "info", "reason": "timed-out", "decision": "accept", "name": "m",
        "version": "1", "digest": "d", "documents_s": 1.0, "keep_s": 1.0, "commit_s": 1.0,
    }  # fmt: skip
    from trabecula.telemetry.stages import Passage

    samples["passage"] = Passage(WatchedStage.SEGMENT, 1.0, 1.0)
    failed: list[str] = []
    for event in ALL:
        needed = [field.name for field in dataclasses.fields(event) if field.default is dataclasses.MISSING]
        made = event(**{name: samples[name] for name in needed if name != "stages_s"})
        for listener in (Listening().tell, log_event):
            try:
                listener(made)
            except Exception as error:
                failed.append(f"{event.__name__}: {error!r}")
    assert failed == []


def test_turnaround_ends_with_the_delivery_where_there_is_one() -> None:
    nowhere, somewhere = Listening(), Listening(delivered=(Outcome.REPORTED,))
    for each in (nowhere, somewhere):
        each.tell(ended())
    assert nowhere("trabecula_turnaround_seconds_count") == 1.0
    assert somewhere("trabecula_turnaround_seconds_count") == 0.0
    somewhere.tell(delivered(DeliveryOutcome.ERROR, turnaround_s=50.0))
    assert somewhere("trabecula_turnaround_seconds_count") == 0.0
    somewhere.tell(delivered(DeliveryOutcome.DELIVERED, turnaround_s=90.0))
    assert somewhere("trabecula_turnaround_seconds_sum") == 90.0
    somewhere.tell(delivered(DeliveryOutcome.DELIVERED))  # a sign-off
    somewhere.tell(ended(Outcome.REFUSED))  # which nobody wants
    assert somewhere("trabecula_turnaround_seconds_count") == 2.0
    somewhere.tell(ended(Outcome.CANCELLED))
    assert somewhere("trabecula_turnaround_seconds_count") == 2.0


def test_deliveries_to_a_pacs_are_not_those_to_an_ehr() -> None:
    told = Listening()
    told.tell(delivered(DeliveryOutcome.ERROR))
    told.tell(delivered(DeliveryOutcome.PARKED, kind=DestinationKind.STOW))
    assert told("trabecula_fhir_deliveries_total", {"outcome": "error"}) == 1.0
    assert told("trabecula_fhir_deliveries_total", {"outcome": "parked"}) == 0.0
    assert told("trabecula_pacs_deliveries_total", {"outcome": "parked"}) == 1.0
    assert told("trabecula_stage_failures_total", {"stage": "deliver", "reason": "timed-out"}) == 2.0
    assert told("trabecula_stage_duration_seconds_count", {"stage": "deliver"}) == 2.0


def test_slots_are_busy_while_an_attempt_runs_and_none_are_told_of_no_worker() -> None:
    told = Listening(slots=2)
    assert told("trabecula_worker_slots", {"state": "idle"}) == 2.0
    told.tell(events.AttemptStarted(ID, 1, 3.0))
    assert told("trabecula_worker_slots", {"state": "busy"}) == 1.0
    assert told("trabecula_worker_slots", {"state": "idle"}) == 1.0
    told.tell(events.AttemptEnded(ID, 1, {WatchedStage.SEGMENT: 4.0}))
    assert told("trabecula_worker_slots", {"state": "busy"}) == 0.0
    assert told("trabecula_stage_duration_seconds_sum", {"stage": "segment"}) == 4.0
    assert told("trabecula_job_wait_seconds_sum") == 3.0
    told.tell(events.AttemptStarted(ID, 2, 9.0))
    assert told("trabecula_job_wait_seconds_count") == 1.0  # the first attempt alone has waited for a worker


def test_codes_of_an_end_are_counted() -> None:
    told = Listening()
    told.tell(ended(Outcome.REFUSED, refusals=("too-few-slices",)))
    told.tell(ended(Outcome.FAILED, failure="corrupt-instance"))
    told.tell(ended(category="indeterminate"))
    told.tell(events.ScreeningQueued(ID, 1, "worker-lost"))
    told.tell(events.ScreeningQueued(ID, 0))
    assert told("trabecula_rejections_total", {"reason": "too-few-slices"}) == 1.0
    assert told("trabecula_dead_jobs_total", {"reason": "corrupt-instance"}) == 1.0
    assert told("trabecula_findings_total", {"category": "indeterminate"}) == 1.0
    assert told("trabecula_attempts_total", {"outcome": "requeued"}) == 1.0
    assert told("trabecula_screenings_total", {"outcome": "failed"}) == 1.0


def test_figures_come_in_base_units() -> None:
    told = Listening()
    facts = dataclasses.replace(
        facts_of(report_samples.reported()),
        kvp=120.0,
        slice_thickness_mm=1.25,
        bmd_mg_cm3=88.0,
        confidence=0.97,
        vertebra_hu=101.0,
        tissues=(TissueFact(ReferenceTissue.SUBCUTANEOUS_FAT, -104.0, 3.0),),
    )
    told.tell(events.SeriesMeasured(facts))
    assert told("trabecula_tube_voltage_volts_sum") == 120_000.0
    assert told("trabecula_slice_thickness_meters_sum") == pytest.approx(0.00125)
    assert told("trabecula_bmd_mg_cm3_sum") == 88.0
    # prometheus_client gives no sum where bins are negative: it would be no counter
    for name, inside, below, labels in (
        ("trabecula_vertebra_attenuation_hu_bucket", "110.0", "100.0", {}),
        ("trabecula_reference_tissue_attenuation_hu_bucket", "-100.0", "-105.0", {"tissue": "subcutaneous_fat"}),
    ):
        assert told(name, {"le": inside, **labels}) == 1.0
        assert told(name, {"le": below, **labels}) == 0.0
    assert told("trabecula_segmentation_confidence_ratio_sum") == 0.97
    assert ID not in generate_latest(told.registry).decode()


def test_a_tissue_lies_as_far_off_as_the_calibration_says() -> None:
    report = report_samples.reported()
    assert report.calibration is not None
    measured = {each.tissue: each for each in report.calibration.references}
    found = facts_of(report).tissues
    assert found
    for each in found:
        reference = measured[each.tissue]
        assert each.hu == reference.hu_measured
        assert each.deviation_hu == reference.hu_measured - reference.hu_nominal


def test_facts_of_a_refusal_are_few() -> None:
    report = report_samples.refused()
    facts: SeriesFacts = facts_of(report)
    assert facts.refusal is report.refusals[0].code
    assert (facts.category, facts.bmd_mg_cm3, facts.tissues) == (None, None, ())


@pytest.mark.parametrize(
    ("years", "band"),
    [(None, None), (0.5, "<40"), (39.9, "<40"), (40.0, "40-49"), (66.0, "60-69"), (80.0, "80+"), (103.0, "80+")],
)  # fmt: skip
def test_ages_are_told_in_bands(years: float | None, band: str | None) -> None:
    assert age_band(years) == band


def test_lines_name_the_trace_the_screening_and_codes() -> None:
    with capture_logs() as logged:
        log_event(ended(Outcome.FAILED, failure="internal", fault="ValueError x.py:3", trace=TRACE))
    (line,) = logged
    assert line["trace_id"] == TRACE[3:35]
    assert (line["screening_id"], line["state"], line["code"]) == (ID, "failed", "internal")
    assert line["log_level"] == "warning"
