"""Queue and screenings are brought back to one mind after anything a killed process may leave."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from trabecula.errors import WorkerLost
from trabecula.patient import PatientContext
from trabecula.work.database import Database
from trabecula.work.queue import defer, withdraw
from trabecula.work.records import ContentRef, Submission
from trabecula.work.states import State
from trabecula.work.store import ScreeningStore
from trabecula.work.sweep import Sweep


class Clock:
    """A steady clock that goes on when told to."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A store, a sweep, and hands to do with the queue's tables what workers and crashes do."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = ScreeningStore(database, content=None, max_attempts=2)
        self.clock = Clock()
        self.not_ours: set[int] = set()
        self.sweep = Sweep(database, self.store, 20.0, lost=lambda _worker, job: job in self.not_ours, now=self.clock)

    async def sql(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        async with self.database.transaction() as connection:
            found = await connection.execute(text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    async def accept(self) -> str:
        record, _ = await self.store.accept(
            Submission(None, "f" * 64, 1, 5), [ContentRef("a" * 64, 5)], PatientContext()
        )
        return record.screening_id

    async def worker(self) -> int:
        return int(str((await self.sql("SELECT * FROM procrastinate_register_worker_v1()"))[0][0]))

    async def fetch(self, worker: int, queue: str = "screening") -> int:
        rows = await self.sql(
            "SELECT id FROM procrastinate_fetch_job_v2(CAST(:queue AS varchar[]), :worker)",
            queue=[queue],
            worker=worker,
        )
        return int(str(rows[0][0]))

    async def beat(self, worker: int) -> None:
        await self.sql("SELECT procrastinate_update_heartbeat_v1(:worker)", worker=worker)

    async def jobs(self) -> list[tuple[object, ...]]:
        return await self.sql("SELECT args->>'screening_id', status::text FROM procrastinate_jobs ORDER BY id")

    async def rounds(self, *pauses_s: float) -> None:
        await self.sweep.round()
        for pause_s in pauses_s:
            await self.wait(pause_s, self.sweep)

    async def wait(self, pause_s: float, *sweeps: Sweep) -> None:
        """Time goes by, and the sweeps look every five seconds."""
        while pause_s > 0:
            self.clock.now_s += min(5.0, pause_s)
            pause_s -= 5.0
            await asyncio.gather(*(sweep.round() for sweep in sweeps))

    async def state(self, screening_id: str) -> State:
        return (await self.store.get(screening_id)).state


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


async def test_a_study_whose_worker_was_killed_is_queued_again(bench: Bench) -> None:
    screening_id = await bench.accept()
    await bench.fetch(await bench.worker())
    await bench.store.claim(screening_id)
    await bench.rounds(10.0, 9.0)
    assert await bench.state(screening_id) is State.RUNNING
    await bench.rounds(2.0)
    assert await bench.state(screening_id) is State.QUEUED
    assert await bench.jobs() == [(screening_id, "todo")]
    assert await bench.sql("SELECT count(*) FROM procrastinate_workers") == [(0,)]


async def test_a_study_that_takes_every_worker_with_it_is_a_dead_letter(bench: Bench) -> None:
    screening_id = await bench.accept()
    for _ in range(2):
        await bench.sql("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")
        await bench.fetch(await bench.worker())
        await bench.store.claim(screening_id)
        await bench.rounds(21.0)
    record = await bench.store.get(screening_id)
    assert record.state is State.FAILED
    assert record.failure is not None
    assert record.failure.code == "worker-lost"
    assert await bench.jobs() == []


async def test_a_living_worker_keeps_its_study(bench: Bench) -> None:
    screening_id = await bench.accept()
    worker = await bench.worker()
    await bench.fetch(worker)
    await bench.store.claim(screening_id)
    for _ in range(6):
        await bench.beat(worker)
        await bench.rounds(15.0)
    assert await bench.state(screening_id) is State.RUNNING


async def test_a_jump_of_the_database_s_clock_rescues_nobody(bench: Bench) -> None:
    screening_id = await bench.accept()
    worker = await bench.worker()
    await bench.fetch(worker)
    await bench.store.claim(screening_id)
    for shift in ("-1 day", "1 day"):
        await bench.sql(f"UPDATE procrastinate_workers SET last_heartbeat = now() + interval '{shift}'")  # noqa: S608
        await bench.rounds(5.0)
        await bench.beat(worker)
        await bench.rounds(5.0)
    assert await bench.state(screening_id) is State.RUNNING


async def test_a_sweep_that_comes_late_does_not_take_the_next_attempt(bench: Bench) -> None:
    """Two sweeps saw the same dead worker; the first one's rescue is worked on already when the second one acts."""
    screening_id = await bench.accept()
    await bench.fetch(await bench.worker())
    await bench.store.claim(screening_id)
    late = Sweep(bench.database, bench.store, 20.0, now=bench.clock)
    await bench.rounds()
    await late.round()
    rescue = late._rescue

    async def after_the_other(*arguments: Any, **more: Any) -> None:
        await bench.sweep.round()
        await bench.fetch(await bench.worker())
        assert await bench.store.claim(screening_id) is not None
        await rescue(*arguments, **more)

    late._rescue = after_the_other  # type: ignore[method-assign]
    await bench.wait(16.0, bench.sweep, late)
    bench.clock.now_s += 5.0
    await late.round()
    record = await bench.store.get(screening_id)
    assert (record.state, record.attempt) == (State.RUNNING, 2)


async def test_a_worker_whose_clock_is_wrong_does_not_park_a_study(bench: Bench) -> None:
    screening_id = await bench.accept()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    store = ScreeningStore(bench.database, content=None, max_attempts=3, now=lambda: tomorrow)
    for attempt in (1, 2):
        await bench.fetch(await bench.worker())
        await store.claim(screening_id)
        await store.give_back(screening_id, attempt, WorkerLost())
    ((waits_s,),) = await bench.sql(
        "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs WHERE status = 'todo'"
    )
    assert 0 < float(str(waits_s)) <= 10.0


async def test_a_study_put_back_while_the_database_s_clock_was_ahead_does_not_wait_for_it(bench: Bench) -> None:
    await bench.accept()
    await bench.sql("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '2 hours'")
    await bench.rounds()
    assert await bench.sql("SELECT scheduled_at <= now() FROM procrastinate_jobs") == [(True,)]


async def test_a_study_that_waits_for_its_next_attempt_goes_on_waiting(bench: Bench) -> None:
    await bench.accept()
    await bench.sql("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '60 seconds'")
    await bench.rounds()
    assert await bench.sql("SELECT scheduled_at <= now() FROM procrastinate_jobs") == [(False,)]


async def test_nobody_is_given_up_for_the_time_in_which_the_database_was_away(bench: Bench) -> None:
    screening_id = await bench.accept()
    worker = await bench.worker()
    await bench.fetch(worker)
    await bench.store.claim(screening_id)
    await bench.rounds(5.0)
    bench.clock.now_s += 600.0  # nobody could write a heartbeat, and nobody could look
    await bench.sweep.round()
    await bench.beat(worker)
    await bench.rounds(15.0)
    assert await bench.state(screening_id) is State.RUNNING
    await bench.rounds(6.0)
    assert await bench.state(screening_id) is State.QUEUED


async def test_a_dead_worker_is_found_though_its_last_heartbeat_lies_in_the_future(bench: Bench) -> None:
    screening_id = await bench.accept()
    await bench.fetch(await bench.worker())
    await bench.store.claim(screening_id)
    await bench.sql("UPDATE procrastinate_workers SET last_heartbeat = now() + interval '1 day'")
    await bench.rounds(21.0)
    assert await bench.state(screening_id) is State.QUEUED


async def test_a_job_that_was_fetched_but_never_begun_is_enqueued_again(bench: Bench) -> None:
    """The connection broke between the fetch and its answer: the worker lives, and knows nothing of the job."""
    screening_id = await bench.accept()
    worker = await bench.worker()
    bench.not_ours.add(await bench.fetch(worker))
    for _ in range(4):
        await bench.beat(worker)
        await bench.rounds(6.0)
    assert await bench.jobs() == [(screening_id, "todo")]
    assert await bench.state(screening_id) is State.QUEUED


async def test_a_job_whose_worker_signed_off_is_rescued(bench: Bench) -> None:
    screening_id = await bench.accept()
    worker = await bench.worker()
    await bench.fetch(worker)
    await bench.store.claim(screening_id)
    await bench.sql("SELECT procrastinate_unregister_worker_v1(:worker)", worker=worker)
    await bench.rounds(6.0)
    assert await bench.state(screening_id) is State.QUEUED
    assert await bench.jobs() == [(screening_id, "todo")]


async def test_a_leftover_job_does_not_take_the_study_from_the_worker_that_has_it(bench: Bench) -> None:
    screening_id = await bench.accept()
    await bench.fetch(await bench.worker())
    await bench.store.claim(screening_id)
    await bench.store.give_back(screening_id, 1, None)
    living = await bench.worker()
    await bench.fetch(living)
    await bench.store.claim(screening_id)
    for _ in range(3):
        await bench.beat(living)
        await bench.rounds(15.0)
    record = await bench.store.get(screening_id)
    assert (record.state, record.attempt) == (State.RUNNING, 2)
    assert await bench.jobs() == [(screening_id, "doing")]


async def test_an_open_screening_without_a_job_gets_one(bench: Bench) -> None:
    screening_id = await bench.accept()
    async with bench.database.transaction() as connection:
        await withdraw(connection, screening_id)
    await bench.rounds(1.0)
    assert await bench.jobs() == []
    await bench.rounds(6.0)
    assert await bench.jobs() == [(screening_id, "todo")]


async def test_a_running_screening_without_a_job_is_put_back(bench: Bench) -> None:
    screening_id = await bench.accept()
    await bench.store.claim(screening_id)
    async with bench.database.transaction() as connection:
        await withdraw(connection, screening_id)
    await bench.rounds(6.0)
    assert await bench.state(screening_id) is State.QUEUED
    assert await bench.jobs() == [(screening_id, "todo")]


async def test_a_job_without_a_screening_is_dropped(bench: Bench) -> None:
    lost = "00000000-0000-0000-0000-000000000000"
    async with bench.database.transaction() as connection:
        await defer(connection, "screening.run", {"screening_id": lost}, queueing_lock=lost)
    await bench.rounds()
    assert await bench.jobs() == []


async def test_two_sweeps_at_once_do_it_once(bench: Bench, database: Database) -> None:
    screening_id = await bench.accept()
    await bench.fetch(await bench.worker())
    await bench.store.claim(screening_id)
    other = Sweep(database, bench.store, 20.0, now=bench.clock)
    await asyncio.gather(bench.sweep.round(), other.round())
    await bench.wait(21.0, bench.sweep, other)
    assert await bench.jobs() == [(screening_id, "todo")]
    assert [step.event for step in await bench.store.steps(screening_id)].count("requeue") == 1


async def test_a_job_of_another_kind_is_tried_again_and_kept_as_failed_in_the_end(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        await defer(connection, "delivery.send", {"id": 1})
    for _ in range(11):
        await bench.fetch(await bench.worker(), "delivery")
        await bench.rounds(21.0)
    assert await bench.sql("SELECT status::text FROM procrastinate_jobs") == [("failed",)]


# Enqueueing


async def test_a_job_is_part_of_its_transaction(bench: Bench) -> None:
    async with bench.database.engine.connect() as connection:
        await defer(connection, "delivery.send", {"id": 1})
        await connection.rollback()
    assert await bench.jobs() == []


async def test_a_second_waiting_job_with_the_same_queueing_lock_is_the_first(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        first = await defer(connection, "delivery.send", {"id": 1}, queueing_lock="x")
        second = await defer(connection, "delivery.send", {"id": 2}, queueing_lock="x")
        third = await defer(connection, "delivery.send", {"id": 3}, schedule_at=datetime(2099, 1, 1, tzinfo=UTC))
    assert first == second != third
    assert len(await bench.jobs()) == 2
    assert await bench.sql("SELECT count(*) FROM procrastinate_jobs WHERE scheduled_at > now()") == [(1,)]


async def test_urgent_work_is_fetched_first(bench: Bench) -> None:
    async with bench.database.transaction() as connection:
        for priority in (0, 10, 20, 10):
            await defer(connection, "delivery.send", {"priority": priority}, priority=priority)
    worker = await bench.worker()
    order = [await bench.fetch(worker, "delivery") for _ in range(4)]
    rows = dict(await bench.sql("SELECT id, priority FROM procrastinate_jobs"))  # type: ignore[arg-type]
    assert [rows[job] for job in order] == [20, 10, 10, 0]
