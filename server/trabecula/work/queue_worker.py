"""procrastinate's own worker, kept alive: started again after whatever ended it, until it is asked to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from procrastinate import App, JobContext
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker

RESTART_S: Final = 1.0
SIGN_OFF_S: Final = 60.0
"""How long a job that has ended still counts as held, while the library writes down its end."""
NEVER_S: Final = 1e9
"""The library would prune workers by the database's clock; the sweep does it by heartbeats that stand still. And its
own heartbeat ends when it is asked to stop, while its last jobs still run; ours goes on to their end."""


class QueueWorker:
    """Takes jobs from some queues, so many at a time."""

    def __init__(
        self, app: App, queues: Sequence[str], concurrency: int, heartbeat_s: float, poll_s: float = 2.0
    ) -> None:
        self._app = app
        self._queues = list(queues)
        self._concurrency = concurrency
        self._heartbeat_s = heartbeat_s
        self._poll_s = poll_s
        self._worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._stopping = False
        self._held: set[int] = set()

    @property
    def worker_id(self) -> int | None:
        """Its row in ``procrastinate_workers`` while it runs."""
        return self._worker.worker_id if self._worker is not None else None

    def holds(self, job_id: int) -> bool:
        """Whether that job runs here, or has just ended and is being signed off."""
        return job_id in self._held

    async def _hold(self, run: Callable[[], Awaitable[Any]], context: JobContext, _worker: Worker) -> Any:
        job_id = context.job.id or 0
        self._held.add(job_id)
        try:
            return await run()
        finally:
            asyncio.get_running_loop().call_later(SIGN_OFF_S, self._held.discard, job_id)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"queue {','.join(self._queues)}")
        self._beating = asyncio.create_task(self._beat(), name="heartbeat")

    def stop(self) -> None:
        """Take no more jobs; :meth:`wait` for those that run."""
        self._stopping = True
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]

    async def wait(self, timeout_s: float) -> bool:
        """Whether all running jobs have ended in this time."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait({self._task}, timeout=timeout_s)
        return bool(done)

    async def close(self) -> None:
        """End at once."""
        self.stop()
        if self._task is not None and not await self.wait(0.0):
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=5.0)
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if self.worker_id is not None:
                with suppress(ConnectorException):  # away for longer than the connector waits; the next one may get by
                    await self._app.job_manager.update_heartbeat(self.worker_id)

    async def _run(self) -> None:
        while not self._stopping:
            self._worker = Worker(
                self._app,
                queues=self._queues,
                concurrency=self._concurrency,
                fetch_job_polling_interval=self._poll_s,
                delete_jobs="successful",
                install_signal_handlers=False,
                update_heartbeat_interval=NEVER_S,
                stalled_worker_timeout=NEVER_S,
                worker_middleware=[self._hold],
            )
            try:
                await self._worker.run()  # type: ignore[no-untyped-call]
            except Exception as error:  # the outermost loop: whatever it was, jobs must go on
                structlog.get_logger().error("queue worker ended", fault=type(error).__name__, queues=self._queues)
            if not self._stopping:
                await asyncio.sleep(RESTART_S)
