"""Run by the code of an earlier release, in a process of its own: accept a study and end it on a database that the
present code has migrated. Arguments: URL of the database, state folder, order for the fake screening chain."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from fake_screens import make_fake_perform

import trabecula
from trabecula.config import Settings
from trabecula.service.client import Client
from trabecula.service.server import Server
from trabecula.work.runner import ThreadRunner


async def main(url: str, state: Path, order: str) -> None:
    settings = Settings(database_url=url, state_dir=state, listen="127.0.0.1:0")
    study = state / "study.dcm"
    state.mkdir(parents=True, exist_ok=True)
    study.write_bytes(order.encode() + b"\n" + bytes(1000))
    server = Server(settings, ThreadRunner(make_fake_perform, settings.workers))
    await server.start()
    try:
        ended = await asyncio.to_thread(submit_and_wait, f"127.0.0.1:{server.port}", study)
    finally:
        await server.stop(0.0)
    sys.stdout.write(json.dumps({"code": str(Path(trabecula.__file__).parent), **ended}) + "\n")


def submit_and_wait(address: str, study: Path) -> dict[str, object]:
    with Client(address) as client:
        screening_id = client.submit([study])
        last = list(client.watch(screening_id))[-1]
        return {"screening_id": screening_id, "state": last.state, "documents": len(last.documents)}


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
