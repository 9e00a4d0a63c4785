"""The delivering process is killed at any moment, again and again: the EHR ends with one copy of each resource."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from delivery_case import Case, destination, differences, outlet
from hostile_ehr import statement_with
from report_samples import refused

from trabecula.config import Settings
from trabecula.delivery.states import DeliveryState
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

SUPPORT = Path(__file__).parents[2] / "support"
STATEMENTS: dict[str, Callable[[Any], Any]] = {
    "transaction-put": statement_with(),
    "transaction-create": statement_with(update_create=False),
    "single-create": statement_with(transactions=False, update_create=False),
}


async def started(url: str, ehr: str, offset_s: float) -> asyncio.subprocess.Process:
    command = [sys.executable, str(SUPPORT / "delivering_process.py"), url, ehr, str(offset_s)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=DEVNULL, env={**os.environ, "PYTHONPATH": str(SUPPORT)}
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    return process


@pytest.mark.heavy
@pytest.mark.parametrize(("rung", "kills"), [(rung, 6) for rung in STATEMENTS])
async def test_kill_9_at_any_moment_leaves_one_copy(
    case: Case, database: Database, database_settings: Settings, content: FolderContent, rung: str, kills: int
) -> None:
    url = database_settings.database_url
    assert url is not None
    case.ehr.statement = STATEMENTS[rung]
    source, reports = random.Random(rung), []
    case.ehr.random, case.ehr.chance = source, 0.02
    out = outlet(database, content, destination(case.ehr.url))
    for number in range(kills):
        case.report = replace(refused(), screening_id=f"6f0e2c52-3c5b-5b1f-9a53-0d9c{number:08d}")
        reports.append(case.report)
        await out.enqueue(case.bundle, case.chain)
        process = await started(url, case.ehr.url, number * 600.0)
        # killed when some number of further requests has come in, not after some time: slow machines see the same
        asked = len(case.ehr.seen) + source.randrange(1, 14)
        while len(case.ehr.seen) < asked and process.returncode is None:
            await asyncio.sleep(0.005)
            if process.stdout is not None and process.stdout.at_eof():
                break
        if process.returncode is None:
            process.kill()
        await process.wait()
    case.ehr.chance = 0.0
    process = await started(url, case.ehr.url, kills * 600.0)
    assert await process.wait() == 0
    assert {row.state for row in await out.rows()} == {DeliveryState.DELIVERED}
    wanted: dict[tuple[str, str], Any] = {}
    for case.report in reports:
        wanted |= {(e["resource"]["resourceType"], e["resource"]["id"]): e for e in case.bundle["entry"]}
    everything = {"resourceType": "Bundle", "entry": list(wanted.values())}
    assert differences(everything, case.server, profiles=rung == "transaction-put") == []
