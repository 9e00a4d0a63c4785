"""The whole service in this process, as clients of the network see it; the screening chain is a stand-in
unless a runner is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_screens import make_fake_perform
from live_service import LiveServer

from trabecula.config import Settings
from trabecula.service.server import Server
from trabecula.work.check import check
from trabecula.work.content import FolderContent
from trabecula.work.database import open_database
from trabecula.work.runner import Runner, ThreadRunner


@contextmanager
def running_service(
    settings: Settings, folder: Path, runner: Runner | None = None, **changes: object
) -> Iterator[LiveServer]:
    """A service on a database of its own, until the end of the block; without a runner it screens with a stand-in."""
    chosen: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "admin_listen": "127.0.0.1:0",
        "state_dir": folder / "state",
        "heartbeat_s": 0.5,
        "stalled_after_s": 5.0,
        "upload_idle_timeout_s": 2.0,
        "queue_capacity": 5000,
        **changes,
    }
    chosen = {name: value for name, value in chosen.items() if hasattr(settings, name)}
    ready = replace(settings, **chosen)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, loop)
        return future.result(90)

    async def make() -> Server:
        server = Server(ready, runner or ThreadRunner(make_fake_perform, ready.workers))
        await server.start()
        return server

    server = wait(make())
    try:
        yield LiveServer(server, loop, ready)
    finally:
        wait(server.stop(0.0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def standing(live: LiveServer, until_quiet_s: float = 30.0) -> list[str]:
    """What is wrong with database and content store once nothing is open any more, in words."""

    async def look() -> list[str]:
        async with open_database(live.settings) as database:
            for _ in range(int(until_quiet_s / 0.2)):
                found = await check(database, FolderContent(live.settings.state_dir / "content"), deep=True)
                if found.open_screenings == 0 and not live.staged():
                    break
                await asyncio.sleep(0.2)
        wrong = [] if found.ok else [f"missing {len(found.missing)}, damaged {len(found.damaged)}"]
        if found.open_screenings:
            wrong.append(f"{found.open_screenings} screenings never ended")
        if live.staged():
            wrong.append(f"{len(live.staged())} staged files were left")
        return wrong

    return asyncio.run(look())


Check = Callable[[LiveServer], list[str]]
