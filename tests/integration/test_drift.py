"""Drift from the rows of real screenings to verdicts, gauges and the command."""

from __future__ import annotations

import asyncio
import bisect
import json
import random
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import report_samples
from live_service import StartServer, make_study
from prometheus_client import CollectorRegistry
from sqlalchemy import func, insert, inspect, select
from typer.testing import CliRunner

from trabecula import assets
from trabecula.cli.app import app
from trabecula.clinical import load_constants
from trabecula.config import Settings
from trabecula.drift.evaluate import DriftRules, Verdict
from trabecula.drift.reference import Bins, read_references
from trabecula.drift.schema import series_fact
from trabecula.drift.store import forget_before, keep_facts, newest_evaluation, read_series
from trabecula.drift.upkeep import evaluate_window, evaluation_task
from trabecula.service.client import Client
from trabecula.service.load_gauges import LoadGauges
from trabecula.telemetry.catalogue import Metrics
from trabecula.telemetry.facts import facts_of
from trabecula.work.database import Database
from trabecula.work.store import ScreeningStore

TODAY = datetime.now(UTC).date()
RULES = DriftRules.of(load_constants())


def like_reference(count: int, fat_shift_hu: float = 0.0, day: date = TODAY, seed: int = 11) -> list[dict[str, Any]]:
    """Rows drawn from the histograms that come with the model."""
    draw = random.Random(seed)
    known = read_references(assets.models_dir(), None)
    made = []
    for _ in range(count):
        row: dict[str, Any] = {"day": day, "status": "reported", "contrast_enhanced": False, "kvp": 120.0}
        for name, histogram in known.items():
            assert isinstance(histogram.counts, Bins)
            row[name] = _draw(histogram.counts, draw) + (fat_shift_hu if name.startswith("fat") else 0.0)
        made.append(row)
    return made


def _draw(bins: Bins, draw: random.Random) -> float:
    edges = (bins.edges[0] - 5.0, *bins.edges, bins.edges[-1] + 5.0)
    (index,) = draw.choices(range(len(bins.counts)), bins.counts)
    return draw.uniform(edges[index], edges[index + 1])


async def put(database: Database, rows: list[dict[str, Any]]) -> None:
    async with database.transaction() as connection:
        await connection.execute(insert(series_fact), rows)


async def verdicts(database: Database) -> dict[str, Verdict]:
    known = read_references(assets.models_dir(), None)
    found = await evaluate_window(database, known, RULES, last=TODAY, days=14, keep_at=datetime.now(UTC))
    return {each.feature: each.verdict for each in found}


async def test_series_like_the_reference_are_stable(database: Database) -> None:
    await put(database, like_reference(400))
    found = await verdicts(database)
    assert [found[f"{tissue}_deviation_hu"] for tissue in ("air", "fat", "muscle", "blood")] == [Verdict.STABLE] * 4
    assert found["bmd_mg_cm3"] is Verdict.NO_REFERENCE


async def test_fat_that_reads_15_hu_higher_asks_to_act_and_nothing_else_does(database: Database) -> None:
    await put(database, like_reference(400, fat_shift_hu=15.0))
    found = await verdicts(database)
    assert found["fat_deviation_hu"] is Verdict.ACT
    assert {name for name, verdict in found.items() if verdict is Verdict.ACT} == {"fat_deviation_hu"}


async def test_no_verdict_under_300_series_or_outside_the_window(database: Database) -> None:
    await put(database, like_reference(299, fat_shift_hu=15.0))
    await put(database, like_reference(400, fat_shift_hu=15.0, day=TODAY - timedelta(days=14)))
    assert (await verdicts(database))["fat_deviation_hu"] is Verdict.TOO_FEW
    await put(database, like_reference(1, fat_shift_hu=15.0, day=TODAY - timedelta(days=13)))
    assert (await verdicts(database))["fat_deviation_hu"] is Verdict.ACT


async def test_the_newest_evaluation_is_what_the_gauges_say(database: Database) -> None:
    await put(database, like_reference(400, fat_shift_hu=15.0))
    registry = CollectorRegistry()
    gauges = LoadGauges(database, ScreeningStore(database, content=None), Metrics(registry))
    await gauges.read()
    assert registry.get_sample_value("trabecula_drift_last_evaluation_timestamp_seconds") == 0.0
    began = datetime.now(UTC).timestamp()
    await verdicts(database)
    await gauges.read()
    fat = {"feature": "fat_deviation_hu"}
    assert (registry.get_sample_value("trabecula_drift_psi", fat) or 0.0) > 0.25
    assert registry.get_sample_value("trabecula_drift_window_series", fat) == 400.0
    assert registry.get_sample_value("trabecula_drift_psi", {"feature": "bmd_mg_cm3"}) is None
    assert (registry.get_sample_value("trabecula_drift_last_evaluation_timestamp_seconds") or 0.0) >= began


async def test_the_periodic_task_keeps_what_it_finds_and_forgets_what_is_old(database: Database) -> None:
    await put(database, like_reference(300))
    await put(database, like_reference(5, day=TODAY - timedelta(days=500)))
    task = evaluation_task(database, lambda: read_references(assets.models_dir(), None), RULES, 14, 400 * 86400.0)
    await task.run(timestamp=int(datetime.now(UTC).timestamp()))
    async with database.transaction() as connection:
        (left,) = (await connection.execute(select(func.count()).select_from(series_fact))).scalars()
        kept = {each.feature: each.verdict for each in await newest_evaluation(connection)}
    assert left == 300
    assert kept["fat_deviation_hu"] is Verdict.STABLE


async def test_rows_are_forgotten_by_their_day(database: Database) -> None:
    async with database.transaction() as connection:
        old = TODAY - timedelta(days=500)
        await keep_facts(connection, facts_of(report_samples.reported()), old)
        assert await forget_before(connection, TODAY) == 1
        assert await read_series(connection, old, TODAY) == []


def test_a_service_keeps_a_row_for_each_result_and_nothing_that_names_anybody(
    start_server: StartServer, tmp_path: Path
) -> None:
    service = start_server()
    with Client(service.address) as client:
        for order in (b"report", b"refuse", b"text"):
            list(client.watch(client.submit(make_study(tmp_path / order.decode(), order))))

    async def rows() -> list[Any]:
        async with service.server.database.transaction() as connection:
            return list(await read_series(connection, TODAY - timedelta(days=1), TODAY))

    found = asyncio.run_coroutine_threadsafe(rows(), service.loop).result(20)
    assert [row["status"] for row in found] == ["reported", "refused"]  # a failure is no series
    report = report_samples.reported()
    assert found[0]["kvp"] == report.acquisition.kvp  # type: ignore[union-attr]
    assert found[0]["category"] == report.assessment.category.value  # type: ignore[union-attr]
    assert found[1]["refusal"] == report_samples.refused().refusals[0].code.value
    written = json.dumps([{**row, "day": str(row["day"])} for row in found])
    identity = report.study
    assert identity is not None
    for secret in (identity.study_instance_uid, identity.patient_id, identity.accession_number):
        assert secret is None or secret not in written
    columns = {column.name for column in inspect(series_fact).columns}
    assert not {name for name in columns if re.search(r"screening|patient|study|uid|time|_at$", name)}


async def test_the_command_evaluates_shows_and_freezes(
    database: Database, database_settings: Settings, tmp_path: Path
) -> None:
    await put(database, like_reference(400, fat_shift_hu=15.0))
    url = ["--database-url", database_settings.database_url or ""]
    own = tmp_path / "reference.json"

    def run(*arguments: str, reference: Path | None = None, code: int = 0) -> str:
        env = {"COLUMNS": "250"} | ({"TRABECULA_DRIFT_REFERENCE_FILE": str(reference)} if reference else {})
        done = CliRunner().invoke(app, ["drift", *arguments, *url], env=env)
        assert done.exit_code == code, done.output
        return done.stdout

    def everything() -> None:
        assert "never" in run("show")
        found = {each["feature"]: each for each in json.loads(run("evaluate", "--json"))}
        assert found["fat_deviation_hu"]["verdict"] == "act"
        assert found["kvp"]["verdict"] == "no-reference"
        assert "act" in run("evaluate", "--check", "--dry-run", code=3)
        assert {each["feature"] for each in json.loads(run("show", "--json"))} == set(found)
        days = ("--from", str(TODAY), "--to", str(TODAY))
        told = json.loads(run("reference", *days, "--output", str(own), "--json"))
        assert told["series"]["kvp"] == 400
        run("reference", *days, "--output", str(own), code=4)
        run("reference", "--from", "2001-01-01", "--to", "2001-01-02", "--output", str(tmp_path / "no"), code=3)
        after = {each["feature"]: each for each in json.loads(run("evaluate", "--json", reference=own))}
        assert {after[name]["verdict"] for name in told["series"]} == {"stable"}
        assert after["fat_deviation_hu"]["psi"] == 0.0
        assert "400 series of this site" in run("evaluate", reference=own)

    await asyncio.to_thread(everything)


def test_the_draws_of_this_test_are_those_of_the_histogram() -> None:
    known = read_references(assets.models_dir(), None)["fat_deviation_hu"].counts
    assert isinstance(known, Bins)
    drawn = [row["fat_deviation_hu"] for row in like_reference(2000)]
    shares = [0] * len(known.counts)
    for value in drawn:
        shares[bisect.bisect_right(known.edges, value)] += 1
    assert all(
        abs(share / 2000 - count / sum(known.counts)) < 0.03 for share, count in zip(shares, known.counts, strict=True)
    )
