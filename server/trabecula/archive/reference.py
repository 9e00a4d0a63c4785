"""What a manifest names: files of one study below a root, or a study in a PACS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from trabecula.errors import InvalidRequest, ReferenceUnusable

MOST_PATHS: Final = 10_000
LONGEST_PATH: Final = 4096
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID: Final = 64
"""PS3.5 9.1."""


@dataclass(frozen=True)
class Reference:
    """One study. Paths and UIDs may say who the patient is: never logged, never shown."""

    paths: tuple[str, ...] = ()
    """Folders, files or one zip file, relative to the root, with ``/``."""
    study_uid: str | None = None
    """To be pulled from the PACS; then there are no paths."""

    @property
    def key(self) -> str:
        """The reference as one text; equal references have equal keys."""
        return f"uid:{self.study_uid}" if self.study_uid is not None else "path:" + "\n".join(self.paths)

    @property
    def is_pull(self) -> bool:
        return self.study_uid is not None

    def to_json(self) -> dict[str, object]:
        """As a line of a manifest."""
        if self.study_uid is not None:
            return {"study_uid": self.study_uid}
        return {"path": self.paths[0]} if len(self.paths) == 1 else {"paths": list(self.paths)}

    def below(self, root: Path) -> tuple[Path, ...]:
        """Its paths, each below the root after links are followed.

        Raises:
            ReferenceUnusable: if one is not there or leads out of the root.
        """
        top = root.resolve()
        found = tuple((root / path).resolve() for path in self.paths)
        for path in found:
            if not path.is_relative_to(top):
                raise ReferenceUnusable(because="outside the root")
            if not path.exists():
                raise ReferenceUnusable(because="not there")
        return found


def of_key(key: str) -> Reference:
    """Inverse of :attr:`Reference.key`."""
    kind, _, text = key.partition(":")
    return Reference(study_uid=text) if kind == "uid" else Reference(tuple(text.split("\n")))


def parse_reference(fields: Mapping[str, object]) -> Reference:
    """A manifest's line: ``study_uid``, ``path`` or ``paths``; exactly one of them. Other fields are passed over.

    Raises:
        InvalidRequest: naming the field.
    """
    uid, path, paths = (fields.get(name) or None for name in ("study_uid", "path", "paths"))
    if (uid is not None) + (path is not None) + (paths is not None) != 1:
        raise InvalidRequest(field="path", must_be="the only one of path, paths, study_uid")
    if uid is not None:
        return Reference(study_uid=_study_uid(uid))
    several = [path] if paths is None else paths
    if not isinstance(several, list | tuple) or not 1 <= len(several) <= MOST_PATHS:
        raise InvalidRequest(field="paths", must_be=f"a list of 1 to {MOST_PATHS}")
    return Reference(tuple(_relative(each) for each in several))


def _study_uid(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_UID or not _UID.fullmatch(value):
        raise InvalidRequest(field="study_uid", must_be="a UID")
    return value


def _relative(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_PATH or any(ord(each) < 32 for each in value):
        raise InvalidRequest(field="path", must_be="a path in one line")
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(field="path", must_be="relative, below the root")
    return path.as_posix()
