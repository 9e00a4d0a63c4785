"""The site's image archive: the DICOMweb destination that studies are pulled from."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from trabecula.delivery.destinations import Destination, StowDestination
from trabecula.delivery.pacs.pull import DicomwebArchive, PullLimits
from trabecula.delivery.smart import Clock
from trabecula.delivery.ways import token_source, web_transport
from trabecula.errors import ConfigurationError
from trabecula.work.content import ContentStore, FolderContent


def archive_destination(destinations: Sequence[Destination], name: str | None) -> StowDestination | None:
    """The entry of that name; None when none is named.

    Raises:
        ConfigurationError: if there is no DICOMweb destination of that name.
    """
    if name is None:
        return None
    found = next((each for each in destinations if each.name == name), None)
    if not isinstance(found, StowDestination):
        raise ConfigurationError(setting="TRABECULA_DICOMWEB_ARCHIVE", must_be="the name of a stow destination")
    return found


def open_archive(
    destination: StowDestination, content: ContentStore, limits: PullLimits, keys_dir: Path | None, clock: Clock
) -> DicomwebArchive:
    """The archive behind a destination. To be called where the event loop runs; opens no connection yet.

    Raises:
        DestinationsFileError: if a file that the entry names cannot be used, or it asks for keys and there is none.
    """
    transport = web_transport(destination)
    tokens = token_source(destination, transport, keys_dir, clock)
    return DicomwebArchive(destination.base_url, transport, content, limits, clock, tokens)


async def pull_files(
    study_uid: str, folder: Path, destination: StowDestination, limits: PullLimits, keys_dir: Path | None
) -> list[Path]:
    """The CT instances of a study as files in a folder.

    Args:
        folder: empty; the files and what is needed on the way lie in it.

    Raises:
        InvalidRequest, NotFound, LimitExceeded, ArchiveUnavailable, ArchiveRefused, Overloaded: see
            :class:`DicomwebArchive`.
    """
    content = FolderContent(folder / "content")
    archive = open_archive(destination, content, limits, keys_dir, lambda: datetime.now(UTC))
    files = []
    async with content.local_files(await archive(study_uid)) as paths:
        for number, path in enumerate(paths):
            files.append(folder / f"{number:06d}.dcm")
            await asyncio.to_thread(shutil.copyfile, path, files[-1])
    return files
