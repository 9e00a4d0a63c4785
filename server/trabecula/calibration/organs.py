"""Attenuation of organs and vessels that tell the contrast phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trabecula.anatomy import Structure
from trabecula.calibration.samples import eroded_values, mode_hu
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
    """Histogram mode of each organ well inside its label; organs with too little in view are left out."""
    rule = constants.row("calibration.measure.organ")
    found: dict[Organ, OrganSample] = {}
    for organ, label in _LABELS.items():
        values = eroded_values(sections, (label,), rule)
        if values.size >= rule.number("fewest_voxels"):
            found[organ] = OrganSample(organ, mode_hu(values), int(values.size))
    return found


def organ_hu(organs: Mapping[Organ, OrganSample], organ: Organ) -> float | None:
    sample = organs.get(organ)
    return None if sample is None else sample.hu
