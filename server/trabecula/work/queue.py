"""The queue: procrastinate on the same PostgreSQL (https://procrastinate.readthedocs.io).

:func:`defer` enqueues inside the caller's transaction; :class:`Task` is how a package adds work of its own. A task is
named ``<queue>.<what>``: the queue is what stands before the first dot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector
from procrastinate.connector import Notify
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.work.records import Priority

SCREENING_QUEUE: Final = "screening"
SCREEN_TASK: Final = "screening.run"
RECONNECT_S: Final = 1.0
STEADY_FOR_S: Final = 60.0
"""How long a statement of the queue is tried again while the database is away."""

_MANAGER: Final = JobManager(PsycopgConnector())  # never opened: it only builds statements


@dataclass(frozen=True)
class Task:
    """Work that a package adds to the queue. It may run more than once: what it does must bear that."""

    name: str
    """``<queue>.<what>``, for example ``delivery.send``."""
    run: Callable[..., Awaitable[None]]
    """Called with the arguments given to :func:`defer`, by keyword; a periodic one with ``timestamp`` (s) alone."""
    cron: str | None = None
    """When it starts by itself, five or six fields as of cron; enqueued once over all workers."""
    retry: BaseRetryStrategy | None = None
    """What follows when it raises; None: the job is kept as failed."""

    @property
    def queue(self) -> str:
        return queue_of(self.name)


def queue_of(task: str) -> str:
    """Name of the queue of a task."""
    return task.partition(".")[0]


async def defer(
    connection: AsyncConnection,
    task: str,
    arguments: Mapping[str, Any],
    *,
    lock: str | None = None,
    queueing_lock: str | None = None,
    priority: int = Priority.ROUTINE,
    schedule_at: datetime | None = None,
) -> int:
    """Enqueue a job in the transaction of ``connection``; workers see it after the commit.

    Args:
        lock: no two jobs with the same one run at the same time.
        queueing_lock: no two jobs with the same one wait; the one that waits already is kept.
        priority: higher goes first.

    Returns:
        The job's id; that of the waiting job when there is one with the same ``queueing_lock``.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    job = Job(
        id=None,
        queue=queue_of(task),
        lock=lock,
        queueing_lock=queueing_lock,
        task_name=task,
        task_kwargs=dict(arguments),
        priority=int(priority),
        scheduled_at=schedule_at,
    )
    try:
        async with connection.begin_nested():
            made = await _MANAGER.defer_job_async(job, connection=driver)
    except AlreadyEnqueued:
        waiting = await connection.execute(
            text("SELECT id FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo'"),
            {"lock": queueing_lock},
        )
        found = waiting.scalar_one_or_none()
        # Taken by a worker between the two statements: then none waits any more.
        return (
            found
            if found is not None
            else await defer(connection, task, arguments, lock=lock, priority=priority, schedule_at=schedule_at)
        )
    return int(made.id or 0)


async def withdraw(connection: AsyncConnection, queueing_lock: str) -> None:
    """Take back the waiting job with this queueing lock, if there is one."""
    await connection.execute(
        text("DELETE FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo'"), {"lock": queueing_lock}
    )


def make_app(parameters: Mapping[str, str], tasks: Iterable[Task], with_context: Iterable[Task] = ()) -> App:
    """procrastinate's application.

    Args:
        parameters: connection parameters of libpq.
        with_context: tasks whose function gets procrastinate's ``JobContext`` first.
    """
    connector = SteadyConnector(kwargs=dict(parameters), min_size=1, max_size=6, timeout=10.0)
    app = App(connector=connector)
    for task in tasks:
        _add(app, task, pass_context=False)
    for task in with_context:
        _add(app, task, pass_context=True)
    return app


def _add(app: App, task: Task, *, pass_context: bool) -> None:
    # procrastinate tells a coroutine function by looking at it; partials and bound objects do not look like one
    async def plain(*context: JobContext, **arguments: Any) -> None:
        await task.run(*context, **arguments)

    add: Any = app.task
    made = add(
        name=task.name,
        queue=task.queue,
        retry=task.retry or False,
        pass_context=pass_context,
        queueing_lock=task.name if task.cron else None,
    )(plain)
    if task.cron is not None:
        app.periodic(cron=task.cron)(made)


class SteadyConnector(PsycopgConnector):
    """Waits out a restart of the database, so that heartbeats go on and a running study is not given up for it."""

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        wanted = list(channels)
        while True:
            try:
                await super().listen_notify(on_notification, wanted)
            except ConnectorException as error:
                _log_lost(error)
                await asyncio.sleep(RECONNECT_S)

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        await self._steadily(super().execute_query_async, query, arguments)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self._steadily(super().execute_query_one_async, query, arguments)
        return found

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._steadily(super().execute_query_all_async, query, arguments)
        return found

    async def _steadily(self, call: Callable[..., Awaitable[Any]], query: Any, arguments: dict[str, Any]) -> Any:
        """A statement that was lost on the way may have run: fetched jobs that nobody runs are found by the sweep."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + STEADY_FOR_S
        while True:
            try:
                return await call(query, **arguments)
            except ConnectorException as error:
                if not _is_lost(error) or loop.time() > give_up:
                    raise
                _log_lost(error)
            await asyncio.sleep(RECONNECT_S)


def _is_lost(error: ConnectorException) -> bool:
    from psycopg import InterfaceError, OperationalError

    return isinstance(error.__cause__, OperationalError | InterfaceError)


def _log_lost(error: ConnectorException) -> None:
    structlog.get_logger().warning("queue waits for the database", fault=type(error.__cause__ or error).__name__)


def queues_of(tasks: Collection[Task]) -> list[str]:
    """The queues that the tasks live in."""
    return sorted({task.queue for task in tasks})
