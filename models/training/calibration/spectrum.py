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

TISSUES = (
    ("subcutaneous-fat", FAT, 0.93),
    ("paraspinal-muscle", MUSCLE, 1.05),
    ("aortic-blood", BLOOD, 1.06),
    ("red-marrow", RED_MARROW, 1.03),
    ("yellow-marrow", YELLOW_MARROW, 0.98),
    ("liver", LIVER, 1.06),
    ("spleen", SPLEEN, 1.06),
    ("cortical-bone", CORTICAL_BONE, 1.92),
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
