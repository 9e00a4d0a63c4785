"""What the phantom's tissues are made of, and how much iodine each takes up in a contrast phase.

Mass fractions and densities are ICRU Report 44 unless a row says otherwise. Fat is Woodard and White's
"adipose tissue 3" (BJR 1986;59:1209), which reads close to the -100 HU seen in patients at 120 kVp, where
ICRU-44 adipose tissue reads about -78.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Material:
    """A homogeneous substance."""

    density_g_cm3: float
    mass_fractions: tuple[tuple[str, float], ...]
    """Element symbols with their mass fractions, which sum to 1 within rounding."""


def _of(density_g_cm3: float, **fractions: float) -> Material:
    return Material(density_g_cm3, tuple(fractions.items()))


WATER: Final = _of(1.0, H=0.1119, O=0.8881)
K2HPO4: Final = _of(1.0, K=0.4490, H=0.00579, P=0.17783, O=0.36742)
"""Density is nominal: only the mass attenuation coefficient is used."""
IODINE: Final = _of(4.93, I=1.0)

ADIPOSE_ICRU44: Final = _of(0.95, H=0.114, C=0.598, N=0.007, O=0.278, Na=0.001, S=0.001, Cl=0.001)
MUSCLE_ICRU44: Final = _of(1.05, H=0.102, C=0.143, N=0.034, O=0.710, Na=0.001, P=0.002, S=0.003, Cl=0.001, K=0.004)
BLOOD_ICRU44: Final = _of(
    1.06, H=0.102, C=0.110, N=0.033, O=0.745, Na=0.001, P=0.001, S=0.002, Cl=0.003, K=0.002, Fe=0.001
)
CORTICAL_ICRU44: Final = _of(1.92, H=0.034, C=0.155, N=0.042, O=0.435, Na=0.001, Mg=0.002, P=0.103, S=0.003, Ca=0.225)
_ADIPOSE_3 = _of(0.93, H=0.116, C=0.681, N=0.002, O=0.198, Na=0.001, S=0.001, Cl=0.001)
_CARTILAGE = _of(1.10, H=0.096, C=0.099, N=0.022, O=0.744, Na=0.005, P=0.022, S=0.009, Cl=0.003)
_LIVER = _of(1.06, H=0.102, C=0.139, N=0.030, O=0.716, Na=0.002, P=0.003, S=0.003, Cl=0.002, K=0.003)
_SPLEEN = _of(1.06, H=0.103, C=0.113, N=0.032, O=0.741, Na=0.001, P=0.003, S=0.002, Cl=0.002, K=0.003)
_KIDNEY = _of(1.05, H=0.103, C=0.132, N=0.030, O=0.724, Na=0.002, P=0.002, S=0.002, Cl=0.002, K=0.002, Ca=0.001)
_SKIN = _of(1.09, H=0.100, C=0.204, N=0.042, O=0.645, Na=0.002, P=0.001, S=0.002, Cl=0.003, K=0.001)
_BRAIN = _of(1.04, H=0.107, C=0.145, N=0.022, O=0.712, Na=0.002, P=0.004, S=0.002, Cl=0.003, K=0.003)
RED_MARROW: Final = _of(1.03, H=0.105, C=0.414, N=0.034, O=0.439, P=0.001, S=0.002, Cl=0.002, K=0.002, Fe=0.001)
YELLOW_MARROW: Final = _of(0.98, H=0.115, C=0.644, N=0.007, O=0.231, Na=0.001, S=0.001, Cl=0.001)


def _denser(material: Material, density_g_cm3: float) -> Material:
    return Material(density_g_cm3, material.mass_fractions)


class Tissue(StrEnum):
    """Everything with a CT number of its own, apart from trabecular bone (its mineral is asked for)."""

    AIR = "air"
    FAT = "fat"
    MUSCLE = "muscle"
    SKIN = "skin"
    BLOOD = "blood"
    VENOUS_BLOOD = "venous-blood"
    HEART = "heart"
    LIVER = "liver"
    SPLEEN = "spleen"
    KIDNEY = "kidney"
    PANCREAS = "pancreas"
    BOWEL = "bowel"
    FLUID = "fluid"
    CSF = "csf"
    CORD = "cord"
    DISC = "disc"
    CARTILAGE = "cartilage"
    CORTEX = "cortex"
    LUNG = "lung"
    MARROW = "marrow"


MATERIALS: Final[Mapping[Tissue, Material]] = MappingProxyType(
    {
        Tissue.AIR: _of(0.001205, N=0.755, O=0.232, Ar=0.013),
        Tissue.FAT: _ADIPOSE_3,
        # Lean muscle: fat streaks in the picture bring the average of a region back to 45 HU or so.
        Tissue.MUSCLE: _denser(MUSCLE_ICRU44, 1.057),
        Tissue.SKIN: _SKIN,
        # A patient's blood has less haemoglobin than ICRU-44's: about 42 HU unenhanced.
        Tissue.BLOOD: _denser(BLOOD_ICRU44, 1.046),
        Tissue.VENOUS_BLOOD: _denser(BLOOD_ICRU44, 1.045),
        Tissue.HEART: _denser(MUSCLE_ICRU44, 1.052),
        Tissue.LIVER: _LIVER,
        Tissue.SPLEEN: _denser(_SPLEEN, 1.054),
        Tissue.KIDNEY: _denser(_KIDNEY, 1.044),
        Tissue.PANCREAS: _denser(MUSCLE_ICRU44, 1.045),
        Tissue.BOWEL: _denser(MUSCLE_ICRU44, 1.04),
        Tissue.FLUID: _of(1.012, H=0.1105, O=0.8865, Na=0.001, Cl=0.002),
        Tissue.CSF: _of(1.004, H=0.1112, O=0.8818, Na=0.003, Cl=0.004),
        Tissue.CORD: _denser(_BRAIN, 1.04),
        Tissue.DISC: _denser(_CARTILAGE, 1.07),
        Tissue.CARTILAGE: _denser(_CARTILAGE, 1.085),
        Tissue.CORTEX: CORTICAL_ICRU44,
        Tissue.LUNG: _denser(MUSCLE_ICRU44, 0.15),
        Tissue.MARROW: RED_MARROW,
    }
)
"""MARROW stands here for its iodine uptake only; its own composition follows the asked fat fraction."""


class ContrastPhase(StrEnum):
    NONE = "none"
    ARTERIAL = "arterial"
    PORTAL = "portal"


ENHANCEMENT_HU: Final[Mapping[ContrastPhase, Mapping[Tissue, float]]] = MappingProxyType(
    {
        ContrastPhase.NONE: MappingProxyType({}),
        ContrastPhase.ARTERIAL: MappingProxyType(
            {
                Tissue.BLOOD: 260.0,
                Tissue.VENOUS_BLOOD: 90.0,
                Tissue.HEART: 75.0,
                Tissue.LIVER: 12.0,
                Tissue.SPLEEN: 70.0,
                Tissue.KIDNEY: 110.0,
                Tissue.PANCREAS: 55.0,
                Tissue.BOWEL: 35.0,
                Tissue.MUSCLE: 8.0,
                Tissue.MARROW: 14.0,
            }
        ),
        ContrastPhase.PORTAL: MappingProxyType(
            {
                Tissue.BLOOD: 115.0,
                Tissue.VENOUS_BLOOD: 110.0,
                Tissue.HEART: 60.0,
                Tissue.LIVER: 55.0,
                Tissue.SPLEEN: 75.0,
                Tissue.KIDNEY: 140.0,
                Tissue.PANCREAS: 50.0,
                Tissue.BOWEL: 45.0,
                Tissue.MUSCLE: 15.0,
                Tissue.MARROW: 18.0,
            }
        ),
    }
)
"""Enhancement at 120 kVp behind 25 cm of water, turned into mg iodine per ml for the beam in use.

Marrow: the means of Pompe 2015 (Eur Radiol 25:283, +13.5 arterial, +18.2 portal venous). The rest are
typical textbook values, not measurements.
"""
