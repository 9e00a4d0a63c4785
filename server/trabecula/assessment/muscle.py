"""Muscle and fat values beside the cut-offs that hold for them, or with the reason why none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Driver, Finding
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.patient import PatientContext, Sex

_ABOVE_IS_WORSE: Final = frozenset({"imat"})
_CUT: Final = "too small, as the body reaches past the field of view"
_ENHANCED: Final = "not compared, as contrast medium raises it"
_PLAIN: Final = "given without a class"


@dataclass(frozen=True)
class MuscleValue:
    """One value of muscle with where it lies as to its cut-off."""

    criterion: str
    finding: Finding
    driver: Driver


def muscle_values(
    composition: Sequence[CompositionAtLevel], patient: PatientContext, enhanced: bool, constants: ClinicalConstants
) -> tuple[MuscleValue, ...]:
    """Muscle at T12 against the cut-offs of the same sex, where they apply; else the plain values."""
    at = preferred(composition)
    if at is None:
        return ()
    area = _CUT if at.truncated else ""
    attenuation = _ENHANCED if enhanced else ""
    compared = (
        ("Muscle index", "muscle-index", at.muscle_index_cm2_m2, "cm2/m2", area),
        ("Muscle attenuation", "muscle-attenuation", at.muscle_attenuation_hu, "HU", attenuation),
        ("Intermuscular fat", "imat", at.imat_area_cm2, "cm2", area),
        ("Paraspinal muscle index", "paraspinal-index", at.paraspinal_muscle_index_cm2_m2, "cm2/m2", ""),
        ("Paraspinal muscle area", "paraspinal-area", at.paraspinal_muscle_area_cm2, "cm2", ""),
        ("Paraspinal muscle attenuation", "paraspinal-attenuation", at.paraspinal_muscle_attenuation_hu, "HU",
         attenuation),
    )  # fmt: skip
    plain = (
        ("Muscle area", "muscle-area", at.muscle_area_cm2, "cm2", area),
        ("Fat in muscle, by share,", "fat-by-share", at.muscle_fat_by_share_cm2, "cm2", area),
        ("Attenuation of lean muscle", "lean-attenuation", at.lean_muscle_attenuation_hu, "HU", attenuation),
    )
    where = _no_cutoff_here(at.level, patient.sex)
    found = []
    for name, criterion, value, unit, unfit in compared:
        if value is None:
            continue
        if unfit or where or patient.sex is None:
            driver = _plain("muscle", name, at.level, value, unit, unfit or where)
            found.append(MuscleValue(criterion, Finding.NOT_COMPARED, driver))
        else:
            found.append(_compared(name, criterion, at.level, value, unit, patient.sex, constants))
    for name, criterion, value, unit, unfit in plain:
        if value is not None:
            driver = _plain("muscle", name, at.level, value, unit, unfit or _PLAIN)
            found.append(MuscleValue(criterion, Finding.NO_CUTOFF, driver))
    return tuple(found)


def fat_drivers(composition: Sequence[CompositionAtLevel]) -> tuple[Driver, ...]:
    """Fat areas as values: no cut-off is known at these levels."""
    at = preferred(composition)
    if at is None:
        return ()
    rows = (
        ("Visceral fat", at.vat_area_cm2, "cm2", ""),
        ("Subcutaneous fat", at.sat_area_cm2, "cm2", _CUT if at.truncated else ""),
        ("Visceral to subcutaneous fat ratio", at.vat_sat_ratio, None, ""),
    )
    return tuple(
        _plain("fat", name, at.level, value, unit, reason or _PLAIN)
        for name, value, unit, reason in rows
        if value is not None
    )


def preferred(composition: Sequence[CompositionAtLevel]) -> CompositionAtLevel | None:
    """T12, for which cut-offs are known, else the level nearest to it."""
    return min(composition, key=lambda c: abs(c.level.ordinal - Level.T12.ordinal), default=None)


def _no_cutoff_here(level: Level, sex: Sex | None) -> str:
    if level is not Level.T12:
        return f"given without a class: the cut-offs are for T12, not {level.value}"
    return "given without a class, as the cut-offs go by sex and it is not known" if sex is None else ""


def _compared(
    name: str, criterion: str, level: Level, value: float, unit: str, sex: Sex, constants: ClinicalConstants
) -> MuscleValue:
    cutoff_id = f"assessment.muscle.t12.{criterion}.{sex.value}"
    cutoff = constants.number(cutoff_id)
    population = constants[cutoff_id].population or "population not stated"
    worse = value > cutoff if criterion in _ABOVE_IS_WORSE else value < cutoff
    side = "above" if value > cutoff else "below" if value < cutoff else "at"
    people = "women" if sex is Sex.FEMALE else "men"
    text = (
        f"{name} at {level.value} is {value:.1f} {unit}, {side} the cut-off of {cutoff:g} for {people} ({population})"
    )
    if worse:
        text += ", as in low or fatty muscle"
    driver = Driver("muscle", text, value, unit, cutoff, cutoff_id)
    return MuscleValue(criterion, Finding.BEYOND_CUTOFF if worse else Finding.WITHIN_CUTOFF, driver)


def _plain(domain: str, name: str, level: Level, value: float, unit: str | None, reason: str) -> Driver:
    text = f"{name} at {level.value} is {value:.1f}{f' {unit}' if unit else ''}; {reason}"
    return Driver(domain, text, value, unit, None, f"composition.window.{'muscle' if domain == 'muscle' else 'fat'}")
