"""What operators' commands ask a running service for, with ``--server``: the same answers as on the database itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from trabecula.service.client import AdminClient, ClientTls
    from trabecula.work.check import CheckReport
    from trabecula.work.gc import Collected


@dataclass(frozen=True)
class Elsewhere:
    """A running service's admin address, and how to speak with it."""

    address: str
    tls: ClientTls | None
    token_file: Path | None

    @contextmanager
    def _client(self) -> Iterator[AdminClient]:
        from trabecula.service.client import AdminClient

        with AdminClient(self.address, self.tls, self.token_file) as client:
            yield client

    def collect(self, dry_run: bool) -> Collected:
        """``trabecula gc``."""
        from trabecula.v1 import admin_pb2
        from trabecula.work.gc import Collected

        with self._client() as client:
            done = client.call("CollectGarbage", admin_pb2.CollectGarbageRequest(dry_run=dry_run))
        return Collected(
            pixels=done.pixels,
            results=done.results,
            objects=done.objects,
            object_bytes=done.object_bytes,
            staging_bytes=done.staging_bytes,
            jobs=done.jobs,
            dry_run=done.dry_run,
        )

    def check(self, deep: bool) -> CheckReport:
        """``trabecula db check``."""
        from trabecula.v1 import admin_pb2
        from trabecula.work.check import CheckReport

        with self._client() as client:
            found = client.call("CheckDatabase", admin_pb2.CheckDatabaseRequest(deep=deep))
        return CheckReport(
            server_version=found.server_version,
            revision=found.revision or None,
            needed_revision=found.needed_revision,
            screenings=found.screenings,
            open_screenings=found.open_screenings,
            open_without_job=found.open_without_job,
            objects=found.objects,
            missing=tuple(found.missing),
            damaged=tuple(found.damaged),
            unnamed=found.unnamed,
            unnamed_bytes=found.unnamed_bytes,
            deep=deep,
        )

    def upgrade(self) -> dict[str, str | None]:
        """``trabecula db upgrade``, to the newest revision that the service knows."""
        from trabecula.v1 import admin_pb2

        with self._client() as client:
            done = client.call("UpgradeDatabase", admin_pb2.UpgradeDatabaseRequest())
        return {"before": done.revision_before or None, "after": done.revision, "newest_known": done.revision}

    def back_up(self, name: Path, with_pixels: bool) -> dict[str, Any]:
        """``trabecula db backup``, into the service's backup folder."""
        from trabecula.v1 import admin_pb2

        request = admin_pb2.BackupDatabaseRequest(name=_plain(name, "TARGET"), without_pixels=not with_pixels)
        with self._client() as client:
            done = client.call("BackupDatabase", request)
        return {"name": done.name, "revision": done.revision, **_held(done)}

    def restore(self, name: Path) -> dict[str, Any]:
        """``trabecula db restore``, from the service's backup folder."""
        from trabecula.v1 import admin_pb2

        with self._client() as client:
            done = client.call("RestoreDatabase", admin_pb2.RestoreDatabaseRequest(name=_plain(name, "SOURCE")))
        return {"created_at": f"{done.created_at.ToDatetime().isoformat()}+00:00", **_held(done)}


def elsewhere(
    server: str | None,
    tls: bool,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
) -> Elsewhere | None:
    """The service that the options name; None when the command works on the database itself."""
    if server is None:
        return None
    from trabecula.cli.submit import tls_with

    return Elsewhere(server, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file)


def _plain(name: Path, hint: str) -> str:
    if name.name != str(name):
        said = "with --server it is a name in the service's TRABECULA_BACKUP_DIR, not a path"
        raise typer.BadParameter(said, param_hint=hint)
    return name.name


def _held(done: Any) -> dict[str, Any]:
    return {
        "screenings": done.screenings,
        "objects": done.objects,
        "bytes": done.total_bytes,
        "left_out": list(done.left_out),
    }
