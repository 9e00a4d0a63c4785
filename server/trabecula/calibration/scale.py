"""Density on one of two scales, as types that do not mix, and the one explicit way from one to the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

from trabecula.calibration.calibration import DensityScale
from trabecula.clinical import ClinicalConstants


@dataclass(frozen=True)
class _Density:
    value_mg_cm3: float
    standard_uncertainty_mg_cm3: float = 0.0

    scale: ClassVar[DensityScale]

    def __sub__(self, other: Self) -> float:
        return self.value_mg_cm3 - self._alike(other).value_mg_cm3

    def __lt__(self, other: Self) -> bool:
        return self.value_mg_cm3 < self._alike(other).value_mg_cm3

    def _alike(self, other: Self) -> Self:
        if type(other) is not type(self):
            raise TypeError(f"{self.scale} and {type(other).__name__} are different units")
        return other


class K2hpo4Density(_Density):
    """Dipotassium phosphate equivalent (Mindways phantoms; the scale of the 80/120 mg/cm3 cut-offs)."""

    scale = DensityScale.K2HPO4


class HaDensity(_Density):
    """Calcium hydroxyapatite equivalent (QRM, Siemens, Image Analysis, B-MAS phantoms)."""

    scale = DensityScale.HA


Density = K2hpo4Density | HaDensity


@dataclass(frozen=True)
class ScaleRatio:
    """K2HPO4 over HA: the same bone reads lower on the K2HPO4 scale."""

    ratio: float
    standard_uncertainty: float
    source: str


def density_on(scale: DensityScale, value_mg_cm3: float, standard_uncertainty_mg_cm3: float = 0.0) -> Density:
    """A number becomes a density only together with its scale."""
    kind = K2hpo4Density if scale is DensityScale.K2HPO4 else HaDensity
    return kind(value_mg_cm3, standard_uncertainty_mg_cm3)


def scale_ratio(kvp: float, constants: ClinicalConstants) -> ScaleRatio:
    """Ratio at a tube voltage: between the two measured ones by linear interpolation, their nearer one outside."""
    row = constants.row("scale.k2hpo4_per_ha")
    low, high = row.number("low_kvp"), row.number("high_kvp")
    share = min(max((kvp - low) / (high - low), 0.0), 1.0)
    ratio = row.number("at_low") + share * (row.number("at_high") - row.number("at_low"))
    return ScaleRatio(ratio, row.number("standard_uncertainty"), constants["scale.k2hpo4_per_ha"].source)


def to_k2hpo4(density: HaDensity, ratio: ScaleRatio) -> K2hpo4Density:
    """HA to K2HPO4, the ratio's own error included."""
    value = density.value_mg_cm3 * ratio.ratio
    spread = math.hypot(
        density.standard_uncertainty_mg_cm3 * ratio.ratio, density.value_mg_cm3 * ratio.standard_uncertainty
    )
    return K2hpo4Density(value, spread)


def to_ha(density: K2hpo4Density, ratio: ScaleRatio) -> HaDensity:
    """K2HPO4 to HA, the ratio's own error included."""
    value = density.value_mg_cm3 / ratio.ratio
    relative = ratio.standard_uncertainty / ratio.ratio
    return HaDensity(value, math.hypot(density.standard_uncertainty_mg_cm3 / ratio.ratio, value * relative))
