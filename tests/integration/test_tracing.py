"""One trace from the call to the delivery, at a real collector."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from live_service import LiveServer, StartServer, make_study, wait_until
from otlp_collector import Collector, collecting
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from structlog.testing import capture_logs

from trabecula.config import Role, load_settings
from trabecula.delivery.destinations import FhirDestination, PatientSystem
from trabecula.delivery.outbox import claim
from trabecula.delivery.sink import enqueue_everywhere
from trabecula.errors import ConfigurationError
from trabecula.patient import PatientContext
from trabecula.service.client import Client
from trabecula.service.telemetry import tracing_of, watch
from trabecula.telemetry.context import current_trace, in_trace, read_traceparent
from trabecula.telemetry.events import DeliveryEnded, DeliveryOutcome, DestinationKind
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.database import Database
from trabecula.work.records import ContentRef
from trabecula.work.store import ScreeningStore
from trabecula.work.submission import submission_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"


def submit(address: str, folder: Path, traceparent: str | None) -> str:
    """Submit as a client that traces."""
    with Client(address) as plain:
        metadata = (("traceparent", traceparent),) if traceparent else ()
        inner = plain._stub.SubmitStudy

        def with_header(*arguments: object, **more: object) -> object:
            given = tuple(more.pop("metadata", None) or ())  # type: ignore[call-overload]
            return inner(*arguments, metadata=(*given, *metadata), **more)

        plain._stub.SubmitStudy = with_header
        screening_id = plain.submit(make_study(folder))
        list(plain.watch(screening_id))
        return str(screening_id)


def endpoint(collector: Collector) -> str:
    return f"http://127.0.0.1:{collector.port}"


def by_id(collector: Collector) -> dict[bytes, str]:
    return {span.span_id: span.name for span in collector.spans}


def test_one_trace_spans_api_and_worker_and_says_nothing_of_the_patient(
    start_server: StartServer, tmp_path: Path
) -> None:
    with collecting() as collector, capture_logs() as logged:
        state = tmp_path / "shared"
        api = start_server(role=Role.API, state_dir=state, traces_endpoint=endpoint(collector))
        worker = start_server(
            role=Role.WORKER, state_dir=state, traces_endpoint=endpoint(collector), traces_service_name="the-worker"
        )
        screening_id = submit(api.address, tmp_path / "study", CALLER)
        wait_until(lambda: _slots(worker, "busy") == 0.0)
        api.stop(0.0)
        worker.stop(0.0)
        call, accept = "trabecula.v1.ScreeningService/SubmitStudy", "accept"
        mine = [span for span in collector.spans if span.trace_id.hex() == TRACE]
        names = {span.name for span in mine}
        assert {call, accept, "screening", "fetch", "segment", "report"} <= names
        (rpc,) = [span for span in mine if span.name == call]
        assert rpc.parent_span_id.hex() == "00f067aa0ba902b7"
        parents = by_id(collector)
        for span in mine:
            if span.name in (accept, "screening"):
                assert span.parent_span_id == rpc.span_id
            elif span.name != call:
                assert parents[span.parent_span_id] == "screening"
            assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
        assert {each["service.name"] for each in collector.resources} == {"trabecula", "the-worker"}
        words = collector.words()
        assert screening_id in words
        for secret in ("SAMPLE-0001", "1.2.826", "CANARY"):
            assert secret not in words
    traced = [line for line in logged if line.get("trace_id") == TRACE]
    assert {line["event"] for line in traced} >= {"screening changed", "attempt timed"}


def _slots(service: LiveServer, state: str) -> float | None:
    return service.server.registry.get_sample_value("trabecula_worker_slots", {"state": state})


def test_a_failed_stage_is_an_error_with_its_code(start_server: StartServer, tmp_path: Path) -> None:
    with collecting() as collector:
        service = start_server(traces_endpoint=endpoint(collector))
        with Client(service.address) as client:
            list(client.watch(client.submit(make_study(tmp_path / "study", b"text"))))
        wait_until(lambda: _slots(service, "busy") == 0.0)
        service.stop(0.0)
        (attempt,) = collector.named("screening")
        told = {each.key: each.value.string_value for each in attempt.attributes}
        assert attempt.status.code == 2
        assert told["error.type"] == "no-dicom-found"
        assert told["trabecula.outcome"] == "failed"


def test_a_caller_that_does_not_sample_is_not_sampled(start_server: StartServer, tmp_path: Path) -> None:
    with collecting() as collector:
        service = start_server(traces_endpoint=endpoint(collector))
        submit(service.address, tmp_path / "study", CALLER[:-2] + "00")
        wait_until(lambda: _slots(service, "busy") == 0.0)
        service.stop(0.0)
        assert not [span for span in collector.spans if span.trace_id.hex() == TRACE]


def test_http_requests_are_named_by_their_operation(start_server: StartServer) -> None:
    with collecting() as collector:
        service = start_server(
            http_listen="127.0.0.1:0", auth="off", traces_endpoint=endpoint(collector), public_base_url=None
        )
        address = f"http://127.0.0.1:{service.server.http_port}"
        for path in ("/fhir/metadata", "/fhir/Patient/JANE-DOE-1.2.826.0.1"):
            request = urllib.request.Request(address + path, headers={"traceparent": CALLER})  # noqa: S310
            try:
                urllib.request.urlopen(request, timeout=10).read()  # noqa: S310
            except urllib.error.HTTPError as error:
                assert error.code in (400, 404)  # noqa: PT017
        service.stop(0.0)
        served = [span for span in collector.spans if span.name.startswith("http ")]
        assert len(served) == 2
        assert {span.trace_id.hex() for span in served} == {TRACE}
        assert "JANE" not in collector.words()


def test_a_delivery_goes_on_with_the_trace_of_its_study() -> None:
    with collecting() as collector:
        settings = load_settings({"TRABECULA_TRACES_ENDPOINT": endpoint(collector)})
        watching = watch(settings, CollectorRegistry())
        watching.tell(
            DeliveryEnded(
                destination="ehr",
                kind=DestinationKind.FHIR,
                delivery_id="7a1b0f5e-64d5-5d0c-9d3e-0c1f7a6c2f11",
                attempt=1,
                outcome=DeliveryOutcome.ERROR,
                reason="timed-out",
                status=None,
                way=None,
                seconds=2.0,
                trace=CALLER,
            )
        )
        watching.tracing.close()
        (span,) = collector.named("deliver")
        assert span.trace_id.hex() == TRACE
        assert span.status.code == 2
        assert span.end_time_unix_nano - span.start_time_unix_nano == pytest.approx(2e9, rel=0.05)


async def test_the_outbox_hands_on_the_trace_and_the_time_of_acceptance(database: Database) -> None:
    store = ScreeningStore(database, content=None)
    refs = (ContentRef("a" * 64, 10),)
    with in_trace(CALLER):
        record, _ = await store.accept(submission_of(refs, PatientContext()), refs, PatientContext())
    to = FhirDestination("fhir", "ehr", "http://ehr.example/fhir", (PatientSystem("urn:oid:2.999"),))
    now = datetime.now(UTC)
    async with database.transaction() as connection:
        await enqueue_everywhere(
            connection, [to], chain=record.screening_id, screening_id=record.screening_id, topic="result",
            bundle={"resourceType": "Bundle", "type": "collection", "entry": []}, now=now,
        )  # fmt: skip
        parcel = await claim(connection, "ehr", now, 10.0)
    assert parcel is not None
    assert (parcel.trace, parcel.received_at, parcel.topic) == (CALLER, record.submitted_at, "result")


def test_https_to_a_collector_whose_authority_is_named(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "ca.pem"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    keys = grpc.ssl_server_credentials([((tmp_path / "key.pem").read_bytes(), (tmp_path / "ca.pem").read_bytes())])
    with collecting(keys) as collector:
        tracing = tracing_of(
            load_settings(
                {
                    "TRABECULA_TRACES_ENDPOINT": f"https://localhost:{collector.port}",
                    "TRABECULA_TRACES_CA_FILE": str(tmp_path / "ca.pem"),
                }
            )
        )
        with tracing.request("a call", None):
            pass
        tracing.close()
        assert collector.named("a call")


def test_histograms_name_the_trace_as_exemplar(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server()
    submit(service.address, tmp_path / "study", CALLER)
    wait_until(lambda: _slots(service, "busy") == 0.0)
    written = openmetrics(service.server.registry).decode()
    assert f'# {{trace_id="{TRACE}"}}' in written


def test_a_collector_that_is_away_harms_nothing(start_server: StartServer, tmp_path: Path) -> None:
    with collecting() as collector:
        gone = endpoint(collector)
    service = start_server(traces_endpoint=gone)
    with Client(service.address) as client:
        summary = list(client.watch(client.submit(make_study(tmp_path / "study"))))[-1]
    assert summary.state == pb.SCREENING_STATE_REPORTED


@pytest.mark.parametrize(
    "given",
    ["", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "01" + CALLER[2:], CALLER + "\n", "00-JANE", CALLER.upper()],
)
def test_what_is_no_traceparent_is_not_kept(given: str) -> None:
    assert read_traceparent(given) is None
    assert read_traceparent(CALLER) == CALLER
    with in_trace(CALLER):
        assert current_trace() == CALLER
    assert current_trace() is None


@pytest.mark.parametrize("value", ["collector:4317", "ftp://collector:4317", "http://collector"])
def test_an_endpoint_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError):
        load_settings({"TRABECULA_TRACES_ENDPOINT": value})


def test_without_the_extra_the_program_runs_and_asking_for_traces_says_what_is_missing() -> None:
    """In an interpreter that finds no opentelemetry, as where the extra was not installed."""
    script = """
import sys, json
class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from prometheus_client import CollectorRegistry
from trabecula.config import load_settings
from trabecula.delivery.destinations import FhirDestination, PatientSystem
from trabecula.delivery.outbox import claim
from trabecula.delivery.sink import enqueue_everywhere
from trabecula.errors import ConfigurationError
from trabecula.patient import PatientContext
from trabecula.service.server import Server
from trabecula.service.telemetry import watch
watch(load_settings({}), CollectorRegistry())
try:
    watch(load_settings({"TRABECULA_TRACES_ENDPOINT": "http://collector:4317"}), CollectorRegistry())
except ConfigurationError as error:
    print(json.dumps(error.fields))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "trabecula[otel]" in json.loads(done.stdout)["needs"]


def test_https_needs_an_authority_that_can_be_read(tmp_path: Path) -> None:
    given = {"TRABECULA_TRACES_ENDPOINT": "https://localhost:4317", "TRABECULA_TRACES_CA_FILE": str(tmp_path / "no")}
    with pytest.raises(ConfigurationError):
        tracing_of(load_settings(given))
