"""Evaluation cases: folders with a CT, reference labels and what is known of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from trabecula.errors import InvalidCase, NoCasesFound

CT_FOLDER: Final = "ct"
CT_FILE: Final = "ct.nii.gz"
LABELS_FILE: Final = "labels.nii.gz"
CASE_FILE: Final = "case.json"


class ReferenceKind(StrEnum):
    """Where the reference labels come from; the summary keeps the kinds apart."""

    MANUAL = "manual"
    """Drawn or corrected by people on a real CT."""
    PSEUDO = "pseudo"
    """Another model's output on a real CT: says how near we are to that model."""
    RENDERED = "rendered"
    """A CT rendered from the labels by ``models/training``."""
    PHANTOM = "phantom"
    """The digital phantom's truth."""


@dataclass(frozen=True)
class CaseInfo:
    """``case.json``. Fields that this version does not know are passed over."""

    name: str = ""
    """Shown in results; the folder's name where it is empty."""
    source: str = ""
    licence: str = ""
    label_map: str = "canonical"
    """``canonical``, ``totalseg``, ``verse``, or a TOML file beside ``case.json``."""
    notes: tuple[str, ...] = ()
    transitional: str | None = None
    """What is unusual about the numbering of vertebrae, in words; None: nothing known."""
    reference: ReferenceKind = ReferenceKind.PSEUDO
    structures: tuple[str, ...] | None = None
    """Structures that the reference labels completely; None: all that occur, less the map's partial ones."""
    kvp: float | None = None
    """Tube voltage, where the CT is a NIfTI file and cannot say."""


@dataclass(frozen=True)
class Case:
    """One case folder, looked at but not read."""

    folder: Path
    info: CaseInfo

    @property
    def name(self) -> str:
        return self.info.name or self.folder.name

    @property
    def labels(self) -> Path:
        return self.folder / LABELS_FILE

    @property
    def ct(self) -> Path:
        """Folder of DICOM files, or a NIfTI file."""
        folder = self.folder / CT_FOLDER
        return folder if folder.is_dir() else self.folder / CT_FILE

    def fingerprint(self) -> str:
        """Changes when the labels, the description or the CT's list of files change (sha256, hexadecimal)."""
        digest = hashlib.sha256()
        for path in (self.folder / CASE_FILE, self.labels):
            if path.is_file():
                with path.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        ct = self.ct
        for path in sorted(ct.rglob("*")) if ct.is_dir() else [ct]:
            if path.is_file():
                digest.update(f"{path.relative_to(self.folder)}:{path.stat().st_size}\n".encode())
        return digest.hexdigest()


def find_case_folders(root: Path) -> tuple[Path, ...]:
    """Folders below ``root`` (one level) that hold anything of a case; ``root`` itself when it is one.

    Raises:
        NoCasesFound: if there is none.
    """
    if not root.is_dir():
        raise NoCasesFound("no such folder", folder=root.name)
    if _looks_like_case(root):
        return (root,)
    found = tuple(path for path in sorted(root.iterdir()) if path.is_dir() and _looks_like_case(path))
    if not found:
        raise NoCasesFound(folder=root.name)
    return found


def _looks_like_case(folder: Path) -> bool:
    return any((folder / name).exists() for name in (CT_FOLDER, CT_FILE, LABELS_FILE, CASE_FILE))


def open_case(folder: Path) -> Case:
    """A case folder's description, its files checked for presence.

    Raises:
        InvalidCase: if the CT or the labels are missing, or ``case.json`` cannot be read.
    """
    case = Case(folder, _read_info(folder))
    if not case.ct.exists():
        raise InvalidCase(f"{folder.name}: neither {CT_FOLDER}/ nor {CT_FILE}", case=folder.name, missing=CT_FOLDER)
    if not case.labels.is_file():
        raise InvalidCase(f"{folder.name}: no {LABELS_FILE}", case=folder.name, missing=LABELS_FILE)
    return case


def _read_info(folder: Path) -> CaseInfo:
    path = folder / CASE_FILE
    if not path.is_file():
        return CaseInfo()
    try:
        return TypeAdapter(CaseInfo).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or CASE_FILE
        raise InvalidCase(f"{folder.name}: {where}: {first['msg']}", case=folder.name, file=CASE_FILE) from error
