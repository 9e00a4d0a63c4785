"""An upload streams into the content store, and leaves nothing when it is cut, wrong or too big."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as s

from trabecula.config import Settings
from trabecula.errors import Overloaded, TrabeculaError, UploadIncomplete, UploadTimedOut
from trabecula.patient import PatientContext
from trabecula.service.intake import Intake, UploadMessage
from trabecula.service.upload import ReceivedStudy, Upload, UploadChunk, UploadHeader
from trabecula.work.content import FolderContent, read_all
from trabecula.work.records import Source

FILES = [b"first" * 100, b"second" * 10, b"third" * 50]


def header(files: list[bytes], key: str = "") -> UploadHeader:
    return UploadHeader(key, len(files), sum(map(len, files)), PatientContext(), False)


def chunks(files: list[bytes], size: int = 64) -> list[UploadChunk]:
    made = []
    for index, file in enumerate(files):
        for offset in range(0, max(len(file), 1), size):
            data, last = file[offset : offset + size], offset + size >= len(file)
            made.append(UploadChunk(index, offset, data, last, hashlib.sha256(file).digest() if last else b""))
    return made


def kept(content: FolderContent) -> list[Path]:
    return [path for path in content.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def receive(content: FolderContent, files: list[bytes], key: str = "") -> ReceivedStudy:
    upload = Upload(header(files, key), content.stage())
    for chunk in chunks(files):
        upload.write(chunk)
    study = upload.finish(Source.GRPC)
    upload.discard()
    return study


async def test_a_study_is_in_the_store_when_it_is_finished(content: FolderContent) -> None:
    study = receive(content, FILES, "key")
    assert [await read_all(content, ref, verify=True) for ref in study.instances] == FILES
    assert study.submission.instances == 3
    assert study.submission.total_bytes == sum(map(len, FILES))
    assert study.submission.key_hash == hashlib.sha256(b"key").hexdigest()
    assert len(kept(content)) == 3


def test_the_order_of_files_is_no_other_study(content: FolderContent) -> None:
    fingerprints = {receive(content, list(order)).submission.fingerprint for order in itertools.permutations(FILES)}
    assert len(fingerprints) == 1
    assert receive(content, FILES[:2]).submission.fingerprint not in fingerprints


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(sent=s.integers(0, 15), spoil=s.booleans())
def test_an_upload_cut_anywhere_leaves_nothing(content: FolderContent, sent: int, spoil: bool) -> None:
    upload = Upload(header([*FILES, b"never sent"]), content.stage())
    for chunk in chunks(FILES)[:sent]:
        data = chunk.data[:-1] + b"?" if spoil and chunk.last else chunk.data
        try:
            upload.write(UploadChunk(chunk.instance_index, chunk.offset, data, chunk.last, chunk.sha256))
        except TrabeculaError:
            break
    with pytest.raises(UploadIncomplete):
        upload.finish()
    upload.discard()
    assert kept(content) == []


def test_nothing_is_written_after_an_upload_was_given_up(content: FolderContent) -> None:
    upload = Upload(header(FILES), content.stage())
    parts = chunks(FILES)
    upload.write(parts[0])
    upload.discard()
    for part in parts:
        upload.write(part)
    with pytest.raises(UploadIncomplete):
        upload.finish()
    assert kept(content) == []


def test_what_other_uploads_announced_takes_room(content: FolderContent, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(content, "check_room", seen.append)

    async def one(messages: list[UploadMessage]) -> AsyncIterator[UploadMessage]:
        for message in messages:
            yield message

    async def scenario() -> None:
        intake = Intake(content, Settings())
        total = sum(map(len, FILES))
        first = await intake.begin(one([header(FILES)]))
        await intake.fill(first, one([chunks(FILES)[0]]))
        second = await intake.begin(one([header(FILES)]))
        first.discard()
        third = await intake.begin(one([header(FILES)]))
        assert seen == [total, total + total - 64, total + total]
        second.discard()
        third.discard()

    asyncio.run(scenario())


async def test_an_upload_that_does_not_fit_is_turned_away_before_a_byte(content: FolderContent) -> None:
    async def messages() -> AsyncIterator[UploadMessage]:
        yield UploadHeader("", 1, 1 << 50, PatientContext(), False)

    with pytest.raises(Overloaded):
        await Intake(content, Settings(max_study_bytes=1 << 51)).begin(messages())
    assert list(content.area.root.iterdir()) == []


async def test_a_silent_client_is_let_go(content: FolderContent) -> None:
    async def messages() -> AsyncIterator[UploadMessage]:
        yield header(FILES)
        await asyncio.sleep(10)

    intake = Intake(content, Settings(upload_idle_timeout_s=0.05))
    stream = messages()
    upload = await intake.begin(stream)
    with pytest.raises(UploadTimedOut):
        await intake.fill(upload, stream)
    upload.discard()
