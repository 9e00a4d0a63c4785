"""OSTA, for post-menopausal women whose age and weight are known."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.assessment.context import Wording
from trabecula.clinical import ClinicalConstants
from trabecula.patient import PatientContext, Sex


@dataclass(frozen=True)
class Osta:
    value: float
    band: str
    """``low``, ``medium`` or ``high`` risk."""
    text: str


def osta(patient: PatientContext, words: Wording, constants: ClinicalConstants) -> Osta | None:
    """The index and its band; None where it does not apply or age or weight is not known.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    post = patient.sex is Sex.FEMALE and words is Wording.RANGES
    if not post or patient.age_years is None or patient.weight_kg is None:
        return None
    value = (patient.weight_kg - patient.age_years) * constants.number("assessment.osta.weight_factor")
    if value > constants.number("assessment.osta.medium_from"):
        band = "low"
    else:
        band = "high" if value < constants.number("assessment.osta.high_below") else "medium"
    text = (
        f"OSTA {value:.1f} ({band} risk) from age {patient.age_years:.0f} years and weight {patient.weight_kg:.0f} kg"
    )
    return Osta(value, band, text)
