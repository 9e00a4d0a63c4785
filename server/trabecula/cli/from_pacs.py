"""A study fetched from the site's archive for ``trabecula submit --from-pacs``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trabecula.config import Settings


@contextmanager
def pulled_study(study_uid: str, settings: Settings) -> Iterator[list[Path]]:
    """The CT instances of a study as files, for the time of the block.

    Raises:
        ConfigurationError: if ``dicomweb_archive`` does not name a DICOMweb destination.
        NotFound, LimitExceeded, ArchiveUnavailable, ArchiveRefused: see
            :class:`trabecula.delivery.pacs.DicomwebArchive`.
    """
    with TemporaryDirectory(prefix="trabecula-pull-") as folder:
        yield asyncio.run(_pull(study_uid, settings, Path(folder)))


async def _pull(study_uid: str, settings: Settings, folder: Path) -> list[Path]:
    from trabecula.delivery.archive import archive_destination, pull_files
    from trabecula.delivery.destinations import read_destinations
    from trabecula.delivery.pacs.pull import PullLimits
    from trabecula.errors import ConfigurationError

    destination = archive_destination(read_destinations(settings.destinations_file), settings.dicomweb_archive)
    if destination is None:
        raise ConfigurationError(setting="TRABECULA_DICOMWEB_ARCHIVE", must_be="set")
    limits = PullLimits(settings.max_instances, settings.max_study_bytes)
    return await pull_files(study_uid, folder, destination, limits, settings.client_keys_dir)
