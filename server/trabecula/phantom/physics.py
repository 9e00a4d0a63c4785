"""CT numbers from composition: spectrum by spekpy, attenuation by xraydb, an energy-integrating detector.

The beam is a tungsten anode at 10 degrees behind 6 mm of aluminium, then 0.4 mm of tin where asked, then
water as thick as the patient's water-equivalent diameter. An effective coefficient is the mean of mu(E)
weighted by the energy fluence behind the water, and HU = 1000 (mu / mu_water - 1). Scanner beam-hardening
correction is not modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trabecula.phantom.tissues import (
    ENHANCEMENT_HU,
    IODINE,
    K2HPO4,
    MATERIALS,
    RED_MARROW,
    WATER,
    YELLOW_MARROW,
    ContrastPhase,
    Material,
    Tissue,
)

FloatArray = npt.NDArray[np.float64]

ANODE_ANGLE_DEG = 10.0
ALUMINIUM_MM = 6.0
TIN_MM = 0.4
K2HPO4_WATER_DISPLACEMENT = 0.2174
"""HU that a mg/cm3 of dissolved K2HPO4 takes away by displacing water (Mindways QCT PRO guide 5.0)."""
REFERENCE_WATER_CM = 25.0
REFERENCE_KVP = 120.0


@dataclass(frozen=True)
class Beam:
    """X-ray beam as it reaches the detector."""

    kvp: float
    water_cm: float
    tin_mm: float = 0.0


REFERENCE_BEAM = Beam(REFERENCE_KVP, REFERENCE_WATER_CM)


@lru_cache(maxsize=64)
def detected_spectrum(beam: Beam) -> tuple[FloatArray, FloatArray]:
    """Energies in eV and the share of detected energy in each bin (sums to 1).

    Raises:
        ValueError: if kVp is outside 50 .. 150.
    """
    if not 50.0 <= beam.kvp <= 150.0:
        raise ValueError("kvp must lie in 50 .. 150")
    import spekpy  # slow to import and needed by the phantom alone

    tube = spekpy.Spek(kvp=beam.kvp, th=ANODE_ANGLE_DEG, dk=0.5)
    tube.filter("Al", ALUMINIUM_MM)
    if beam.tin_mm > 0:
        tube.filter("Sn", beam.tin_mm)
    energy_kev, fluence = tube.get_spectrum(diff=True)
    energy_ev = np.asarray(energy_kev, dtype=np.float64) * 1000.0
    weight = np.asarray(fluence) * energy_ev * np.exp(-_mu_at(WATER, energy_ev) * beam.water_cm)
    return energy_ev, weight / weight.sum()


def _mass_attenuation_at(material: Material, energy_ev: FloatArray) -> FloatArray:
    total = np.zeros_like(energy_ev)
    for element, fraction in material.mass_fractions:
        total += fraction * _element_attenuation(element, float(energy_ev[0]), float(energy_ev[-1]), len(energy_ev))
    return total


@lru_cache(maxsize=512)
def _element_attenuation(element: str, first_ev: float, last_ev: float, count: int) -> FloatArray:
    """Mass attenuation coefficient on an even grid of energies (all grids here are even)."""
    import xraydb

    return np.asarray(xraydb.mu_elam(element, np.linspace(first_ev, last_ev, count)), dtype=np.float64)


def _mu_at(material: Material, energy_ev: FloatArray) -> FloatArray:
    return material.density_g_cm3 * _mass_attenuation_at(material, energy_ev)


@lru_cache(maxsize=1024)
def mass_attenuation(material: Material, beam: Beam) -> float:
    """Effective mass attenuation coefficient in cm2/g."""
    energy_ev, weight = detected_spectrum(beam)
    return float(weight @ _mass_attenuation_at(material, energy_ev))


def hounsfield(material: Material, beam: Beam) -> float:
    """CT number of a pure material in HU."""
    return hu_of_mu(material.density_g_cm3 * mass_attenuation(material, beam), beam)


def hu_of_mu(mu_per_cm: float, beam: Beam) -> float:
    """CT number of an effective linear coefficient."""
    return 1000.0 * (mu_per_cm / mass_attenuation(WATER, beam) - 1.0)


def effective_energy_kev(beam: Beam) -> float:
    """Energy of the single-energy beam with the same K2HPO4 slope."""
    grid_ev = np.arange(30_000.0, 140_000.0, 50.0)
    slope = _mu_at(K2HPO4, grid_ev) / _mu_at(WATER, grid_ev) - K2HPO4_WATER_DISPLACEMENT
    return float(np.interp(-k2hpo4_slope(beam), -slope, grid_ev)) / 1000.0


def k2hpo4_slope(beam: Beam) -> float:
    """HU per mg/cm3 of K2HPO4 in solution (s_K)."""
    return mass_attenuation(K2HPO4, beam) / mass_attenuation(WATER, beam) - K2HPO4_WATER_DISPLACEMENT


def iodine_slope(beam: Beam) -> float:
    """HU per mg iodine per ml."""
    return mass_attenuation(IODINE, beam) / mass_attenuation(WATER, beam)


def marrow_hu(fat_fraction: float, beam: Beam) -> float:
    """CT number of marrow with this volume fraction of yellow marrow."""
    red, yellow = hounsfield(RED_MARROW, beam), hounsfield(YELLOW_MARROW, beam)
    return (1.0 - fat_fraction) * red + fat_fraction * yellow


@dataclass(frozen=True)
class Trabecular:
    """Trabecular bone that an ideal single-energy QCT reads as ``vbmd_mg_cm3``.

    QCT does not see marrow and mineral apart: at the reference beam (120 kVp, 25 cm of water) the bone reads
    HU = s_K * vBMD, whatever it is made of. The K2HPO4-equivalent mineral that this takes is
    vBMD - HU_marrow / s_K (both at the reference beam). At any other beam the same mineral and the same
    marrow read HU_marrow(beam) + s_K(beam) * mineral, so the error that marrow fat makes in single-energy
    QCT at other voltages is in the phantom as it is in patients.
    """

    vbmd_mg_cm3: float
    mineral_mg_cm3: float
    hu: float
    """In the beam of the scan, without contrast."""


def trabecular(vbmd_mg_cm3: float, marrow_fat_fraction: float, beam: Beam) -> Trabecular:
    """Trabecular bone of the asked density, seen through ``beam``."""
    mineral = vbmd_mg_cm3 - marrow_hu(marrow_fat_fraction, REFERENCE_BEAM) / k2hpo4_slope(REFERENCE_BEAM)
    hu = marrow_hu(marrow_fat_fraction, beam) + k2hpo4_slope(beam) * mineral
    return Trabecular(vbmd_mg_cm3, mineral, hu)


def rod_hu(k2hpo4_mg_cm3: float, water_equivalent_mg_cm3: float, beam: Beam) -> float:
    """CT number on an ideal scanner of a rod of a solid QCT phantom (certificate values).

    Inverts the Mindways relation HU - W = (s_K + 0.2174) K - 999.6 for a scanner that reads water as 0.
    """
    slope = k2hpo4_slope(beam) + K2HPO4_WATER_DISPLACEMENT
    return water_equivalent_mg_cm3 - 999.6 + slope * k2hpo4_mg_cm3


def iodine_mg_ml(tissue: Tissue, phase: ContrastPhase) -> float:
    """Iodine a tissue holds in a contrast phase."""
    return ENHANCEMENT_HU[phase].get(tissue, 0.0) / iodine_slope(REFERENCE_BEAM)


def tissue_hu(beam: Beam, phase: ContrastPhase) -> Mapping[Tissue, float]:
    """CT number of every tissue in this beam and contrast phase."""
    slope = iodine_slope(beam) if phase is not ContrastPhase.NONE else 0.0
    return {
        tissue: hounsfield(material, beam) + slope * (iodine_mg_ml(tissue, phase) if slope else 0.0)
        for tissue, material in MATERIALS.items()
    }
