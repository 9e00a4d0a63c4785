"""The facts that shaped an assessment, each with its value, what it was compared with, and the source."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category, Driver
from trabecula.assessment.classify import lumbar_hu, reading, thoracic_reading
from trabecula.assessment.context import Wording
from trabecula.assessment.words import RANGE_NAMES, level_names
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, Row
from trabecula.composition.body import CompositionAtLevel
from trabecula.patient import PatientContext, Sex

_MG = "mg/cm3"


def bone_drivers(
    density: DensitySummary, vertebrae: Sequence[VertebraResult], words: Wording, constants: ClinicalConstants
) -> tuple[Driver, ...]:
    """Density at lumbar level and as measured, attenuation, and what vertebrae were left out for."""
    found = []
    value = density.lumbar_equivalent_mg_cm3
    named = words is not Wording.AGE_MATCHED_ONLY
    if value is not None:
        found.append(
            _density_driver("Lumbar-equivalent trabecular density", value, constants.row("levels.lumbar"), named)
        )
        direct = thoracic_reading(density, vertebrae, constants)
        if direct is not None:
            what = f"Trabecular density at {level_names(direct.levels)}, read directly"
            found.append(_density_driver(what, direct.value_mg_cm3, direct.rule, named))
    hu = lumbar_hu(density)
    if hu is not None and named:
        found.append(_prescreen_driver(hu, constants))
    found.extend(_exclusion_drivers(vertebrae, words))
    return tuple(found)


def muscle_drivers(
    composition: Sequence[CompositionAtLevel], patient: PatientContext, enhanced: bool, constants: ClinicalConstants
) -> tuple[Driver, ...]:
    """Muscle at T12 against the cut-offs of the same sex, where they apply; else the plain values."""
    at = _preferred(composition)
    if at is None:
        return ()
    sex = patient.sex if at.level is Level.T12 else None
    whole = not at.truncated
    rows = (
        ("Muscle index", "muscle-index", at.muscle_index_cm2_m2, "cm2/m2", whole, False),
        ("Muscle area", None, at.muscle_area_cm2, "cm2", whole, False),
        ("Muscle attenuation", "muscle-attenuation", at.muscle_attenuation_hu, "HU", not enhanced, False),
        ("Intermuscular fat", "imat", at.imat_area_cm2, "cm2", whole, True),
        ("Paraspinal muscle area", None, at.paraspinal_muscle_area_cm2, "cm2", True, False),
    )
    found = []
    for name, cutoff_id, value, unit, fit, above_is_worse in rows:
        if value is None:
            continue
        cutoff = f"assessment.muscle.t12.{cutoff_id}.{sex.value}" if sex and cutoff_id and fit else None
        reason = "" if fit else _why_unfit(name, at.truncated)
        found.append(_tissue_driver("muscle", name, at.level, value, unit, cutoff, above_is_worse, reason, constants))
    return tuple(found)


def fat_drivers(composition: Sequence[CompositionAtLevel], constants: ClinicalConstants) -> tuple[Driver, ...]:
    """Fat areas as values: no cut-off is known at these levels."""
    at = _preferred(composition)
    if at is None:
        return ()
    rows = (
        ("Visceral fat", at.vat_area_cm2, "cm2", ""),
        ("Subcutaneous fat", at.sat_area_cm2, "cm2", _why_unfit("", True) if at.truncated else ""),
        ("Visceral to subcutaneous fat ratio", at.vat_sat_ratio, None, ""),
    )
    return tuple(
        _tissue_driver("fat", name, at.level, value, unit, None, False, reason, constants)
        for name, value, unit, reason in rows
        if value is not None
    )


def low_muscle(drivers: Sequence[Driver], constants: ClinicalConstants) -> bool:
    """Whether a muscle driver lies on the wrong side of its cut-off."""
    return any(
        d.cutoff is not None
        and d.value is not None
        and (d.value > d.cutoff if ".imat." in d.source else d.value < d.cutoff)
        for d in drivers
        if d.domain == "muscle" and d.source in constants
    )


def _density_driver(what: str, value: float, rule: Row, named: bool) -> Driver:
    """A density beside the cut-off nearest to it; without words of range where age forbids them."""
    if not named:
        return Driver("bone", f"{what} is {value:.0f} {_MG}", value, _MG, None, rule.id)
    category = reading(value, rule)
    cuts = [rule.number("osteoporosis_below_mg_cm3"), rule.number("low_below_mg_cm3")]
    nearest = min((cut for cut in cuts if cut > 0.0), key=lambda cut: abs(cut - value))
    meaning = RANGE_NAMES[category]
    if category is not Category.NO_SIGN_OF_LOW_DENSITY:
        meaning = f"in {meaning}"
    text = f"{what} is {value:.0f} {_MG}: {meaning} by cut-offs of this level ({nearest:.0f} {_MG} is the nearest)"
    return Driver("bone", text, value, _MG, nearest, rule.id)


def _prescreen_driver(hu: float, constants: ClinicalConstants) -> Driver:
    """Attenuation at 120 kVp and lumbar level beside the pre-screen cut-offs."""
    ids = ("risk", "balanced", "screen_out")
    cuts = {name: constants.number(f"assessment.prescreen.{name}") for name in ids}
    if hu < cuts["risk"]:
        name, meaning = "risk", "below the cut-off for osteoporosis risk"
    elif hu < cuts["balanced"]:
        name, meaning = "balanced", "below the balanced cut-off"
    elif hu < cuts["screen_out"]:
        name, meaning = "screen_out", "between the balanced and the screen-out cut-off"
    else:
        name, meaning = "screen_out", "above the screen-out cut-off"
    text = f"Trabecular attenuation at 120 kVp, brought to lumbar level, is {hu:.0f} HU: {meaning} (pre-screen)"
    return Driver("bone", text, hu, "HU", cuts[name], f"assessment.prescreen.{name}")


def _exclusion_drivers(vertebrae: Sequence[VertebraResult], words: Wording) -> list[Driver]:
    fractured = tuple(v.level for v in vertebrae if ExclusionReason.FRACTURE in v.excluded)
    if not fractured:
        return []
    text = (
        f"Height loss of a quarter or more is suspected at {level_names(fractured)}, to be confirmed by a radiologist"
    )
    if words is not Wording.AGE_MATCHED_ONLY:
        text += "; a fragility fracture would make clinical osteoporosis likely whatever the density"
    return [Driver("bone", text, None, None, None, "bone.exclusion.fracture_ratio")]


def _tissue_driver(
    domain: str,
    name: str,
    level: Level,
    value: float,
    unit: str | None,
    cutoff_id: str | None,
    above_is_worse: bool,
    reason: str,
    constants: ClinicalConstants,
) -> Driver:
    text = f"{name} at {level.value} is {value:.1f}{f' {unit}' if unit else ''}"
    if cutoff_id is None:
        source = "composition.window.muscle" if domain == "muscle" else "composition.window.fat"
        return Driver(domain, f"{text}; {reason or 'given without a class'}", value, unit, None, source)
    cutoff = constants.number(cutoff_id)
    population = constants[cutoff_id].population or "population not stated"
    side = "above" if value > cutoff else "below" if value < cutoff else "at"
    worse = value > cutoff if above_is_worse else value < cutoff
    sex = "women" if cutoff_id.endswith(f".{Sex.FEMALE.value}") else "men"
    text += f", {side} the cut-off of {cutoff:g} for {sex} ({population})"
    if worse:
        text += ", as in low or fatty muscle"
    return Driver(domain, text, value, unit, cutoff, cutoff_id)


def _why_unfit(name: str, truncated: bool) -> str:
    if name == "Muscle attenuation":
        return "not compared, as contrast medium raises it"
    return "too small, as the body reaches past the field of view" if truncated else ""


def _preferred(composition: Sequence[CompositionAtLevel]) -> CompositionAtLevel | None:
    """T12, for which cut-offs are known, else the level nearest to it."""
    return min(composition, key=lambda c: abs(c.level.ordinal - Level.T12.ordinal), default=None)
