"""A study is read, decoded, resampled and named once, and leaves nothing behind."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import trabecula.imaging.decode
import trabecula.segmentation.labels
import trabecula.segmentation.pipeline
from trabecula.anatomy import Level
from trabecula.outcome import Stage
from trabecula.phantom import PhantomSpec, write_phantom
from trabecula.report import ReportStatus
from trabecula.screening import Engine, screen

_opened: Counter[str] | None = None


def _count_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | Path):
        _opened[str(arguments[0])] += 1


@contextmanager
def opened_files() -> Iterator[Counter[str]]:
    """How often each file is opened meanwhile, by whomever. An audit hook stays until the process ends."""
    global _opened
    sys.addaudithook(_count_opened)
    _opened = Counter()
    try:
        yield _opened
    finally:
        _opened = None


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[tuple[Any, ...]]:
    """Arguments of each call of a module's function from now on."""
    calls: list[tuple[Any, ...]] = []
    inner: Callable[..., Any] = getattr(module, name)

    def outer(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return inner(*arguments, **named)

    monkeypatch.setattr(module, name, outer)
    return calls


def test_each_image_is_decoded_once_and_each_grid_filled_once(
    engine: Engine, phantom_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((phantom_study / "dicom").iterdir())
    decoded = counted(monkeypatch, trabecula.imaging.decode, "decode_frame")
    resampled = counted(monkeypatch, trabecula.segmentation.pipeline, "resample_hu")
    labelled = counted(monkeypatch, trabecula.segmentation.pipeline, "scan_labels")
    with opened_files() as opened:
        done = screen([phantom_study / "dicom"], engine)
    assert done.report.status is ReportStatus.REPORTED
    assert len(decoded) == len(images)
    # the coarse network's grid and the fine one's; the body is found on the coarse one
    grids = [grid for _, grid in resampled]
    assert len(grids) == len(set(grids)) == 2
    assert len(labelled) == 1
    # known by its first bytes; header; length of the pixel element; pixels. The middle one tells the series's facts.
    assert sorted(opened[str(path)] for path in images) == [4] * (len(images) - 1) + [5]


def test_no_stage_makes_a_second_volume(engine: Engine, phantom_study: Path) -> None:
    """Memory as Python and numpy ask for it, in units of the volume: int16 CT numbers and labels, half as large, are
    all that stays; what a stage needs beside them is less than another volume (the networks' own grids aside)."""
    volume_bytes = 2 * 256 * 256 * len(list((phantom_study / "dicom").iterdir()))
    peaks: dict[Stage, int] = {}
    left: dict[Stage, int] = {}

    def listen(stage: Stage, _fraction: float) -> None:
        left[stage], peak = tracemalloc.get_traced_memory()
        peaks[stage] = max(peaks.get(stage, 0), peak)
        tracemalloc.reset_peak()

    tracemalloc.start(1)
    try:
        done = screen([phantom_study / "dicom"], engine, progress=listen)
    finally:
        tracemalloc.stop()
    assert done.report.status is ReportStatus.REPORTED
    assert peaks[Stage.IMAGING] < 1.3 * volume_bytes
    after = list(Stage)[list(Stage).index(Stage.SEGMENTATION) :]
    assert max(left[stage] for stage in after) < 1.8 * volume_bytes
    assert max(peaks[stage] for stage in after[1:]) < 2.4 * volume_bytes


def test_studies_leave_no_objects_behind(engine: Engine, tmp_path: Path) -> None:
    write_phantom(PhantomSpec(top=Level.T11, bottom=Level.L1, matrix=64, slice_mm=5.0, seed=3), tmp_path / "study")

    def objects_after(studies: int) -> int:
        for _ in range(studies):
            done = screen([tmp_path / "study" / "dicom"], engine)
            assert done.report.status is ReportStatus.REPORTED
        del done
        gc.collect()
        return len(gc.get_objects())

    warm = objects_after(2)
    later = objects_after(3)
    assert later - warm < 30
