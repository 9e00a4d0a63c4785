"""The content store in object storage, against a server that speaks S3."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from object_storage import ObjectStorage, running_storage

from trabecula.config import Settings
from trabecula.errors import ConfigurationError, ContentDamaged, ContentMissing, ContentUnavailable
from trabecula.patient import PatientContext
from trabecula.service.upload import Upload, UploadChunk, UploadHeader
from trabecula.work.content import StoredObject, read_all
from trabecula.work.object_content import ObjectContent, read_options
from trabecula.work.open_content import open_content
from trabecula.work.records import ContentRef


@pytest.fixture(scope="module")
def storage() -> Iterator[ObjectStorage]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    yield from running_storage()


@pytest.fixture
def objects(storage: ObjectStorage, tmp_path: Path) -> ObjectContent:
    options = read_options(storage.options_file(tmp_path))
    return ObjectContent(f"s3://{storage.bucket()}/site/ct", options, tmp_path / "scratch")


def scratch_files(objects: ObjectContent) -> list[Path]:
    return [path for path in objects.area.root.rglob("*") if path.is_file() and path.suffix != ".lock"]


async def test_what_is_put_can_be_read(objects: ObjectContent) -> None:
    big = bytes(range(256)) * 50_000
    refs = [await objects.put(b"report"), await objects.put(big), await objects.put(b"")]
    assert [await read_all(objects, ref, verify=True) for ref in refs] == [b"report", big, b""]
    assert {each.ref async for each in objects.objects()} == set(refs)
    assert scratch_files(objects) == []


async def test_workers_get_local_copies_in_order_and_they_go(objects: ObjectContent) -> None:
    refs = [await objects.put(f"instance {number}".encode()) for number in range(40)]
    async with objects.local_files(refs) as paths:
        assert [path.read_bytes() for path in paths] == [f"instance {number}".encode() for number in range(40)]
        assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert scratch_files(objects) == []


async def test_a_missing_object_is_told_and_leaves_no_copies(objects: ObjectContent) -> None:
    there = await objects.put(b"there")
    gone = ContentRef(hashlib.sha256(b"gone").hexdigest(), 4)
    assert await objects.missing([there, gone]) == (gone,)
    with pytest.raises(ContentMissing):
        await read_all(objects, gone)
    with pytest.raises(ContentMissing):
        async with objects.local_files([there, gone]):
            pass
    assert scratch_files(objects) == []


async def test_other_bytes_under_the_name_are_noticed(objects: ObjectContent) -> None:
    ref = await objects.put(b"original")
    key = f"{ref.sha256[:2]}/{ref.sha256}"
    await obstore.put_async(objects._store, key, b"tampered")
    with pytest.raises(ContentDamaged):
        async with objects.local_files([ref]):
            pass
    await obstore.put_async(objects._store, key, b"cut")
    assert await objects.missing([ref]) == (ref,)
    with pytest.raises(ContentDamaged):
        await read_all(objects, ref)


async def test_only_what_was_not_put_again_is_deleted(objects: ObjectContent) -> None:
    ref = await objects.put(b"old")
    (found,) = [each async for each in objects.objects()]
    earlier = StoredObject(ref, found.modified_at - timedelta(seconds=5))
    assert not await objects.delete_untouched(earlier)
    assert await objects.delete_untouched(found)
    assert not await objects.delete_untouched(found)
    assert await objects.missing([ref]) == (ref,)


async def test_an_upload_streams_into_a_bucket(objects: ObjectContent) -> None:
    files = [b"one" * 1000, b"two" * 1000, b"one" * 1000]
    upload = Upload(UploadHeader("", 3, 9000, PatientContext(), False), objects.stage())
    for index, data in enumerate(files):
        await asyncio.to_thread(upload.write, UploadChunk(index, 0, data, True, hashlib.sha256(data).digest()))
    study = await asyncio.to_thread(upload.finish)
    upload.discard()
    assert [await read_all(objects, ref) for ref in study.instances] == files
    assert scratch_files(objects) == []


async def test_a_storage_that_is_away_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "trabecula.work.object_content._RETRY", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
    )
    options = {
        "store": {"endpoint": "http://127.0.0.1:9", "region": "x", "access_key_id": "x", "secret_access_key": "x"},
        "client": {"allow_http": True, "timeout": "1s"},
    }
    objects = ObjectContent("s3://nowhere", options, tmp_path / "scratch")
    started = time.monotonic()
    with pytest.raises(ContentUnavailable) as caught:
        await objects.put(b"data")
    assert "127.0.0.1" not in str(caught.value)
    assert time.monotonic() - started < 10
    assert scratch_files(objects) == []


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc", "memory://", "s4://bucket"])
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ObjectContent(url, {}, tmp_path)


def test_options_with_a_name_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ObjectContent("s3://bucket", {"store": {"no_such_option": "x"}}, tmp_path)


def test_an_options_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        read_options(tmp_path / "missing.toml")


async def test_the_settings_choose_the_store(storage: ObjectStorage, tmp_path: Path) -> None:
    file = storage.options_file(tmp_path)
    settings = Settings(state_dir=tmp_path, content_url=f"s3://{storage.bucket()}", content_options_file=file)
    async with open_content(settings) as content:
        ref = await content.put(b"in a bucket")
        assert await content.missing([ref]) == ()
    async with open_content(Settings(state_dir=tmp_path)) as content:
        assert await content.missing([ref]) == (ref,)
