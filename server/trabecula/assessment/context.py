"""Which words a patient's age, sex and menopause allow, and what is not known."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from trabecula.clinical import ClinicalConstants
from trabecula.patient import PatientContext, Sex


class Wording(StrEnum):
    """Which words may be used of a density."""

    RANGES = "ranges"
    """Post-menopausal woman, or man old enough: the ranges of the consensus apply."""
    RANGES_ASSUMED = "ranges-assumed"
    """Not known: the ranges are named for the population they are made for, and that is said."""
    AGE_MATCHED_ONLY = "age-matched-only"
    """Too young, or before menopause: no range is named."""


DECIDES_WORDS: Final = ("age", "sex", "menopause")
"""Which of the facts in :func:`unknown_context` decide on the words."""


def wording(patient: PatientContext, constants: ClinicalConstants) -> Wording:
    """Which words may be used. What is not known is not guessed: it leads to ``RANGES_ASSUMED`` at most.

    Raises:
        ClinicalDataError: if an age limit is missing in the data file.
    """
    age = patient.age_years
    if patient.sex is not Sex.MALE and patient.postmenopausal is not None:
        return Wording.RANGES if patient.postmenopausal else Wording.AGE_MATCHED_ONLY
    if age is None:
        return Wording.RANGES_ASSUMED
    if age < constants.number("assessment.context.ranges_from_age"):
        return Wording.AGE_MATCHED_ONLY
    settled = patient.sex is Sex.MALE or age >= constants.number("assessment.context.menopause_settled_from_age")
    return Wording.RANGES if settled else Wording.RANGES_ASSUMED


def unknown_context(patient: PatientContext, constants: ClinicalConstants) -> tuple[str, ...]:
    """Facts that would have mattered and are not known, in a fixed order.

    Raises:
        ClinicalDataError: if an age limit is missing in the data file.
    """
    age = patient.age_years
    settled = age is not None and age >= constants.number("assessment.context.menopause_settled_from_age")
    missing = {
        "age": age is None,
        "sex": patient.sex is None,
        "menopause": patient.sex is not Sex.MALE and patient.postmenopausal is None and not settled,
        "height": patient.height_m is None,
        "weight": patient.weight_kg is None,
        "fragility fracture history": patient.prior_fragility_fracture is None,
        "glucocorticoid use": patient.glucocorticoids is None,
    }
    return tuple(name for name, absent in missing.items() if absent)
