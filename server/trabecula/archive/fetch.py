"""From a reference to a study's files on this machine."""

from __future__ import annotations

import asyncio
import stat
import zipfile
import zlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from trabecula.archive.reference import Reference
from trabecula.errors import ConfigurationError, ReferenceUnusable, ZipUnusable
from trabecula.work.disk import disk_full_is_overload
from trabecula.work.scratch import Scratch

PIECE_BYTES: Final = 1 << 20

Pull = Callable[[str, Path], Coroutine[Any, Any, Sequence[Path]]]
"""Study Instance UID and an empty folder in; the study's files in that folder out."""


@dataclass(frozen=True)
class FetchLimits:
    """What an unpacked zip file may be."""

    max_files: int
    max_bytes: int


@dataclass(frozen=True)
class Fetch:
    """Where the studies of a campaign are."""

    root: Path | None
    """Folder that paths are relative to."""
    scratch: Scratch
    """For what is unpacked or pulled, for the time of one study."""
    limits: FetchLimits
    pull: Pull | None = None

    @contextmanager
    def files(self, reference: Reference) -> Iterator[tuple[Path, ...]]:
        """Paths with the study, for the time of the block.

        Raises:
            ReferenceUnusable: if it is not there, or leads out of the root.
            ZipUnusable: if it is a zip file that cannot be unpacked.
            ConfigurationError: if the campaign has no root, or no PACS, and the reference needs one.
            Overloaded: if the disk has no room for it.
            NotFound, LimitExceeded, ArchiveUnavailable, ArchiveRefused: see
                :class:`trabecula.delivery.pacs.DicomwebArchive`.
        """
        if reference.study_uid is None:
            if self.root is None:
                raise ConfigurationError(setting="--root", must_be="given for a manifest with paths")
            try:
                found = reference.below(self.root)
            except ReferenceUnusable:
                check_root(self.root)
                raise
            if not any(zipfile.is_zipfile(path) for path in found if path.is_file()):
                yield found
                return
        elif self.pull is None:
            raise ConfigurationError(setting="TRABECULA_DICOMWEB_ARCHIVE", must_be="set for a manifest with study UIDs")
        with self.scratch.folder() as folder:
            with disk_full_is_overload():
                if reference.study_uid is not None and self.pull is not None:
                    files = tuple(asyncio.run(self.pull(reference.study_uid, folder)))
                else:
                    files = tuple(_unzipped(path, folder / str(at), self.limits) for at, path in enumerate(found))
            yield files


def _unzipped(path: Path, folder: Path, limits: FetchLimits) -> Path:
    """The files of a zip file, under names of our own; what is none is given as it is."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return path
    folder.mkdir()
    left_bytes = limits.max_bytes
    try:
        with zipfile.ZipFile(path) as packed:
            entries = [each for each in packed.infolist() if not each.is_dir() and not _is_link(each)]
            if len(entries) > limits.max_files:
                raise ZipUnusable(max_files=limits.max_files)
            for number, entry in enumerate(entries):
                if entry.flag_bits & 1:
                    raise ZipUnusable(because="encrypted")
                with packed.open(entry) as source, (folder / f"{number:06d}").open("wb") as target:
                    left_bytes = _copied(source, target, left_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise ZipUnusable(because=type(error).__name__) from None
    return folder


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _copied(source: IO[bytes], target: IO[bytes], left_bytes: int) -> int:
    """Copy, counting what really comes; what the directory of the zip file says is not believed."""
    while piece := source.read(PIECE_BYTES):
        left_bytes -= len(piece)
        if left_bytes < 0:
            raise ZipUnusable(because="larger than a study may be")
        target.write(piece)
    return left_bytes


def check_root(root: Path) -> None:
    """Raises ConfigurationError when the root is no folder, or an empty one: a mount that is not there."""
    if not root.is_dir() or next(root.iterdir(), None) is None:
        raise ConfigurationError(setting="--root", must_be="a folder with something in it")
