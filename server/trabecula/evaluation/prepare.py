"""Making case folders from data that lies elsewhere."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from trabecula.anatomy import Level
from trabecula.errors import InvalidCase
from trabecula.evaluation.case import (
    CASE_FILE,
    CT_FILE,
    CT_FOLDER,
    LABELS_FILE,
    Case,
    CaseInfo,
    ReferenceKind,
    open_case,
)
from trabecula.phantom import ContrastPhase, Kernel, PhantomSpec, write_phantom
from trabecula.phantom.write import LABELS_FILE as PHANTOM_LABELS
from trabecula.phantom.write import SERIES_FOLDER
from trabecula.texts import parse_toml

_PHANTOM_SOURCE: Final = "Digital chest phantom of this project (trabecula phantom)"
_PHANTOM_LICENCE: Final = "CC0-1.0"
_LABEL_SUFFIX: Final = ".nii.gz"
SHARED_DATA_CASES: Final = {
    "lidc-idri-0001": CaseInfo(
        name="lidc-idri-0001",
        source="LIDC-IDRI-0001, The Cancer Imaging Archive; labels: TotalSegmentator v2 output",
        licence="CC BY 3.0 (Armato et al.)",
        label_map="totalseg",
        notes=("The reference is the output of another model (TotalSegmentator v2), not manual truth.",),
        reference=ReferenceKind.PSEUDO,
    )
}
"""What is known of the labelled scans in the data folder beside the project, by name of the label file."""


@dataclass(frozen=True)
class PhantomCase:
    """A phantom to be made into a case."""

    name: str
    spec: PhantomSpec = field(default_factory=PhantomSpec)


def write_case(folder: Path, ct: Path, labels: Path, info: CaseInfo) -> Case:
    """A case folder that points (symbolic links, absolute) at a CT folder or file and a label file.

    Raises:
        InvalidCase: if the CT or the labels are not there.
    """
    for path in (ct, labels):
        if not path.exists():
            raise InvalidCase(f"{folder.name}: no {path.name}", case=folder.name, missing=path.name)
    folder.mkdir(parents=True, exist_ok=True)
    _link(ct, folder / (CT_FOLDER if ct.is_dir() else CT_FILE))
    _link(labels, folder / LABELS_FILE)
    _write_info(folder, info)
    return open_case(folder)


def cases_from_shared_data(data: Path, out: Path) -> Iterator[Case]:
    """Cases from every ``labels/NAME.nii.gz`` of a data folder that has a ``ct/NAME``; the rest are seeds.

    Raises:
        InvalidCase: if there is no such pair, or one of which the program does not know the label map.
    """
    pairs = [
        (name, data / "ct" / name, path)
        for path in sorted((data / "labels").glob(f"*{_LABEL_SUFFIX}"))
        for name in [path.name.removesuffix(_LABEL_SUFFIX)]
        if (data / "ct" / name).is_dir()
    ]
    if not pairs:
        raise InvalidCase("no ct/NAME with labels/NAME.nii.gz", folder=data.name)
    for name, ct, labels in pairs:
        if name not in SHARED_DATA_CASES:
            raise InvalidCase(f"{name}: not a known scan; list it in a cases.toml", case=name)
        yield write_case(out / name, ct, labels, SHARED_DATA_CASES[name])


def cases_from_toml(listing: Path, out: Path) -> Iterator[Case]:
    """Cases from a listing: tables ``[[case]]`` with ``ct``, ``labels`` (paths relative to the file) and the fields of
    ``case.json``; a label map that is a file is copied beside the case.

    Raises:
        InvalidCase: if the listing or an entry cannot be used.
    """
    try:
        entries = parse_toml(listing.read_text(encoding="utf-8")).get("case", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidCase(f"{listing.name} cannot be read: {error}", file=listing.name) from error
    if not isinstance(entries, list) or not entries:
        raise InvalidCase(f"{listing.name} has no [[case]]", file=listing.name)
    for number, entry in enumerate(entries, start=1):
        yield _listed(entry, number, listing.parent, out)


def cases_from_phantoms(
    phantoms: Sequence[PhantomCase], out: Path, progress: Callable[[float], None]
) -> Iterator[Case]:
    """Make phantoms and cases from them; one that is there already (same specification) is kept.

    Args:
        progress: told the fraction of the present phantom that is done.
    """
    for phantom in phantoms:
        folder = out / phantom.name
        if not _made_before(folder, phantom):
            shutil.rmtree(folder, ignore_errors=True)
            write_phantom(phantom.spec, folder, progress, labels=True)
            (folder / SERIES_FOLDER).rename(folder / CT_FOLDER)
            assert PHANTOM_LABELS == LABELS_FILE  # noqa: S101 - both layouts name it alike
            notes = (f"Seed {phantom.spec.seed}, {phantom.spec.slice_mm:g} mm slices.", _spec_text(phantom.spec))
            _write_info(folder, CaseInfo(phantom.name, _PHANTOM_SOURCE, _PHANTOM_LICENCE, notes=notes,
                                         reference=ReferenceKind.PHANTOM))  # fmt: skip
        yield open_case(folder)


def phantom_set(count: int, matrix: int, first_seed: int) -> tuple[PhantomCase, ...]:
    """``count`` phantoms that differ in size, density, slice thickness, kernel, contrast, sex and extent."""
    sizes, slices = (28.0, 33.0, 24.0, 36.0, 30.0), (1.25, 2.5, 1.5, 3.0, 5.0)
    kernels, phases = tuple(Kernel), tuple(ContrastPhase)
    spans = ((Level.T1, Level.L3), (Level.T1, Level.L2), (Level.T4, Level.L3), (Level.T1, Level.L1))
    out = []
    for n in range(count):
        top, bottom = spans[n % len(spans)]
        spec = PhantomSpec(
            size_cm=sizes[n % len(sizes)],
            slice_mm=slices[n % len(slices)],
            kernel=kernels[n % len(kernels)],
            contrast=phases[n % len(phases)],
            matrix=matrix,
            top=top,
            bottom=bottom,
            sex="FM"[n % 2],
            seed=first_seed + n,
        )
        out.append(PhantomCase(f"phantom-{first_seed + n}", spec))
    return tuple(out)


def _spec_text(spec: PhantomSpec) -> str:
    default = PhantomSpec()
    changed = [
        f"{each.name}={getattr(spec, each.name)}"
        for each in fields(spec)
        if getattr(spec, each.name) != getattr(default, each.name)
    ]
    return "Made with " + (", ".join(changed) or "the phantom's defaults") + "."


def _made_before(folder: Path, phantom: PhantomCase) -> bool:
    try:
        case = open_case(folder)
    except InvalidCase:
        return False
    return _spec_text(phantom.spec) in case.info.notes


def _listed(entry: Any, number: int, base: Path, out: Path) -> Case:
    if not isinstance(entry, dict) or not isinstance(entry.get("ct"), str) or not isinstance(entry.get("labels"), str):
        raise InvalidCase(f"case {number} of the listing needs ct and labels", entry=number)
    known = {each.name for each in fields(CaseInfo)}
    values = {key: value for key, value in entry.items() if key in known}
    ct, labels = base / entry["ct"], base / entry["labels"]
    name = str(entry.get("name") or ct.name.removesuffix(_LABEL_SUFFIX))
    values.setdefault("name", name)
    folder = out / name
    label_map = str(values.get("label_map", ""))
    if label_map.endswith(".toml"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base / label_map, folder / Path(label_map).name)
        values["label_map"] = Path(label_map).name
    for path in (ct, labels):
        if not path.exists():
            raise InvalidCase(f"{name}: no {path.name}", case=name, missing=path.name)
    folder.mkdir(parents=True, exist_ok=True)
    _link(ct, folder / (CT_FOLDER if ct.is_dir() else CT_FILE))
    _link(labels, folder / LABELS_FILE)
    (folder / CASE_FILE).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return open_case(folder)


def _link(target: Path, link: Path) -> None:
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target.resolve(), target_is_directory=target.is_dir())


def _write_info(folder: Path, info: CaseInfo) -> None:
    values = {
        each.name: getattr(info, each.name) for each in fields(info) if getattr(info, each.name) not in (None, (), "")
    }
    (folder / CASE_FILE).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
