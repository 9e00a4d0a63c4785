"""Densities read by the rules of the level profile: directly, as lumbar equivalent, and uncorrected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category, LevelReading, ReadingKind
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, Row

ORDER = (Category.OSTEOPOROSIS_RANGE, Category.LOW_BONE_DENSITY_RANGE, Category.NO_SIGN_OF_LOW_DENSITY)
_LUMBAR = "levels.lumbar"


def reading(value_mg_cm3: float, rule: Row) -> Category:
    """Range of a density by the cut-offs of one level rule."""
    if value_mg_cm3 < rule.number("osteoporosis_below_mg_cm3"):
        return Category.OSTEOPOROSIS_RANGE
    if value_mg_cm3 <= rule.number("low_below_mg_cm3"):
        return Category.LOW_BONE_DENSITY_RANGE
    return Category.NO_SIGN_OF_LOW_DENSITY


def ranges_within(value_mg_cm3: float, band_mg_cm3: float, rule: Row) -> set[Category]:
    """Ranges that a density may lie in when it is known to within a band."""
    return {reading(value_mg_cm3 + side * band_mg_cm3, rule) for side in (-1.0, 0.0, 1.0)}


def filled(found: set[Category]) -> tuple[Category, ...]:
    """Ranges in order, with what lies between the outer two."""
    if not found:
        return ()
    places = [ORDER.index(category) for category in found]
    return ORDER[min(places) : max(places) + 1]


@dataclass(frozen=True)
class Deciding:
    """The density that decides, with the rule whose cut-offs it is compared with."""

    value_mg_cm3: float
    standard_uncertainty_mg_cm3: float
    cutoffs: Row
    kind: ReadingKind
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Group:
    """Vertebrae of one level rule whose mean is read."""

    rule: Row
    levels: tuple[Level, ...]
    mean_mg_cm3: float
    standard_uncertainty_mg_cm3: float

    @property
    def is_lumbar(self) -> bool:
        return self.rule.id == _LUMBAR

    @property
    def lumbar_mg_cm3(self) -> float:
        return self.rule.number("slope") * self.mean_mg_cm3 + self.rule.number("intercept_mg_cm3")

    @property
    def lumbar_standard_uncertainty_mg_cm3(self) -> float:
        own = self.rule.number("slope") * self.standard_uncertainty_mg_cm3
        return math.hypot(own, self.rule.number("standard_error_mg_cm3"))


def rule_of(level: Level, constants: ClinicalConstants) -> Row | None:
    """The profile's rule for a level."""
    return next((row for row in constants.rows("levels") if level.value in row.texts("levels")), None)


def nearest_group(
    values: Sequence[tuple[Level, float]], standard_uncertainty_mg_cm3: float, constants: ClinicalConstants
) -> Group | None:
    """The group of levels under one rule that lies nearest to the lumbar spine; None when no level has a rule."""
    groups: dict[str, tuple[Row, list[tuple[Level, float]]]] = {}
    for level, value in sorted(values, key=lambda item: item[0].ordinal, reverse=True):
        rule = rule_of(level, constants)
        if rule is not None:
            groups.setdefault(rule.id, (rule, []))[1].append((level, value))
    if not groups:
        return None
    rule, members = next(iter(groups.values()))
    mean = sum(value for _, value in members) / len(members)
    levels = sorted((level for level, _ in members), key=lambda level: level.ordinal)
    return Group(rule, tuple(levels), mean, standard_uncertainty_mg_cm3)


def deciding_group(
    density: DensitySummary, vertebrae: Sequence[VertebraResult], constants: ClinicalConstants
) -> Group | None:
    """The vertebrae that the lumbar equivalent was made from; None when there is none."""
    uncertainty = density.vbmd_mean_standard_uncertainty_mg_cm3
    if density.lumbar_equivalent_mg_cm3 is None or uncertainty is None:
        return None
    return nearest_group(used_values(density, vertebrae), uncertainty, constants)


def used_values(density: DensitySummary, vertebrae: Sequence[VertebraResult]) -> list[tuple[Level, float]]:
    """Level and density of the vertebrae that went into the mean."""
    return [
        (v.level, v.vbmd_mg_cm3)
        for v in vertebrae
        if v.level in density.levels_used and not v.excluded and v.vbmd_mg_cm3 is not None
    ]


def deciding(density: DensitySummary, group: Group | None, constants: ClinicalConstants) -> Deciding | None:
    """The density that the profile lets decide; None when there is no density."""
    value, uncertainty = density.lumbar_equivalent_mg_cm3, density.lumbar_equivalent_standard_uncertainty_mg_cm3
    if value is None or uncertainty is None:
        return None
    if constants.text("profile.decides") == ReadingKind.DIRECT.value and group is not None and not group.is_lumbar:
        own = group.standard_uncertainty_mg_cm3
        return Deciding(group.mean_mg_cm3, own, group.rule, ReadingKind.DIRECT, group.levels)
    levels = density.levels_used if group is None else group.levels
    return Deciding(value, uncertainty, constants.row(_LUMBAR), ReadingKind.LUMBAR_EQUIVALENT, levels)


def level_readings(
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    constants: ClinicalConstants,
    *,
    named: bool,
) -> tuple[LevelReading, ...]:
    """Every vertebra that counts read in both ways, then the mean that decides, in every way.

    Args:
        density: the summary.
        vertebrae: all vertebrae.
        constants: clinical data with a level profile.
        named: whether ranges may be named for this patient; without it values stand alone.
    """
    factor = constants.number("assessment.band.coverage_factor")
    reader = _Reader(constants, factor, named)
    found: list[LevelReading] = []
    for v in vertebrae:
        rule = rule_of(v.level, constants)
        if rule is None or v.excluded or v.vbmd_mg_cm3 is None:
            continue
        found.append(reader.direct((v.level,), v.vbmd_mg_cm3, v.vbmd_standard_uncertainty_mg_cm3, rule))
        if v.lumbar_equivalent_mg_cm3 is not None:
            error = v.lumbar_equivalent_standard_uncertainty_mg_cm3
            found.append(reader.lumbar((v.level,), v.lumbar_equivalent_mg_cm3, error, rule))
    group = deciding_group(density, vertebrae, constants)
    decides = deciding(density, group, constants)
    if group is None or decides is None:
        return tuple(found)
    mean, error = group.mean_mg_cm3, group.standard_uncertainty_mg_cm3
    direct = decides.kind is ReadingKind.DIRECT
    found.append(reader.direct(group.levels, mean, error, group.rule, decides=direct))
    lumbar, lumbar_error = (
        density.lumbar_equivalent_mg_cm3,
        density.lumbar_equivalent_standard_uncertainty_mg_cm3,
    )
    if lumbar is not None:
        found.append(reader.lumbar(group.levels, lumbar, lumbar_error, group.rule, decides=not direct))
    if not group.is_lumbar:
        found.append(reader.uncorrected(group.levels, mean, error))
    return tuple(found)


@dataclass(frozen=True)
class _Reader:
    constants: ClinicalConstants
    factor: float
    named: bool

    def direct(
        self, levels: tuple[Level, ...], value: float, error: float | None, rule: Row, *, decides: bool = False
    ) -> LevelReading:
        return self._read(levels, ReadingKind.DIRECT, value, error, rule, rule.id, decides)

    def lumbar(
        self, levels: tuple[Level, ...], value: float, error: float | None, line: Row, *, decides: bool = False
    ) -> LevelReading:
        """Compared with the lumbar cut-offs; what is cited is the line that brought the value there."""
        cutoffs = self.constants.row(_LUMBAR)
        return self._read(levels, ReadingKind.LUMBAR_EQUIVALENT, value, error, cutoffs, line.id, decides)

    def uncorrected(self, levels: tuple[Level, ...], value: float, error: float | None) -> LevelReading:
        return self._read(
            levels, ReadingKind.UNCORRECTED, value, error, self.constants.row(_LUMBAR), _LUMBAR, decides=False
        )

    def _read(
        self,
        levels: tuple[Level, ...],
        kind: ReadingKind,
        value: float,
        error: float | None,
        cutoffs: Row,
        cited: str,
        decides: bool,
    ) -> LevelReading:
        entry = self.constants[cited]
        osteoporosis, low = cutoffs.number("osteoporosis_below_mg_cm3"), cutoffs.number("low_below_mg_cm3")
        found = ranges_within(value, self.factor * (error or 0.0), cutoffs) if self.named else set()
        if found and cutoffs.id in self.constants.texts("profile.flag_only"):
            # such a level can raise a flag and no more: below its cut-off it may be either range, above it low still
            found |= {Category.LOW_BONE_DENSITY_RANGE}
            found |= {Category.OSTEOPOROSIS_RANGE} if value <= low else {Category.NO_SIGN_OF_LOW_DENSITY}
        ranges = filled(found)
        return LevelReading(
            levels=levels,
            kind=kind,
            rule=cited,
            value_mg_cm3=value,
            standard_uncertainty_mg_cm3=error,
            osteoporosis_below_mg_cm3=osteoporosis if self.named and osteoporosis > 0.0 else None,
            low_below_mg_cm3=low if self.named else None,
            ranges=ranges,
            decides=decides,
            source=entry.source,
            verified=entry.verified,
        )
