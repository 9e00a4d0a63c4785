"""What the integration tests of the service share."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trabecula.config import Settings
from trabecula.service.server import Server


@dataclass
class LiveServer:
    """A service on an event loop in a thread of its own, as clients see it."""

    server: Server
    loop: asyncio.AbstractEventLoop
    settings: Settings

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def admin_address(self) -> str:
        return f"127.0.0.1:{self.server.admin_port}"

    def stop(self, drain_s: float) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(drain_s), self.loop).result(60)

    def staged(self) -> list[Path]:
        """Files of uploads that are under way; walks, so that what vanishes meanwhile does no harm."""
        walk = os.walk(self.settings.state_dir / "content" / "staging")
        return [Path(folder) / name for folder, _, files in walk for name in files if not name.endswith(".lock")]

    def kept(self) -> list[Path]:
        """Files of the content store."""
        return [path for path in (self.settings.state_dir / "content").glob("[0-9a-f][0-9a-f]/*") if path.is_file()]


StartServer = Callable[..., LiveServer]


def make_study(folder: Path, order: bytes = b"report", files: int = 1, size: int = 1000) -> list[Path]:
    """Files that tell the fake screening chain what to do; each is ``size`` bytes and unlike the others."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(files):
        path = folder / f"{index}.dcm"
        path.write_bytes((order + b"\n" + bytes([index])).ljust(size, b"."))
        paths.append(path)
    return paths


def wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait for something that happens soon; fails when it does not."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
