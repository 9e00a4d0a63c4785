"""The facts that recommendation rules look at. A fact that is not known is absent.

Rules see them as a FHIR Parameters resource; their names and meanings are published in
``fhir/codesystems/ct-bone-fact.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trabecula.assessment.assessment import Assessment, Category, Finding
from trabecula.assessment.context import DECIDES_WORDS, Wording, wording
from trabecula.assessment.fracture import suspected_fractures
from trabecula.assessment.osta import osta
from trabecula.assessment.words import RANGE_NAMES
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.patient import PatientContext

FactValue = str | float | bool


@dataclass(frozen=True)
class Fact:
    value: FactValue
    text: str
    """As it is told when a rule fired on it."""


def as_parameters(facts: Mapping[str, Fact]) -> dict[str, Any]:
    """The facts as a FHIR R4 Parameters resource, in JSON values."""
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": name, _value_key(fact.value): fact.value} for name, fact in facts.items()],
    }


def _value_key(value: FactValue) -> str:
    if isinstance(value, bool):
        return "valueBoolean"
    return "valueDecimal" if isinstance(value, float) else "valueString"


def gather(
    assessment: Assessment,
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    patient: PatientContext,
    constants: ClinicalConstants,
) -> Mapping[str, Fact]:
    """All known facts by name.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    words = wording(patient, constants)
    facts = {
        "words": Fact(words.value, _WORDS[words]),
        "measured": _measured(density),
        "low-muscle": _low_muscle(assessment),
        "missing-context": _missing(assessment),
    }
    if assessment.category is not Category.NOT_CLASSIFIED:
        facts["category"] = Fact(assessment.category.value, _category_text(assessment))
    facts |= _joint(assessment)
    facts |= _fracture(vertebrae, constants)
    facts |= _density(density, constants)
    facts |= _of_patient(patient)
    facts |= _osta(patient, words, constants)
    facts |= _risk_factors(patient, facts)
    return facts


_WORDS = {
    Wording.RANGES: "age, sex and menopause allow density ranges to be named",
    Wording.RANGES_ASSUMED: "age, sex or menopause is not known",
    Wording.AGE_MATCHED_ONLY: "age under 50 or before menopause",
}


def _category_text(assessment: Assessment) -> str:
    if assessment.category is Category.INDETERMINATE:
        return "density is indeterminate between " + " and ".join(RANGE_NAMES[c] for c in assessment.between)
    name = RANGE_NAMES[assessment.category]
    return name if assessment.category is Category.NO_SIGN_OF_LOW_DENSITY else f"density in {name}"


def _missing(assessment: Assessment) -> Fact:
    """What decides on the words and is not known."""
    text = ", ".join(name for name in assessment.unknown_context if name in DECIDES_WORDS)
    return Fact(text, f"not known: {text}")


def _measured(density: DensitySummary) -> Fact:
    measured = density.vbmd_mean_mg_cm3 is not None
    return Fact(measured, "a density was measured" if measured else "no density was measured")


def _low_muscle(assessment: Assessment) -> Fact:
    joint = assessment.joint
    beyond = [] if joint is None else [c for c in joint.contributions if c.domain == "muscle" and c.counts]
    low = any(c.finding is Finding.BEYOND_CUTOFF for c in beyond)
    return Fact(low, "muscle beyond a cut-off for the same sex at T12" if low else "no muscle value beyond a cut-off")


def _joint(assessment: Assessment) -> dict[str, Fact]:
    joint = assessment.joint
    return {} if joint is None else {"joint-pattern": Fact(joint.pattern.value, joint.statement.rstrip("."))}


def _fracture(vertebrae: Sequence[VertebraResult], constants: ClinicalConstants) -> dict[str, Fact]:
    levels = ", ".join(level.value for level in suspected_fractures(vertebrae, constants))
    text = f"height loss suspected at {levels}" if levels else "no vertebra with marked height loss found"
    return {"fracture-suspected": Fact(bool(levels), text), "fracture-levels": Fact(levels, text)}


def _density(density: DensitySummary, constants: ClinicalConstants) -> dict[str, Fact]:
    value = density.lumbar_equivalent_mg_cm3
    if value is None:
        return {}
    limit = constants.number("assessment.very_low_density")
    text = f"lumbar-equivalent density {value:.0f} mg/cm3 ({density.scale.value})"
    return {"very-low-density": Fact(value < limit, text)}


def _of_patient(patient: PatientContext) -> dict[str, Fact]:
    facts = {}
    if patient.age_years is not None:
        facts["age"] = Fact(patient.age_years, f"age {patient.age_years:.0f} years")
    if patient.sex is not None:
        facts["sex"] = Fact(patient.sex.value, patient.sex.value)
    if patient.postmenopausal is not None:
        facts["postmenopausal"] = Fact(
            patient.postmenopausal, "post-menopausal" if patient.postmenopausal else "before menopause"
        )
    if patient.prior_fragility_fracture is not None:
        known = patient.prior_fragility_fracture
        facts["prior-fragility-fracture"] = Fact(known, f"{'a' if known else 'no'} fragility fracture on record")
    known_before = bool(patient.prior_dxa) or bool(patient.known_osteoporosis)
    said = "DXA or osteoporosis on record" if known_before else "no DXA and no osteoporosis on record"
    facts["screened-before"] = Fact(known_before, said)
    return facts


def _osta(patient: PatientContext, words: Wording, constants: ClinicalConstants) -> dict[str, Fact]:
    found = osta(patient, words, constants)
    if found is None:
        return {}
    return {"osta": Fact(f"{found.value:.1f}", found.text), "osta-band": Fact(found.band, found.text)}


def _risk_factors(patient: PatientContext, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    found = []
    if patient.prior_fragility_fracture:
        found.append("prior fragility fracture")
    if patient.glucocorticoids:
        found.append("glucocorticoids")
    if "osta-band" in facts and facts["osta-band"].value in ("medium", "high"):
        found.append(facts["osta-band"].text)
    text = ", ".join(found) or "no risk factor on record"
    return {"risk-factors": Fact(text, text), "risk-factor-count": Fact(float(len(found)), text)}
