"""The worker process: loads the models once, then does one job after the other, for as long as its parent lives."""

from __future__ import annotations

import fcntl
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from trabecula.errors import TrabeculaError
from trabecula.outcome import Stage
from trabecula.progress import ProgressListener
from trabecula.telemetry.events import ModelLoaded
from trabecula.work.heap import give_back, share_one_heap
from trabecula.work.runner import models_of, outcome

ORPHANED: Final = 3
"""Exit code of a child whose parent is gone."""


@dataclass(frozen=True)
class Ready:
    """The models are loaded."""

    models: tuple[ModelLoaded, ...] = ()


@dataclass(frozen=True)
class Progress:
    stage: Stage
    fraction: float


def serve_jobs(
    pipe: Connection, make_perform: Callable[[], Callable[[Any, ProgressListener], Any]], mapped_bytes: int | None
) -> None:
    """Main of the child.

    Args:
        mapped_bytes: memory it may map for writing (RLIMIT_DATA).
    """
    # Ctrl-C, or a service manager's SIGTERM, reaches the whole group; the parent drains and decides for its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with_parent()
    share_one_heap()
    if mapped_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (mapped_bytes, mapped_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold patient data
    os.dup2(2, 1)  # what libraries print may quote the study; standard error is the one that the service looks after
    try:
        perform = make_perform()
    except TrabeculaError as error:
        pipe.send(error)
        return
    pipe.send(Ready(models_of(perform)))

    def tell(stage: Stage, fraction: float) -> None:
        pipe.send(Progress(stage, fraction))

    while True:
        try:
            job = pipe.recv()
            pipe.send(outcome(perform, job, tell))
        except (EOFError, BrokenPipeError):
            return
        give_back()  # a child at rest holds its models, not the largest study it has seen


def _end_with_parent() -> None:
    """A killed parent takes its child with it, also out of a decoder that never comes back.

    multiprocessing gives each child the reading end of a pipe that closes when the parent is gone. The system is asked
    to say so by a signal, whose default action ends the process without asking the interpreter.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    pipe = parent.sentinel
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if multiprocessing.connection.wait([pipe], 0):  # gone before the signal was set
        os._exit(ORPHANED)
