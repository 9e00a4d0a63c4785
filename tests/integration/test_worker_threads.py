"""A worker's child has the threads that the settings give it, whatever the machine has cores."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from trabecula.anatomy import Level
from trabecula.config import Settings, bound_library_threads
from trabecula.patient import PatientContext
from trabecula.phantom import PhantomSpec, write_phantom
from trabecula.report import ReportStatus
from trabecula.service.workers import _load_perform
from trabecula.work.process_runner import Child
from trabecula.work.records import Job
from trabecula.work.runner import Control

WAITING = 5
"""Libraries and sessions with threads of their own."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    write_phantom(PhantomSpec(top=Level.T11, bottom=Level.L1, matrix=128, slice_mm=5.0, seed=3), folder)
    return tuple(sorted((folder / "dicom").iterdir()))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_starts_no_more_threads_than_it_may_have(
    threads: int, study: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(workers=2, inference_threads=threads)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    bound_library_threads(settings)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ["OMP_NUM_THREADS"])  # so that it is put back
    child = Child(partial(_load_perform, settings), None)
    try:
        child.wait_ready()
        process = psutil.Process(child._process.pid)
        at_rest, most = process.num_threads(), [0]
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                most[0] = max(most[0], process.num_threads())
                time.sleep(0.002)

        watcher = threading.Thread(target=watch)
        watcher.start()
        job = Job("id", study, tmp_path, PatientContext(), want_masks=False)
        done = child.run(job, Control(120.0, lambda _stage, _fraction: None))
        over.set()
        watcher.join()
    finally:
        child.kill()
    assert done.status is ReportStatus.REPORTED
    # At rest: the main thread, and for each thread more one of numpy's, scipy's and each network's, which wait.
    assert at_rest <= 1 + (threads - 1) * WAITING
    # Meanwhile those that read, decode and label; the main thread waits for them.
    assert most[0] <= at_rest + threads
