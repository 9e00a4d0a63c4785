"""From a density with its uncertainty to a range, or to the ranges it lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category, ReadingKind
from trabecula.assessment.readings import (
    ORDER,
    Deciding,
    Group,
    deciding,
    deciding_group,
    filled,
    nearest_group,
    ranges_within,
    reading,
    used_values,
)
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants

_LUMBAR = "levels.lumbar"


@dataclass(frozen=True)
class Verdict:
    """A range, or several and why it is not one."""

    ranges: tuple[Category, ...]
    """One when decided, more when indeterminate, none when there was no density."""
    doubts: tuple[str, ...]
    """Why more than one range is left, in words."""
    band_mg_cm3: float
    """Half width of the band about each cut-off within which nothing is decided."""
    deciding: Deciding | None = None
    """The density that was compared; None when there was none."""
    remarks: tuple[str, ...] = ()
    """What a reader must know of the range although it leaves no doubt, in sentences."""
    scale_differs: bool = False
    """The cut-offs are on another density scale, so nothing was compared."""


def classify(
    density: DensitySummary, vertebrae: Sequence[VertebraResult], enhanced: bool, constants: ClinicalConstants
) -> Verdict:
    """Ranges that the density allows by the level profile.

    The density that the profile names decides. More than one range is left when a cut-off lies within the band,
    when the two published readings of a thoracic density disagree, when the vertebra may be another one than named,
    or when attenuation contradicts.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    group = deciding_group(density, vertebrae, constants)
    compared = deciding(density, group, constants)
    if compared is None:
        return _by_attenuation_alone(density, constants)
    if constants[compared.cutoffs.id].scale != density.scale.value:
        return Verdict((), (), 0.0, scale_differs=True)
    band = constants.number("assessment.band.coverage_factor") * compared.standard_uncertainty_mg_cm3
    if enhanced:
        band = max(band, constants.number("assessment.band.contrast"))
    found, doubts = ranges_within(compared.value_mg_cm3, band, compared.cutoffs), []
    if len(found) > 1:
        doubts.append(f"a cut-off lies within {band:.0f} mg/cm3 of the value")
    if group is not None and not group.is_lumbar:
        extra, doubt = _thoracic_doubt(group, constants)
        found |= extra
        doubts.extend(doubt)
    contradiction = _contradiction(found, density, constants)
    if contradiction:
        found |= contradiction
        doubts.append("attenuation and density do not agree")
    doubt_of_names = _doubt_of_names(density, vertebrae, compared, band, constants)
    if doubt_of_names.surest is None:
        return Verdict(filled(found), tuple(doubts), band, compared)
    if doubt_of_names.ranges <= found:
        remark = f"{doubt_of_names.text}; named one level higher or lower, the range would be the same."
        return Verdict(filled(found), tuple(doubts), band, compared, (remark,))
    doubts.append(f"{doubt_of_names.text[:1].lower()}{doubt_of_names.text[1:]} and a neighbouring name reads otherwise")
    return Verdict(filled(found | doubt_of_names.ranges), tuple(doubts), band, compared)


def _thoracic_doubt(group: Group, constants: ClinicalConstants) -> tuple[set[Category], tuple[str, ...]]:
    """What the level itself leaves open: sources that disagree, or levels that can only raise a flag."""
    direct = reading(group.mean_mg_cm3, group.rule)
    as_lumbar = reading(group.mean_mg_cm3, constants.row(_LUMBAR))
    if group.rule.id in constants.texts("profile.sources_disagree") and direct is not as_lumbar:
        return {direct, as_lumbar}, ("published readings of a lower thoracic density disagree here",)
    if group.rule.id in constants.texts("profile.flag_only"):
        low, flagged = Category.LOW_BONE_DENSITY_RANGE, direct is not Category.NO_SIGN_OF_LOW_DENSITY
        other = Category.OSTEOPOROSIS_RANGE if flagged else Category.NO_SIGN_OF_LOW_DENSITY
        return {low, other}, ("vertebrae above T8 can only raise a flag",)
    return set(), ()


@dataclass(frozen=True)
class _NameDoubt:
    surest: float | None
    """Lowest confidence of a name, when it is too low; None when names are sure."""
    text: str = ""
    ranges: frozenset[Category] = frozenset()
    """Ranges by the names one level higher and lower."""


def _doubt_of_names(
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    compared: Deciding,
    band_mg_cm3: float,
    constants: ClinicalConstants,
) -> _NameDoubt:
    """What the same densities would be read as, were every vertebra the one above or below the one named."""
    used = [v for v in vertebrae if v.level in density.levels_used and not v.excluded]
    surest = min((v.level_confidence for v in used), default=1.0)
    if surest >= constants.number("assessment.levels.sure_from"):
        return _NameDoubt(None)
    values = used_values(density, vertebrae)
    uncertainty = density.vbmd_mean_standard_uncertainty_mg_cm3 or 0.0
    found: set[Category] = set()
    for step in (-1, 1):
        shifted = [(Level.from_ordinal(level.ordinal + step), value) for level, value in values if _has(level, step)]
        group = nearest_group(shifted, uncertainty, constants)
        if group is None:
            continue
        if compared.kind is ReadingKind.DIRECT and not group.is_lumbar:
            found |= ranges_within(group.mean_mg_cm3, band_mg_cm3, group.rule)
        else:
            found |= ranges_within(group.lumbar_mg_cm3, band_mg_cm3, constants.row(_LUMBAR))
    return _NameDoubt(surest, f"The naming of vertebral levels is not sure ({surest:.0%})", frozenset(found))


def _has(level: Level, step: int) -> bool:
    return 1 <= level.ordinal + step <= len(Level)


@dataclass(frozen=True)
class ThoracicReading:
    """The mean thoracic density read by its own cut-offs."""

    group: Group
    category: Category


def thoracic_reading(
    density: DensitySummary, vertebrae: Sequence[VertebraResult], constants: ClinicalConstants
) -> ThoracicReading | None:
    """Direct reading of the thoracic bodies that the lumbar equivalent was made from; None when it was lumbar."""
    group = deciding_group(density, vertebrae, constants)
    if group is None or group.is_lumbar:
        return None
    return ThoracicReading(group, reading(group.mean_mg_cm3, group.rule))


def lumbar_hu(density: DensitySummary) -> float | None:
    """Mean attenuation at 120 kVp, brought to lumbar level as the density was; HU cut-offs were read at L1."""
    hu, mean, lumbar = density.hu_mean_120kvp, density.vbmd_mean_mg_cm3, density.lumbar_equivalent_mg_cm3
    if hu is None or mean is None or lumbar is None or mean <= 0.0 or density.conversion == _LUMBAR:
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
    return Verdict(ORDER[:2] if hu < balanced else ORDER[1:], ("only attenuation could be measured",), 0.0)
