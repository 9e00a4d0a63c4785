"""What the body is called here: levels, structures, the canonical label table, and the Anatomy value.

A model bundle maps its own output channels onto the canonical labels below; every later stage
knows only these. Label volumes are ``uint8``:

* 0 .. 31: :class:`Structure`
* 32 + ordinal: body of the vertebra with that :attr:`Level.ordinal` (C1 = 1 .. L5 = 24)
* 64 + ordinal: its posterior elements (arch, processes)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.geometry import Geometry
from trabecula.outcome import Notice

LabelArray = npt.NDArray[np.uint8]


class Level(StrEnum):
    """Vertebral level, cranial to caudal."""

    C1 = "C1"
    C2 = "C2"
    C3 = "C3"
    C4 = "C4"
    C5 = "C5"
    C6 = "C6"
    C7 = "C7"
    T1 = "T1"
    T2 = "T2"
    T3 = "T3"
    T4 = "T4"
    T5 = "T5"
    T6 = "T6"
    T7 = "T7"
    T8 = "T8"
    T9 = "T9"
    T10 = "T10"
    T11 = "T11"
    T12 = "T12"
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    L4 = "L4"
    L5 = "L5"

    @property
    def ordinal(self) -> int:
        """Position in the column, C1 = 1 .. L5 = 24."""
        return _ORDINALS[self]

    @classmethod
    def from_ordinal(cls, ordinal: int) -> Level:
        """The level at a position in the column (1 .. 24).

        Raises:
            IndexError: if the ordinal is not in 1 .. 24.
        """
        if ordinal < 1:
            raise IndexError(ordinal)
        return _LEVELS[ordinal - 1]

    @property
    def is_thoracic(self) -> bool:
        return self.value.startswith("T")

    @property
    def is_lumbar(self) -> bool:
        return self.value.startswith("L")


_LEVELS: Final = tuple(Level)
_ORDINALS: Final = {level: index for index, level in enumerate(_LEVELS, start=1)}


class Structure(IntEnum):
    """Canonical labels that are not a vertebra. ``BODY`` is body tissue with no finer name."""

    OUTSIDE = 0
    BODY = 1
    CAVITY = 2
    """Inside of the thoracic and abdominal wall, organs included, that has no finer name; visceral fat lies here."""
    LUNG = 3
    TRACHEA = 4
    HEART = 5
    AORTA = 6
    LIVER = 7
    SPLEEN = 8
    KIDNEY = 9
    PARASPINAL_MUSCLE = 10
    SKELETAL_MUSCLE = 11
    """Skeletal muscle other than paraspinal, where the model tells it apart from BODY."""
    SUBCUTANEOUS_FAT = 12
    RIB = 13
    OTHER_BONE = 14
    SPINAL_CANAL = 15
    INTERVERTEBRAL_DISC = 16
    METAL = 17
    TABLE = 18


class VertebraPart(StrEnum):
    BODY = "body"
    POSTERIOR = "posterior"


BODY_LABEL_BASE: Final = 32
POSTERIOR_LABEL_BASE: Final = 64


def vertebra_label(level: Level, part: VertebraPart) -> int:
    """Canonical label of one part of one vertebra."""
    base = BODY_LABEL_BASE if part is VertebraPart.BODY else POSTERIOR_LABEL_BASE
    return base + level.ordinal


@dataclass(frozen=True)
class LabelMeaning:
    """What a canonical label stands for; one row of ``anatomy.labels.json``."""

    label: int
    structure: str
    """Lower-case name, e.g. ``aorta`` or ``vertebra``."""
    level: Level | None
    part: VertebraPart | None
    side: str | None
    """``left``, ``right`` or None when the label does not tell sides apart."""


def label_meaning(label: int) -> LabelMeaning:
    """Meaning of a canonical label.

    Raises:
        ValueError: if the number is not in the table.
    """
    for base, part in ((POSTERIOR_LABEL_BASE, VertebraPart.POSTERIOR), (BODY_LABEL_BASE, VertebraPart.BODY)):
        if base < label <= base + len(_LEVELS):
            return LabelMeaning(label, "vertebra", Level.from_ordinal(label - base), part, None)
    return LabelMeaning(label, Structure(label).name.lower(), None, None, None)


SNOMED_VERTEBRA: Final[dict[Level, str]] = {
    Level.T1: "64864005",
    Level.T2: "53733008",
    Level.T3: "1626008",
    Level.T4: "73071006",
    Level.T5: "56401006",
    Level.T6: "45296009",
    Level.T7: "62487009",
    Level.T8: "11068009",
    Level.T9: "82687006",
    Level.T10: "7610001",
    Level.T11: "12989004",
    Level.T12: "23215003",
    Level.L1: "66794005",
    Level.L2: "14293000",
    Level.L3: "36470004",
    Level.L4: "11994002",
    Level.L5: "49668003",
}
"""SNOMED CT codes of the vertebrae (DICOM CID 7602/7603)."""


Vector = tuple[float, float, float]


@dataclass(frozen=True)
class VertebraInstance:
    """One vertebra as segmented. Directions and points are in LPS mm."""

    level: Level
    level_confidence: float
    """Calibrated probability, 0 .. 1, that ``level`` is right."""
    centroid_lps_mm: Vector
    """Centre of the vertebral body."""
    superior: Vector
    """Unit vector along the body's height axis, towards the head."""
    anterior: Vector
    """Unit vector from the canal through the body's centre, at right angles to ``superior``."""
    complete: bool
    """False when the body touches the first or last slice or the edge of the image."""


@dataclass(frozen=True)
class ModelUse:
    """A model that had a part in a result."""

    name: str
    version: str
    sha256: str
    purpose: str
    provider: str
    """onnxruntime execution provider that ran it."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The segmented scan: canonical labels on the CT's own voxel grid and the vertebrae, head to foot."""

    labels: LabelArray
    """(K, J, I) canonical labels, same geometry as the CT volume; read-only."""
    geometry: Geometry
    vertebrae: tuple[VertebraInstance, ...]
    level_evidence: tuple[str, ...]
    """What the naming of levels rests on, in words for the report."""
    models: tuple[ModelUse, ...]
    notices: tuple[Notice, ...] = ()

    def vertebra(self, level: Level) -> VertebraInstance | None:
        """The vertebra named ``level``, or None when it is not in view."""
        return next((v for v in self.vertebrae if v.level is level), None)
