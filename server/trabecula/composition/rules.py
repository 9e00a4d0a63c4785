"""The composition stage's numbers, taken from the clinical data file by name."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.anatomy import Level
from trabecula.clinical import ClinicalConstants


@dataclass(frozen=True)
class TissueRules:
    """Attenuation windows (inclusive, HU) and the distances that tell compartments apart."""

    muscle_hu: tuple[float, ...]
    fat_hu: tuple[float, ...]
    body_above_hu: float
    gas_below_hu: float
    bone_above_hu: float
    max_marrow_mm2: float
    cartilage_above_hu: float
    labelled_cartilage_above_hu: float
    slab_mm: float
    max_noise_hu: float
    smoothing_mm: tuple[float, ...]
    skin_mm: float
    surface_mm: float
    gas_rim_mm: float
    muscle_reaches_mm: float
    compartment_mm: float
    fascia_mm: float
    min_muscle_mm2: float
    truncation_contact_mm: float
    fewest_outline: float
    """Share of the outline that must be in view for an estimate of what is cut off."""
    edge_mm: float
    mixed_from: float
    flank_mm: float
    fewest_cm2: float


def tissue_rules(constants: ClinicalConstants) -> TissueRules:
    """The rules under ``composition`` in the data file.

    Raises:
        ClinicalDataError: if one is missing.
    """
    number = constants.number
    return TissueRules(
        muscle_hu=constants.numbers("composition.window.muscle"),
        fat_hu=constants.numbers("composition.window.fat"),
        body_above_hu=number("composition.body_above"),
        gas_below_hu=number("composition.gas_below"),
        bone_above_hu=number("composition.bone_above"),
        max_marrow_mm2=number("composition.max_marrow"),
        cartilage_above_hu=number("composition.cartilage_above"),
        labelled_cartilage_above_hu=number("composition.labelled_cartilage_above"),
        slab_mm=number("composition.slab"),
        max_noise_hu=number("composition.max_noise"),
        smoothing_mm=constants.numbers("composition.smoothing"),
        skin_mm=number("composition.skin"),
        surface_mm=number("composition.surface"),
        gas_rim_mm=number("composition.gas_rim"),
        muscle_reaches_mm=number("composition.muscle_reaches"),
        compartment_mm=number("composition.compartment"),
        fascia_mm=number("composition.fascia"),
        min_muscle_mm2=number("composition.min_muscle"),
        truncation_contact_mm=number("composition.truncation_contact"),
        fewest_outline=number("composition.fewest_outline"),
        edge_mm=number("composition.mixture.edge"),
        mixed_from=number("composition.mixture.least_share"),
        flank_mm=number("composition.mixture.flank"),
        fewest_cm2=number("composition.mixture.fewest"),
    )


def composition_levels(constants: ClinicalConstants) -> tuple[Level, ...]:
    """Levels at which composition is measured.

    Raises:
        ClinicalDataError: if they are missing.
    """
    return tuple(Level(name) for name in constants.texts("composition.levels"))
