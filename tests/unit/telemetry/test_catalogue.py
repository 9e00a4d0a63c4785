"""The catalogue of metrics: its page, its names, its closed labels."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from trabecula.service.interceptors import CallMetrics
from trabecula.telemetry.catalogue import BY_NAME, DELIVERY_REASONS, ERROR_CODES, SPECS, Kind, Metrics

D2 = {
    "trabecula_stage_duration_seconds": ("histogram", {"stage"}),
    "trabecula_stage_failures_total": ("counter", {"stage", "reason"}),
    "trabecula_screenings_total": ("counter", {"outcome"}),
    "trabecula_rejections_total": ("counter", {"reason"}),
    "trabecula_findings_total": ("counter", {"category"}),
    "trabecula_turnaround_seconds": ("histogram", set()),
    "trabecula_job_wait_seconds": ("histogram", set()),
    "trabecula_jobs": ("gauge", {"state"}),
    "trabecula_oldest_job_age_seconds": ("gauge", set()),
    "trabecula_dead_jobs_total": ("counter", {"reason"}),
    "trabecula_fhir_deliveries_total": ("counter", {"outcome"}),
    "trabecula_worker_slots": ("gauge", {"state"}),
    "trabecula_model_load_duration_seconds": ("histogram", {"model"}),
    "trabecula_model_info": ("gauge", {"name", "version", "digest"}),
    "trabecula_build_info": ("gauge", {"name", "version", "digest"}),
    "trabecula_reference_tissue_attenuation_hu": ("histogram", {"tissue"}),
    "trabecula_vertebra_attenuation_hu": ("histogram", set()),
    "trabecula_slice_thickness_meters": ("histogram", set()),
    "trabecula_tube_voltage_volts": ("histogram", set()),
    "trabecula_bmd_mg_cm3": ("histogram", set()),
    "trabecula_segmentation_confidence_ratio": ("histogram", set()),
    "trabecula_drift_psi": ("gauge", {"feature"}),
    "trabecula_drift_window_series": ("gauge", {"feature"}),
    "trabecula_drift_last_evaluation_timestamp_seconds": ("gauge", set()),
}
"""The names, types and labels that dashboards elsewhere may rely on."""


def test_the_published_names_types_and_labels_stand() -> None:
    assert {name: (BY_NAME[name].kind.value, set(BY_NAME[name].labels)) for name in D2} == D2


def test_the_page_has_the_table_that_the_catalogue_gives(repository: Path) -> None:
    spec = spec_from_file_location("write_metric_table", repository / "scripts" / "write_metric_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (repository / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert module.table() in page, f"run {sys.executable} scripts/write_metric_table.py"


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("PROMTOOL MISSING (Debian package prometheus)")
    registry = CollectorRegistry()
    Metrics(registry)
    CallMetrics(registry)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_counters_of_closed_sets_begin_at_zero() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    for code in ERROR_CODES:
        assert registry.get_sample_value("trabecula_dead_jobs_total", {"reason": code}) == 0.0
    assert registry.get_sample_value("trabecula_fhir_deliveries_total", {"outcome": "error"}) == 0.0
    assert registry.get_sample_value("trabecula_screenings_total", {"outcome": "failed"}) == 0.0


def test_what_is_in_no_set_counts_as_other() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.count("trabecula_dead_jobs_total", reason="JANE^DOE")
    assert registry.get_sample_value("trabecula_dead_jobs_total", {"reason": "other"}) == 1.0
    assert "JANE" not in generate_latest(registry).decode()


def test_names_and_buckets_are_as_prometheus_wants_them() -> None:
    for spec in SPECS:
        assert (spec.kind is Kind.COUNTER) == spec.name.endswith("_total"), spec.name
        assert bool(spec.buckets) == (spec.kind is Kind.HISTOGRAM), spec.name
        assert list(spec.buckets) == sorted(set(spec.buckets)), spec.name
        assert spec.help.endswith("."), spec.name


def test_reasons_of_deliveries_are_those_of_the_page(repository: Path) -> None:
    page = (repository / "docs" / "delivery.md").read_text(encoding="utf-8")
    section = page.split("### Why it is parked, and what to do")[1].split("\n##")[0]
    named = {
        word
        for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
        for word in re.findall(r"`([a-z0-9-]+)`", row)
    }
    assert len(named) > 20
    assert named <= set(DELIVERY_REASONS) | set(ERROR_CODES)
