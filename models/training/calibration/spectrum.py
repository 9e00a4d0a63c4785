"""First-principles CT numbers by tube voltage, tin filter and patient size.

Tungsten anode at 10 degrees, 6 mm of aluminium (and 0.4 mm of tin), a column of water as thick as the
patient, an energy-integrating detector: effective coefficients are means weighted by the detected energy.
Spectra by spekpy, coefficients by xraydb. A scanner's own beam-hardening correction is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import spekpy
import xraydb

Array = npt.NDArray[np.float64]

ANODE_ANGLE_DEG = 10.0
ALUMINIUM_MM = 6.0
TIN_MM = 0.4
WATER_DISPLACEMENT = 0.2174
"""HU per mg/cm3 that dissolved K2HPO4 loses by displacing water (Mindways QCT PRO guide 5.0)."""

WATER = {"H": 0.111894, "O": 0.888106}
K2HPO4 = {"K": 0.448936, "H": 0.005787, "P": 0.177832, "O": 0.367445}
# Woodard and White 1986 (BJR 59:1209) adipose tissue 3: reads -100 HU at 120 kVp as patients' subcutaneous fat does.
FAT = {"H": 0.116, "C": 0.681, "N": 0.002, "O": 0.198, "Na": 0.001, "S": 0.001, "Cl": 0.001}
# ICRU Report 44.
MUSCLE = {"H": 0.102, "C": 0.143, "N": 0.034, "O": 0.710, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.001, "K": 0.004}
BLOOD = {
    "H": 0.102, "C": 0.110, "N": 0.033, "O": 0.745, "Na": 0.001,
    "P": 0.001, "S": 0.002, "Cl": 0.003, "K": 0.002, "Fe": 0.001,
}  # fmt: skip
RED_MARROW = {
    "H": 0.105, "C": 0.414, "N": 0.034, "O": 0.439, "P": 0.001, "S": 0.002, "Cl": 0.002, "K": 0.002, "Fe": 0.001,
}  # fmt: skip
LIVER = {
    "H": 0.102, "C": 0.139, "N": 0.030, "O": 0.716, "Na": 0.002, "P": 0.003, "S": 0.003, "Cl": 0.002, "K": 0.003,
}  # fmt: skip
SPLEEN = {
    "H": 0.103, "C": 0.113, "N": 0.032, "O": 0.741, "Na": 0.001, "P": 0.003, "S": 0.002, "Cl": 0.002, "K": 0.003,
}  # fmt: skip
CORTICAL_BONE = {
    "H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Na": 0.001, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225,
}  # fmt: skip
YELLOW_MARROW = {"H": 0.115, "C": 0.644, "N": 0.007, "O": 0.231, "Na": 0.001, "S": 0.001, "Cl": 0.001}

# Trabecular bone put together from what it is made of, at body temperature: densities in g/cm3 of water, triolein,
# protein and apatite (recalled from physical tables), 100 mg/cm3 of apatite with 0.38 times as much collagen, and
# marrow of which a volume fraction is fat and the rest cells of 80 % water.
FAT_G_CM3, WATER_G_CM3, PROTEIN_G_CM3, APATITE_G_CM3 = 0.9007, 0.9937, 1.34, 3.1
APATITE_PER_CM3, COLLAGEN_SHARE = 0.100, 0.38
TRIOLEIN = {"H": 0.1184, "C": 0.7733, "O": 0.1083}
PROTEIN = {"H": 0.070, "C": 0.530, "N": 0.165, "O": 0.225, "S": 0.010}
APATITE = {"H": 0.0020, "O": 0.4141, "P": 0.1850, "Ca": 0.3989}


def composed_bone(fat_fraction: float) -> dict[str, float]:
    """Elements of trabecular bone, g/cm3."""
    apatite, collagen = APATITE_PER_CM3, COLLAGEN_SHARE * APATITE_PER_CM3
    marrow = 1.0 - apatite / APATITE_G_CM3 - collagen / PROTEIN_G_CM3
    cells = marrow * (1.0 - fat_fraction) / (0.8 / WATER_G_CM3 + 0.2 / PROTEIN_G_CM3)
    parts = (
        (TRIOLEIN, marrow * fat_fraction * FAT_G_CM3),
        (WATER, 0.8 * cells),
        (PROTEIN, 0.2 * cells + collagen),
        (APATITE, apatite),
    )
    total: dict[str, float] = {}
    for composition, grams in parts:
        for element, share in composition.items():
            total[element] = total.get(element, 0.0) + grams * share
    return total


TISSUES = (
    ("subcutaneous-fat", FAT, 0.93),
    ("paraspinal-muscle", MUSCLE, 1.05),
    ("aortic-blood", BLOOD, 1.06),
    ("red-marrow", RED_MARROW, 1.03),
    ("yellow-marrow", YELLOW_MARROW, 0.98),
    ("liver", LIVER, 1.06),
    ("spleen", SPLEEN, 1.06),
    ("cortical-bone", CORTICAL_BONE, 1.92),
    ("composed-bone-lean", composed_bone(0.0), 1.0),
    ("composed-bone-fat", composed_bone(1.0), 1.0),
)
COLUMNS = ("mineral-slope", "iodine-slope", *(name for name, _, _ in TISSUES))
"""HU per mg/cm3 of K2HPO4, HU per mg/cm3 of iodine, then HU of each tissue."""


@dataclass(frozen=True)
class Tube:
    """Photons per energy bin before the patient."""

    energy_kev: Array
    fluence: Array

    @classmethod
    def of(cls, kvp: float, tin: bool) -> Tube:
        spectrum = spekpy.Spek(kvp=kvp, th=ANODE_ANGLE_DEG, dk=0.5)
        spectrum.filter("Al", ALUMINIUM_MM)
        if tin:
            spectrum.filter("Sn", TIN_MM)
        energy_kev, fluence = spectrum.get_spectrum(edges=False)
        return cls(np.asarray(energy_kev), np.asarray(fluence))


def mass_attenuation(composition: dict[str, float], energy_kev: Array) -> Array:
    """cm2/g at each energy."""
    return np.sum([w * xraydb.mu_elam(element, energy_kev * 1000.0) for element, w in composition.items()], axis=0)


def table_rows(tube: Tube, water_cm: Array) -> Array:
    """The values of ``COLUMNS`` behind each thickness of water, (thicknesses, columns)."""
    water = mass_attenuation(WATER, tube.energy_kev)
    weight = tube.fluence * tube.energy_kev * np.exp(-np.outer(water_cm, water))

    def relative(composition: dict[str, float]) -> Array:
        return np.asarray(weight @ mass_attenuation(composition, tube.energy_kev) / (weight @ water))

    tissues = [1000.0 * (density * relative(composition) - 1.0) for _, composition, density in TISSUES]
    return np.stack([relative(K2HPO4) - WATER_DISPLACEMENT, relative({"I": 1.0}), *tissues], axis=-1)
