"""The queue's worker in a process: what it holds, tasks of other packages, work by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import text

from trabecula.work.database import Database
from trabecula.work.queue import Task, defer, make_app
from trabecula.work.queue_worker import QueueWorker


async def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_task_of_another_package_runs_with_its_arguments_and_is_held_meanwhile(database: Database) -> None:
    seen: list[int] = []
    go_on = asyncio.Event()

    async def send(number: int) -> None:
        seen.append(number)
        await go_on.wait()

    app = make_app(database.parameters, [Task("delivery.send", send)])
    worker = QueueWorker(app, ["delivery"], concurrency=2, heartbeat_s=0.2, poll_s=0.5)
    async with app.open_async():
        worker.start()
        async with database.transaction() as connection:
            job_id = await defer(connection, "delivery.send", {"number": 7})
            other = await defer(connection, "elsewhere.send", {"number": 8})
        await until(lambda: seen == [7])
        assert worker.holds(job_id)
        assert not worker.holds(other)
        go_on.set()
        worker.stop()
        assert await worker.wait(20.0)
        await worker.close()
    async with database.transaction() as connection:
        left = (await connection.execute(text("SELECT id FROM procrastinate_jobs"))).scalars().all()
    assert left == [other]


async def test_the_heartbeat_goes_on_while_the_last_job_of_a_stopped_worker_runs(database: Database) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def send() -> None:
        running.set()
        await go_on.wait()

    async def heartbeat() -> object:
        async with database.transaction() as connection:
            return (await connection.execute(text("SELECT last_heartbeat FROM procrastinate_workers"))).scalar_one()

    app = make_app(database.parameters, [Task("delivery.send", send)])
    worker = QueueWorker(app, ["delivery"], concurrency=1, heartbeat_s=0.1, poll_s=0.5)
    async with app.open_async():
        worker.start()
        async with database.transaction() as connection:
            await defer(connection, "delivery.send", {})
        await asyncio.wait_for(running.wait(), 20.0)
        worker.stop()
        await asyncio.sleep(0.3)
        before = await heartbeat()
        await asyncio.sleep(1.0)
        assert await heartbeat() != before
        go_on.set()
        assert await worker.wait(20.0)
        await worker.close()


async def test_a_periodic_task_starts_by_itself(database: Database) -> None:
    ticks: list[int] = []

    async def tick(timestamp: int) -> None:
        ticks.append(timestamp)

    app = make_app(database.parameters, [Task("housekeeping.tick", tick, cron="* * * * * */1")])
    worker = QueueWorker(app, ["housekeeping"], concurrency=1, heartbeat_s=1.0, poll_s=0.5)
    async with app.open_async():
        worker.start()
        await until(lambda: len(ticks) >= 2)
        await worker.close()
