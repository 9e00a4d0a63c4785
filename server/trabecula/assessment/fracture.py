"""Vertebral fractures that may be fragility fractures, as the bone stage suspects them."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.anatomy import Level
from trabecula.bone.vertebra import DeformityStatus, ExclusionReason
from trabecula.calibration.density_result import VertebraResult
from trabecula.clinical import ClinicalConstants


def suspected_fractures(vertebrae: Sequence[VertebraResult], constants: ClinicalConstants) -> tuple[Level, ...]:
    """Levels whose shape makes a fracture of the grade that counts suspected."""
    least = constants.number("assessment.fracture.least_grade")
    return tuple(v.level for v in vertebrae if _suspected(v, least))


def suspected_fragility_fractures(
    vertebrae: Sequence[VertebraResult], constants: ClinicalConstants
) -> tuple[Level, ...]:
    """Those without a sign of another cause on the scan: no lesion suspected in the same vertebra.

    Injury is not seen here; that is why the category made with them is a suspicion only.
    """
    lesions = {v.level for v in vertebrae if ExclusionReason.LESION in v.excluded}
    return tuple(level for level in suspected_fractures(vertebrae, constants) if level not in lesions)


def grades(vertebrae: Sequence[VertebraResult]) -> dict[Level, int]:
    """Genant grade of each vertebra whose shape was assessed."""
    return {v.level: v.deformity.grade for v in vertebrae if v.deformity is not None}


def _suspected(vertebra: VertebraResult, least_grade: float) -> bool:
    if vertebra.deformity is None:
        return ExclusionReason.FRACTURE in vertebra.excluded
    return vertebra.deformity.status is DeformityStatus.SUSPECTED and vertebra.deformity.grade >= least_grade
