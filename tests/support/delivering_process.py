"""A process that delivers what is due for one destination, again and again, until it is killed or nothing is left.

``python delivering_process.py DATABASE_URL EHR_URL CLOCK_OFFSET_S``. Its clock jumps instead of waiting: whenever
nothing is due, the next minute begins.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from delivery_case import LIMITS, START, HandClock, destination, outlet

from trabecula.config import Settings
from trabecula.delivery.states import DeliveryState
from trabecula.work.content import FolderContent
from trabecula.work.database import open_database


async def main(database_url: str, ehr_url: str, offset_s: float) -> None:
    limits = replace(LIMITS, timeout_s=2.0, attempt_timeout_s=60.0, first_delay_s=1.0, max_delay_s=30.0)
    clock = HandClock(START + timedelta(seconds=offset_s))
    async with open_database(Settings(database_url=database_url)) as database:
        content = FolderContent(Path(tempfile.mkdtemp()))
        out = outlet(database, content, destination(ehr_url, limits=limits), clock)
        out.deliverer.random = random.random
        print("ready", flush=True)
        while True:
            await out.deliverer.sweep()
            await out.deliverer.drain("ehr")
            if not any(row.state in (DeliveryState.PENDING, DeliveryState.SENDING) for row in await out.rows()):
                print("done", flush=True)
                return
            clock.pass_s(60.0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
