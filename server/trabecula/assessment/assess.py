"""The assessment stage: what the measurements mean, in words that the patient's context allows."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import Assessment, Category
from trabecula.assessment.classify import Verdict, classify
from trabecula.assessment.confidence import confidence
from trabecula.assessment.context import Wording, unknown_context, wording
from trabecula.assessment.drivers import bone_drivers, fat_drivers, muscle_drivers
from trabecula.assessment.words import decided_on, statement
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import Acquisition
from trabecula.patient import PatientContext


def assess(
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    composition: Sequence[CompositionAtLevel],
    calibration: Calibration,
    acquisition: Acquisition,
    patient: PatientContext,
    constants: ClinicalConstants,
) -> Assessment:
    """Assess one scan.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    enhanced = calibration.contrast_enhanced
    words = wording(patient, constants)
    verdict = classify(density, vertebrae, enhanced, constants)
    category = _category(verdict, words)
    unknown = unknown_context(patient, constants)
    grade, reasons = confidence(density, vertebrae, composition, calibration, acquisition, constants)
    return Assessment(
        category=category,
        between=verdict.ranges if category is Category.INDETERMINATE else (),
        statement=statement(category, verdict, density, words, unknown, enhanced),
        decided_on=decided_on(category, verdict, density, constants),
        drivers=(
            *bone_drivers(density, vertebrae, words, constants),
            *muscle_drivers(composition, patient, enhanced, constants),
            *fat_drivers(composition, constants),
        ),
        confidence=grade,
        confidence_reasons=reasons,
        unknown_context=unknown,
        density_cutoffs_mg_cm3=() if category is Category.NOT_CLASSIFIED else _cutoffs(constants),
    )


def _cutoffs(constants: ClinicalConstants) -> tuple[float, float]:
    lumbar = constants.row("levels.lumbar")
    return lumbar.number("osteoporosis_below_mg_cm3"), lumbar.number("low_below_mg_cm3")


def _category(verdict: Verdict, words: Wording) -> Category:
    if not verdict.ranges or words is Wording.AGE_MATCHED_ONLY:
        return Category.NOT_CLASSIFIED
    return verdict.ranges[0] if len(verdict.ranges) == 1 else Category.INDETERMINATE
