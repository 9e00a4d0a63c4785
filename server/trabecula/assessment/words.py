"""The assessment in sentences: a range is no diagnosis, and nothing is ruled out."""

from __future__ import annotations

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category
from trabecula.assessment.classify import Verdict
from trabecula.assessment.context import DECIDES_WORDS, Wording
from trabecula.calibration.density_result import DensitySummary
from trabecula.clinical import ClinicalConstants

RANGE_NAMES = {
    Category.OSTEOPOROSIS_RANGE: "the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "the low bone density range",
    Category.NO_SIGN_OF_LOW_DENSITY: "no sign of low density",
}


def statement(
    category: Category,
    verdict: Verdict,
    density: DensitySummary,
    words: Wording,
    unknown: tuple[str, ...],
    enhanced: bool,
) -> str:
    """The assessment in one or two sentences for a report."""
    if category is Category.NOT_CLASSIFIED:
        return _not_classified(density)
    text = _indeterminate(verdict, density) if category is Category.INDETERMINATE else _decided(category, density)
    if enhanced:
        text += " The scan was made with contrast medium; the value was corrected for it."
    if words is Wording.RANGES_ASSUMED:
        missing = _joined([name for name in unknown if name in DECIDES_WORDS])
        text += f" The ranges are those of post-menopausal women and older men; not known here: {missing}."
    return text


def decided_on(category: Category, verdict: Verdict, density: DensitySummary, constants: ClinicalConstants) -> str:
    """Which number was compared with what, on which scale and level rule."""
    if density.lumbar_equivalent_mg_cm3 is None:
        return "attenuation alone, pre-screen cut-offs" if verdict.ranges else "nothing: no vertebra counted"
    number = (
        f"lumbar-equivalent trabecular density {density.lumbar_equivalent_mg_cm3:.1f} mg/cm3 "
        f"({density.scale.value} scale) from {level_names(density.levels_used)} by rule {density.conversion}"
    )
    if category is Category.NOT_CLASSIFIED:
        return f"{number}, compared with no cut-off at this age or before menopause"
    lumbar = constants.row("levels.lumbar")
    cuts = f"{lumbar.number('osteoporosis_below_mg_cm3'):.0f} and {lumbar.number('low_below_mg_cm3'):.0f} mg/cm3"
    return f"{number}, compared with {cuts}, undecided within {verdict.band_mg_cm3:.1f} mg/cm3 of either"


def level_names(levels: tuple[Level, ...]) -> str:
    return _joined([level.value for level in levels])


def _decided(category: Category, density: DensitySummary) -> str:
    if category is Category.NO_SIGN_OF_LOW_DENSITY:
        return (
            f"There is no sign of low trabecular density on this scan{_value(density)}; this does not exclude "
            "osteoporosis."
        )
    text = f"Trabecular density is in {RANGE_NAMES[category]} by phantomless CT{_value(density)}; this is no diagnosis"
    return f"{text} and needs confirmation by QCT or DXA."


def _indeterminate(verdict: Verdict, density: DensitySummary) -> str:
    between = _joined([RANGE_NAMES[category] for category in verdict.ranges])
    return (
        f"Trabecular density is indeterminate{_value(density)}, between {between}: {_joined(list(verdict.doubts))}; "
        "this does not exclude osteoporosis."
    )


def _not_classified(density: DensitySummary) -> str:
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


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
