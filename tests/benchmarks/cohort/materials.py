"""What simulated people are made of: tissues as mixtures of water, fat, protein, bone mineral and salts.

Densities of the components are those of the four-compartment body model at 37 °C (Brožek and others 1963, Ann N Y Acad
Sci 110:113-140: fat 0.9007, water 0.9937, mineral 3.038, protein 1.34 g/cm3; recalled); elements of protein after
ICRU-44, fat as an average human triglyceride. Attenuation by xraydb (Elam). Nothing here is shared with
``trabecula.phantom`` or the calibration's table, which use ICRU-44's finished tissues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import xraydb

FloatArray = npt.NDArray[np.float64]

ENERGY_KEV: Final = np.concatenate([np.arange(21.0, 90.0, 3.0), np.arange(92.5, 150.0, 5.0)])
"""Middle of each energy bin."""
BIN_KEV: Final = np.where(ENERGY_KEV < 90.0, 3.0, 5.0)

ATOMIC_MASS: Final[Mapping[str, float]] = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "P": 30.974, "S": 32.06, "K": 39.098,
    "Ca": 40.078, "Gd": 157.25,
}  # fmt: skip


@lru_cache(maxsize=64)
def _element(symbol: str) -> FloatArray:
    """Mass attenuation coefficient, cm2/g, averaged over each energy bin."""
    fine = np.concatenate([ENERGY_KEV + share * BIN_KEV for share in (-0.375, -0.125, 0.125, 0.375)]) * 1000.0
    return np.asarray(xraydb.mu_elam(symbol, fine)).reshape(4, -1).mean(axis=0)


def _by_mass(fractions: Mapping[str, float]) -> FloatArray:
    total = sum(fractions.values())
    return np.asarray(sum(f / total * _element(symbol) for symbol, f in fractions.items()))


def _by_formula(**atoms: float) -> FloatArray:
    return _by_mass({symbol: count * ATOMIC_MASS[symbol] for symbol, count in atoms.items()})


@dataclass(frozen=True)
class Component:
    """A pure substance."""

    density_g_cm3: float
    mass_attenuation: FloatArray
    """cm2/g in each energy bin."""

    @property
    def mu(self) -> FloatArray:
        """1/cm."""
        return self.density_g_cm3 * self.mass_attenuation


WATER: Final = Component(0.9937, _by_formula(H=2, O=1))
SCALE_WATER: Final = Component(0.9982, WATER.mass_attenuation)
"""Water at 20 °C: what the scanner calls 0 HU."""
FAT: Final = Component(0.9007, _by_formula(C=55, H=102, O=6))
PROTEIN: Final = Component(1.34, _by_mass({"H": 0.066, "C": 0.534, "N": 0.170, "O": 0.220, "S": 0.010}))
SALTS: Final = Component(3.0, _by_mass({"K": 0.45, "P": 0.25, "Na": 0.15, "Cl": 0.15}))
BLOOD_SALTS: Final = Component(2.2, _by_mass({"Na": 0.36, "Cl": 0.54, "K": 0.10}))
HAEMOGLOBIN: Final = Component(
    1.34, _by_mass({"H": 0.066, "C": 0.531, "N": 0.170, "O": 0.220, "S": 0.010, "Fe": 0.0035})
)
BONE_MINERAL: Final = Component(3.038, 0.92 * _by_formula(Ca=10, P=6, O=26, H=2) + 0.08 * _by_formula(Ca=1, C=1, O=3))
"""Carbonated apatite."""
K2HPO4: Final = Component(2.44, _by_formula(K=2, H=1, P=1, O=4))
IODINE: Final = Component(4.93, _element("I"))
GADOLINIUM_OXYSULFIDE: Final = Component(7.32, _by_formula(Gd=2, O=2, S=1))
ALUMINIUM: Final = Component(2.70, _element("Al"))
COPPER: Final = Component(8.96, _element("Cu"))
TIN: Final = Component(7.27, _element("Sn"))
PTFE: Final = Component(2.2, _by_formula(C=2, F=4))

K2HPO4_WATER_DISPLACEMENT: Final = 0.2174
"""HU per mg/cm3; belongs to the definition of the K2HPO4 scale (Mindways QCT PRO guide 5.0)."""


def mixture(parts: Mapping[str, float]) -> FloatArray:
    """Linear attenuation, 1/cm, of a tissue from the mass share of each component (volumes add)."""
    total = sum(parts.values())
    specific_volume = sum(share / total / COMPONENTS[name].density_g_cm3 for name, share in parts.items())
    mass_attenuation = sum(share / total * COMPONENTS[name].mass_attenuation for name, share in parts.items())
    return np.asarray(mass_attenuation / specific_volume)


COMPONENTS: Final[Mapping[str, Component]] = {
    "water": WATER,
    "fat": FAT,
    "protein": PROTEIN,
    "salts": SALTS,
    "blood-salts": BLOOD_SALTS,
    "haemoglobin": HAEMOGLOBIN,
}


def adipose(lipid: float) -> FloatArray:
    """Adipose tissue by its mass share of fat (0.61 to 0.87 in Woodard and White 1986)."""
    lean = 1.0 - lipid
    return mixture({"fat": lipid, "water": 0.79 * lean, "protein": 0.20 * lean, "salts": 0.01 * lean})


def muscle(fat_volume: float, water: float = 0.772) -> FloatArray:
    """Muscle fibres with this volume share of fat too fine to see, and this mass share of water in what is lean."""
    lean = mixture({"water": water, "protein": 0.992 - water, "salts": 0.008})
    return (1.0 - fat_volume) * lean + fat_volume * adipose(0.85)


def blood(haematocrit: float) -> FloatArray:
    """Blood by its volume share of red cells."""
    plasma = mixture({"water": 0.916, "protein": 0.075, "blood-salts": 0.009})
    cells = mixture({"water": 0.665, "haemoglobin": 0.325, "salts": 0.010})
    return (1.0 - haematocrit) * plasma + haematocrit * cells


def soft_organ(water: float) -> FloatArray:
    return mixture({"water": water, "protein": 0.96 - water, "fat": 0.03, "salts": 0.01})


def marrow(fat_fraction: float) -> FloatArray:
    """Marrow by its volume share of fatty marrow; the rest is blood-forming."""
    return fat_fraction * adipose(0.83) + (1.0 - fat_fraction) * mixture(
        {"water": 0.76, "protein": 0.20, "fat": 0.03, "salts": 0.01}
    )


def trabecular_bone(mineral_g_cm3: float, marrow_mu: FloatArray) -> FloatArray:
    """Mineral with its collagen and bound water (65 : 25 : 10 by mass); marrow fills what volume they leave."""
    organic, bound = 0.385 * mineral_g_cm3, 0.154 * mineral_g_cm3
    taken = mineral_g_cm3 / BONE_MINERAL.density_g_cm3 + organic / PROTEIN.density_g_cm3 + bound / WATER.density_g_cm3
    solid = (
        mineral_g_cm3 * BONE_MINERAL.mass_attenuation
        + organic * PROTEIN.mass_attenuation
        + bound * WATER.mass_attenuation
    )
    return np.asarray(solid + (1.0 - taken) * marrow_mu)


def with_iodine(mu: FloatArray, iodine_mg_ml: float) -> FloatArray:
    return np.asarray(mu + iodine_mg_ml / 1000.0 * IODINE.mass_attenuation)


def rod(k2hpo4_mg_cm3: float, water_equivalent_mg_cm3: float) -> FloatArray:
    """A calibration rod by its certificate: so much water and so much K2HPO4 attenuate as it does."""
    return np.asarray(
        water_equivalent_mg_cm3 / 1000.0 * WATER.mass_attenuation + k2hpo4_mg_cm3 / 1000.0 * K2HPO4.mass_attenuation
    )
