"""What stands in the database, as gauges: every process shows the same, so queries take the maximum and never a sum."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from trabecula.delivery.listing import outbox_stands
from trabecula.drift.store import Standing, newest_evaluation
from trabecula.errors import DatabaseUnavailable
from trabecula.telemetry.catalogue import Metrics
from trabecula.work.database import Database
from trabecula.work.store import ScreeningStore

LOAD_EVERY_S: Final = 5.0


class LoadGauges:
    """How much there is to do and to deliver, read now and then."""

    def __init__(self, database: Database, store: ScreeningStore, metrics: Metrics) -> None:
        self._database = database
        self._store = store
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="load gauges")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with suppress(DatabaseUnavailable):
                await self.read()
            await asyncio.sleep(LOAD_EVERY_S)

    async def read(self) -> None:
        """Once. Raises DatabaseUnavailable."""
        load = await self._store.load()
        for state, number in load.jobs.items():
            self._metrics.gauge("trabecula_jobs", number, state=state.value)
        self._metrics.gauge("trabecula_oldest_job_age_seconds", load.oldest_age_s or 0.0)
        async with self._database.transaction() as connection:
            stands = await outbox_stands(connection, datetime.now(UTC), ())
            drift = await newest_evaluation(connection)
        self._metrics.forget("trabecula_outbox_deliveries")
        for each in stands:
            for kept, count in each.counts.items():
                self._metrics.gauge(
                    "trabecula_outbox_deliveries", count, destination=each.destination, state=kept.value
                )
        self._tell_drift(drift)

    def _tell_drift(self, drift: Sequence[Standing]) -> None:
        for name in ("trabecula_drift_psi", "trabecula_drift_window_series"):
            self._metrics.forget(name)
        for each in drift:
            if each.psi is not None:
                self._metrics.gauge("trabecula_drift_psi", each.psi, feature=each.feature)
            self._metrics.gauge("trabecula_drift_window_series", each.series, feature=each.feature)
        newest = max((each.evaluated_at.timestamp() for each in drift), default=0.0)
        self._metrics.gauge("trabecula_drift_last_evaluation_timestamp_seconds", newest)
