"""Words for what a stage has to say beside its value: refusals and notices.

A refusal ends the screening and is a result like any other: it has a code and travels through
every converter. A notice stays beside a result. Faults of the program or of the input are
exceptions, in :mod:`trabecula.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Stages of a screening in the order they run."""

    IMAGING = "imaging"
    SEGMENTATION = "segmentation"
    BONE = "bone"
    CALIBRATION = "calibration"
    DENSITY = "density"
    COMPOSITION = "composition"
    ASSESSMENT = "assessment"
    RECOMMENDATION = "recommendation"


class RefusalCode(StrEnum):
    """Why a study could not be read. Published: codes are added, never changed."""

    NOT_CT = "not-ct"
    NO_AXIAL_SERIES = "no-axial-series"
    TOO_FEW_SLICES = "too-few-slices"
    SLICE_GAP = "slice-gap"
    NON_UNIFORM_SPACING = "non-uniform-spacing"
    GANTRY_TILT = "gantry-tilt"
    SLICES_TOO_THICK = "slices-too-thick"
    LOCALIZER_ONLY = "localizer-only"
    DERIVED_ONLY = "derived-only"
    NOT_HOUNSFIELD = "not-hounsfield"
    BODY_NOT_FOUND = "body-not-found"
    SPINE_NOT_FOUND = "spine-not-found"
    LEVEL_NOT_IN_VIEW = "level-not-in-view"
    LEVELS_INCONSISTENT = "levels-inconsistent"
    NO_VERTEBRA_LEFT = "no-vertebra-left"
    CALIBRATION_REFERENCES_REJECTED = "calibration-references-rejected"
    CALIBRATION_STALE = "calibration-stale"
    SPECTRUM_UNKNOWN = "spectrum-unknown"


@dataclass(frozen=True)
class Refusal:
    """A stage's reasoned refusal. Texts hold no patient data."""

    code: RefusalCode
    stage: Stage
    message: str
    """What is wrong, for a radiologist or technologist."""
    remedy: str
    """What would mend it, e.g. which series to send."""


class Severity(StrEnum):
    INFORMATION = "information"
    WARNING = "warning"


@dataclass(frozen=True)
class Notice:
    """Something the reader of a result should know. Texts hold no patient data."""

    code: str
    """Lower-case words with hyphens, stable."""
    stage: Stage
    severity: Severity
    message: str
