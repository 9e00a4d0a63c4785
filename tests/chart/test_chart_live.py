"""What the chart brings along, on the real thing: KEDA's query on PostgreSQL, the test pod's check on a service."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fake_screens import make_fake_perform
from helm_chart import CHART, Rendered
from live_service import make_study
from prometheus_client import start_http_server
from sqlalchemy import text

from trabecula.config import Settings
from trabecula.service.server import Server
from trabecula.work.database import Database
from trabecula.work.queue import SCREEN_TASK, SCREENING_QUEUE, defer
from trabecula.work.runner import ThreadRunner

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
            statement = text(
                "UPDATE procrastinate_jobs SET status = CAST(:to AS procrastinate_job_status) WHERE id = :id"
            )
            await connection.execute(statement, {"to": status, "id": job})
    assert await count() == 2  # the one that runs, and the one that is due


@pytest.fixture
def check(everything: Rendered, tmp_path: Path) -> Path:
    """The script as the test pod gets it."""
    path = tmp_path / "check.py"
    path.write_text(everything.one("ConfigMap", "-test")["data"]["check.py"], encoding="utf-8")
    return path


async def _serve(settings: Settings, folder: Path, health: str, call: Callable[[Server, int], list[str]]) -> int:
    """The check against a service with a fake screening chain; its exit status."""
    settings = replace(settings, listen="127.0.0.1:0", state_dir=folder / "state", health_listen=health)
    server = Server(settings, ThreadRunner(make_fake_perform, 1))
    await server.start()
    scraped, _ = start_http_server(0, "127.0.0.1", server.registry)
    words = call(server, scraped.server_port)
    done = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=folder)
    status = await asyncio.wait_for(done.wait(), 120)
    scraped.shutdown()
    await server.stop(0.0)
    return status


PHANTOM = pytest.param("phantom", 0, marks=pytest.mark.heavy)
"""With the phantom that the pod makes, which takes 20 s."""


@pytest.mark.parametrize(("case", "status"), [("good", 0), PHANTOM, ("health", 1), ("metrics", 1), ("study", 1)])
async def test_the_test_pods_check_knows_a_good_service_from_a_bad_one(
    check: Path, tmp_path: Path, database_settings: Settings, case: str, status: int
) -> None:
    study = tmp_path / "study"
    make_study(study, b"text" if case == "study" else b"report")

    def words(server: Server, scraped: int) -> list[str]:
        metrics = f"http://127.0.0.1:{scraped}/metrics" if case != "metrics" else "http://127.0.0.1:9/metrics"
        health = server.health_port if case != "health" else server.port
        return [
            str(check),
            f"--grpc=127.0.0.1:{server.port}",
            f"--health=127.0.0.1:{health}",
            f"--metrics={metrics}",
            f"--folder={tmp_path / 'phantom'}",
            *([] if case == "phantom" else [f"--study={study}"]),
        ]

    assert await _serve(database_settings, tmp_path, "127.0.0.1:0", words) == status
