"""A worker's child at rest holds what it needs, not the largest study it has seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from fake_screens import make_light_perform
from live_service import make_study
from scattering import KEPT_EVERY, PIECE_BYTES, PIECES, make_noted_perform, make_scattering_perform

from trabecula.patient import PatientContext
from trabecula.work.process_runner import Child, ProcessRunner
from trabecula.work.records import Job
from trabecula.work.runner import Control, Perform

MIB = 1 << 20


def resting_mib(make_perform: Callable[[], Perform], folder: Path, studies: int) -> float:
    """Resident memory of a new child after so many studies."""
    child = Child(make_perform, None)
    try:
        child.wait_ready()
        files = tuple(make_study(folder / "study", b"report"))
        for number in range(studies):
            results = folder / str(number)
            results.mkdir()
            job = Job(str(number), files, results, PatientContext(), want_masks=False)
            child.run(job, Control(60.0, lambda _stage, _fraction: None))
        time.sleep(0.3)  # it gives back after its answer
        assert child._process.pid is not None
        return psutil.Process(child._process.pid).memory_info().rss / MIB
    finally:
        child.kill()


def test_a_child_gives_back_what_a_study_took(tmp_path: Path) -> None:
    quiet, scattering = tmp_path / "quiet", tmp_path / "scattering"
    quiet.mkdir()
    scattering.mkdir()
    before_mib = resting_mib(make_light_perform, quiet, studies=1)
    after_mib = resting_mib(make_scattering_perform, scattering, studies=3)
    taken_mib, kept_mib = PIECES * PIECE_BYTES / MIB, PIECES / KEPT_EVERY * PIECE_BYTES / MIB
    assert after_mib - before_mib < kept_mib + 0.2 * taken_mib


def test_models_are_loaded_once_for_each_worker(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    files = tuple(make_study(tmp_path / "study", b"report"))

    async def work(studies: int) -> None:
        runner = ProcessRunner(partial(make_noted_perform, notes), workers=2)
        await runner.start()
        try:
            for number in range(studies):
                results = tmp_path / str(number)
                results.mkdir()
                job = Job(str(number), files, results, PatientContext(), want_masks=False)
                await runner.run(job, Control(60.0, lambda _stage, _fraction: None))
        finally:
            await runner.close()

    asyncio.run(work(studies=5))
    assert notes.read_text().splitlines() == ["loaded", "loaded"]
