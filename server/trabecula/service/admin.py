"""What operators do: look after screenings, database and content store. Over gRPC, and in the process of the command
line itself."""

# ruff: noqa: N802, ARG002 - method names and arguments are gRPC's
from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Final

from trabecula.errors import InvalidRequest, NotConfigured
from trabecula.service import messages
from trabecula.service.core import DEFAULT_PAGE, MAX_PAGE
from trabecula.v1 import admin_pb2 as pb
from trabecula.v1 import admin_pb2_grpc
from trabecula.work import backup, check, gc, restore
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.migrate import current_revision, upgrade
from trabecula.work.reading import Filters
from trabecula.work.records import ScreeningRecord
from trabecula.work.store import ScreeningStore

BACKUP_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):  # type: ignore[misc]
    """``trabecula.v1.AdminService``."""

    def __init__(
        self,
        store: ScreeningStore,
        database: Database,
        content: ContentStore,
        policy: gc.RetentionPolicy,
        rules: gc.RetentionRules,
        backup_dir: Path | None = None,
    ) -> None:
        """Args:
        backup_dir: the only folder that backups are written to and read from.
        """
        self._store = store
        self._database = database
        self._content = content
        self._policy = policy
        self._rules = rules
        self._backup_dir = backup_dir

    async def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        if request.page_size > MAX_PAGE:
            raise InvalidRequest(field="page_size", at_most=MAX_PAGE)
        priorities = (messages.priority_from_proto(number) for number in request.priorities)
        sources = (messages.source_from_proto(number) for number in request.sources)
        filters = Filters(
            states=messages.states_from_proto(request.states),
            priorities=tuple(each for each in priorities if each is not None),
            sources=tuple(each for each in sources if each is not None),
        )
        records, token = await self._store.page(request.page_size or DEFAULT_PAGE, request.page_token, filters)
        load = await self._store.load()
        counts = [
            pb.StateCount(state=messages.state_to_proto(state), jobs=number)
            for state, number in (await self._store.counts()).items()
        ]
        return pb.ListJobsResponse(
            jobs=[messages.summary_to_proto(record) for record in records],
            next_page_token=token,
            counts=counts,
            oldest_open_age_s=load.oldest_age_s,
        )

    async def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        record = await self._store.get(request.screening_id)
        steps = [
            pb.JobStep(
                at=messages.timestamp_to_proto(step.at),
                event=step.event,
                state=messages.state_to_proto(step.state),
                attempt=step.attempt,
                reason=step.reason,
            )
            for step in await self._store.steps(record.screening_id)
        ]
        not_before = messages.timestamp_to_proto(await self._store.not_before(record.screening_id))
        return pb.GetJobResponse(job=messages.summary_to_proto(record), steps=steps, not_before=not_before)

    async def RetryJob(self, request: pb.RetryJobRequest, context: Any) -> pb.RetryJobResponse:
        return pb.RetryJobResponse(job=_summary(await self._store.revive(request.screening_id)))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        return pb.CancelJobResponse(job=_summary(await self._store.cancel(request.screening_id)))

    async def SetLegalHold(self, request: pb.SetLegalHoldRequest, context: Any) -> pb.SetLegalHoldResponse:
        record = await self._store.set_legal_hold(request.screening_id, hold=request.hold)
        return pb.SetLegalHoldResponse(job=_summary(record))

    async def CollectGarbage(self, request: pb.CollectGarbageRequest, context: Any) -> pb.CollectGarbageResponse:
        done = await gc.collect(self._database, self._content, self._policy, self._rules, dry_run=request.dry_run)
        return pb.CollectGarbageResponse(
            pixels=done.pixels,
            results=done.results,
            objects=done.objects,
            object_bytes=done.object_bytes,
            staging_bytes=done.staging_bytes,
            jobs=done.jobs,
            dry_run=done.dry_run,
        )

    async def CheckDatabase(self, request: pb.CheckDatabaseRequest, context: Any) -> pb.CheckDatabaseResponse:
        found = await check.check(self._database, self._content, deep=request.deep)
        return pb.CheckDatabaseResponse(
            ok=found.ok,
            server_version=found.server_version,
            revision=found.revision,
            needed_revision=found.needed_revision,
            screenings=found.screenings,
            open_screenings=found.open_screenings,
            open_without_job=found.open_without_job,
            objects=found.objects,
            missing=found.missing,
            damaged=found.damaged,
            unnamed=found.unnamed,
            unnamed_bytes=found.unnamed_bytes,
        )

    async def UpgradeDatabase(self, request: pb.UpgradeDatabaseRequest, context: Any) -> pb.UpgradeDatabaseResponse:
        async with self._database.transaction() as connection:
            before = await connection.run_sync(current_revision)
            await connection.run_sync(upgrade)
            after = await connection.run_sync(current_revision)
        return pb.UpgradeDatabaseResponse(revision_before=before, revision=after)

    async def BackupDatabase(self, request: pb.BackupDatabaseRequest, context: Any) -> pb.BackupDatabaseResponse:
        target = self._backup(request.name)
        await asyncio.to_thread(lambda: target.parent.mkdir(mode=0o700, parents=True, exist_ok=True))
        manifest = await backup.back_up(self._database, self._content, target, with_pixels=not request.without_pixels)
        return pb.BackupDatabaseResponse(
            name=request.name,
            revision=manifest.revision,
            screenings=manifest.screenings,
            objects=len(manifest.objects),
            total_bytes=manifest.dump.size_bytes + sum(ref.size_bytes for ref in manifest.objects),
            left_out=[each.sha256 for each in manifest.left_out],
        )

    async def RestoreDatabase(self, request: pb.RestoreDatabaseRequest, context: Any) -> pb.RestoreDatabaseResponse:
        source = self._backup(request.name)
        if not source.exists():
            raise InvalidRequest(field="name")
        await self._database.engine.dispose()  # its idle connections would look like a service at work
        manifest = await restore.restore(self._database, self._content, source)
        return pb.RestoreDatabaseResponse(
            created_at=messages.timestamp_to_proto(manifest.created_at),
            screenings=manifest.screenings,
            objects=len(manifest.objects),
            total_bytes=manifest.dump.size_bytes + sum(ref.size_bytes for ref in manifest.objects),
            left_out=[each.sha256 for each in manifest.left_out],
        )

    def _backup(self, name: str) -> Path:
        """Raises NotConfigured, InvalidRequest. A name never leaves the operator's folder."""
        if self._backup_dir is None:
            raise NotConfigured(setting="TRABECULA_BACKUP_DIR")
        if not BACKUP_NAME.fullmatch(name):
            raise InvalidRequest(field="name")
        return self._backup_dir / name


def _summary(record: ScreeningRecord) -> Any:
    return messages.summary_to_proto(record)
