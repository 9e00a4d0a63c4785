"""What was acknowledged survives a kill of the process, at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import dicom_headers
import numpy as np
import psycopg
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE

from trabecula.config import Settings
from trabecula.geometry import Geometry
from trabecula.work.content import FolderContent

PROGRAM = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from trabecula.config import load_settings
from trabecula.service.dimse.serving import dimse_service
from trabecula.work.content import FolderContent
from trabecula.work.database import open_database
from trabecula.work.store import ScreeningStore

async def main():
    settings = load_settings()
    content = FolderContent(settings.state_dir / "content")
    async with open_database(settings) as database:
        store = ScreeningStore(database, content=content)
        async with dimse_service(settings, database, content, store) as door:
            print(door.port, flush=True)
            await asyncio.sleep(3600)

asyncio.run(main())
"""
GRID = Geometry((40, 32, 32), np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])


def start(settings: Settings, state: Path) -> tuple[subprocess.Popen[str], int]:
    environment = {
        **os.environ,
        "TRABECULA_DATABASE_URL": settings.database_url or "",
        "TRABECULA_STATE_DIR": str(state),
        "TRABECULA_DIMSE_LISTEN": "127.0.0.1:0",
        "TRABECULA_DIMSE_PEERS": "SCANNER@127.0.0.0/8",
        "TRABECULA_DIMSE_QUIET_S": "1.5",
    }
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def send_until_cut(port: int, study: list[FileDataset]) -> list[str]:
    """UIDs of those that were acknowledged."""
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage)
    entity.dimse_timeout = 10
    association = entity.associate("127.0.0.1", port, ae_title="TRABECULA")
    acknowledged = []
    for each in study:
        if not association.is_established:
            break
        try:
            answer = association.send_c_store(each)
        except RuntimeError:
            break
        if answer.get("Status") == 0:
            acknowledged.append(str(each.SOPInstanceUID))
    if association.is_established:
        association.release()
    else:
        association.abort()
    return acknowledged


@pytest.mark.heavy
def test_nothing_acknowledged_is_lost(database_settings: Settings, tmp_path: Path) -> None:
    study = dicom_headers.write_headers(tmp_path / "study", GRID, generate_uid(), generate_uid())
    for each in study:
        each.add_new(0x7FE00010, "OW", os.urandom(2048))
    state, chance, known = tmp_path / "state", random.Random(11), set[str]()
    for _ in range(3):
        process, port = start(database_settings, state)
        killer = subprocess.Popen(
            [sys.executable, "-c", f"import os,time; time.sleep({chance.uniform(0.2, 0.9)}); os.kill({process.pid}, 9)"]
        )
        known.update(send_until_cut(port, study))
        killer.wait(20)
        assert process.wait(20) == -signal.SIGKILL
    assert known
    process, port = start(database_settings, state)
    try:
        assert rows_of(database_settings) >= known  # what was acknowledged is in the journal
        send_until_cut(port, study)
        screened = wait_for_whole_study(database_settings, len(study))
    finally:
        process.terminate()
        process.wait(20)
    content = FolderContent(state / "content")
    assert all((content.folder / each[:2] / each).exists() for each in screened)


def rows_of(settings: Settings) -> set[str]:
    with psycopg.connect(settings.database_url or "") as connection:
        return {row[0] for row in connection.execute("SELECT sop_uid FROM dimse_received")}


def wait_for_whole_study(settings: Settings, instances: int) -> set[str]:
    """Hashes of the instances of the screening that has all of them."""
    for _ in range(200):
        with psycopg.connect(settings.database_url or "") as connection:
            rows = connection.execute(
                "SELECT i.sha256 FROM instance i JOIN screening s ON s.id = i.screening_id WHERE s.instances = %s",
                [instances],
            ).fetchall()
            if rows:
                assert len(rows) == instances
                return {row[0] for row in rows}
        time.sleep(0.1)
    raise AssertionError("the whole study was not accepted in time")
