"""The facts that recommendation rules look at. A fact that is not known is absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trabecula.assessment.assessment import Assessment, Category
from trabecula.assessment.context import DECIDES_WORDS, Wording, wording
from trabecula.assessment.drivers import low_muscle
from trabecula.assessment.words import RANGE_NAMES
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.patient import PatientContext, Sex

FactValue = str | float | bool


@dataclass(frozen=True)
class Fact:
    value: FactValue
    text: str
    """As it is told when a rule fired on it."""


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
        "low_muscle": _low_muscle(assessment, constants),
        "missing_context": _missing(assessment),
    }
    if assessment.category is not Category.NOT_CLASSIFIED:
        facts["category"] = Fact(assessment.category.value, _category_text(assessment))
    facts |= _fracture(vertebrae)
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


def _low_muscle(assessment: Assessment, constants: ClinicalConstants) -> Fact:
    low = low_muscle(assessment.drivers, constants)
    return Fact(low, "muscle beyond a cut-off for the same sex at T12" if low else "no muscle value beyond a cut-off")


def _fracture(vertebrae: Sequence[VertebraResult]) -> dict[str, Fact]:
    levels = ", ".join(v.level.value for v in vertebrae if ExclusionReason.FRACTURE in v.excluded)
    text = f"height loss suspected at {levels}" if levels else "no vertebra with marked height loss found"
    return {"fracture_suspected": Fact(bool(levels), text), "fracture_levels": Fact(levels, text)}


def _density(density: DensitySummary, constants: ClinicalConstants) -> dict[str, Fact]:
    value = density.lumbar_equivalent_mg_cm3
    if value is None:
        return {}
    limit = constants.number("assessment.very_low_density")
    text = f"lumbar-equivalent density {value:.0f} mg/cm3 ({density.scale.value})"
    return {"very_low_density": Fact(value < limit, text)}


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
        facts["prior_fragility_fracture"] = Fact(known, f"{'a' if known else 'no'} fragility fracture on record")
    known_before = bool(patient.prior_dxa) or bool(patient.known_osteoporosis)
    said = "DXA or osteoporosis on record" if known_before else "no DXA and no osteoporosis on record"
    facts["screened_before"] = Fact(known_before, said)
    return facts


def _osta(patient: PatientContext, words: Wording, constants: ClinicalConstants) -> dict[str, Fact]:
    """OSTA, for post-menopausal women whose age and weight are known."""
    post = patient.sex is Sex.FEMALE and words is Wording.RANGES
    if not post or patient.age_years is None or patient.weight_kg is None:
        return {}
    value = (patient.weight_kg - patient.age_years) * constants.number("assessment.osta.weight_factor")
    if value > constants.number("assessment.osta.medium_from"):
        band = "low"
    else:
        band = "high" if value < constants.number("assessment.osta.high_below") else "medium"
    text = (
        f"OSTA {value:.1f} ({band} risk) from age {patient.age_years:.0f} years and weight {patient.weight_kg:.0f} kg"
    )
    return {"osta": Fact(f"{value:.1f}", text), "osta_band": Fact(band, text)}


def _risk_factors(patient: PatientContext, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    found = []
    if patient.prior_fragility_fracture:
        found.append("prior fragility fracture")
    if patient.glucocorticoids:
        found.append("glucocorticoids")
    if "osta_band" in facts and facts["osta_band"].value in ("medium", "high"):
        found.append(facts["osta_band"].text)
    text = ", ".join(found) or "no risk factor on record"
    return {"risk_factors": Fact(text, text), "risk_factor_count": Fact(float(len(found)), text)}
