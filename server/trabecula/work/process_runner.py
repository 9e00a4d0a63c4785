"""Working in child processes: a study that kills its worker, or takes more time or memory than it may, harms nothing
else."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, Generic, TypeVar, cast

import psutil
import structlog

from trabecula.errors import OutOfMemory, TrabeculaError, WorkerCrashed
from trabecula.progress import ProgressListener
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener, ModelLoaded
from trabecula.work.child import Progress, Ready, serve_jobs
from trabecula.work.records import Job
from trabecula.work.runner import Completion, Control, Perform

LISTEN_S: Final = 0.2
"""How often a child's job is checked for its time and its memory; the wish to stop it rings a bell."""
START_S: Final = 120.0
"""A child that has not loaded its models by then is given up."""
ADDRESS_SHARE: Final = 1.5
"""Of the memory limit, what a child may have mapped for writing (RLIMIT_DATA): the system's own stop between two
looks. Larger than the limit itself, because a process maps more than it touches."""

JobT = TypeVar("JobT")
DoneT = TypeVar("DoneT")


class ProcessRunner:
    """One child process per worker. It loads the models once; when it died or had to be stopped, the next one is
    started at once, so that the next study does not wait for it."""

    def __init__(self, make_perform: Callable[[], Perform], workers: int, memory_bytes: int | None = None) -> None:
        """Args:
        make_perform: loads the engine; must be picklable, as it is called in each child.
        memory_bytes: resident memory that a study may take, models included; None sets no limit.
        """
        self._make_perform = make_perform
        self._workers = workers
        self._memory_bytes = memory_bytes
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._idle: queue.SimpleQueue[Child[Job, Completion] | TrabeculaError] = queue.SimpleQueue()
        self._children: set[Child[Job, Completion]] = set()
        self._closed = False
        self.tell: Listener = nobody

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, self._add_child) for _ in range(self._workers)))

    async def run(self, job: Job, control: Control) -> Completion:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, job, control)

    async def close(self) -> None:
        self._closed = True
        for child in list(self._children):
            child.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _add_child(self) -> None:
        child: Child[Job, Completion] = Child(self._make_perform, self._memory_bytes)
        self._children.add(child)
        try:
            loaded = child.wait_ready()
        except TrabeculaError:
            self._children.discard(child)
            raise
        if self._closed:
            child.kill()
        for each in loaded:
            self.tell(each)
        self._idle.put(child)

    def _replace(self, child: Child[Job, Completion]) -> None:
        child.kill()
        self._children.discard(child)
        if not self._closed:
            threading.Thread(target=self._add_child_or_say, daemon=True, name="next worker").start()

    def _add_child_or_say(self) -> None:
        try:
            self._add_child()
        except TrabeculaError as error:
            if self._closed:
                return
            structlog.get_logger().error("worker process cannot be started", code=error.code, detail=error.detail)
            self._idle.put(error)

    def _next_child(self) -> Child[Job, Completion]:
        """An idle child. Raises ModelError or WorkerCrashed when none can be started."""
        waiting = self._idle.get()
        if isinstance(waiting, Child):
            return waiting
        try:
            self._add_child()  # whatever was wrong may be mended by now
        except TrabeculaError as error:
            self._idle.put(error)
            raise
        return self._next_child()

    def _run(self, job: Job, control: Control) -> Completion:
        child = self._next_child()
        try:
            return child.run(job, control)
        finally:
            if child.usable:
                self._idle.put(child)
            else:
                self._replace(child)


class Child(Generic[JobT, DoneT]):
    """The parent's end of one worker process. Blocking; used by one thread at a time."""

    def __init__(
        self, make_perform: Callable[[], Callable[[JobT, ProgressListener], DoneT]], memory_bytes: int | None
    ) -> None:
        """Args:
        make_perform: called in the child, so picklable; what it gives is called there for each job.
        memory_bytes: resident memory that a job may take; None sets no limit.
        """
        # Not forked: a fork would copy the threads' locks of gRPC in whatever state they are.
        context = multiprocessing.get_context("spawn")
        self._memory_bytes = memory_bytes
        self._pipe, theirs = context.Pipe()
        mapped = None if memory_bytes is None else int(ADDRESS_SHARE * memory_bytes)
        self._process: BaseProcess = context.Process(
            target=serve_jobs, args=(theirs, make_perform, mapped), daemon=True, name="trabecula worker"
        )
        self._process.start()
        theirs.close()
        self._bell, self._rope = context.Pipe(duplex=False)
        self.usable = False

    def wait_ready(self) -> tuple[ModelLoaded, ...]:
        """What it has loaded.

        Raises:
            ModelError: if the child cannot load its models.
            WorkerCrashed: if it dies or hangs.
        """
        if not self._pipe.poll(START_S):
            self.kill()
            raise WorkerCrashed("the worker did not start")
        message = self._receive()
        if isinstance(message, TrabeculaError):
            raise message
        self.usable = True
        return message.models if isinstance(message, Ready) else ()

    def run(self, job: JobT, control: Control) -> DoneT:
        """Run one job. After Cancelled, a limit or a crash the child is not usable any more."""
        self.usable = False
        try:
            self._pipe.send(job)
        except OSError:
            raise self._crashed() from None
        control.on_stop(self._ring)
        looked_s = time.monotonic()
        while True:
            ready = wait([self._pipe, self._bell], LISTEN_S)
            rung, heard = self._bell in ready, self._pipe in ready
            if rung:
                self._bell.recv_bytes()
            if rung or not heard or time.monotonic() - looked_s > LISTEN_S:
                looked_s = time.monotonic()
                control.check()
                self._check_memory()
            if not heard:
                continue
            message = self._receive()
            if isinstance(message, Progress):
                control.progress(message.stage, message.fraction)
                continue
            # Whatever ran out of memory once is not trusted to have kept its own state whole.
            self.usable = not isinstance(message, OutOfMemory)
            if isinstance(message, TrabeculaError):
                raise message
            return cast(DoneT, message)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def _ring(self) -> None:
        """Wake whoever waits for the child; one that has ended is not there to be woken."""
        with suppress(OSError):
            self._rope.send_bytes(b"!")

    def _check_memory(self) -> None:
        if self._memory_bytes is None or self._process.pid is None:
            return
        try:
            resident = psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            return  # the pipe will say so
        if resident > self._memory_bytes:
            raise OutOfMemory(limit_bytes=self._memory_bytes)

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise self._crashed() from None

    def _crashed(self) -> WorkerCrashed:
        self._process.join(LISTEN_S)
        return WorkerCrashed(f"exit code {self._process.exitcode}")
