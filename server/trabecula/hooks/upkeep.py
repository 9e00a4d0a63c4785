"""What is deleted in time: used tokens once they have expired, cards and feedback after their retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from trabecula.hooks.store import forget_cards, forget_tokens
from trabecula.work.database import Database
from trabecula.work.queue import Task

SWEEP_TASK = "hooks.sweep"


def sweep_task(database: Database, card_retention_s: float) -> Task:
    """The periodic task, run by one worker every ten minutes."""

    async def sweep(timestamp: int) -> None:
        now = datetime.fromtimestamp(timestamp, UTC)
        async with database.transaction() as connection:
            tokens = await forget_tokens(connection, now)
            cards = await forget_cards(connection, now - timedelta(seconds=card_retention_s))
        structlog.get_logger().info("hooks swept", tokens=tokens, cards=cards)

    return Task(SWEEP_TASK, sweep, cron="*/10 * * * *")
