"""The whole service with its bytes in object storage: upload, work, documents, retention, backup."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import StartServer, make_study
from object_storage import ObjectStorage, running_storage

from trabecula.config import Settings
from trabecula.service.client import Client
from trabecula.service.messages import kind_from_proto
from trabecula.work.backup import back_up
from trabecula.work.check import CheckReport, check
from trabecula.work.database import open_database
from trabecula.work.gc import Collected, RetentionPolicy, collect
from trabecula.work.open_content import open_content


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    yield from running_storage()


async def after_retention(settings: Settings, target: Path) -> tuple[int, Collected, CheckReport]:
    at_once = RetentionPolicy(pixel_s=-5.0, result_s=None, grace_s=-5.0, job_s=-5.0)
    async with open_database(settings) as database, open_content(settings) as content:
        backed_up = await back_up(database, content, target)
        collected = await collect(database, content, at_once)
        return len(backed_up.objects), collected, await check(database, content, deep=True)


def test_a_study_goes_through_a_bucket_and_its_pixels_leave_it(
    start_server: StartServer, storage: ObjectStorage, tmp_path: Path
) -> None:
    url, file = f"s3://{storage.bucket()}/ct", storage.options_file(tmp_path)
    service = start_server(content_url=url, content_options_file=file)
    with Client(service.address) as client:
        screening_id = client.submit(make_study(tmp_path / "study", b"report", 4))
        last = list(client.watch(screening_id))[-1]
        for kind in map(kind_from_proto, last.documents):
            client.save_document(screening_id, kind, tmp_path / kind.value)
            assert (tmp_path / kind.value).stat().st_size > 0
    documents = len(last.documents)
    service.stop(0.0)
    backed_up, collected, found = asyncio.run(after_retention(service.settings, tmp_path / "backup.tar"))
    assert backed_up == documents + 4
    assert (collected.pixels, collected.objects) == (1, 4)
    assert (found.ok, found.objects, found.unnamed) == (True, documents, 0)
    assert not (service.settings.state_dir / "content").exists()
    scratch = service.settings.state_dir / "content-scratch"
    assert [path for path in scratch.rglob("*") if path.is_file() and path.suffix != ".lock"] == []
