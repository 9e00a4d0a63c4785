"""The three steps of the review (He 2026): pre-screen by HU, phantomless quantification, confirmation."""

from __future__ import annotations

from typing import Final

from trabecula.assessment.assessment import Category, Tier, TierResult
from trabecula.assessment.classify import Verdict, lumbar_hu
from trabecula.assessment.context import Wording
from trabecula.assessment.words import CATEGORY_WORDS
from trabecula.calibration.calibration import Calibration, CalibrationMethod
from trabecula.calibration.density_result import DensitySummary
from trabecula.clinical import ClinicalConstants

_CONFIRMATION: Final[dict[Category, tuple[str, str]]] = {
    Category.SEVERE_RANGE_SUSPECTED: (
        "needed",
        "Needed: DXA or QCT for the density, and a radiologist's reading of the suspected fracture.",
    ),
    Category.OSTEOPOROSIS_RANGE: ("needed", "Needed: DXA of hip and spine, or QCT."),
    Category.LOW_BONE_DENSITY_RANGE: ("advised", "Advised: DXA, together with a fracture risk assessment."),
    Category.INDETERMINATE: ("advised", "Advised: DXA or QCT, because this scan cannot decide between the ranges."),
    Category.NO_SIGN_OF_LOW_DENSITY: (
        "by-risk",
        "By age and risk: this scan does not exclude osteoporosis, so it replaces no screening that is due.",
    ),
}


def tiers(
    category: Category,
    verdict: Verdict,
    density: DensitySummary,
    calibration: Calibration,
    words: Wording,
    constants: ClinicalConstants,
) -> tuple[TierResult, ...]:
    """What each step gave.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    return (
        _pre_screen(density, calibration, words, constants),
        _quantification(category, verdict, density),
        _confirmation(category, density),
    )


def _pre_screen(
    density: DensitySummary, calibration: Calibration, words: Wording, constants: ClinicalConstants
) -> TierResult:
    hu = lumbar_hu(density)
    if hu is None:
        return TierResult(Tier.HU_PRE_SCREEN, "not-available", "No attenuation could be measured.", None, None)
    what = f"Trabecular attenuation at 120 kVp and lumbar level {hu:.0f} HU"
    if words is Wording.AGE_MATCHED_ONLY:
        text = f"{what}; the cut-offs are for older people and are not applied."
        return TierResult(Tier.HU_PRE_SCREEN, "not-named", text, hu, "HU")
    risk, balanced, screen_out = (
        constants.number(f"assessment.prescreen.{name}") for name in ("risk", "balanced", "screen_out")
    )
    if hu < risk:
        outcome, text = "below-risk-line", f"below {risk:.0f} HU, the line for osteoporosis risk"
    elif hu < balanced:
        outcome, text = "below-balanced-line", f"between {risk:.0f} and {balanced:.0f} HU, low bone mass likely"
    elif hu < screen_out:
        outcome, text = "between-lines", f"between {balanced:.0f} and {screen_out:.0f} HU, not decided by attenuation"
    else:
        outcome, text = (
            "above-screen-out-line",
            f"at or above {screen_out:.0f} HU, the line with about 90 % sensitivity",
        )
    how = " Calibration did not succeed; HU as on the scan." if calibration.method is CalibrationMethod.HU_ONLY else ""
    return TierResult(Tier.HU_PRE_SCREEN, outcome, f"{what}: {text}.{how}", hu, "HU")


def _quantification(category: Category, verdict: Verdict, density: DensitySummary) -> TierResult:
    tier, compared = Tier.PHANTOMLESS_QUANTIFICATION, verdict.deciding
    if verdict.scale_differs:
        text = f"Density is on the {density.scale.value} scale and the cut-offs are not; nothing was compared."
        return TierResult(tier, "scale-differs", text, density.lumbar_equivalent_mg_cm3, "mg/cm3")
    if compared is None:
        return TierResult(tier, "not-available", "No density could be quantified.", None, None)
    value, error = compared.value_mg_cm3, compared.standard_uncertainty_mg_cm3
    text = f"{value:.0f} ± {error:.0f} mg/cm3 {density.scale.value}: {CATEGORY_WORDS[category]}."
    return TierResult(tier, category.value, text, value, "mg/cm3")


def _confirmation(category: Category, density: DensitySummary) -> TierResult:
    tier = Tier.GOLD_STANDARD_CONFIRMATION
    if category in _CONFIRMATION:
        return TierResult(tier, *_CONFIRMATION[category], None, None)
    if density.lumbar_equivalent_mg_cm3 is None:
        return TierResult(tier, "instead", "DXA or QCT instead, where bone health matters.", None, None)
    text = "Where bone health is in question: DXA or QCT, compared with people of the same age and sex."
    return TierResult(tier, "age-matched", text, None, None)
