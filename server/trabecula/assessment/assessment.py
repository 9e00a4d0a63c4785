"""Values that assessment and recommendation hand on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trabecula.anatomy import Level


class Category(StrEnum):
    """Ranges of trabecular density, never a diagnosis. There is no ``normal``: CT cannot rule low BMD out."""

    OSTEOPOROSIS_RANGE = "osteoporosis-range"
    LOW_BONE_DENSITY_RANGE = "low-bone-density-range"
    NO_SIGN_OF_LOW_DENSITY = "no-sign-of-low-density"
    INDETERMINATE = "indeterminate"
    NOT_CLASSIFIED = "not-classified"
    """Context forbids the words (young, pre-menopausal), or nothing could be measured."""
    SEVERE_RANGE_SUSPECTED = "severe-range-suspected"
    """Osteoporosis range together with a suspected vertebral fragility fracture; both are to be confirmed."""


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


class ReadingKind(StrEnum):
    """The ways in which a density at one level is read."""

    LUMBAR_EQUIVALENT = "lumbar-equivalent"
    """Brought to lumbar level by the level's line, then compared with the lumbar cut-offs."""
    DIRECT = "direct"
    """Compared with the level's own cut-offs."""
    UNCORRECTED = "uncorrected"
    """A thoracic density compared with the lumbar cut-offs as if it were lumbar; never decides."""


@dataclass(frozen=True)
class LevelReading:
    """One density read in one way by the rules of the level profile."""

    levels: tuple[Level, ...]
    """One vertebra, or those whose mean decides."""
    kind: ReadingKind
    rule: str
    """Id of the rule whose cut-offs were used."""
    value_mg_cm3: float
    standard_uncertainty_mg_cm3: float | None
    osteoporosis_below_mg_cm3: float | None
    """None where the level has no such cut-off, or no range may be named."""
    low_below_mg_cm3: float | None
    ranges: tuple[Category, ...]
    """One, or all that lie within the band of uncertainty; empty where no range may be named."""
    decides: bool
    source: str
    verified: bool
    """Whether the rule's figures were read in their source."""


class Tier(StrEnum):
    """The three steps of the review, He 2026."""

    HU_PRE_SCREEN = "hu-pre-screen"
    PHANTOMLESS_QUANTIFICATION = "phantomless-quantification"
    GOLD_STANDARD_CONFIRMATION = "gold-standard-confirmation"


@dataclass(frozen=True)
class TierResult:
    """What one of the three steps gave, or why it was not taken."""

    tier: Tier
    outcome: str
    """Lower-case words with hyphens, stable; see docs/assessment.md."""
    statement: str
    value: float | None
    unit: str | None


class Finding(StrEnum):
    """Where a value lies as to a cut-off."""

    BEYOND_CUTOFF = "beyond-cutoff"
    """On the side of low bone, low or fatty muscle, or raised risk."""
    WITHIN_CUTOFF = "within-cutoff"
    UNDECIDED = "undecided"
    NO_CUTOFF = "no-cutoff"
    NOT_COMPARED = "not-compared"
    """There is a cut-off, but it does not hold here; the statement says why."""


@dataclass(frozen=True)
class Contribution:
    """What one value adds to the joint assessment of bone, muscle and fat."""

    domain: str
    """``bone``, ``muscle``, ``fat`` or ``risk``."""
    criterion: str
    """Stable name: ``density-range``, ``muscle-index``, ``osta``, ..."""
    finding: Finding
    statement: str
    value: float | None
    unit: str | None
    cutoff: float | None
    source: str
    """Id of the cut-off, or of the rule that made the value, in the clinical data."""
    counts: bool
    """Whether the pattern rests on it."""


class JointPattern(StrEnum):
    """Which of bone and muscle lie beyond a cut-off. No score is made of them."""

    BONE_AND_MUSCLE = "bone-and-muscle-beyond-cutoff"
    BONE_ALONE = "bone-beyond-cutoff"
    MUSCLE_ALONE = "muscle-beyond-cutoff"
    NEITHER = "none-beyond-cutoff"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class JointAssessment:
    """Bone, muscle, fat and clinical risk side by side, each with what it was compared with."""

    pattern: JointPattern
    statement: str
    contributions: tuple[Contribution, ...]


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
    """Cut-offs that the deciding density was compared with, rising: osteoporosis, low. Empty when none applies."""
    profile: str = ""
    """Name and version of the level profile."""
    readings: tuple[LevelReading, ...] = ()
    """Each vertebra that counts read directly and as lumbar equivalent, then the mean that decides."""
    tiers: tuple[TierResult, ...] = ()
    joint: JointAssessment | None = None


@dataclass(frozen=True)
class RuleFact:
    """One fact that a rule looked at."""

    name: str
    value: str
    text: str
    """In words."""


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
    plan_definition: str = ""
    """Canonical address and version of the rule."""
    activity_definition: str = ""
    """Canonical address and version of the action."""
    condition: str = ""
    """The rule's condition, FHIRPath over the facts."""
    facts: tuple[RuleFact, ...] = ()
    """The facts that the condition and the text looked at, with their values."""
