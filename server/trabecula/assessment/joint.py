"""Bone, muscle and fat together: every value beside its cut-off, and a pattern that only counts which lie beyond.

Rules, all of them:

* Bone lies beyond its cut-off when the density range is osteoporosis (severe suspected or not) or low.
* Muscle lies beyond when any value with a cut-off for the same sex at T12 does: muscle index, attenuation, fat inside
  muscle, and index and attenuation of the paraspinal muscle.
* Fat areas and OSTA stand beside; no pattern rests on them. No weights, no sum, no score.
"""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import (
    Category,
    Contribution,
    Driver,
    Finding,
    JointAssessment,
    JointPattern,
)
from trabecula.assessment.classify import Verdict
from trabecula.assessment.context import Wording
from trabecula.assessment.muscle import MuscleValue
from trabecula.assessment.osta import osta
from trabecula.assessment.words import CATEGORY_WORDS
from trabecula.clinical import ClinicalConstants
from trabecula.patient import PatientContext

_BONE = {
    Category.SEVERE_RANGE_SUSPECTED: Finding.BEYOND_CUTOFF,
    Category.OSTEOPOROSIS_RANGE: Finding.BEYOND_CUTOFF,
    Category.LOW_BONE_DENSITY_RANGE: Finding.BEYOND_CUTOFF,
    Category.NO_SIGN_OF_LOW_DENSITY: Finding.WITHIN_CUTOFF,
    Category.INDETERMINATE: Finding.UNDECIDED,
    Category.NOT_CLASSIFIED: Finding.NOT_COMPARED,
}
_STATEMENTS = {
    JointPattern.BONE_AND_MUSCLE: "Bone density and muscle both lie beyond a cut-off on this scan.",
    JointPattern.BONE_ALONE: "Bone density lies beyond a cut-off on this scan, no muscle value does.",
    JointPattern.MUSCLE_ALONE: "Muscle lies beyond a cut-off on this scan, bone density does not; low bone density is "
    "not excluded.",
    JointPattern.NEITHER: "Neither bone density nor muscle lies beyond a cut-off on this scan; that excludes neither "
    "osteoporosis nor weak muscle.",
}


def joint_assessment(
    category: Category,
    verdict: Verdict,
    muscle: Sequence[MuscleValue],
    fat: Sequence[Driver],
    patient: PatientContext,
    words: Wording,
    constants: ClinicalConstants,
) -> JointAssessment:
    """All contributions, and the pattern that bone and muscle make.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    bone = _bone(category, verdict)
    muscles = tuple(_muscle(value) for value in muscle)
    risk = _risk(patient, words, constants)
    pattern = _pattern(bone.finding, [each.finding for each in muscles if each.counts])
    text = _STATEMENTS[pattern] if pattern in _STATEMENTS else _undecided(bone, muscles)
    return JointAssessment(pattern, text, (bone, *muscles, *(_fat(driver) for driver in fat), *risk))


def _pattern(bone: Finding, muscle: Sequence[Finding]) -> JointPattern:
    if bone in (Finding.UNDECIDED, Finding.NOT_COMPARED) or not muscle:
        return JointPattern.UNDECIDED
    weak = Finding.BEYOND_CUTOFF in muscle
    if bone is Finding.BEYOND_CUTOFF:
        return JointPattern.BONE_AND_MUSCLE if weak else JointPattern.BONE_ALONE
    return JointPattern.MUSCLE_ALONE if weak else JointPattern.NEITHER


def _undecided(bone: Contribution, muscle: Sequence[Contribution]) -> str:
    compared = [each for each in muscle if each.counts]
    beyond = any(each.finding is Finding.BEYOND_CUTOFF for each in compared)
    of_bone = {
        Finding.BEYOND_CUTOFF: "Bone density lies beyond a cut-off",
        Finding.WITHIN_CUTOFF: "No sign of low bone density was seen, which does not exclude it",
        Finding.UNDECIDED: "Bone density is indeterminate",
    }.get(bone.finding, "Bone density is given without a range")
    of_muscle = "no muscle value could be compared"
    if compared:
        of_muscle = "muscle lies beyond a cut-off" if beyond else "no muscle value lies beyond a cut-off"
    return f"{of_bone}; {of_muscle}."


def _bone(category: Category, verdict: Verdict) -> Contribution:
    compared, finding = verdict.deciding, _BONE[category]
    value = None if compared is None else compared.value_mg_cm3
    cutoff = None
    if compared is not None and finding is not Finding.NOT_COMPARED:
        cutoff = compared.cutoffs.number("low_below_mg_cm3")
    source = "levels.lumbar" if compared is None else compared.cutoffs.id
    text = f"Density: {CATEGORY_WORDS[category]}"
    unit = None if value is None else "mg/cm3"
    return Contribution("bone", "density-range", finding, text, value, unit, cutoff, source, counts=True)


def _muscle(value: MuscleValue) -> Contribution:
    driver = value.driver
    return Contribution(
        "muscle",
        value.criterion,
        value.finding,
        driver.statement,
        driver.value,
        driver.unit,
        driver.cutoff,
        driver.source,
        counts=value.finding in (Finding.BEYOND_CUTOFF, Finding.WITHIN_CUTOFF),
    )


def _fat(driver: Driver) -> Contribution:
    name = driver.statement.split(" at ")[0].lower().replace(" ", "-")
    value = (driver.value, driver.unit, None, driver.source)
    return Contribution("fat", name, Finding.NO_CUTOFF, driver.statement, *value, counts=False)


def _risk(patient: PatientContext, words: Wording, constants: ClinicalConstants) -> tuple[Contribution, ...]:
    found = osta(patient, words, constants)
    if found is None:
        return ()
    finding = Finding.WITHIN_CUTOFF if found.band == "low" else Finding.BEYOND_CUTOFF
    source = "assessment.osta.medium_from"
    cutoff = constants.number(source)
    return (Contribution("risk", "osta", finding, found.text, found.value, None, cutoff, source, counts=False),)
