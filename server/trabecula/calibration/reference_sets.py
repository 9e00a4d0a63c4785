"""Which references a phantomless form uses: the same graph with a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trabecula.calibration.calibration import CalibrationMethod, ReferenceTissue


@dataclass(frozen=True)
class ReferenceSet:
    """Tissues and pseudo-observations of one phantomless form.

    The published forms take the line that their tissues give; only :data:`ALL_REFERENCES` shrinks it towards a
    scanner in specification.
    """

    method: CalibrationMethod
    tissues: frozenset[ReferenceTissue]
    specification: frozenset[str]
    """Pseudo-observations that hold the line, by their last name in the clinical data file."""
    all_needed: bool
    """True where the form is not defined without every one of its tissues."""
    title: str


ALL_REFERENCES: Final = ReferenceSet(
    CalibrationMethod.PHANTOMLESS,
    frozenset(ReferenceTissue) - {ReferenceTissue.CORTICAL_BONE, ReferenceTissue.LIVER},
    frozenset({"water", "air"}),
    all_needed=False,
    title="weighted fit of all references, shrunk towards a scanner in specification",
)
"""The default. Cortical bone varies too much between people to help, and fat in the liver pulls one way."""

MUSCLE_ONLY: Final = ReferenceSet(
    CalibrationMethod.MUSCLE_ONLY,
    frozenset({ReferenceTissue.PARASPINAL_MUSCLE}),
    frozenset({"air"}),
    all_needed=True,
    title="paraspinal muscle, air being -1000 HU by definition",
)
FAT_AIR: Final = ReferenceSet(
    CalibrationMethod.FAT_AIR,
    frozenset({ReferenceTissue.SUBCUTANEOUS_FAT, ReferenceTissue.OUTSIDE_AIR}),
    frozenset(),
    all_needed=True,
    title="line through subcutaneous fat and outside air",
)
AIR_BLOOD: Final = ReferenceSet(
    CalibrationMethod.AIR_BLOOD,
    frozenset({ReferenceTissue.OUTSIDE_AIR, ReferenceTissue.AORTIC_BLOOD}),
    frozenset(),
    all_needed=True,
    title="line through outside air and unenhanced aortic blood",
)
FAT_BLOOD_BONE: Final = ReferenceSet(
    CalibrationMethod.FAT_BLOOD_BONE,
    frozenset({ReferenceTissue.SUBCUTANEOUS_FAT, ReferenceTissue.AORTIC_BLOOD, ReferenceTissue.CORTICAL_BONE}),
    frozenset(),
    all_needed=True,
    title="weighted line through subcutaneous fat, unenhanced aortic blood and cortical bone",
)

REFERENCE_SETS: Final = (ALL_REFERENCES, MUSCLE_ONLY, FAT_AIR, AIR_BLOOD, FAT_BLOOD_BONE)
