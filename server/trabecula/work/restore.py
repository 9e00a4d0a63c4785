"""Restore of a backup. Bytes come first, and the database in one transaction: it is all there or not at all."""

from __future__ import annotations

import asyncio
import os
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import DatabaseInUse, DatabaseNotEmpty
from trabecula.work import postgres_tools
from trabecula.work.backup_format import DUMP, BackupReader, Manifest, object_name
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.gc import PIXELS_DELETED
from trabecula.work.migrate import current_revision, is_current, upgrade
from trabecula.work.records import ContentRef

Progress = Callable[[int, int], None]
_HEAD_BYTES: Final = 64 * 1024
TRANSACTION_TIMEOUT_SINCE: Final = 170000
"""``server_version_num`` of the first server with this setting; newer programs write it for every server."""
_TRANSACTION_TIMEOUT: Final = b"SET transaction_timeout = 0;"

_LEAVING_S: Final = 3.0
"""How long a connection that was closed may still be seen."""

_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name LIKE 'trabecula%' AND backend_type = 'client backend'"
)

_CLEAR: Final = """
DO $$
DECLARE each record;
BEGIN
    FOR each IN SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' LOOP
        EXECUTE format('DROP TABLE IF EXISTS %s CASCADE', each.name);
    END LOOP;
    FOR each IN SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
        EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', each.name);
    END LOOP;
    FOR each IN SELECT t.oid::regtype AS name FROM pg_type t
        WHERE t.typnamespace = current_schema()::regnamespace AND t.typtype IN ('e', 'c', 'd') LOOP
        EXECUTE format('DROP TYPE IF EXISTS %s CASCADE', each.name);
    END LOOP;
END;
$$;
"""


async def restore(
    database: Database,
    content: ContentStore,
    source: Path,
    *,
    replace: bool = False,
    scratch: Path | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Manifest:
    """Put a backup back: bytes, rows, jobs. The tables are brought up to the program's revision at the end.

    What was queued or running when the backup was made runs to its end once the service starts.

    Args:
        database: opened without the check of its tables; the service must not work on it.
        content: where the bytes go; what is there stays.
        source: folder or file of the backup.
        replace: give up what the database holds.
        scratch: folder with room for the dump as a script; the system's one when None.
        progress: of the bytes copied.

    Raises:
        BackupDamaged: if the backup is not what its manifest says. The database is as it was.
        DatabaseNotEmpty: if the database holds something and ``replace`` was not said.
        DatabaseInUse: if the service works on it.
        DatabaseToolFailed: if the dump could not be put back. The database is as it was.
        Overloaded: if there is no room for the bytes.
    """
    reader = await asyncio.to_thread(BackupReader, source)
    try:
        manifest = await asyncio.to_thread(reader.manifest)
        server_version = await _check_target(database, replace)
        with tempfile.TemporaryDirectory(prefix=".trabecula-restore-", dir=scratch) as folder:
            dump = Path(folder) / DUMP
            await asyncio.to_thread(_unpack, reader, DUMP, manifest.dump, dump)
            await _put_all(reader, manifest, content, progress)
            await _run_script(database, server_version, dump, manifest)
    finally:
        reader.close()
    async with database.transaction() as connection:
        if not is_current(await connection.run_sync(current_revision)):
            await connection.run_sync(upgrade)
    return manifest


async def _check_target(database: Database, replace: bool) -> int:
    deadline = asyncio.get_running_loop().time() + _LEAVING_S
    while True:
        async with database.transaction() as connection:
            if not (await connection.execute(_OTHERS)).scalar_one():
                if not replace and await _holds_something(connection):
                    raise DatabaseNotEmpty
                return int((await connection.execute(text("SHOW server_version_num"))).scalar_one())
        if asyncio.get_running_loop().time() > deadline:
            raise DatabaseInUse
        await asyncio.sleep(0.1)


async def _holds_something(connection: AsyncConnection) -> bool:
    tables = await connection.execute(
        text(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
            " AND c.relkind = 'r' AND c.relname NOT LIKE 'procrastinate%' AND c.relname <> 'alembic_version'"
        )
    )
    for table in tables.scalars().all():
        anything = text(f"SELECT EXISTS (SELECT 1 FROM {table})")  # noqa: S608 - regclass quotes  # nosec B608
        if (await connection.execute(anything)).scalar_one():
            return True
    return False


def _unpack(reader: BackupReader, name: str, ref: ContentRef, target: Path) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        for piece in reader.pieces(name, ref):
            stream.write(piece)


async def _put_all(reader: BackupReader, manifest: Manifest, content: ContentStore, progress: Progress) -> None:
    total = manifest.dump.size_bytes + sum(ref.size_bytes for ref in manifest.objects)
    content.check_room(total)
    done = manifest.dump.size_bytes

    def put(ref: ContentRef) -> None:
        staging = content.stage()
        try:
            for piece in reader.pieces(object_name(ref), ref):
                staging.write(piece)
            staging.end_file()
            staging.commit()
        finally:
            staging.discard()

    for ref in manifest.objects:
        progress(done, total)
        await asyncio.to_thread(put, ref)
        done += ref.size_bytes
    progress(total, total)


async def _run_script(database: Database, server_version: int, dump: Path, manifest: Manifest) -> None:
    """One psql in one transaction: clear, the dump as a script, what follows from the manifest.

    The script is whole before psql begins, so that a dump that breaks off is never committed.
    """
    folder = dump.parent
    script, clear, tail = folder / "dump.sql", folder / "clear.sql", folder / "tail.sql"
    make = await asyncio.create_subprocess_exec(
        postgres_tools.tool("pg_restore", server_version),
        *("--no-owner", "--no-privileges", f"--file={script}", str(dump)),
        stderr=PIPE,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    await postgres_tools.ended_well("pg_restore", make)
    if server_version < TRANSACTION_TIMEOUT_SINCE:
        await asyncio.to_thread(_mute, script, _TRANSACTION_TIMEOUT)
    await asyncio.to_thread(clear.write_text, _CLEAR)
    await asyncio.to_thread(tail.write_text, "" if manifest.with_pixels else _without_pixels(manifest.created_at))
    files = [f"--file={each}" for each in (clear, script, tail)]
    options = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1")
    program = postgres_tools.tool("psql", server_version)
    run = await postgres_tools.start(program, database.parameters, *options, *files, stdout=DEVNULL)
    await postgres_tools.ended_well("psql", run)


def _mute(script: Path, line: bytes) -> None:
    """Make a line near the top of a script a comment, in place."""
    with script.open("r+b") as stream:
        at = stream.read(_HEAD_BYTES).find(line)
        if at >= 0:
            stream.seek(at)
            stream.write(b"-- ")


def _without_pixels(moment: datetime) -> str:
    """What retention would have done: ended screenings have no images in such a backup."""
    at = f"'{moment.isoformat()}'"
    ended = "ended_at IS NOT NULL AND pixels_deleted_at IS NULL"
    return f"""
SET search_path = public;
INSERT INTO transition (screening_id, at, event, state, attempt)
    SELECT id, {at}, '{PIXELS_DELETED}', state, attempt FROM screening WHERE {ended};
DELETE FROM instance USING screening WHERE instance.screening_id = screening.id AND ended_at IS NOT NULL;
UPDATE screening SET pixels_deleted_at = {at}, patient = NULL WHERE {ended};
"""  # noqa: S608 - a moment and names of ours  # nosec B608
