"""Whether database and content store are whole and fit each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text

from trabecula.errors import ContentDamaged, ContentMissing
from trabecula.work.content import ContentStore
from trabecula.work.content_guard import hold_all
from trabecula.work.database import Database
from trabecula.work.migrate import current_revision, head, is_current
from trabecula.work.naming import named_refs, open_without_job
from trabecula.work.queue import SCREEN_TASK
from trabecula.work.records import ContentRef

REFS_AT_ONCE = 500


@dataclass(frozen=True)
class CheckReport:
    """What was found."""

    server_version: int
    """``server_version_num``."""
    revision: str | None
    needed_revision: str
    screenings: int = 0
    open_screenings: int = 0
    open_without_job: int = 0
    """Accepted, not ended, and no job of the queue will end them; the sweep of a running service enqueues them."""
    objects: int = 0
    """That rows name."""
    missing: tuple[str, ...] = ()
    """Hashes of objects that are not there, or are too short or too long."""
    damaged: tuple[str, ...] = ()
    """Hashes of objects with other bytes; looked for by a deep check only."""
    unnamed: int = 0
    """Objects that no row names: garbage, or bytes of an upload under way."""
    unnamed_bytes: int = 0
    deep: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. Bytes that no row names are not."""
        return is_current(self.revision) and not (self.missing or self.damaged or self.open_without_job)


async def check(
    database: Database,
    content: ContentStore,
    *,
    deep: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CheckReport:
    """Look at everything; changes nothing.

    Args:
        database: opened without the check of its tables.
        content: of the bytes.
        deep: read every byte and hash it.
        progress: told the objects looked at, and all that rows name.
    """
    async with hold_all(database), database.transaction() as connection:
        version = int((await connection.execute(text("SHOW server_version_num"))).scalar_one())
        revision = await connection.run_sync(current_revision)
        if not is_current(revision):
            return CheckReport(version, revision, head(), deep=deep)
        counted = text("SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM screening")
        screenings, open_screenings = (await connection.execute(counted)).one()
        refs = [ref async for ref in named_refs(connection)]
        missing, damaged = await _look(content, refs, deep, progress)
        unnamed, unnamed_bytes = await _unnamed(content, {ref.sha256 for ref in refs})
        return CheckReport(
            version,
            revision,
            head(),
            screenings=screenings,
            open_screenings=open_screenings,
            open_without_job=await open_without_job(connection, SCREEN_TASK),
            objects=len(refs),
            missing=missing,
            damaged=damaged,
            unnamed=unnamed,
            unnamed_bytes=unnamed_bytes,
            deep=deep,
        )


async def _look(
    content: ContentStore, refs: list[ContentRef], deep: bool, progress: Callable[[int, int], None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    missing: list[str] = []
    damaged: list[str] = []
    for start in range(0, len(refs), REFS_AT_ONCE):
        batch = refs[start : start + REFS_AT_ONCE]
        gone = set(await content.missing(batch))
        missing.extend(ref.sha256 for ref in batch if ref in gone)
        if not deep:
            progress(start + len(batch), len(refs))
            continue
        for number, ref in enumerate(batch):
            if ref not in gone and not await _whole(content, ref):
                damaged.append(ref.sha256)
            progress(start + number + 1, len(refs))
    return tuple(missing), tuple(damaged)


async def _whole(content: ContentStore, ref: ContentRef) -> bool:
    try:
        async for _ in content.read(ref, verify=True):
            pass
    except (ContentDamaged, ContentMissing):
        return False
    return True


async def _unnamed(content: ContentStore, named: set[str]) -> tuple[int, int]:
    number = size_bytes = 0
    async for found in content.objects():
        if found.ref.sha256 not in named:
            number += 1
            size_bytes += found.ref.size_bytes
    return number, size_bytes
