"""Working in child processes: a study that kills its worker kills nothing else."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from trabecula.errors import TrabeculaError, WorkerCrashed
from trabecula.outcome import Stage
from trabecula.work.records import Job
from trabecula.work.runner import Completion, Control, Perform, outcome

LISTEN_S: Final = 0.2
"""How often a silent worker's job is checked for cancellation and its time limit."""
START_S: Final = 120.0
"""A worker that has not loaded its models by then is given up."""


@dataclass(frozen=True)
class _Ready:
    pass


@dataclass(frozen=True)
class _Progress:
    stage: Stage
    fraction: float


_FromChild = _Ready | _Progress | Completion | TrabeculaError


class ProcessRunner:
    """One child process per worker, started again when it died or had to be stopped."""

    def __init__(self, make_perform: Callable[[], Perform], workers: int) -> None:
        """Args:
        make_perform: loads the engine; must be picklable, as it is called in each child.
        """
        self._make_perform = make_perform
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._children: set[_Child] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, self._add_child) for _ in range(self._workers)))

    async def run(self, job: Job, control: Control) -> Completion:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, job, control)

    async def close(self) -> None:
        for child in list(self._children):
            child.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _add_child(self) -> None:
        child = _Child(self._make_perform)
        self._children.add(child)
        child.wait_ready()
        self._idle.put(child)

    def _run(self, job: Job, control: Control) -> Completion:
        if self._idle.empty():
            self._add_child()
        child = self._idle.get()
        try:
            done = child.run(job, control)
        except BaseException:
            if child.usable:
                self._idle.put(child)
            else:
                child.kill()
                self._children.discard(child)
            raise
        self._idle.put(child)
        return done


class _Child:
    """The parent's end of one worker process. Blocking; used by one thread at a time."""

    def __init__(self, make_perform: Callable[[], Perform]) -> None:
        # Not forked: a fork would copy the threads' locks of gRPC in whatever state they are.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve_jobs, args=(theirs, make_perform), daemon=True)
        self._process.start()
        theirs.close()
        self.usable = False

    def wait_ready(self) -> None:
        """Raises ModelError if the child cannot load its models, WorkerCrashed if it dies or hangs."""
        if not self._pipe.poll(START_S):
            self.kill()
            raise WorkerCrashed("the worker did not start")
        message = self._receive()
        if isinstance(message, TrabeculaError):
            raise message
        self.usable = True

    def run(self, job: Job, control: Control) -> Completion:
        """Run one job. After Cancelled, a time limit or a crash the child is not usable any more."""
        self.usable = False
        self._pipe.send(job)
        while True:
            while not self._pipe.poll(LISTEN_S):
                control.check()
            message = self._receive()
            if isinstance(message, _Progress):
                control.progress(message.stage, message.fraction)
                continue
            self.usable = True
            if isinstance(message, Completion):
                return message
            if isinstance(message, TrabeculaError):
                raise message

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def _receive(self) -> _FromChild:
        try:
            message: _FromChild = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerCrashed(f"exit code {self._process.exitcode}") from None
        return message


def _serve_jobs(pipe: Connection, make_perform: Callable[[], Perform]) -> None:
    """Main of the child: load once, then one job after the other until the parent is gone."""
    # Ctrl-C, or a service manager's SIGTERM, reaches the whole group; the parent drains and decides for its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        perform = make_perform()
    except TrabeculaError as error:
        pipe.send(error)
        return
    pipe.send(_Ready())

    def tell(stage: Stage, fraction: float) -> None:
        pipe.send(_Progress(stage, fraction))

    while True:
        try:
            job: Job = pipe.recv()
            pipe.send(outcome(perform, job, tell))
        except (EOFError, BrokenPipeError):
            return
