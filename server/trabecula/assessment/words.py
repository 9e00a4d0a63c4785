"""The assessment in sentences: a range is no diagnosis, and nothing is ruled out."""

from __future__ import annotations

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category, ReadingKind
from trabecula.assessment.classify import Verdict
from trabecula.assessment.context import DECIDES_WORDS, Wording
from trabecula.calibration.density_result import DensitySummary

RANGE_NAMES = {
    Category.SEVERE_RANGE_SUSPECTED: "the osteoporosis range with a suspected vertebral fracture",
    Category.OSTEOPOROSIS_RANGE: "the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "the low bone density range",
    Category.NO_SIGN_OF_LOW_DENSITY: "no sign of low density",
}
CATEGORY_WORDS = {
    Category.SEVERE_RANGE_SUSPECTED: "in the osteoporosis range, with a suspected vertebral fracture",
    Category.OSTEOPOROSIS_RANGE: "in the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "in the low bone density range",
    Category.NO_SIGN_OF_LOW_DENSITY: "no sign of low density on this scan",
    Category.INDETERMINATE: "indeterminate between ranges",
    Category.NOT_CLASSIFIED: "measured, no range named",
}


def statement(
    category: Category,
    verdict: Verdict,
    density: DensitySummary,
    words: Wording,
    unknown: tuple[str, ...],
    enhanced: bool,
    fractures: tuple[Level, ...] = (),
) -> str:
    """The assessment in a few sentences for a report.

    Args:
        category: what was decided.
        verdict: how.
        density: the summary.
        words: which words the patient's context allows.
        unknown: facts that are not known.
        enhanced: whether contrast medium was given.
        fractures: levels of suspected fragility fractures.
    """
    if category is Category.NOT_CLASSIFIED:
        return _not_classified(verdict, density)
    if category is Category.INDETERMINATE:
        text = _indeterminate(verdict, density, fractures)
    else:
        text = _decided(category, density, fractures)
    for remark in verdict.remarks:
        text += f" {remark}"
    if enhanced:
        text += " The scan was made with contrast medium; the value was corrected for it."
    if words is Wording.RANGES_ASSUMED:
        missing = joined([name for name in unknown if name in DECIDES_WORDS])
        text += f" The ranges are those of post-menopausal women and older men; not known here: {missing}."
    return text


def decided_on(category: Category, verdict: Verdict, density: DensitySummary, profile: str) -> str:
    """Which number was compared with what, on which scale, level rule and profile."""
    compared = verdict.deciding
    if compared is None:
        if verdict.scale_differs:
            return f"nothing: density on the {density.scale.value} scale, cut-offs of profile {profile} on another"
        return "attenuation alone, pre-screen cut-offs" if verdict.ranges else "nothing: no vertebra counted"
    name = "lumbar-equivalent" if compared.kind is ReadingKind.LUMBAR_EQUIVALENT else "directly read"
    rule = density.conversion if compared.kind is ReadingKind.LUMBAR_EQUIVALENT else compared.cutoffs.id
    number = (
        f"{name} trabecular density {compared.value_mg_cm3:.1f} mg/cm3 "
        f"({density.scale.value} scale) from {level_names(compared.levels)} by rule {rule} of profile {profile}"
    )
    if category is Category.NOT_CLASSIFIED:
        return f"{number}, compared with no cut-off at this age or before menopause"
    cutoffs = compared.cutoffs
    cuts = f"{cutoffs.number('osteoporosis_below_mg_cm3'):.0f} and {cutoffs.number('low_below_mg_cm3'):.0f} mg/cm3"
    return f"{number}, compared with {cuts}, undecided within {verdict.band_mg_cm3:.1f} mg/cm3 of either"


def level_names(levels: tuple[Level, ...]) -> str:
    return joined([level.value for level in levels])


def joined(parts: list[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _decided(category: Category, density: DensitySummary, fractures: tuple[Level, ...]) -> str:
    if category is Category.NO_SIGN_OF_LOW_DENSITY:
        return (
            f"There is no sign of low trabecular density on this scan{_value(density)}; this does not exclude "
            "osteoporosis."
        )
    if category is Category.SEVERE_RANGE_SUSPECTED:
        return (
            f"Trabecular density is in the osteoporosis range by phantomless CT{_value(density)} and a vertebral "
            f"fragility fracture is suspected at {level_names(fractures)}: the severe category is suspected. This is "
            "no diagnosis; the fracture needs a radiologist's confirmation and the density that of QCT or DXA."
        )
    text = f"Trabecular density is in {RANGE_NAMES[category]} by phantomless CT{_value(density)}; this is no diagnosis"
    return f"{text} and needs confirmation by QCT or DXA."


def _indeterminate(verdict: Verdict, density: DensitySummary, fractures: tuple[Level, ...]) -> str:
    between = joined([RANGE_NAMES[category] for category in verdict.ranges])
    text = (
        f"Trabecular density is indeterminate{_value(density)}, between {between}: {joined(list(verdict.doubts))}; "
        "this does not exclude osteoporosis."
    )
    if fractures and Category.OSTEOPOROSIS_RANGE in verdict.ranges:
        text += (
            f" A vertebral fragility fracture is suspected at {level_names(fractures)}: were the density in the "
            "osteoporosis range and the fracture confirmed, the category would be severe."
        )
    return text


def _not_classified(verdict: Verdict, density: DensitySummary) -> str:
    if verdict.scale_differs:
        return (
            f"Trabecular density was measured{_value(density)}. The cut-offs are on another density scale, so no "
            "range is named; low bone density is not excluded."
        )
    if density.lumbar_equivalent_mg_cm3 is None:
        return "No vertebra could be used for a density; nothing can be said of bone density from this scan."
    return (
        f"Trabecular density was measured{_value(density)}. At this age, or before menopause, no range is named: the "
        "value is to be compared with people of the same age and sex (Z-score) where that is clinically wanted, and "
        "low bone density is not excluded."
    )


def _value(density: DensitySummary) -> str:
    """The lumbar-equivalent density in brackets, with its scale; empty when there is none."""
    value, uncertainty = density.lumbar_equivalent_mg_cm3, density.lumbar_equivalent_standard_uncertainty_mg_cm3
    if value is None or uncertainty is None:
        return ""
    return f" ({value:.0f} ± {uncertainty:.0f} mg/cm3 {density.scale.value}, lumbar equivalent)"
