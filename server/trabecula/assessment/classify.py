"""From a density with its uncertainty to a range, or to the ranges it lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, Row

_ORDER = (Category.OSTEOPOROSIS_RANGE, Category.LOW_BONE_DENSITY_RANGE, Category.NO_SIGN_OF_LOW_DENSITY)


@dataclass(frozen=True)
class Verdict:
    """A range, or several and why it is not one."""

    ranges: tuple[Category, ...]
    """One when decided, more when indeterminate, none when there was no density."""
    doubts: tuple[str, ...]
    """Why more than one range is left, in words."""
    band_mg_cm3: float
    """Half width of the band about each cut-off within which nothing is decided."""


def classify(
    density: DensitySummary, vertebrae: Sequence[VertebraResult], enhanced: bool, constants: ClinicalConstants
) -> Verdict:
    """Ranges that the lumbar-equivalent density allows.

    Density decides (80 and 120 mg/cm3 at lumbar level). More than one range is left when a cut-off lies within
    the band, when the two published readings of a thoracic density disagree, or when attenuation contradicts.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    value, uncertainty = density.lumbar_equivalent_mg_cm3, density.lumbar_equivalent_standard_uncertainty_mg_cm3
    if value is None or uncertainty is None:
        return _by_attenuation_alone(density, constants)
    band = constants.number("assessment.band.coverage_factor") * uncertainty
    if enhanced:
        band = max(band, constants.number("assessment.band.contrast"))
    lumbar = constants.row("levels.lumbar")
    found, doubts = {reading(value - band, lumbar), reading(value, lumbar), reading(value + band, lumbar)}, []
    if len(found) > 1:
        doubts.append(f"a cut-off lies within {band:.0f} mg/cm3 of the value")
    direct = thoracic_reading(density, vertebrae, constants)
    if direct is not None:
        extra, doubt = _thoracic_doubt(direct, constants)
        found |= extra
        doubts.extend(doubt)
    contradiction = _contradiction(found, density, constants)
    if contradiction:
        found |= contradiction
        doubts.append("attenuation and density do not agree")
    return Verdict(_filled(found), tuple(doubts), band)


def _thoracic_doubt(direct: ThoracicReading, constants: ClinicalConstants) -> tuple[set[Category], tuple[str, ...]]:
    """What the level itself leaves open: sources that disagree, or levels that can only raise a flag."""
    if direct.rule.id in constants.texts("profile.sources_disagree") and direct.disagrees:
        return {direct.category, direct.as_lumbar}, ("published readings of a lower thoracic density disagree here",)
    if direct.rule.id in constants.texts("profile.flag_only"):
        low, flagged = Category.LOW_BONE_DENSITY_RANGE, direct.category is not Category.NO_SIGN_OF_LOW_DENSITY
        other = Category.OSTEOPOROSIS_RANGE if flagged else Category.NO_SIGN_OF_LOW_DENSITY
        return {low, other}, ("vertebrae above T8 can only raise a flag",)
    return set(), ()


def reading(value_mg_cm3: float, rule: Row) -> Category:
    """Range of a density by the cut-offs of one level rule."""
    if value_mg_cm3 < rule.number("osteoporosis_below_mg_cm3"):
        return Category.OSTEOPOROSIS_RANGE
    if value_mg_cm3 <= rule.number("low_below_mg_cm3"):
        return Category.LOW_BONE_DENSITY_RANGE
    return Category.NO_SIGN_OF_LOW_DENSITY


@dataclass(frozen=True)
class ThoracicReading:
    """The mean thoracic density read by its own cut-offs and by the lumbar ones as they are."""

    rule: Row
    levels: tuple[Level, ...]
    value_mg_cm3: float
    category: Category
    as_lumbar: Category

    @property
    def disagrees(self) -> bool:
        return self.category is not self.as_lumbar


def thoracic_reading(
    density: DensitySummary, vertebrae: Sequence[VertebraResult], constants: ClinicalConstants
) -> ThoracicReading | None:
    """Direct reading of the thoracic bodies that the lumbar equivalent was made from; None when it was lumbar."""
    if density.conversion not in constants or density.conversion == "levels.lumbar":
        return None
    rule = constants.row(density.conversion)
    wanted = set(rule.texts("levels")) & {level.value for level in density.levels_used}
    used = [v for v in vertebrae if v.level.value in wanted and v.vbmd_mg_cm3 is not None and not v.excluded]
    values = [v.vbmd_mg_cm3 for v in used if v.vbmd_mg_cm3 is not None]
    if not values:
        return None
    mean = sum(values) / len(values)
    lumbar = constants.row("levels.lumbar")
    return ThoracicReading(rule, tuple(v.level for v in used), mean, reading(mean, rule), reading(mean, lumbar))


def lumbar_hu(density: DensitySummary) -> float | None:
    """Mean attenuation at 120 kVp, brought to lumbar level as the density was; HU cut-offs were read at L1."""
    hu, mean, lumbar = density.hu_mean_120kvp, density.vbmd_mean_mg_cm3, density.lumbar_equivalent_mg_cm3
    if hu is None or mean is None or lumbar is None or mean <= 0.0 or density.conversion == "levels.lumbar":
        return hu
    return hu * lumbar / mean


def _contradiction(found: set[Category], density: DensitySummary, constants: ClinicalConstants) -> set[Category]:
    """What attenuation adds: no all-clear below the screen-out line, no low range above it."""
    hu = lumbar_hu(density)
    if hu is None:
        return set()
    screened_out = hu >= constants.number("assessment.prescreen.screen_out")
    low, clear = Category.LOW_BONE_DENSITY_RANGE, Category.NO_SIGN_OF_LOW_DENSITY
    if clear in found and not screened_out:
        return {low} - found
    if found == {low} and screened_out:
        return {clear}
    return set()


def _by_attenuation_alone(density: DensitySummary, constants: ClinicalConstants) -> Verdict:
    """A pre-screen at most: attenuation without a density decides nothing."""
    hu = density.hu_mean_120kvp
    if hu is None:
        return Verdict((), (), 0.0)
    balanced = constants.number("assessment.prescreen.balanced")
    return Verdict(_ORDER[:2] if hu < balanced else _ORDER[1:], ("only attenuation could be measured",), 0.0)


def _filled(found: set[Category]) -> tuple[Category, ...]:
    """The ranges in order, with what lies between the outer two."""
    places = [_ORDER.index(category) for category in found]
    return _ORDER[min(places) : max(places) + 1]
