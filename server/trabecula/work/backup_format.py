"""A backup as it lies on disk: one folder, or the same in one tar file.

``manifest.json`` comes last, so that a backup that was cut short has none.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from pydantic import TypeAdapter, ValidationError

from trabecula.errors import BackupDamaged, BackupExists
from trabecula.work.content import CHUNK_BYTES
from trabecula.work.disk import flush_folder
from trabecula.work.records import ContentRef

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DUMP: Final = "database.dump"
TAR_SUFFIX: Final = ".tar"
MOST_MANIFEST_BYTES: Final = 1024 * 1024 * 1024
"""Some ten million objects."""
_TAR_FAULTS: Final = (OSError, KeyError, tarfile.TarError, ValueError, ArithmeticError, EOFError)
"""What tarfile meets in damaged files."""


@dataclass(frozen=True)
class LeftOut:
    """An object that could not be backed up."""

    sha256: str
    reason: str
    """Code of the error."""


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    format: int
    created_at: datetime
    program_version: str
    server_version: int
    """``server_version_num``."""
    revision: str
    with_pixels: bool
    """False: the images of ended screenings are not in it."""
    screenings: int
    dump: ContentRef
    objects: tuple[ContentRef, ...]
    left_out: tuple[LeftOut, ...]


_MANIFEST: Final = TypeAdapter(Manifest)
_SHA256: Final = re.compile("[0-9a-f]{64}")
_REVISION: Final = re.compile("[0-9]{4}")


def object_name(ref: ContentRef) -> str:
    """Name of an object in a backup."""
    return f"content/{ref.sha256[:2]}/{ref.sha256}"


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self._size_bytes += len(data)
        return data

    def ref(self) -> ContentRef:
        return ContentRef(self._digest.hexdigest(), self._size_bytes)


class BackupWriter(ABC):
    """Writes beside the target; :meth:`finish` puts it there."""

    def __init__(self, target: Path) -> None:
        """Raises BackupExists if something is there."""
        if target.exists():
            raise BackupExists(target.name)
        self.target = target
        self.partial = target.with_name(target.name + ".partial")

    @abstractmethod
    def add(self, name: str, source: Path) -> ContentRef:
        """Add a file; blocks. Returns what was read."""

    @abstractmethod
    def close(self) -> None:
        """Make everything durable; blocks."""

    @abstractmethod
    def discard(self) -> None:
        """Delete what was written; blocks."""

    def finish(self, manifest: Manifest, scratch: Path) -> None:
        """Add the manifest, make all of it durable, give it its name; blocks."""
        written = scratch / MANIFEST
        written.write_bytes(_MANIFEST.dump_json(manifest, indent=1))
        self.add(MANIFEST, written)
        self.close()
        self.partial.rename(self.target)
        flush_folder(self.target.parent)


class FolderWriter(BackupWriter):
    def __init__(self, target: Path) -> None:
        super().__init__(target)
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(mode=0o700, parents=True)

    def add(self, name: str, source: Path) -> ContentRef:
        place = self.partial / name
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with source.open("rb") as stream, os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as write:
            read = _Hashed(stream)
            shutil.copyfileobj(read, write, CHUNK_BYTES)
            write.flush()
            os.fsync(write.fileno())
        return read.ref()

    def close(self) -> None:
        for folder, _, _ in os.walk(self.partial):
            flush_folder(Path(folder))

    def discard(self) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)


class TarWriter(BackupWriter):
    def __init__(self, target: Path) -> None:
        super().__init__(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.partial.unlink(missing_ok=True)
        self._stream = os.fdopen(os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._tar = tarfile.open(fileobj=self._stream, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed below

    def add(self, name: str, source: Path) -> ContentRef:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = source.stat().st_size, 0o600
        with source.open("rb") as stream:
            read = _Hashed(stream)
            self._tar.addfile(entry, read)
        return read.ref()

    def close(self) -> None:
        self._tar.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def discard(self) -> None:
        self._stream.close()
        self.partial.unlink(missing_ok=True)


def writer_of(target: Path) -> BackupWriter:
    """A tar file where the name ends in ``.tar``, else a folder."""
    return TarWriter(target) if target.suffix == TAR_SUFFIX else FolderWriter(target)


class BackupReader:
    """Opens files of a backup by names from its manifest; no name in a tar file ever becomes a path."""

    def __init__(self, source: Path) -> None:
        """Raises BackupDamaged if it is none."""
        self._source = source
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        if not source.is_dir():
            try:
                self._tar = tarfile.open(source, mode="r:")  # noqa: SIM115 - closed by close()
                self._members = {member.name: member for member in self._tar}
            except _TAR_FAULTS as error:
                self.close()
                raise BackupDamaged("neither a folder nor a whole tar file", file=source.name) from error

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Raises BackupDamaged if there is no such file, or something else of that name."""
        try:
            stream = self._open(name)
        except _TAR_FAULTS as error:
            raise BackupDamaged(file=name, reason="missing") from error
        with stream:
            yield stream

    def pieces(self, name: str, ref: ContentRef) -> Iterator[bytes]:
        """A file's bytes, checked: raises BackupDamaged when they are not those of the manifest, and as soon as there
        are more."""
        digest, size_bytes = hashlib.sha256(), 0
        with self.open(name) as stream:
            while piece := _read(stream, name):
                digest.update(piece)
                size_bytes += len(piece)
                if size_bytes > ref.size_bytes:
                    raise BackupDamaged(file=name, reason="size")
                yield piece
        if (digest.hexdigest(), size_bytes) != (ref.sha256, ref.size_bytes):
            raise BackupDamaged(file=name, reason="sha256")

    def manifest(self) -> Manifest:
        """Raises BackupDamaged if there is none that this program can read."""
        with self.open(MANIFEST) as stream:
            written = _read(stream, MANIFEST, MOST_MANIFEST_BYTES + 1)
        if len(written) > MOST_MANIFEST_BYTES:
            raise BackupDamaged(file=MANIFEST, reason="size")
        try:
            manifest = _MANIFEST.validate_json(written)
        except ValidationError:
            raise BackupDamaged(file=MANIFEST, reason="not readable") from None
        if manifest.format != FORMAT:
            raise BackupDamaged(file=MANIFEST, format=manifest.format, known=FORMAT)
        refs = (manifest.dump, *manifest.objects)
        whole = all(_SHA256.fullmatch(ref.sha256) and ref.size_bytes >= 0 for ref in refs)
        if not whole or not _REVISION.fullmatch(manifest.revision):
            raise BackupDamaged(file=MANIFEST, reason="not readable")
        return manifest

    def _open(self, name: str) -> IO[bytes]:
        if self._tar is None:
            path = self._source / name
            if not path.is_file():  # a FIFO would be waited for
                raise KeyError(name)
            return path.open("rb")
        member = self._members[name]
        # A link leads elsewhere, or round in a circle; a sparse file makes bytes of nothing, without end.
        found = self._tar.extractfile(member) if member.isreg() and not member.issparse() else None
        if found is None:
            raise KeyError(name)
        return found


def _read(stream: IO[bytes], name: str, size: int = CHUNK_BYTES) -> bytes:
    """Some bytes; raises BackupDamaged where the file ends too early."""
    try:
        return stream.read(size)
    except _TAR_FAULTS as error:
        raise BackupDamaged(file=name, reason="not readable") from error
