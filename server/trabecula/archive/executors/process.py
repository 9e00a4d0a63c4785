"""Worker processes on this machine."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from trabecula.archive.executors.port import Ended, WorkerLimits
from trabecula.archive.executors.slot import WorkerSlot
from trabecula.archive.ledger import Claim
from trabecula.archive.study import MakeReadStudy
from trabecula.telemetry.events import ModelLoaded


class ProcessExecutor:
    """As many child processes as workers, each minded by a thread."""

    def __init__(self, make: MakeReadStudy, workers: int, limits: WorkerLimits) -> None:
        self._slots = [WorkerSlot(make, limits) for _ in range(workers)]
        self._free = list(self._slots)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="archive worker")
        self._running: dict[Future[Ended], WorkerSlot] = {}

    def start(self) -> tuple[ModelLoaded, ...]:
        try:
            loaded = list(self._threads.map(WorkerSlot.start, self._slots))
        except BaseException:
            self.close()
            raise
        return loaded[0]

    @property
    def idle(self) -> int:
        return len(self._free)

    @property
    def busy(self) -> int:
        return len(self._running)

    def submit(self, claim: Claim) -> None:
        slot = self._free.pop()
        self._running[self._threads.submit(slot.run, claim)] = slot

    def wait(self, timeout_s: float) -> list[Ended]:
        done, _ = wait(self._running, timeout_s, FIRST_COMPLETED)
        for each in done:
            self._free.append(self._running.pop(each))
        return [each.result() for each in done]

    def stop_running(self) -> None:
        for slot in self._slots:
            slot.stop()

    def close(self) -> None:
        for slot in self._slots:
            slot.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
