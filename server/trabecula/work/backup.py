"""Backup of database and content store together, while the service runs.

The order makes it consistent: first nothing may be collected any more, then one snapshot decides what is in the
backup, then pg_dump writes that snapshot, then the bytes it names are copied. They are never changed, and what is
accepted meanwhile is not in the snapshot.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

import trabecula
from trabecula.errors import ContentDamaged, ContentMissing
from trabecula.work import postgres_tools
from trabecula.work.backup_format import (
    DUMP,
    FORMAT,
    BackupReader,
    BackupWriter,
    LeftOut,
    Manifest,
    object_name,
    writer_of,
)
from trabecula.work.content import ContentStore
from trabecula.work.content_guard import hold_all
from trabecula.work.database import Database
from trabecula.work.migrate import current_revision
from trabecula.work.naming import named_refs
from trabecula.work.records import ContentRef

Progress = Callable[[int, int], None]
"""Told the bytes done and the bytes in all."""


async def back_up(
    database: Database,
    content: ContentStore,
    target: Path,
    *,
    with_pixels: bool = True,
    progress: Progress = lambda _done, _total: None,
) -> Manifest:
    """Write a backup to a folder, or to one file where the name ends in ``.tar``.

    Args:
        database: of the screenings.
        content: of their bytes.
        target: must not exist; private to the user.
        with_pixels: False leaves out the images of screenings that have ended. Those of open ones are always in it,
            for without them an accepted study would be lost.
        progress: of the bytes copied.

    Returns:
        The manifest. Bytes that are missing or damaged are named in ``left_out``; everything else is in the backup.

    Raises:
        BackupExists: if there is something at the target.
        DatabaseToolFailed: if pg_dump failed; nothing is left behind.
    """
    writer = await asyncio.to_thread(writer_of, target)
    try:
        async with hold_all(database), _snapshot(database) as connection:
            with tempfile.TemporaryDirectory(prefix=".trabecula-backup-", dir=target.parent) as folder:
                return await _write(database, connection, content, writer, Path(folder), with_pixels, progress)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(writer.discard))
        raise


async def verify(source: Path, progress: Progress = lambda _done, _total: None) -> Manifest:
    """Read a whole backup against its manifest.

    Raises:
        BackupDamaged: if it is not what the manifest says.
    """

    def check() -> Manifest:
        reader = BackupReader(source)
        try:
            manifest = reader.manifest()
            total = manifest.dump.size_bytes + sum(ref.size_bytes for ref in manifest.objects)
            done = 0
            for name, ref in ((DUMP, manifest.dump), *((object_name(ref), ref) for ref in manifest.objects)):
                for piece in reader.pieces(name, ref):
                    done += len(piece)
                    progress(done, total)
            return manifest
        finally:
            reader.close()

    return await asyncio.to_thread(check)


@asynccontextmanager
async def _snapshot(database: Database) -> AsyncIterator[AsyncConnection]:
    engine = database.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    async with engine.begin() as connection:
        yield connection


async def _write(
    database: Database,
    connection: AsyncConnection,
    content: ContentStore,
    writer: BackupWriter,
    scratch: Path,
    with_pixels: bool,
    progress: Progress,
) -> Manifest:
    server_version = int((await connection.execute(text("SHOW server_version_num"))).scalar_one())
    revision = await connection.run_sync(current_revision)
    screenings = int((await connection.execute(text("SELECT count(*) FROM screening"))).scalar_one())
    snapshot = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
    refs = [ref async for ref in named_refs(connection, with_pixels=with_pixels)]
    dump = scratch / DUMP
    await _dump(database, server_version, snapshot, dump)
    total = dump.stat().st_size + sum(ref.size_bytes for ref in refs)
    dump_ref = await asyncio.to_thread(writer.add, DUMP, dump)
    done = dump_ref.size_bytes
    kept, left_out = [], []
    for ref in refs:
        progress(done, total)
        fault = await _copy(content, writer, ref)
        done += ref.size_bytes
        if fault is None:
            kept.append(ref)
        else:
            left_out.append(fault)
    progress(total, total)
    manifest = Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC),
        program_version=trabecula.__version__,
        server_version=server_version,
        revision=revision or "",
        with_pixels=with_pixels,
        screenings=screenings,
        dump=dump_ref,
        objects=tuple(kept),
        left_out=tuple(left_out),
    )
    await asyncio.to_thread(writer.finish, manifest, scratch)
    return manifest


async def _dump(database: Database, server_version: int, snapshot: str, target: Path) -> None:
    program = postgres_tools.tool("pg_dump", server_version)
    arguments = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}")
    process = await postgres_tools.start(program, database.parameters, *arguments)
    await postgres_tools.ended_well("pg_dump", process)


async def _copy(content: ContentStore, writer: BackupWriter, ref: ContentRef) -> LeftOut | None:
    try:
        async with content.local_files([ref]) as (path,):
            read = await asyncio.to_thread(writer.add, object_name(ref), path)
    except (ContentMissing, ContentDamaged) as error:
        return LeftOut(ref.sha256, error.code)
    return None if read == ref else LeftOut(ref.sha256, ContentDamaged.code)
