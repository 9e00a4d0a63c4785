"""Backup while the service runs, and restore onto an empty machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from database import DatabaseServer
from live_service import LiveServer, StartServer, make_study
from sqlalchemy import insert, text

from trabecula.config import Settings
from trabecula.errors import BackupDamaged, BackupExists, DatabaseInUse, DatabaseNotEmpty, DatabaseToolFailed
from trabecula.service.client import Client
from trabecula.service.messages import kind_from_proto
from trabecula.work import backup as backup_module
from trabecula.work.backup import back_up, verify
from trabecula.work.backup_format import Manifest
from trabecula.work.check import CheckReport, check
from trabecula.work.content import FolderContent
from trabecula.work.database import Database, open_database
from trabecula.work.open_content import open_content
from trabecula.work.postgres_tools import tool
from trabecula.work.restore import restore
from trabecula.work.schema import screening


@dataclass
class Machine:
    """A place with an empty database and an empty state folder."""

    settings: Settings

    def backup(self, target: Path, **more: Any) -> Manifest:
        return asyncio.run(self._do(lambda db, content: back_up(db, content, target, **more)))

    def restore(self, source: Path, **more: Any) -> Manifest:
        return asyncio.run(self._do(lambda db, content: restore(db, content, source, **more)))

    def check(self, **more: Any) -> CheckReport:
        return asyncio.run(self._do(lambda db, content: check(db, content, **more)))

    def rows(self, query: str) -> list[Any]:
        async def ask(database: Database, _: Any) -> list[Any]:
            async with database.transaction() as connection:
                return [tuple(row) for row in await connection.execute(text(query))]

        return asyncio.run(self._do(ask))

    def run(self, sql: str) -> None:
        async def tell(database: Database, _: Any) -> None:
            async with database.transaction() as connection:
                await connection.execute(text(sql))

        asyncio.run(self._do(tell))

    def objects(self) -> list[Path]:
        return [path for path in (self.settings.state_dir / "content").glob("??/*") if path.is_file()]

    async def _do(self, what: Any) -> Any:
        async with open_database(self.settings, check_schema=False) as db, open_content(self.settings) as content:
            return await what(db, content)


@pytest.fixture
def new_machine(database_server: DatabaseServer, tmp_path: Path) -> Iterator[Machine]:
    """An empty database without even our tables."""
    name = database_server.create("template1")
    yield Machine(Settings(database_url=database_server.url(name), state_dir=tmp_path / "elsewhere"))
    database_server.drop(name)


def documents(service: LiveServer, folder: Path) -> dict[str, dict[str, bytes]]:
    """Every document of every screening, as clients get them."""
    found = {}
    with Client(service.address) as client:
        for summary in client.list().summaries:
            found[summary.screening_id] = {}
            for kind in map(kind_from_proto, summary.documents):
                client.save_document(summary.screening_id, kind, folder / "document")
                found[summary.screening_id][kind.value] = (folder / "document").read_bytes()
    return found


@pytest.fixture
def site(start_server: StartServer, tmp_path: Path) -> tuple[Machine, list[str]]:
    """A service that has reported, refused and failed, and stopped with one study running and one waiting."""
    service = start_server()
    with Client(service.address) as client:
        ids = [client.submit(make_study(tmp_path / order, order.encode(), 3)) for order in ("report", "refuse", "bug")]
        for each in ids:
            list(client.watch(each))
        ids += [client.submit(make_study(tmp_path / f"open{n}", b"brief", 2)) for n in range(2)]
    service.stop(0.0)
    return Machine(service.settings), ids


@pytest.mark.parametrize("name", ["backup.tar", "backup"])
def test_a_restored_service_has_the_same_results_and_ends_what_was_interrupted(
    site: tuple[Machine, list[str]], new_machine: Machine, start_server: StartServer, tmp_path: Path, name: str
) -> None:
    here, ids = site
    written = here.backup(tmp_path / name)
    assert written.screenings == 5
    assert new_machine.restore(tmp_path / name) == written
    assert new_machine.rows("SELECT * FROM transition ORDER BY id") == here.rows("SELECT * FROM transition ORDER BY id")
    assert {path.read_bytes() for path in new_machine.objects()} == {path.read_bytes() for path in here.objects()}
    found = new_machine.check(deep=True)
    assert found.ok
    assert (found.screenings, found.open_screenings, found.unnamed) == (5, 2, 0)

    restored = start_server(database_url=new_machine.settings.database_url, state_dir=new_machine.settings.state_dir)
    with Client(restored.address) as client:
        ends = [list(client.watch(each))[-1].state for each in ids]
        assert len({*ends[3:]}) == 1
        assert ends[0] == ends[3]  # both reported
        assert len({*ends[:3]}) == 3
    restored_documents = documents(restored, tmp_path)
    assert all(len(restored_documents[each]) >= 3 for each in (ids[0], ids[3], ids[4]))
    restored.stop(0.0)
    original = start_server(database_url=here.settings.database_url, state_dir=here.settings.state_dir)
    kept = documents(original, tmp_path)
    assert {each: kept[each] for each in ids[:3]} == {each: restored_documents[each] for each in ids[:3]}


def test_a_backup_is_private_and_names_no_file_by_what_clients_sent(
    site: tuple[Machine, list[str]], tmp_path: Path
) -> None:
    site[0].backup(tmp_path / "private.tar")
    assert stat.S_IMODE((tmp_path / "private.tar").stat().st_mode) == 0o600
    with tarfile.open(tmp_path / "private.tar") as tar:
        names = tar.getnames()
    assert names[0] == "database.dump"
    assert names[-1] == "manifest.json"
    assert all(len(name.rsplit("/", 1)[-1]) == 64 for name in names[1:-1])


def test_without_pixels_the_results_stay_and_open_studies_still_run(
    site: tuple[Machine, list[str]], new_machine: Machine, start_server: StartServer, tmp_path: Path
) -> None:
    here, ids = site
    everything = here.backup(tmp_path / "all.tar")
    manifest = here.backup(tmp_path / "slim.tar", with_pixels=False)
    assert len(everything.objects) - len(manifest.objects) == 3 * 3
    new_machine.restore(tmp_path / "slim.tar")
    assert new_machine.check(deep=True).ok
    ended = "SELECT count(*), count(pixels_deleted_at), count(patient) FROM screening WHERE ended_at IS NOT NULL"
    assert new_machine.rows(ended) == [(3, 3, 0)]
    restored = start_server(database_url=new_machine.settings.database_url, state_dir=new_machine.settings.state_dir)
    with Client(restored.address) as client:
        assert list(client.watch(ids[3]))[-1].state == client.get(ids[0])[0].state
    restored.stop(0.0)


def test_a_database_that_holds_something_is_not_overwritten_unless_told(
    site: tuple[Machine, list[str]], tmp_path: Path
) -> None:
    here, _ = site
    here.backup(tmp_path / "b.tar")
    here.run(
        "INSERT INTO transition (screening_id, at, event, state, attempt)"
        " SELECT id, now(), 'later', state, attempt FROM screening LIMIT 1"
    )
    with pytest.raises(DatabaseNotEmpty):
        here.restore(tmp_path / "b.tar")
    assert here.rows("SELECT count(*) FROM transition WHERE event = 'later'") == [(1,)]
    here.restore(tmp_path / "b.tar", replace=True)
    assert here.rows("SELECT count(*) FROM transition WHERE event = 'later'") == [(0,)]
    assert here.check(deep=True).ok


def test_a_service_that_runs_is_not_restored_under(
    site: tuple[Machine, list[str]], start_server: StartServer, tmp_path: Path
) -> None:
    here, _ = site
    here.backup(tmp_path / "b.tar")
    start_server(database_url=here.settings.database_url, state_dir=here.settings.state_dir)
    with pytest.raises(DatabaseInUse):
        here.restore(tmp_path / "b.tar", replace=True)


def spoil_object(folder: Path) -> None:
    path = next(path for path in folder.glob("content/*/*"))
    path.write_bytes(b"!" + path.read_bytes()[1:])


def lose_object(folder: Path) -> None:
    next(path for path in folder.glob("content/*/*")).unlink()


def spoil_dump(folder: Path) -> None:
    data = bytearray((folder / "database.dump").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / "database.dump").write_bytes(data)


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def later_format(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(document | {"format": 99}))


@pytest.mark.parametrize("spoil", [spoil_object, lose_object, spoil_dump, lose_manifest, later_format])
def test_a_damaged_backup_is_refused_and_leaves_the_database_empty(
    site: tuple[Machine, list[str]], new_machine: Machine, tmp_path: Path, spoil: Any
) -> None:
    site[0].backup(tmp_path / "b")
    spoil(tmp_path / "b")
    with pytest.raises(BackupDamaged):
        asyncio.run(verify(tmp_path / "b"))
    with pytest.raises(BackupDamaged):
        new_machine.restore(tmp_path / "b")
    assert new_machine.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_tar_that_was_cut_short_is_refused(
    site: tuple[Machine, list[str]], new_machine: Machine, tmp_path: Path
) -> None:
    site[0].backup(tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupDamaged):
        new_machine.restore(tmp_path / "cut.tar")


def test_a_dump_that_breaks_in_the_middle_changes_nothing(
    site: tuple[Machine, list[str]], new_machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site[0].backup(tmp_path / "b")
    monkeypatch.setattr("trabecula.work.restore._CLEAR", "CREATE TABLE half (id int); SELECT 1 / 0;")
    with pytest.raises(DatabaseToolFailed, match="division by zero"):
        new_machine.restore(tmp_path / "b")
    assert new_machine.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_bytes_that_are_missing_or_damaged_are_named_and_the_rest_is_backed_up(
    site: tuple[Machine, list[str]], tmp_path: Path
) -> None:
    here, _ = site
    gone, spoiled, *_ = sorted(here.objects())
    gone.unlink()
    spoiled.write_bytes(b"!" * spoiled.stat().st_size)
    found = here.check(deep=True)
    assert (found.ok, found.missing, found.damaged) == (False, (gone.name,), (spoiled.name,))
    assert here.check().damaged == ()
    written = here.backup(tmp_path / "b")
    assert {each.sha256: each.reason for each in written.left_out} == {
        gone.name: "content-missing",
        spoiled.name: "content-damaged",
    }
    assert asyncio.run(verify(tmp_path / "b")) == written


def test_nothing_is_overwritten_and_a_failed_backup_leaves_nothing(
    site: tuple[Machine, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(BackupExists):
        site[0].backup(tmp_path / "taken")

    async def fail(*_: Any) -> None:
        raise DatabaseToolFailed(tool="pg_dump")

    monkeypatch.setattr(backup_module, "_dump", fail)
    before = set(tmp_path.iterdir())
    for name in ("b", "b.tar"):
        with pytest.raises(DatabaseToolFailed):
            site[0].backup(tmp_path / name)
    assert set(tmp_path.iterdir()) == before


async def test_what_is_accepted_during_a_backup_is_not_in_it_and_not_lost(
    database: Database, content: FolderContent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dump and the list of bytes are of one moment, whatever happens between the two."""

    async def add(number: int) -> None:
        row = {"id": f"00000000-0000-4000-8000-{number:012}", "source": "grpc", "fingerprint": "0" * 64}
        async with database.transaction() as connection:
            now = datetime.now(UTC)
            await connection.execute(insert(screening).values(**row, instances=1, total_bytes=1, submitted_at=now))

    dump = backup_module._dump

    async def add_first(*arguments: Any) -> None:
        await add(2)
        await dump(*arguments)

    monkeypatch.setattr(backup_module, "_dump", add_first)
    await add(1)
    manifest = await back_up(database, content, tmp_path / "b")
    command = [tool("pg_restore", 180000), "--file=-", tmp_path / "b" / "database.dump"]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert manifest.screenings == 1
    assert "000000000001" in script
    assert "000000000002" not in script


def test_the_whole_way_by_command_onto_an_empty_machine(site: tuple[Machine, list[str]], tmp_path: Path) -> None:
    """As an operator does it, with the PostgreSQL that comes with the program on the new machine."""
    here, _ = site
    empty = tmp_path / "new-machine"

    def trabecula(settings: Settings | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "TRABECULA_STATE_DIR": str(settings.state_dir if settings else empty),
        }
        if settings and settings.database_url:
            environment["TRABECULA_DATABASE_URL"] = settings.database_url
        command = [sys.executable, "-m", "trabecula.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    made = trabecula(here.settings, "db", "backup", str(tmp_path / "b.tar"), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["screenings"] == 5
    assert trabecula(None, "db", "check").returncode == 3
    put = trabecula(None, "db", "restore", str(tmp_path / "b.tar"), "--json")
    assert put.returncode == 0, put.stderr
    assert json.loads(put.stdout) == json.loads(made.stdout)
    looked = trabecula(None, "db", "check", "--deep", "--json")
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout)["screenings"] == 5
    assert trabecula(None, "db", "restore", str(tmp_path / "b.tar")).returncode == 1
    would = json.loads(trabecula(None, "gc", "--dry-run", "--json").stdout)
    assert would == dict.fromkeys(would, 0) | {"dry_run": True}
    shutil.rmtree(empty)
