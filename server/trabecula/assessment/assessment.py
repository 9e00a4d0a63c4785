"""Values that assessment and recommendation hand on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """Ranges of trabecular density, never a diagnosis. There is no ``normal``: CT cannot rule low BMD out."""

    OSTEOPOROSIS_RANGE = "osteoporosis-range"
    LOW_BONE_DENSITY_RANGE = "low-bone-density-range"
    NO_SIGN_OF_LOW_DENSITY = "no-sign-of-low-density"
    INDETERMINATE = "indeterminate"
    NOT_CLASSIFIED = "not-classified"
    """Context forbids the words (young, pre-menopausal), or nothing could be measured."""


class Confidence(StrEnum):
    HIGH = "high"
    MODERATE = "moderate"
    LOW = "low"


@dataclass(frozen=True)
class Driver:
    """One fact that shaped the assessment, as a reader would check it."""

    domain: str
    """``bone``, ``muscle`` or ``fat``."""
    statement: str
    value: float | None
    unit: str | None
    cutoff: float | None
    source: str
    """Id of the constant in the clinical data file."""


@dataclass(frozen=True)
class Assessment:
    category: Category
    between: tuple[Category, ...]
    """For ``indeterminate``: the categories it lies between."""
    statement: str
    """One sentence in plain words, for a report."""
    decided_on: str
    """Which number was compared, on which scale and level rule."""
    drivers: tuple[Driver, ...]
    confidence: Confidence
    confidence_reasons: tuple[str, ...]
    unknown_context: tuple[str, ...]
    """Facts that would have mattered and are not known, e.g. ``sex``."""
    density_cutoffs_mg_cm3: tuple[float, ...] = ()
    """Cut-offs that the lumbar equivalent was compared with, rising: osteoporosis, low. Empty when none applies."""


@dataclass(frozen=True)
class Recommendation:
    """A guideline's next step."""

    rule_id: str
    rule_version: str
    action: str
    """Stable code: ``dxa-confirmation``, ``fracture-assessment``, ..."""
    text: str
    because: tuple[str, ...]
    """The facts on which the rule fired."""
    citation: str
    verified: bool
    """Whether the rule's source was read, or is recalled and marked so in the data file."""
