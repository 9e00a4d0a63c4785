"""Which studies lie in a folder tree: a manifest from what is there.

A study is named by the highest folder that holds nothing else; a zip file is taken to be one study. Memory goes with
the widest folder, not with the archive.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trabecula.archive.reference import MOST_PATHS, Reference
from trabecula.errors import InputError
from trabecula.imaging.discover import find_dicom_files
from trabecula.imaging.headers import read_instance
from trabecula.imaging.limits import ImagingLimits

ZIP: Final = ".zip"
MOST_TOGETHER: Final = 10_000
"""Studies of one folder that are held back in case that more of their files come."""
DEEPEST: Final = 64


@dataclass
class _Below:
    """What a folder hands to the one above it."""

    studies: dict[str, list[str]] = field(default_factory=dict)
    """Study Instance UID to paths that hold it and nothing else."""
    several: bool = False
    """Whether studies of this folder were named already, so that it cannot stand for one."""


@dataclass(frozen=True)
class _Names:
    """What lies in one folder, as paths from the root."""

    folders: list[str]
    files: list[str]
    zips: list[str]


def list_studies(
    root: Path, *, every_file: bool = False, tell: Callable[[int], None] = lambda _: None
) -> Iterator[Reference]:
    """References of the studies below a folder, in a stable order. Links are not followed.

    The first and the last DICOM file of a folder (by name) say whose it is. Where they differ, or with ``every_file``,
    the header of every file is read and each study named by its files; a study of more files than a reference may have
    is then named by its folder, and will be told as mixed.

    Args:
        root: of the tree.
        every_file: believe no folder.
        tell: told how many folders were looked at.

    Raises:
        InputError: if the root is no folder, or the tree is too deep.
    """
    if not root.is_dir():
        raise InputError("the root is no folder")
    left = yield from _Walk(root, every_file, tell).look("", 0)
    for paths in left.studies.values():
        yield _reference(paths, "")


class _Walk:
    def __init__(self, root: Path, every_file: bool, tell: Callable[[int], None]) -> None:
        self._root = root
        self._every_file = every_file
        self._tell = tell
        self._limits = ImagingLimits()
        self._folders = 0

    def look(self, folder: str, depth: int) -> Generator[Reference, None, _Below]:
        """Yield what is settled; return what the folder above may still put together with more."""
        if depth > DEEPEST:
            raise InputError("the folders are too deep", deepest=DEEPEST)
        self._folders += 1
        self._tell(self._folders)
        names = self._entries(folder)
        here = _Below(several=bool(names.zips))
        for path in names.zips:
            yield Reference((path,))
        for path in names.folders:
            below = yield from self.look(path, depth + 1)
            here.several = here.several or below.several
            for uid, paths in below.studies.items():
                here.studies.setdefault(uid, []).extend(paths)
            while len(here.studies) > MOST_TOGETHER:
                here.several = True
                yield _reference(here.studies.pop(next(iter(here.studies))), folder)
        for uid, files in self._own(names.files).items():
            here.studies.setdefault(uid, []).extend(files)
        if len(here.studies) == 1 and not here.several:
            return _Below({uid: [folder or "."] for uid in here.studies})
        for paths in here.studies.values():
            yield _reference(paths, folder)
        return _Below(several=here.several or bool(here.studies))

    def _entries(self, folder: str) -> _Names:
        names = _Names([], [], [])
        with os.scandir(self._root / folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    names.folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    (names.zips if entry.name.lower().endswith(ZIP) else names.files).append(path)
        return names

    def _own(self, files: list[str]) -> dict[str, list[str]]:
        """Studies of the files that lie in a folder itself."""
        if not self._every_file:
            ends = {self._first_uid(files), self._first_uid(reversed(files))}
            if len(ends) == 1:
                uid = ends.pop()
                return {} if uid is None else {uid: list(files)}
        studies: dict[str, list[str]] = {}
        for path in files:
            uid = self._uid(path)
            if uid is not None:
                studies.setdefault(uid, []).append(path)
        return studies

    def _first_uid(self, files: Iterable[str]) -> str | None:
        return next((uid for path in files if (uid := self._uid(path)) is not None), None)

    def _uid(self, path: str) -> str | None:
        """The file's study; None when it is no DICOM that can be read."""
        try:
            found = find_dicom_files((self._root / path,), self._limits)
            return (read_instance(found[0], self._limits).study_uid or None) if found else None
        except (InputError, OSError):
            return None


def _reference(paths: list[str], folder: str) -> Reference:
    return Reference(tuple(paths) if len(paths) <= MOST_PATHS else (folder or ".",))
