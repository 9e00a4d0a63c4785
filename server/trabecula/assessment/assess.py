"""The assessment stage: what the measurements mean, in words that the patient's context allows."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import Assessment, Category
from trabecula.assessment.classify import Verdict, classify
from trabecula.assessment.confidence import confidence
from trabecula.assessment.context import Wording, unknown_context, wording
from trabecula.assessment.drivers import bone_drivers
from trabecula.assessment.fracture import suspected_fragility_fractures
from trabecula.assessment.joint import joint_assessment
from trabecula.assessment.muscle import fat_drivers, muscle_values
from trabecula.assessment.readings import level_readings
from trabecula.assessment.tiers import tiers
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
    named = words is not Wording.AGE_MATCHED_ONLY
    verdict = classify(density, vertebrae, enhanced, constants)
    fractures = suspected_fragility_fractures(vertebrae, constants)
    category = _category(verdict, named, bool(fractures))
    unknown = unknown_context(patient, constants)
    grade, reasons = confidence(density, vertebrae, composition, calibration, acquisition, constants)
    muscle = muscle_values(composition, patient, enhanced, constants)
    fat = fat_drivers(composition)
    profile = "none" if constants.profile is None else constants.profile.label
    return Assessment(
        category=category,
        between=verdict.ranges if category is Category.INDETERMINATE else (),
        statement=statement(category, verdict, density, words, unknown, enhanced, fractures),
        decided_on=decided_on(category, verdict, density, profile),
        drivers=(
            *bone_drivers(density, vertebrae, words, constants),
            *(value.driver for value in muscle),
            *fat,
        ),
        confidence=grade,
        confidence_reasons=reasons,
        unknown_context=unknown,
        density_cutoffs_mg_cm3=() if category is Category.NOT_CLASSIFIED else _cutoffs(verdict, constants),
        profile=profile,
        readings=level_readings(density, vertebrae, constants, named=named and not verdict.scale_differs),
        tiers=tiers(category, verdict, density, calibration, words, constants),
        joint=joint_assessment(category, verdict, muscle, fat, patient, words, constants),
    )


def _cutoffs(verdict: Verdict, constants: ClinicalConstants) -> tuple[float, float]:
    """Of the density that decided; the lumbar ones where attenuation alone was read."""
    row = constants.row("levels.lumbar") if verdict.deciding is None else verdict.deciding.cutoffs
    return row.number("osteoporosis_below_mg_cm3"), row.number("low_below_mg_cm3")


def _category(verdict: Verdict, named: bool, fragility_fracture: bool) -> Category:
    if not verdict.ranges or not named:
        return Category.NOT_CLASSIFIED
    if len(verdict.ranges) > 1:
        return Category.INDETERMINATE
    if verdict.ranges[0] is Category.OSTEOPOROSIS_RANGE and fragility_fracture:
        return Category.SEVERE_RANGE_SUSPECTED
    return verdict.ranges[0]
