"""Alerts fired on purpose: a real Prometheus with the chart's rules, waiting times shortened, at the real program.

``make alerts``. What the program gives after a phantom is held against the catalogue on the way.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert
from synthetic_ct import SeriesSpec, write_series

from trabecula.assets import models_dir
from trabecula.config import load_settings
from trabecula.drift.reference import Bins, read_references
from trabecula.drift.schema import series_fact
from trabecula.service.client import Client
from trabecula.telemetry.catalogue import SPECS, Kind, MetricSpec
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.database import open_database

pytestmark = pytest.mark.heavy
RULES = Path(__file__).resolve().parents[2] / "helm" / "trabecula" / "files" / "rules" / "trabecula.yaml"
NOT_YET = {"trabecula_cds_calls_total", "trabecula_cds_answer_seconds", "trabecula_cds_cards_total",
           "trabecula_cds_feedback_total", "trabecula_accesses_total"}  # fmt: skip
"""Appear with their first event; CDS Hooks and FHIR are not called here."""
DESTINATIONS = """
[[destination]]
kind = "fhir"
name = "away"
base_url = "http://127.0.0.1:{port}/fhir"
send = ["results", "refusals"]
patient = [{{ system = "urn:oid:2.16.840.1.113883.19.5" }}]
network = {{ private_networks = ["127.0.0.0/8"], plain_http = true }}

[[destination]]
kind = "fhir"
name = "shut"
base_url = "http://127.0.0.1:{port}/fhir"
send = ["results", "refusals"]
patient = [{{ system = "urn:oid:2.16.840.1.113883.19.5" }}]
network = {{ plain_http = true }}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Program:
    """``trabecula serve`` in a process of its own, and the Prometheus that watches it."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    port: int
    metrics_port: int
    prometheus_port: int

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def firing(self) -> set[str]:
        """Names of the alerts that fire now, by Prometheus's own API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus_port}/api/v1/alerts", timeout=10) as answer:
            told = json.loads(answer.read())["data"]["alerts"]
        return {each["labels"]["alertname"] for each in told if each["state"] == "firing"}

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trabecula.cli", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def until(condition: Callable[[], bool], limit_s: float, what: str | Path) -> None:
    """Wait; fail with these words, or the end of this file."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what.read_text()[-2000:]
        time.sleep(0.5)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("PROMETHEUS MISSING (Debian package prometheus)")
    folder = tmp_path_factory.mktemp("alerts")
    (folder / "destinations.toml").write_text(DESTINATIONS.format(port=free_port()))
    metrics_port, prometheus_port = free_port(), free_port()
    environment = {
        **os.environ,
        "TRABECULA_STATE_DIR": str(folder / "state"),
        "TRABECULA_METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
        "TRABECULA_DESTINATIONS_FILE": str(folder / "destinations.toml"),
        "TRABECULA_OUTBOUND_HOSTS": "127.0.0.1",
        "TRABECULA_OUTBOUND_NETWORKS": "127.0.0.0/8",
        "TRABECULA_INFERENCE_THREADS": "1",
    }
    ready = folder / "ready"
    with (folder / "log").open("wb") as log:
        serve = [sys.executable, "-m", "trabecula.cli", "serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
        process = subprocess.Popen(serve, env=environment, stderr=log, stdout=log)
        watching = _prometheus(prometheus, folder, metrics_port, prometheus_port)
        try:
            until(ready.exists, 180.0, folder / "log")
            yield Program(process, environment, int(ready.read_text()), metrics_port, prometheus_port)
        finally:
            for each in (watching, process):
                each.terminate()
                each.wait(60)


def _prometheus(binary: str, folder: Path, metrics_port: int, port: int) -> subprocess.Popen[bytes]:
    """With the chart's rules, each waiting for two seconds instead of minutes to a day."""
    rules = RULES.read_text(encoding="utf-8")
    (folder / "rules.yaml").write_text(re.sub(r"\bfor: \w+", "for: 2s", rules))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "trabecula", "static_configs": [{"targets": [f"127.0.0.1:{metrics_port}"]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    listen = f"--web.listen-address=127.0.0.1:{port}"
    storage = f"--storage.tsdb.path={folder / 'tsdb'}"
    command = [binary, f"--config.file={folder / 'prometheus.yaml'}", listen, storage, "--log.level=error"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_1_nothing_but_the_missing_evaluation_is_told_of_a_program_at_rest(program: Program) -> None:
    until(lambda: "TrabeculaDriftCheckStale" in program.firing(), 60.0, "drift was never evaluated, and nobody says so")
    time.sleep(6.0)
    assert program.firing() == {"TrabeculaDriftCheckStale"}
    program.command("drift", "evaluate", "--json")
    until(lambda: program.firing() == set(), 60.0, "it was evaluated")


def test_2_a_phantom_fills_the_catalogue_with_the_types_and_labels_it_promises(
    program: Program, phantom_study: Path
) -> None:
    with Client(f"127.0.0.1:{program.port}") as client:
        summary = list(client.watch(client.submit(sorted(phantom_study.rglob("*.dcm")))))[-1]
    assert summary.state == pb.SCREENING_STATE_REPORTED
    until(lambda: 'outcome="error"} 1.0' in program.metrics(), 60.0, "the delivery was tried")
    until(lambda: 'state="parked"} 1.0' in program.metrics(), 60.0, "the outbox is shown")
    text = program.metrics()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for spec in SPECS:
        family = families[spec.name.removesuffix("_total") if spec.kind is Kind.COUNTER else spec.name]
        assert family.type == spec.kind.value, spec.name
        if spec.name not in NOT_YET:
            _check(spec, family)
    for name in (
        "trabecula_vertebra_attenuation_hu",
        "trabecula_bmd_mg_cm3",
        "trabecula_slice_thickness_meters",
        "trabecula_tube_voltage_volts",
        "trabecula_segmentation_confidence_ratio",
    ):
        assert f"{name}_count 1.0" in text, name
    for tissue in ("air", "subcutaneous_fat", "paraspinal_muscle", "aortic_blood"):
        assert f'trabecula_reference_tissue_attenuation_hu_count{{tissue="{tissue}"}} 1.0' in text
    for stage in ("fetch", "gate", "decode", "segment", "measure", "calibrate", "report"):
        assert f'trabecula_stage_duration_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'trabecula_slice_thickness_meters_bucket{le="0.0025"} 1.0' in text
    assert 'trabecula_tube_voltage_volts_bucket{le="120000.0"} 1.0' in text
    assert 'trabecula_tube_voltage_volts_bucket{le="110000.0"} 0.0' in text
    assert {sample.labels["name"] for sample in families["trabecula_model_info"].samples} >= {"coarse-v1", "fine-v1"}
    assert "1.2.826" not in text
    assert "_created" not in text


def _check(spec: MetricSpec, family: Any) -> None:
    own = [sample for sample in family.samples if not sample.name.endswith("_created")]
    assert own or not spec.zero or not all(spec.labels.values()), spec.name
    for sample in own:
        assert set(sample.labels) - {"le"} == set(spec.labels), spec.name
        for label, allowed in spec.labels.items():
            assert not allowed or sample.labels[label] in {str(value) for value in allowed}, (spec.name, label)
        if spec.kind is Kind.HISTOGRAM and sample.name.endswith("_bucket") and sample.labels["le"] != "+Inf":
            assert float(sample.labels["le"]) in spec.buckets


def test_3_a_destination_that_is_away_and_one_that_parks_are_told(program: Program) -> None:
    until(
        lambda: {"TrabeculaFhirDeliveryFailing", "TrabeculaDeliveriesParked"} <= program.firing(),
        120.0,
        f"deliveries fail: {program.firing()}",
    )
    listed = json.loads(program.command("deliveries", "list", "--json"))["deliveries"]
    assert {each["state"] for each in listed} == {"pending", "parked"}
    # what the runbooks say to do
    assert (
        json.loads(program.command("deliveries", "retry", "--all", "--destination", "shut", "--json"))["released"] == 1
    )
    assert "coarse-v1" in program.command("models", "verify")


def test_4_a_study_that_cannot_be_read_is_a_dead_job(program: Program, tmp_path: Path) -> None:
    assert "TrabeculaDeadJobs" not in program.firing()
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no DICOM at all")
    with Client(f"127.0.0.1:{program.port}") as client:
        summary = list(client.watch(client.submit([broken])))[-1]
    assert summary.state == pb.SCREENING_STATE_FAILED
    until(lambda: "TrabeculaDeadJobs" in program.firing(), 60.0, "a dead letter")


def test_5_a_study_that_is_refused_is_not_a_dead_job(program: Program, tmp_path: Path) -> None:
    before = _value(program, 'trabecula_screenings_total{outcome="refused"}')
    dead = _dead(program)
    files = write_series(SeriesSpec(np.full((3, 32, 32), 40, np.int16)), tmp_path / "few")
    with Client(f"127.0.0.1:{program.port}") as client:
        summary = list(client.watch(client.submit(files)))[-1]
    assert summary.state == pb.SCREENING_STATE_REFUSED
    until(lambda: _value(program, 'trabecula_screenings_total{outcome="refused"}') == before + 1, 20.0, "counted")
    assert _dead(program) == dead


def _value(program: Program, series: str) -> float:
    return next(float(line.rpartition(" ")[2]) for line in program.metrics().splitlines() if line.startswith(series))


def _dead(program: Program) -> float:
    lines = [line for line in program.metrics().splitlines() if line.startswith("trabecula_dead_jobs_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_6_fat_that_reads_higher_is_drift(program: Program) -> None:
    asyncio.run(_shifted_rows(program))
    program.command("drift", "evaluate")
    until(lambda: "TrabeculaInputDrift" in program.firing(), 60.0, "fat has moved by 15 HU")


async def _shifted_rows(program: Program) -> None:
    from datetime import UTC, datetime

    bins = read_references(models_dir(), None)["fat_deviation_hu"].counts
    assert isinstance(bins, Bins)
    edges = bins.edges
    today = datetime.now(UTC).date()
    rows = [
        {"day": today, "status": "reported", "fat_deviation_hu": edges[index % len(edges)] + 15.0}
        for index in range(400)
    ]
    given = {name: value for name, value in program.environment.items() if name.startswith("TRABECULA_")}
    async with open_database(load_settings(given)) as database, database.transaction() as connection:
        await connection.execute(insert(series_fact), rows)


def test_7_a_program_that_is_gone_is_absent(program: Program) -> None:
    assert "TrabeculaAbsent" not in program.firing()
    program.process.send_signal(signal.SIGTERM)
    program.process.wait(90)
    until(lambda: "TrabeculaAbsent" in program.firing(), 60.0, "nothing is scraped any more")
