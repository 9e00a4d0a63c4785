"""What the chart brings along, on the real thing: KEDA's query on PostgreSQL, the test pod's check on a service."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from helm_chart import CHART, Rendered
from sqlalchemy import text

from trabecula.work.database import Database
from trabecula.work.queue import SCREEN_TASK, SCREENING_QUEUE, defer

SQL = (CHART / "files" / "keda" / "open-jobs.sql").read_text(encoding="utf-8")


def test_keda_is_given_the_query_that_is_tested(everything: Rendered) -> None:
    (trigger,) = everything.one("ScaledObject")["spec"]["triggers"]
    given = trigger["metadata"]
    assert given["query"] == SQL.strip()
    assert given["targetQueryValue"] == "2"
    assert {"host": "fd00::5", "port": "6432", "userName": "app", "sslmode": "require"}.items() <= given.items()
    assert trigger["authenticationRef"]["name"] == everything.one("TriggerAuthentication")["metadata"]["name"]
    assert everything.one("TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "trabecula-database", "key": "password"}
    ]


async def test_keda_counts_studies_that_wait_or_run_and_nothing_else(database: Database) -> None:
    async def count() -> int:
        async with database.transaction() as connection:
            return int((await connection.execute(text(SQL))).scalar_one())

    assert SCREENING_QUEUE in SQL
    assert await count() == 0
    async with database.transaction() as connection:
        jobs = [await defer(connection, SCREEN_TASK, {"screening_id": str(number)}) for number in range(5)]
        later = datetime.now(UTC) + timedelta(minutes=5)
        await defer(connection, SCREEN_TASK, {"screening_id": "again"}, schedule_at=later)
        await defer(connection, SCREEN_TASK, {"screening_id": "due"}, schedule_at=later - timedelta(minutes=6))
        await defer(connection, "delivery.send", {"delivery": 1})
    assert await count() == 6
    async with database.transaction() as connection:
        for job, status in zip(jobs, ("doing", "succeeded", "failed", "cancelled", "aborted"), strict=True):
            statement = text("UPDATE procrastinate_jobs SET status = CAST(:to AS procrastinate_job_status) WHERE id = :id")
            await connection.execute(statement, {"to": status, "id": job})
    assert await count() == 2  # the one that runs, and the one that is due
