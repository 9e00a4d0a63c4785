"""Finding DICOM files under any mix of files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from trabecula.errors import InputError, LimitExceeded
from trabecula.imaging.limits import ImagingLimits

_MAGIC_OFFSET = 128
_SNIFF_BYTES = 512
_DIRECTORY_CLASS = b"1.2.840.10008.1.3.10\0"


def find_dicom_files(paths: Sequence[Path], limits: ImagingLimits) -> list[Path]:
    """DICOM files at or below the paths, each once, in a stable order.

    Content decides, not the name; a DICOMDIR is left out. Links to files are followed, links to
    folders inside a folder are not (they could lead round in circles). Pipes and devices are never opened.

    Raises InputError where a path does not exist, LimitExceeded over `max_files`, `max_instances` or `max_total_bytes`.
    """
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    looked_at = total_bytes = 0
    for path in _walk(paths):
        looked_at += 1
        if looked_at > limits.max_files:
            raise LimitExceeded(limit="max_files", value=limits.max_files)
        try:
            status = path.stat()
        except OSError:  # a dangling link, or gone meanwhile
            continue
        key = (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode) or key in seen or not _is_dicom(path):
            continue
        seen.add(key)
        found.append(path)
        total_bytes += status.st_size
        if len(found) > limits.max_instances:
            raise LimitExceeded(limit="max_instances", value=limits.max_instances)
        if total_bytes > limits.max_total_bytes:
            raise LimitExceeded(limit="max_total_bytes", value=limits.max_total_bytes)
    return found


def _walk(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from (Path(folder, name) for name in sorted(names))
        elif path.exists():
            yield path
        else:
            raise InputError("a path given does not exist")


def _is_dicom(path: Path) -> bool:
    """Part 10 magic, or a bare data set that starts in group 0008 (old archives write those)."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError:
        return False
    if head[_MAGIC_OFFSET : _MAGIC_OFFSET + 4] == b"DICM":
        return _DIRECTORY_CLASS not in head and path.name.upper() != "DICOMDIR"
    bare_group = head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\x00"
    explicit_vr = head[4:6].isalpha() and head[4:6].isupper()
    implicit_length = head[5:8] == b"\x00\x00\x00"
    return len(head) > 8 and bare_group and (explicit_vr or implicit_length)
