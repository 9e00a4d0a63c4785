"""Consoles and progress bars; quiet and plain when no terminal looks on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from trabecula.outcome import Stage

PIPE_WIDTH = 120
"""Columns when the output goes to a file or pipe."""


def console(*, stderr: bool = False) -> Console:
    """A console that honours NO_COLOR and keeps tables whole in pipes."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


class StageBars:
    """One bar over all stages: each counts alike, the name says which one runs."""

    def __init__(self, progress: Progress, shown: Console) -> None:
        self._progress = progress
        self._console = shown
        self._stages = list(Stage)
        self._last: Stage | None = None
        self._task = progress.add_task("waiting", total=len(self._stages))

    def __call__(self, stage: Stage, fraction: float) -> None:
        if stage is not self._last and not self._console.is_terminal:
            self._console.print(stage.value)
        self._last = stage
        self._progress.update(self._task, description=stage.value, completed=self._stages.index(stage) + fraction)

    def finish(self) -> None:
        """Fill the bar."""
        self._progress.update(self._task, description="done", completed=len(self._stages))


@contextmanager
def stage_bars(quiet: bool) -> Iterator[StageBars]:
    """Progress of a screening on standard error."""
    shown = console(stderr=True)
    shown.quiet = quiet
    columns = (TextColumn("{task.description:<14}"), BarColumn(40), TimeElapsedColumn())
    with Progress(*columns, console=shown, disable=quiet or not shown.is_terminal) as progress:
        yield StageBars(progress, shown)


@contextmanager
def byte_bar(label: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar of bytes on standard error; the value is told each piece's size."""
    shown = console(stderr=True)
    shown.quiet = quiet
    columns = (TextColumn(f"{label:<14}"), BarColumn(40), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=shown, disable=quiet or not shown.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda size: progress.advance(task, size)
    if not shown.is_terminal:
        shown.print(f"{label}: {total / 1e6:.1f} MB")


@contextmanager
def fraction_bar(label: str, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar on standard error; the value is told the fraction done."""
    shown = console(stderr=True)
    shown.quiet = quiet
    columns = (TextColumn(f"{label:<14}"), BarColumn(40), TimeElapsedColumn())
    with Progress(*columns, console=shown, disable=quiet or not shown.is_terminal) as progress:
        task = progress.add_task(label, total=1.0)
        yield lambda fraction: progress.update(task, completed=fraction)
    if not shown.is_terminal:
        shown.print(label)


@contextmanager
def counter(quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """What is being counted, and how many so far, on standard error."""
    shown = console(stderr=True)
    shown.quiet = quiet
    columns = (TextColumn("{task.description:<14}"), TextColumn("{task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=shown, disable=quiet or not shown.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, number: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=None)
            progress.update(tasks[what], completed=number)

        yield tell


LINE_S = 60.0
"""How often work that takes hours says where it is when no terminal looks on."""


@contextmanager
def study_bar(label: str, quiet: bool) -> Iterator[Callable[[int | None, int, str], None]]:
    """A bar of studies on standard error; the value is told how many there are (None: not known yet), how many have
    ended, and in words what came of them. Without a terminal a line a minute."""
    shown = console(stderr=True)
    shown.quiet = quiet
    columns = (
        TextColumn(label),
        BarColumn(30),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=shown, disable=quiet or not shown.is_terminal) as progress:
        task = progress.add_task("", total=None)
        said_at = time.monotonic()

        def tell(total: int | None, ended: int, words: str) -> None:
            nonlocal said_at
            progress.update(task, total=total, completed=ended, description=words)
            if not shown.is_terminal and time.monotonic() - said_at > LINE_S:
                said_at = time.monotonic()
                shown.print(f"{label}: {words}; {ended} of {'?' if total is None else total}")

        yield tell
