"""The content store in a folder."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as s

from trabecula.errors import ContentDamaged, ContentMissing, Overloaded
from trabecula.work import staging as staging_module
from trabecula.work.content import FolderContent, read_all
from trabecula.work.staging import StagingArea

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


async def test_what_is_put_can_be_read(content: FolderContent, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"pixels" * 400_000)
    from_bytes, from_file = await content.put(b"report"), await content.put(source)
    assert await read_all(content, from_bytes, verify=True) == b"report"
    assert await read_all(content, from_file, verify=True) == source.read_bytes()
    assert (await content.put(b"")).sha256 == EMPTY


async def test_nobody_else_can_read_it(content: FolderContent) -> None:
    await content.put(b"patient")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (content.folder, *content.folder.rglob("*"))}
    assert modes == {0o700, 0o600}


async def test_the_same_bytes_are_kept_once_and_count_as_put_now(content: FolderContent) -> None:
    ref = await content.put(b"twice")
    os.utime(content.path(ref.sha256), (1, 1))
    assert await content.put(b"twice") == ref
    (found,) = [each async for each in content.objects()]
    assert found.ref == ref
    assert time.time() - found.modified_at.timestamp() < 60
    assert len(files_below(content.folder)) == 1


async def test_a_cut_object_is_mended_by_putting_it_again(content: FolderContent) -> None:
    ref = await content.put(b"whole object")
    content.path(ref.sha256).write_bytes(b"whole")
    assert await content.missing([ref]) == (ref,)
    with pytest.raises(ContentDamaged):
        await read_all(content, ref)
    await content.put(b"whole object")
    assert await read_all(content, ref, verify=True) == b"whole object"


async def test_changed_bytes_are_noticed_when_asked_to(content: FolderContent) -> None:
    ref = await content.put(b"original")
    content.path(ref.sha256).write_bytes(b"tampered")
    assert await read_all(content, ref) == b"tampered"
    with pytest.raises(ContentDamaged):
        await read_all(content, ref, verify=True)


async def test_what_was_put_again_since_it_was_listed_is_not_deleted(content: FolderContent) -> None:
    ref = await content.put(b"old")
    os.utime(content.path(ref.sha256), (1, 1))
    (found,) = [each async for each in content.objects()]
    await content.put(b"old")
    assert not await content.delete_untouched(found)
    assert await content.missing([ref]) == ()


async def test_what_is_deleted_is_missing(content: FolderContent) -> None:
    ref = await content.put(b"gone")
    (found,) = [each async for each in content.objects()]
    assert await content.delete_untouched(found)
    assert not await content.delete_untouched(found)
    assert await content.missing([ref]) == (ref,)
    with pytest.raises(ContentMissing):
        await read_all(content, ref)
    with pytest.raises(ContentMissing):
        async with content.local_files([ref]):
            pass


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63, "", "0" * 64 + "\n"])
def test_only_a_hash_becomes_a_path(content: FolderContent, name: str) -> None:
    with pytest.raises(ContentMissing):
        content.path(name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(files=s.lists(s.binary(max_size=2000), min_size=1, max_size=5), data=s.data())
def test_an_upload_cut_at_any_byte_leaves_nothing(
    content: FolderContent, files: list[bytes], data: s.DataObject
) -> None:
    before = set(files_below(content.folder))
    cut = data.draw(s.integers(0, sum(map(len, files))))
    staging = content.stage()
    for file in files:
        staging.write(file[:cut])
        if len(file) >= cut:
            break
        cut -= len(file)
        staging.end_file()
    staging.discard()
    assert set(files_below(content.folder)) == before


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(staging_module.os, "write", refuse)
        yield


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_is_told_to_the_client_and_leaves_nothing(content: FolderContent) -> None:
    with pytest.raises(Overloaded) as caught:
        await content.put(b"too much")
    assert caught.value.fields["retry_after_s"] > 0
    assert files_below(content.folder) == []


async def test_a_disk_full_at_the_flush_leaves_nothing(content: FolderContent, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(Overloaded):
            await content.put(b"too much")
    assert files_below(content.folder) == []


def test_what_was_announced_must_fit(content: FolderContent) -> None:
    content.check_room(1)
    with pytest.raises(Overloaded):
        content.check_room(1 << 60)


CRASH = """
import os, signal, sys
from pathlib import Path
from trabecula.work.content import FolderContent
staging = FolderContent(Path(sys.argv[1])).stage()
staging.write(b"x" * 1000)
staging.end_file()
staging.write(b"y" * 500)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_staged_is_cleared_and_a_live_one_is_left_alone(content: FolderContent) -> None:
    live = content.stage()
    live.write(b"still coming")
    subprocess.run([sys.executable, "-c", CRASH, str(content.folder)], check=False)
    area = StagingArea(content.area.root)
    assert area.clear_leftovers(dry_run=True) == 1500
    assert area.clear_leftovers() == 1500
    assert area.clear_leftovers() == 0
    ref = live.end_file()
    assert live.commit() == (ref,)
    assert len(files_below(content.folder)) == 1


def test_another_machines_leftovers_are_cleared_only_when_nothing_was_written_for_long(
    content: FolderContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(content.folder)], check=False)
    monkeypatch.setattr(staging_module.socket, "gethostname", lambda: "another-machine")
    assert content.clear_staging() == 0
    assert content.clear_staging(3600.0) == 0
    time.sleep(0.05)
    assert content.clear_staging(0.04) == 1500


async def test_a_closed_area_leaves_no_folder(content: FolderContent) -> None:
    await content.put(b"kept")
    content.area.close()
    assert list(content.area.root.iterdir()) == []
