"""Work in child processes: whatever a study does to its worker, the next one is served."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from fake_screens import CANARY, make_light_perform
from live_service import StartServer, make_study, wait_until

from trabecula.errors import Cancelled, ModelError
from trabecula.patient import PatientContext
from trabecula.service.client import Client
from trabecula.service.logs import configure_logs
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.process_runner import Child, ProcessRunner
from trabecula.work.records import Job
from trabecula.work.runner import Control, Perform


def no_models() -> Perform:
    raise ModelError("not there", model="coarse")


def test_a_study_that_kills_its_worker_kills_nothing_else(
    start_server: StartServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs("debug")
    service = start_server(ProcessRunner(make_light_perform, 1), max_attempts=1)
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


def test_the_wish_to_stop_reaches_a_child_that_says_nothing_at_once(tmp_path: Path) -> None:
    """A child deep in a decoder tells no progress; the bell does not wait for the next look at its memory."""
    child = Child(make_light_perform, None)
    child.wait_ready()
    study = make_study(tmp_path / "study", b"silent")
    took_s = []
    for _ in range(3):
        control = Control(60.0, lambda _stage, _fraction: None)
        asked: list[float] = []
        timer = threading.Timer(
            0.05, lambda asked=asked, control=control: (asked.append(time.perf_counter()), control.stop())
        )
        timer.start()
        with pytest.raises(Cancelled):
            child.run(Job("id", tuple(study), tmp_path, PatientContext(), want_masks=False), control)
        took_s.append(time.perf_counter() - asked[0])
        child.kill()
        child = Child(make_light_perform, None)
        child.wait_ready()
    child.kill()
    assert max(took_s) < 0.1


def test_a_bell_of_an_earlier_study_does_not_stop_the_next(tmp_path: Path) -> None:
    child = Child(make_light_perform, None)
    child.wait_ready()
    study = tuple(make_study(tmp_path / "study", b"report"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        control = Control(60.0, lambda _stage, _fraction: None)
        child.run(Job(name, study, tmp_path / name, PatientContext(), want_masks=False), control)
        control.stop()  # too late
    child.kill()


def test_a_worker_that_hangs_is_stopped_at_its_time_limit(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(ProcessRunner(make_light_perform, 1), screening_timeout_s=0.5)
    with Client(service.address) as client:
        summary = list(client.watch(client.submit(make_study(tmp_path / "slow", b"slow"))))[-1]
    assert summary.failure.code == "screening-timed-out"


def test_models_that_cannot_be_loaded_keep_the_service_from_starting(start_server: StartServer) -> None:
    with pytest.raises(ModelError, match="not there"):
        start_server(ProcessRunner(no_models, 1))


def test_a_study_that_took_one_worker_with_it_is_done_by_the_next(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(ProcessRunner(make_light_perform, 1))
    with Client(service.address) as client:
        order = b"crash-once " + str(tmp_path / "crashed").encode()
        summary = list(client.watch(client.submit(make_study(tmp_path / "study", order))))[-1]
    assert summary.state == pb.SCREENING_STATE_REPORTED
    assert summary.attempt == 2


@pytest.mark.parametrize("order", [b"greedy", b"gulp"])
def test_a_study_that_takes_too_much_memory_fails_alone(
    start_server: StartServer, tmp_path: Path, order: bytes
) -> None:
    service = start_server(ProcessRunner(make_light_perform, 1, memory_bytes=600 << 20))
    with Client(service.address) as client:
        summary = list(client.watch(client.submit(make_study(tmp_path / "much", order))))[-1]
        assert (summary.failure.code, summary.attempt) == ("out-of-memory", 1)
        following = list(client.watch(client.submit(make_study(tmp_path / "next"))))[-1]
    assert following.state == pb.SCREENING_STATE_REPORTED


PARENT = """
import asyncio, sys
from pathlib import Path
from fake_screens import make_light_perform
from trabecula.patient import PatientContext
from trabecula.work.process_runner import ProcessRunner
from trabecula.work.records import Job
from trabecula.work.runner import Control

async def main():
    runner = ProcessRunner(make_light_perform, 1)
    await runner.start()
    files = (Path(sys.argv[1]),)
    job = Job("id", files, Path(sys.argv[2]), PatientContext(), False)
    tell = lambda stage, fraction: print("working", flush=True)
    await runner.run(job, Control(60.0, tell))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_the_child_of_a_killed_parent_ends_by_itself(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    study = make_study(tmp_path / "study", b"slow")
    command = [sys.executable, str(tmp_path / "parent.py"), str(study[0]), str(tmp_path)]
    path = f"{repository / 'tests' / 'support'}:{repository / 'server'}"
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    children = [each for each in psutil.Process(parent.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    assert len(children) == 1
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=2)
    assert (len(gone), alive) == (1, [])
