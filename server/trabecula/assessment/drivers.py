"""The facts that shaped an assessment, each with its value, what it was compared with, and the source."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import Category, Driver
from trabecula.assessment.classify import lumbar_hu, thoracic_reading
from trabecula.assessment.context import Wording
from trabecula.assessment.fracture import grades, suspected_fractures
from trabecula.assessment.readings import reading
from trabecula.assessment.words import RANGE_NAMES, joined, level_names
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, Row

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
            what = f"Trabecular density at {level_names(direct.group.levels)}, read directly"
            found.append(_density_driver(what, direct.group.mean_mg_cm3, direct.group.rule, named))
    hu = lumbar_hu(density)
    if hu is not None and named:
        found.append(_prescreen_driver(hu, constants))
    found.extend(_fracture_drivers(vertebrae, words, constants))
    return tuple(found)


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


def _fracture_drivers(
    vertebrae: Sequence[VertebraResult], words: Wording, constants: ClinicalConstants
) -> list[Driver]:
    fractured = suspected_fractures(vertebrae, constants)
    if not fractured:
        return []
    graded = grades(vertebrae)
    shown = [f"{level.value} (grade {graded[level]})" if level in graded else level.value for level in fractured]
    text = f"Height loss of a quarter or more is suspected at {joined(shown)}, to be confirmed by a radiologist"
    if words is not Wording.AGE_MATCHED_ONLY:
        text += "; a fragility fracture would make clinical osteoporosis likely whatever the density"
    return [Driver("bone", text, None, None, None, "assessment.fracture.least_grade")]
