"""Backups that are damaged or hostile: nothing is half restored, nothing is waited for without end."""

from __future__ import annotations

import os
import tarfile
import threading
from pathlib import Path

import fuzz_restore
import pytest
from database import DatabaseServer

from trabecula.errors import BackupDamaged
from trabecula.work.backup_format import DUMP, MANIFEST, BackupReader
from trabecula.work.records import ContentRef


def test_no_broken_backup_is_half_restored(database_server: DatabaseServer, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("source", "target", "room")]
    folders[2].mkdir()
    source = fuzz_restore.screened(database_server, folders[0], 2)
    target = fuzz_restore.screened(database_server, folders[1], 1)
    tally = fuzz_restore.RestoreTally()
    fuzz_restore.fuzz_restore(source, target, folders[2], 5, 14, tally)
    assert tally.findings == {}
    assert tally.backups == 14


def _tar(path: Path, member: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        made.addfile(member)
    return path


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo(MANIFEST)
    member.type, member.linkname = kind, MANIFEST
    reader = BackupReader(_tar(tmp_path / "b.tar", member))
    with pytest.raises(BackupDamaged):
        reader.manifest()
    reader.close()


def test_a_sparse_member_is_not_made_into_bytes(tmp_path: Path) -> None:
    member = tarfile.TarInfo(MANIFEST)
    member.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": MANIFEST,
        "GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,0",
    }  # fmt: skip
    reader = BackupReader(_tar(tmp_path / "b.tar", member))
    with pytest.raises(BackupDamaged) as met:
        reader.manifest()
    reader.close()
    assert met.value.fields["reason"] == "missing"  # not read and found too long


def test_a_fifo_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST)
    met: list[BaseException] = []

    def read() -> None:
        try:
            BackupReader(tmp_path).manifest()
        except BackupDamaged as error:
            met.append(error)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(30)
    assert len(met) == 1


def test_a_file_longer_than_announced_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / DUMP).write_bytes(b"x" * (8 << 20))
    pieces = BackupReader(tmp_path).pieces(DUMP, ContentRef("0" * 64, 10))
    with pytest.raises(BackupDamaged):
        next(pieces)
