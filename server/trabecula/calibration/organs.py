"""Attenuation of organs and vessels that tell the contrast phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from trabecula.anatomy import Structure
from trabecula.calibration.cava import cava_values
from trabecula.calibration.samples import Values, eroded_values, mode_hu
from trabecula.calibration.sections import Section
from trabecula.clinical import ClinicalConstants


class Organ(StrEnum):
    """What is looked at beside the aorta."""

    CAVA = "cava"
    PORTAL_VEIN = "portal-vein"
    LIVER = "liver"
    SPLEEN = "spleen"
    KIDNEY = "kidney"


@dataclass(frozen=True)
class OrganSample:
    """Typical attenuation of an organ, HU as on the scan."""

    organ: Organ
    hu: float
    voxels: int


_LABELS: Final = {Organ.LIVER: Structure.LIVER, Organ.SPLEEN: Structure.SPLEEN, Organ.KIDNEY: Structure.KIDNEY}


def take_organs(sections: Sequence[Section], constants: ClinicalConstants) -> dict[Organ, OrganSample]:
    """Histogram mode of each organ well inside its label, and two vessels; what is too little in view is left out."""
    rule = constants.row("calibration.measure.organ")
    found: dict[Organ, OrganSample] = {}
    for organ, label in _LABELS.items():
        values = eroded_values(sections, (label,), rule)
        if values.size >= rule.number("fewest_voxels"):
            found[organ] = OrganSample(organ, mode_hu(values), int(values.size))
            if organ is Organ.LIVER and (vein := _portal_vein(values, found[organ].hu, constants)) is not None:
                found[Organ.PORTAL_VEIN] = vein
    cava = find_cava(sections, constants)
    return found if cava is None else {**found, Organ.CAVA: cava}


def find_cava(sections: Sequence[Section], constants: ClinicalConstants) -> OrganSample | None:
    """Median over the sections in which an even disc was found where the inferior vena cava runs."""
    found = [value for value in (cava_values(section, constants) for section in sections) if value is not None]
    if len(found) < constants.row("calibration.measure.cava").number("fewest_sections"):
        return None
    return OrganSample(Organ.CAVA, float(np.median([hu for hu, _ in found])), sum(voxels for _, voxels in found))


def _portal_vein(liver: Values, parenchyma_hu: float, constants: ClinicalConstants) -> OrganSample | None:
    """The liver's brightest share, its vessels in the venous phases; None where nothing stands out of the liver."""
    rule = constants.row("calibration.measure.portal_vein")
    vessel_hu = float(np.quantile(liver, 1.0 - rule.number("brightest_fraction") / 2.0))
    if vessel_hu - parenchyma_hu < rule.number("least_contrast_hu"):
        return None
    return OrganSample(Organ.PORTAL_VEIN, vessel_hu, int(liver.size * rule.number("brightest_fraction")))
