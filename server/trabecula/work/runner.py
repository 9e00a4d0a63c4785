"""Doing the work off the event loop: what one job is, and how jobs are run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from trabecula.errors import Cancelled, OutOfMemory, ScreeningTimedOut, TrabeculaError, Unforeseen
from trabecula.outcome import Stage
from trabecula.patient import PatientContext
from trabecula.progress import ProgressListener
from trabecula.report import ReportStatus, Screening, ScreeningReport
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener, ModelLoaded
from trabecula.telemetry.faults import describe_fault
from trabecula.work.disk import disk_full_is_overload
from trabecula.work.documents import DicomSource, write_documents
from trabecula.work.records import DocumentKind, Job, ScreeningRecord

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from trabecula.imaging.limits import ImagingLimits
    from trabecula.outputs.dicom import DicomOptions
    from trabecula.outputs.r4 import FhirOptions


class ScreenFunction(Protocol):
    """:func:`trabecula.screening.screen` with the engine already given."""

    def __call__(
        self,
        paths: Sequence[Path],
        patient: PatientContext,
        progress: ProgressListener,
        *,
        keep_anatomy: bool,
    ) -> Screening: ...


@dataclass(frozen=True)
class Completion:
    """What a finished job leaves; the documents lie in its results folder."""

    status: ReportStatus
    documents: tuple[DocumentKind, ...]
    report: ScreeningReport


class Control:
    """The line between a running job and the service: progress one way, the wish to stop the other."""

    def __init__(self, limit_s: float, listener: ProgressListener) -> None:
        self._stop = threading.Event()
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s
        self._listener = listener
        self._bells: list[Callable[[], None]] = []

    def stop(self) -> None:
        """Ask the job to stop; from any thread."""
        if self._stop.is_set():
            return
        self._stop.set()
        for ring in list(self._bells):
            ring()

    def on_stop(self, ring: Callable[[], None]) -> None:
        """Call this as soon as the job is asked to stop, perhaps now and perhaps twice, in the thread that asks."""
        self._bells.append(ring)
        if self._stop.is_set():
            ring()

    def check(self) -> None:
        """Raise if the job should not go on.

        Raises:
            Cancelled: if it was asked to stop.
            ScreeningTimedOut: if its time is over.
        """
        if self._stop.is_set():
            raise Cancelled
        if time.monotonic() > self._deadline:
            raise ScreeningTimedOut(limit_s=self._limit_s)

    def progress(self, stage: Stage, fraction: float) -> None:
        """The listener for the stages; raises as :meth:`check` does."""
        self.check()
        self._listener(stage, fraction)


ResultSink = Callable[["AsyncConnection", ScreeningRecord, Job, Completion], Awaitable[None]]
"""Called inside the transaction that ends a screening with a result, so that what it writes is seen together with the
result or not at all. The report's files lie in ``job.results``. It must not commit, and may run again when the
connection is lost before the commit was confirmed."""

Perform = Callable[[Job, ProgressListener], Completion]
"""Does one job from start to end in a worker's thread or process; raises what the work raises."""


@dataclass(frozen=True)
class LoadedPerform:
    """A :data:`Perform` that says what it has loaded."""

    run: Perform
    models: tuple[ModelLoaded, ...]

    def __call__(self, job: Job, progress: ProgressListener) -> Completion:
        return self.run(job, progress)


@runtime_checkable
class SaysModels(Protocol):
    """Whatever says what it has loaded."""

    @property
    def models(self) -> tuple[ModelLoaded, ...]: ...


def models_of(perform: object) -> tuple[ModelLoaded, ...]:
    """What it has loaded, as far as it says so."""
    return perform.models if isinstance(perform, SaysModels) else ()


def perform(
    screen: ScreenFunction,
    fhir: FhirOptions,
    job: Job,
    progress: ProgressListener,
    *,
    dicom: tuple[DicomOptions, ImagingLimits] | None = None,
) -> Completion:
    """Screen the study and write its documents. With all but job and progress given it is a :data:`Perform`.

    Args:
        dicom: given, DICOM results are among the documents.
    """
    screening = screen(job.instances, job.patient, progress, keep_anatomy=job.want_masks or dicom is not None)
    source = None if dicom is None else DicomSource(job.instances, *dicom, packed=True)
    with disk_full_is_overload():
        documents = write_documents(screening, job.results, fhir, masks=job.want_masks, dicom=source)
    return Completion(screening.report.status, documents, screening.report)


JobT = TypeVar("JobT")
DoneT = TypeVar("DoneT")


def outcome(
    perform: Callable[[JobT, ProgressListener], DoneT], job: JobT, progress: ProgressListener
) -> DoneT | TrabeculaError:
    """The outermost loop of the work itself: a fault of the program says something about this study alone."""
    try:
        return perform(job, progress)
    except TrabeculaError as error:
        return error
    except MemoryError:
        return OutOfMemory()
    except Exception as error:
        return Unforeseen(describe_fault(error))


class Runner(Protocol):
    """Runs jobs, as many at a time as it has workers."""

    tell: Listener
    """Told of each model that was loaded; set before :meth:`start`."""

    async def start(self) -> None:
        """Get ready; raises ModelError if the models cannot be loaded."""

    async def run(self, job: Job, control: Control) -> Completion:
        """Run one job; raises what the work raises."""

    async def close(self) -> None:
        """Let go of all workers."""


class ThreadRunner:
    """Works in threads of this process."""

    def __init__(self, make_perform: Callable[[], Perform], workers: int) -> None:
        """Args:
        make_perform: loads the engine; called once, off the event loop.
        """
        self._make_perform = make_perform
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="screening")
        self._perform: Perform | None = None
        self.tell: Listener = nobody

    async def start(self) -> None:
        self._perform = await asyncio.get_running_loop().run_in_executor(self._pool, self._make_perform)
        for each in models_of(self._perform):
            self.tell(each)

    async def run(self, job: Job, control: Control) -> Completion:
        if self._perform is None:
            raise RuntimeError("start() comes before run()")
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(self._pool, outcome, self._perform, job, control.progress)
        if isinstance(done, TrabeculaError):
            raise done
        return done

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
