"""From the numbers of a reference's label volume to the canonical labels."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import LabelArray, Level, Structure, VertebraPart, vertebra_label
from trabecula.errors import InvalidCase
from trabecula.evaluation.counting import label_counts
from trabecula.texts import parse_toml

BUILT_IN: Final = Path(__file__).parent / "label_maps"
CANONICAL: Final = "canonical"
_LARGEST_ID: Final = 65535


@dataclass(frozen=True)
class LabelMap:
    """What each number of a label volume means.

    A TOML file: ``name``, ``source``, ``partial`` (structures of which the map holds a part only: used, not scored)
    and a table ``labels`` from ids (``"5"`` or a range ``"92-115"``) to a structure's lower-case name, to a level
    (``"T12"``: body and posterior elements in one) or to a part of one (``"T12.body"``, ``"T12.posterior"``).
    """

    name: str
    canonical: dict[int, int]
    """id to canonical label; a whole vertebra goes to its body's label until it is split."""
    whole_levels: frozenset[Level]
    """Levels that may come with body and posterior elements in one."""
    partial: frozenset[str]

    def apply(self, labels: npt.NDArray[np.integer]) -> tuple[LabelArray, tuple[int, ...]]:
        """Canonical labels, 0 where the map says nothing, and the ids that it does not know.

        Raises:
            InvalidCase: if an id is negative or over 65535.
        """
        low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
        if low < 0 or high > _LARGEST_ID:
            raise InvalidCase(f"label ids from {low} to {high}", lowest=low, highest=high)
        present = np.flatnonzero(label_counts(labels))
        lookup = np.zeros(high + 1, dtype=np.uint8)
        for label, target in self.canonical.items():
            if label <= high:
                lookup[label] = target
        unknown = tuple(int(label) for label in present if label and int(label) not in self.canonical)
        return lookup[labels], unknown


def load_label_map(name: str, folder: Path) -> LabelMap:
    """A label map by its built-in name, or from a TOML file relative to a case's folder.

    Raises:
        InvalidCase: if there is no such map or it cannot be read.
    """
    if name == CANONICAL:
        return _canonical_map()
    path = BUILT_IN / f"{name}.toml" if not name.endswith(".toml") else folder / name
    try:
        content = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidCase(f"label map {name} cannot be read: {error}", label_map=name) from error
    return _parse(content, name)


def _canonical_map() -> LabelMap:
    labels = {int(structure): int(structure) for structure in Structure if structure}
    labels |= {label: label for level in Level for part in VertebraPart for label in [vertebra_label(level, part)]}
    return LabelMap(CANONICAL, labels, frozenset(), frozenset())


def _parse(content: dict[str, Any], name: str) -> LabelMap:
    table = content.get("labels")
    if not isinstance(table, dict) or not table:
        raise InvalidCase(f"label map {name} has no table of labels", label_map=name)
    canonical: dict[int, int] = {}
    whole: set[Level] = set()
    for key, meaning in table.items():
        try:
            first, _, last = key.partition("-")
            ids = range(int(first), int(last or first) + 1)
            label, level = _meaning(str(meaning))
        except (ValueError, KeyError) as error:
            raise InvalidCase(f"label map {name}: {key} = {meaning}", label_map=name, entry=key) from error
        canonical |= dict.fromkeys(ids, label)
        if level is not None:
            whole.add(level)
    partial = content.get("partial", [])
    return LabelMap(str(content.get("name", name)), canonical, frozenset(whole), frozenset(map(str, partial)))


def _meaning(text: str) -> tuple[int, Level | None]:
    """Canonical label, and the level where the text means a whole vertebra."""
    name, _, part = text.partition(".")
    if name in Level.__members__:
        level = Level[name]
        if part:
            return vertebra_label(level, VertebraPart(part)), None
        return vertebra_label(level, VertebraPart.BODY), level
    return int(Structure[text.upper()]), None
