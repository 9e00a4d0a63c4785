"""``trabecula gc`` again and again in one process, with no time of grace: run by the fault tests beside uploads."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from trabecula.config import load_settings
from trabecula.errors import DatabaseUnavailable
from trabecula.service.wiring import retention_rules
from trabecula.work.database import open_database
from trabecula.work.gc import collect, policy_of
from trabecula.work.open_content import open_content


async def main(counter: Path) -> None:
    settings = load_settings()
    runs = taken = 0
    async with open_database(settings) as database, open_content(settings) as content:
        while True:
            try:
                done = await collect(database, content, policy_of(settings), retention_rules())
            except DatabaseUnavailable:
                continue
            runs, taken = runs + 1, taken + done.objects
            counter.write_text(f"{runs} {taken}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
