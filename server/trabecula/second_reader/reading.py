"""What a second reader says of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trabecula.anatomy import Level


class ReferenceStandard(StrEnum):
    """What a second reader was taught and judged against."""

    QCT = "qct"
    DXA = "dxa"
    SIMULATION = "simulation"
    """Rendered images with known density; not patients."""


class Agreement(StrEnum):
    """How the second reader's answer stands to the measured one."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDECIDED = "undecided"
    """The measurement is indeterminate at the very cut-off that the model answers for, or has no category."""
    NOT_READ = "not-read"


@dataclass(frozen=True)
class LevelScore:
    """The model's answer for one vertebra."""

    level: Level
    score: float
    """0 .. 1."""


@dataclass(frozen=True)
class SecondReading:
    """An end-to-end model's answer. It stands beside the measurement and changes nothing in it."""

    model_name: str
    model_version: str
    sha256: str
    provider: str
    question: str
    """What a positive answer means."""
    reference_standard: ReferenceStandard
    reference_definition: str
    cut_off: float
    """Scores at or above it are positive."""
    scores: tuple[LevelScore, ...]
    score: float | None
    """Over the vertebrae, as the manifest says they are put together; None when nothing was read."""
    positive: bool | None
    agreement: Agreement
    statement: str
    not_read_because: str | None
    limits: str
    """What the model is not for, from its manifest."""
