"""Work in child processes: whatever a study does to its worker, the next one is served."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_screens import CANARY, make_light_perform
from live_service import StartServer, make_study, wait_until

from trabecula.errors import ModelError
from trabecula.service.client import Client
from trabecula.service.logs import configure_logs
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.process_runner import ProcessRunner
from trabecula.work.runner import Perform


def no_models() -> Perform:
    raise ModelError("not there", model="coarse")


def test_a_study_that_kills_its_worker_kills_nothing_else(
    start_server: StartServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs("debug")
    service = start_server(ProcessRunner(make_light_perform, 1))
    with Client(service.address) as client:

        def outcome(order: bytes) -> pb.ScreeningSummary:
            return list(client.watch(client.submit(make_study(tmp_path / order.decode(), order))))[-1]

        assert outcome(b"crash").failure.code == "worker-crashed"
        assert outcome(b"report").state == pb.SCREENING_STATE_REPORTED
        assert outcome(b"bug").failure.code == "unforeseen"
        assert outcome(b"text").failure.code == "no-dicom-found"
        assert outcome(b"refuse").state == pb.SCREENING_STATE_REFUSED

        slow = client.submit(make_study(tmp_path / "slow", b"slow"))
        wait_until(lambda: client.get(slow)[0].HasField("progress"))
        asked = time.monotonic()
        client.cancel(slow)
        assert list(client.watch(slow))[-1].state == pb.SCREENING_STATE_CANCELLED
        assert time.monotonic() - asked < 5
        assert outcome(b"report").state == pb.SCREENING_STATE_REPORTED
    assert CANARY not in "".join(capfd.readouterr())


def test_a_worker_that_hangs_is_stopped_at_its_time_limit(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(ProcessRunner(make_light_perform, 1), screening_timeout_s=0.5)
    with Client(service.address) as client:
        summary = list(client.watch(client.submit(make_study(tmp_path / "slow", b"slow"))))[-1]
    assert summary.failure.code == "screening-timed-out"


def test_models_that_cannot_be_loaded_keep_the_service_from_starting(start_server: StartServer) -> None:
    with pytest.raises(ModelError, match="not there"):
        start_server(ProcessRunner(no_models, 1))
