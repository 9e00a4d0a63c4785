"""What operators see: health, reflection, draining, restarts, metrics, TLS."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from live_service import LiveServer, StartServer, make_study, wait_until
from prometheus_client import generate_latest

from trabecula import errors
from trabecula.service.client import Client, ClientTls
from trabecula.service.server import SERVICE_NAME
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.store import ScreeningStore


def health(channel: grpc.Channel) -> int:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
    return int(answer.status)


def test_health_is_serving(service: LiveServer) -> None:
    with grpc.insecure_channel(service.address) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING


def test_reflection_is_off_unless_asked_for(service: LiveServer) -> None:
    with grpc.insecure_channel(service.address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_tells_the_protocol(start_server: StartServer) -> None:
    service = start_server(reflection=True)
    with grpc.insecure_channel(service.address) as channel:
        assert SERVICE_NAME in list(ProtoReflectionDescriptorDatabase(channel).get_services())


def state_of(client: Client, screening_id: str) -> int:
    return int(client.get(screening_id)[0].state)


def test_draining_ends_running_work_and_takes_no_more(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server()
    with grpc.insecure_channel(service.address) as channel, Client(service.address) as client:
        running = client.submit(make_study(tmp_path / "one", b"brief"))
        wait_until(lambda: state_of(client, running) == pb.SCREENING_STATE_RUNNING)
        queued = client.submit(make_study(tmp_path / "two"))
        states: list[int] = []
        watched = threading.Thread(target=lambda: states.extend(each.state for each in client.watch(running)))
        watched.start()
        stopping = threading.Thread(target=service.stop, args=(30.0,))
        stopping.start()
        wait_until(lambda: health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING)
        with pytest.raises(errors.Draining):
            client.submit(make_study(tmp_path / "three"))
        stopping.join(20)
        watched.join(10)
    assert states[-1] == pb.SCREENING_STATE_REPORTED
    with Client(start_server().address) as client:
        assert list(client.watch(queued))[-1].state == pb.SCREENING_STATE_REPORTED


def test_work_that_does_not_end_in_time_is_put_back_and_done_by_the_next(
    start_server: StartServer, tmp_path: Path
) -> None:
    first = start_server()
    with Client(first.address) as client:
        running = client.submit(make_study(tmp_path / "one", b"slow"))
        wait_until(lambda: state_of(client, running) == pb.SCREENING_STATE_RUNNING)
    first.stop(0.1)
    with Client(start_server().address) as client:
        wait_until(lambda: client.get(running)[0].attempt == 2)
        client.cancel(running)
        assert list(client.watch(running))[-1].state == pb.SCREENING_STATE_CANCELLED


def test_a_watcher_with_patience_sees_the_end_after_a_restart(
    start_server: StartServer, tmp_path: Path, free_port: int
) -> None:
    address = f"127.0.0.1:{free_port}"
    first = start_server(listen=address)
    with Client(address) as client:
        running = client.submit(make_study(tmp_path / "one", b"brief"))
        states: list[int] = []
        watched = threading.Thread(target=lambda: states.extend(each.state for each in client.watch(running, 30.0)))
        watched.start()
        wait_until(lambda: pb.SCREENING_STATE_RUNNING in states)
        first.stop(0.0)
        start_server(listen=address)
        watched.join(30)
    assert states[-1] == pb.SCREENING_STATE_REPORTED


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_results_outlive_a_restart_and_keys_still_count(start_server: StartServer, tmp_path: Path) -> None:
    files = make_study(tmp_path / "study")
    first = start_server()
    with Client(first.address) as client:
        screening_id = client.submit(files, idempotency_key="visit-1")
        list(client.watch(screening_id))
        _, report = client.get(screening_id)
    first.stop(0.0)
    second = start_server()
    with Client(second.address) as client:
        assert client.get(screening_id)[1] == report
        assert client.submit(files, idempotency_key="visit-1") == screening_id


def test_a_study_that_takes_too_long_is_stopped(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(screening_timeout_s=0.3)
    with Client(service.address) as client:
        summary = list(client.watch(client.submit(make_study(tmp_path / "slow", b"slow"))))[-1]
    assert summary.failure.code == "screening-timed-out"


def test_an_end_that_cannot_be_kept_is_tried_again(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = ScreeningStore.end_with_result
    failures = [OSError(28, "No space left on device"), errors.DatabaseUnavailable()]

    async def failing(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return await end(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ScreeningStore, "end_with_result", failing)
    first = list(client.watch(client.submit(make_study(tmp_path / "one"))))[-1]
    second = list(client.watch(client.submit(make_study(tmp_path / "two"))))[-1]
    assert not failures
    assert first.state == second.state == pb.SCREENING_STATE_REPORTED
    assert (first.attempt, second.attempt) == (2, 1)


def test_metrics_count_calls_and_screenings_without_patient_data(service: LiveServer, tmp_path: Path) -> None:
    with grpc.insecure_channel(service.address) as channel, Client(service.address) as client:
        health(channel)
        for order in (b"report", b"refuse", b"text"):
            list(client.watch(client.submit(make_study(tmp_path / "study", order))))
        with pytest.raises(errors.NotFound):
            client.get("unknown")
    # The client has its answer a moment before the call is counted.
    wait_until(lambda: b'grpc_code="NotFound",grpc_method="GetScreening"' in generate_latest(service.server.registry))
    text = generate_latest(service.server.registry).decode()
    method = 'grpc_method="SubmitStudy",grpc_service="trabecula.v1.ScreeningService",grpc_type="client_stream"'
    assert f"grpc_server_started_total{{{method}}} 3.0" in text
    assert 'trabecula_screenings_total{outcome="reported"} 1.0' in text
    assert 'trabecula_screenings_total{outcome="refused"} 1.0' in text
    assert 'trabecula_dead_jobs_total{reason="no-dicom-found"} 1.0' in text
    assert 'trabecula_jobs{state="queued"}' in text
    assert 'trabecula_dead_jobs_total{reason="no-dicom-found"} 1.0' in text
    assert 'trabecula_attempts_total{outcome="reported"} 1.0' in text
    assert "trabecula_job_wait_seconds_count 3.0" in text
    assert "Health" not in text
    assert "SAMPLE-0001" not in text


def test_results_on_disk_are_private_to_the_user(service: LiveServer, client: Client, tmp_path: Path) -> None:
    list(client.watch(client.submit(make_study(tmp_path / "study"))))
    folders = [path for path in service.settings.state_dir.rglob("*") if path.is_dir()]
    assert folders
    assert all(path.stat().st_mode & 0o077 == 0 for path in folders)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("NO openssl: TLS is not tested")
    return certificate, key


def test_mutual_tls_lets_in_known_clients_only(
    start_server: StartServer, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    chain, key = certificate
    service = start_server(tls_certificate_file=chain, tls_key_file=key, tls_client_ca_file=chain)
    address = f"localhost:{service.server.port}"
    with Client(address, ClientTls(chain, chain, key)) as known:
        assert known.submit(make_study(tmp_path / "study"))
    for stranger in (Client(address, ClientTls(chain)), Client(address)):
        with stranger, pytest.raises(errors.TrabeculaError) as caught:
            stranger.list()
        assert caught.value.code == "service-unreachable"


def test_an_address_in_use_is_a_configuration_error(start_server: StartServer, service: LiveServer) -> None:
    with pytest.raises(errors.ConfigurationError):
        start_server(listen=service.address, state_dir=service.settings.state_dir.with_name("other"))
