"""What is deleted, when; and what never is."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import exists, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import ContentUnavailable
from trabecula.patient import PatientContext
from trabecula.record.schema import resource, resource_history
from trabecula.service.wiring import retention_rules
from trabecula.work import gc as retention
from trabecula.work.content import FolderContent
from trabecula.work.content_guard import collect_alone, hold, hold_all
from trabecula.work.database import Database
from trabecula.work.gc import Collected, RetentionPolicy, RetentionRules, collect
from trabecula.work.records import ContentRef, DocumentKind
from trabecula.work.schema import document, instance, screening, transition
from trabecula.work.submission import submission_of

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = RetentionPolicy(pixel_s=7 * 86400.0, result_s=None, grace_s=86400.0, job_s=86400.0)
NOTHING = Collected(0, 0, 0, 0, 0, 0, False)


class Archive:
    """Ended screenings with bytes, put straight into the tables."""

    def __init__(self, database: Database, content: FolderContent) -> None:
        self.database = database
        self.content = content
        self.number = 0

    async def bytes(self, data: bytes, age: timedelta = 30 * DAY) -> ContentRef:
        ref = await self.content.put(data)
        moment = (NOW - age).timestamp()
        os.utime(self.content.path(ref.sha256), (moment, moment))
        return ref

    async def screening(self, ended: timedelta | None, pixels: bytes = b"", **more: Any) -> str:
        """One that ended so long ago (None: it runs), with one instance and one report of its own."""
        self.number += 1
        screening_id = f"00000000-0000-4000-8000-{self.number:012d}"
        ref = await self.bytes(pixels or f"pixels {self.number}".encode())
        report = await self.bytes(f"report {self.number}".encode())
        submission = submission_of([ref], PatientContext())
        async with self.database.transaction() as connection:
            row = {
                "id": screening_id,
                "state": "running" if ended is None else "reported",
                "source": "grpc",
                "fingerprint": submission.fingerprint,
                "instances": 1,
                "total_bytes": ref.size_bytes,
                "patient": {"patient_id": "secret"},
                "submitted_at": NOW - 60 * DAY,
                "ended_at": None if ended is None else NOW - ended,
            }
            await connection.execute(insert(screening).values({**row, **more}))
            each = {"screening_id": screening_id, "sha256": ref.sha256, "size_bytes": ref.size_bytes}
            await connection.execute(insert(instance).values(index=0, **each))
            if ended is not None:
                each |= {"sha256": report.sha256, "size_bytes": report.size_bytes}
                await connection.execute(insert(document).values(kind=DocumentKind.REPORT_JSON, **each))
        return screening_id

    async def collect(self, policy: RetentionPolicy = POLICY, **more: Any) -> Collected:
        return await collect(self.database, self.content, policy, now=NOW, **more)

    async def count(self, table: Any, *where: Any) -> int:
        async with self.database.transaction() as connection:
            counted = await connection.execute(select(func.count()).select_from(table).where(*where))
            return int(counted.scalar_one())

    async def kept_bytes(self) -> set[bytes]:
        return {self.content.path(each.ref.sha256).read_bytes() async for each in self.content.objects()}


@pytest.fixture
def archive(database: Database, content: FolderContent) -> Archive:
    return Archive(database, content)


async def test_pixels_and_patient_go_and_the_result_stays(archive: Archive) -> None:
    old = await archive.screening(8 * DAY)
    await archive.screening(6 * DAY)
    done = await archive.collect()
    assert (done.pixels, done.results, done.objects) == (1, 0, 1)
    assert await archive.count(instance, instance.c.screening_id == old) == 0
    assert await archive.count(screening, screening.c.patient.is_(None), screening.c.pixels_deleted_at == NOW) == 1
    assert await archive.count(transition, transition.c.event == retention.PIXELS_DELETED) == 1
    assert await archive.kept_bytes() == {b"report 1", b"pixels 2", b"report 2"}
    assert replace(await archive.collect(), dry_run=False) == NOTHING


async def test_a_dry_run_tells_the_same_and_deletes_nothing(archive: Archive) -> None:
    await archive.screening(8 * DAY)
    await archive.bytes(b"named by nobody")
    before = await archive.kept_bytes()
    policy = replace(POLICY, result_s=7.5 * 86400.0)
    told = await archive.collect(policy, dry_run=True)
    assert await archive.kept_bytes() == before
    assert await archive.count(screening, screening.c.pixels_deleted_at.is_(None)) == 1
    assert await archive.collect(policy) == replace(told, dry_run=False)
    assert (told.pixels, told.results, told.objects) == (1, 1, 3)


async def test_a_screening_that_has_not_ended_keeps_all(archive: Archive) -> None:
    await archive.screening(None)
    await archive.collect()
    assert await archive.count(instance) == 1
    assert b"pixels 1" in await archive.kept_bytes()


async def test_a_legal_hold_keeps_all(archive: Archive) -> None:
    await archive.screening(100 * DAY, legal_hold=True)
    assert await archive.collect(replace(POLICY, result_s=1.0)) == NOTHING
    assert await archive.kept_bytes() == {b"pixels 1", b"report 1"}


async def test_what_waits_for_delivery_is_kept(archive: Archive) -> None:
    waiting = await archive.screening(100 * DAY)
    await archive.screening(100 * DAY)
    undelivered = exists(select(1).where(screening.c.id == waiting, transition.c.screening_id == screening.c.id))
    async with archive.database.transaction() as connection:
        step = {"screening_id": waiting, "at": NOW, "event": "delivery", "state": "reported", "attempt": 1}
        await connection.execute(insert(transition).values(step))
    done = await archive.collect(replace(POLICY, result_s=1.0), rules=RetentionRules((undelivered,)))
    assert (done.pixels, done.results) == (1, 1)
    assert await archive.count(instance, instance.c.screening_id == waiting) == 1


async def test_results_go_when_a_time_is_set_for_them(archive: Archive) -> None:
    old = await archive.screening(31 * DAY)
    await archive.screening(29 * DAY)
    told: list[str] = []

    async def forget(_: AsyncConnection, ids: Any) -> None:
        told.extend(ids)

    done = await archive.collect(replace(POLICY, result_s=30 * 86400.0), rules=RetentionRules(forget=(forget,)))
    assert done.results == 1
    assert told == [old]
    assert await archive.count(screening) == 1
    assert await archive.count(document) == 1
    assert await archive.kept_bytes() == {b"report 2"}


async def test_the_resources_of_a_result_go_with_it(archive: Archive) -> None:
    old, new = await archive.screening(31 * DAY), await archive.screening(29 * DAY)
    row = {"type": "Observation", "version": 1, "last_updated": NOW, "content": {}}
    async with archive.database.transaction() as connection:
        for each in (old, new):
            current = {**row, "id": each, "screening_id": each, "content_sha256": "0" * 64, "search_keys": []}
            await connection.execute(insert(resource).values(current))
            await connection.execute(insert(resource_history).values(**row, id=each, screening_id=each, deleted=False))
    await archive.collect(replace(POLICY, result_s=30 * 86400.0), rules=retention_rules())
    assert (
        await archive.count(resource, resource.c.id == old)
        == await archive.count(resource_history, resource_history.c.id == old)
        == 0
    )
    assert await archive.count(resource) == await archive.count(resource_history) == 1


async def test_bytes_that_two_screenings_share_stay_for_the_other(archive: Archive) -> None:
    await archive.screening(8 * DAY, pixels=b"shared")
    await archive.screening(1 * DAY, pixels=b"shared")
    assert (await archive.collect()).pixels == 1
    assert b"shared" in await archive.kept_bytes()


async def test_young_bytes_without_a_name_are_left_alone(archive: Archive) -> None:
    await archive.bytes(b"old", DAY + timedelta(minutes=1))
    await archive.bytes(b"young", DAY - timedelta(minutes=1))
    done = await archive.collect()
    assert (done.objects, done.object_bytes) == (1, 3)
    assert await archive.kept_bytes() == {b"young"}


async def test_bytes_that_a_table_of_a_later_release_names_stay(archive: Archive) -> None:
    ref = await archive.bytes(b"named elsewhere")
    async with archive.database.transaction() as connection:
        await connection.execute(text('CREATE TABLE "Later" (id int, "mask_sha256" varchar(64))'))
        await connection.execute(text('INSERT INTO "Later" VALUES (1, :name)'), {"name": ref.sha256})
    await archive.collect()
    assert await archive.kept_bytes() == {b"named elsewhere"}


async def test_more_than_one_batch_goes(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SCREENINGS_AT_ONCE", 2)
    monkeypatch.setattr(retention, "OBJECTS_AT_ONCE", 3)
    for _ in range(5):
        await archive.screening(8 * DAY)
    steps: list[tuple[str, int]] = []
    done = await archive.collect(progress=lambda step, number: steps.append((step, number)))
    assert (done.pixels, done.objects) == (5, 5)
    assert ("pixels", 4) in steps


async def test_a_collection_cut_in_the_middle_is_ended_by_the_next(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await archive.screening(8 * DAY)

    async def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_collect_objects", cut)
        with pytest.raises(KeyboardInterrupt):
            await archive.collect()
    assert len(await archive.kept_bytes()) == 6
    done = await archive.collect()
    assert (done.pixels, done.objects) == (0, 3)


async def test_finished_jobs_go_and_waiting_ones_stay(archive: Archive) -> None:
    async with archive.database.transaction() as connection:
        for number, (status, age) in enumerate([("succeeded", 2), ("failed", 2), ("todo", 2), ("succeeded", 0)]):
            job = await connection.execute(
                text(
                    "INSERT INTO procrastinate_jobs (task_name, queue_name, status, args)"
                    " VALUES (:name, 'q', 'todo', '{}') RETURNING id"
                ),
                {"name": f"task-{number}"},
            )
            values = {"id": job.scalar_one(), "at": NOW - age * DAY}
            for step in () if status == "todo" else ("doing", status):
                change = f"UPDATE procrastinate_jobs SET status = '{step}' WHERE id = :id"  # noqa: S608
                await connection.execute(text(change), values)
            await connection.execute(text("UPDATE procrastinate_events SET at = :at WHERE job_id = :id"), values)
    assert (await archive.collect()).jobs == 2
    async with archive.database.transaction() as connection:
        left = (await connection.execute(text("SELECT task_name FROM procrastinate_jobs ORDER BY id"))).scalars()
        assert list(left) == ["task-2", "task-3"]


async def test_a_row_cannot_name_bytes_that_were_collected(archive: Archive) -> None:
    ref = await archive.bytes(b"old and unnamed")
    await archive.collect()
    async with archive.database.transaction() as connection:
        with pytest.raises(ContentUnavailable):
            await hold(connection, archive.content, [ref])


async def test_a_collection_waits_for_a_row_that_is_being_written(archive: Archive) -> None:
    """The race that the lock is for: old bytes without a name, sent once more while a collection runs."""
    ref = await archive.bytes(b"sent twice, a month apart")
    screening_id = await archive.screening(1 * DAY)
    async with archive.database.transaction() as connection:
        await hold(connection, archive.content, [ref])
        collecting = asyncio.create_task(archive.collect())
        await asyncio.sleep(0.3)
        assert not collecting.done()
        await connection.execute(
            update(instance).where(instance.c.screening_id == screening_id).values(sha256=ref.sha256)
        )
    await collecting
    assert b"sent twice, a month apart" in await archive.kept_bytes()


async def test_nothing_is_collected_during_a_backup(archive: Archive) -> None:
    await archive.bytes(b"unnamed")
    async with hold_all(archive.database):
        collecting = asyncio.create_task(archive.collect())
        await asyncio.sleep(0.2)
        assert await archive.kept_bytes() == {b"unnamed"}
    await collecting
    assert await archive.kept_bytes() == set()


async def test_accepting_does_not_queue_up_behind_a_waiting_collection(archive: Archive) -> None:
    async with hold_all(archive.database):
        waiting = asyncio.create_task(anext(aiter_of(archive.database)))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(1.0), archive.database.transaction() as connection:
            await hold(connection, archive.content, [])
    await waiting


async def aiter_of(database: Database) -> Any:
    async with collect_alone(database) as connection:
        yield connection
