"""The evaluation as the service runs it: once a day over all workers, and forgetting what is too old."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import structlog

from trabecula.drift.evaluate import DriftRules, FeatureDrift, Verdict, evaluate
from trabecula.drift.reference import Reference
from trabecula.drift.store import forget_before, keep_evaluation, read_series
from trabecula.work.database import Database
from trabecula.work.queue import Task

EVALUATE_TASK: Final = "drift.evaluate"
EVERY_SIX_HOURS: Final = "41 */6 * * *"
WINDOW_DAYS: Final = 14


async def evaluate_window(
    database: Database, reference: Reference, rules: DriftRules, *, last: date, days: int, keep_at: datetime | None
) -> tuple[FeatureDrift, ...]:
    """Compare the series of so many days that end with ``last``.

    Args:
        keep_at: keep what was found, as of this moment; None keeps nothing.
    """
    first = last - timedelta(days=days - 1)
    async with database.transaction() as connection:
        found = evaluate(await read_series(connection, first, last), reference, rules)
        if keep_at is not None:
            await keep_evaluation(connection, found, keep_at, first, last)
    return found


def evaluation_task(
    database: Database, references: Callable[[], Reference], rules: DriftRules, window_days: int, retention_s: float
) -> Task:
    """The periodic task.

    Args:
        references: read anew each time: a site may freeze a window while the service runs.
    """

    async def run(timestamp: int) -> None:
        now = datetime.fromtimestamp(timestamp, UTC)
        found = await evaluate_window(
            database, references(), rules, last=now.date(), days=window_days, keep_at=datetime.now(UTC)
        )
        async with database.transaction() as connection:
            forgotten = await forget_before(connection, (now - timedelta(seconds=retention_s)).date())
        told = {verdict: [each.feature for each in found if each.verdict is verdict] for verdict in Verdict}
        log = structlog.get_logger()
        (log.warning if told[Verdict.ACT] else log.info)(
            "drift evaluated",
            act=told[Verdict.ACT],
            look=told[Verdict.LOOK],
            stable=len(told[Verdict.STABLE]),
            without_verdict=len(told[Verdict.TOO_FEW]) + len(told[Verdict.NO_REFERENCE]),
            forgotten=forgotten,
        )

    return Task(EVALUATE_TASK, run, cron=EVERY_SIX_HOURS)
