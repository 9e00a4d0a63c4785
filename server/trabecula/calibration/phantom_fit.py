"""The line through a phantom's rods: HU = slope * density + offset, with its covariance and how well it fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.calibration.calibration import DensityScale
from trabecula.calibration.certificates import FitForm, PhantomCertificate
from trabecula.clinical import ClinicalConstants

_WATER_HU: Final = 999.6
"""Density of water at room temperature times 1000 (Mindways QCT PRO guide 5.0): beta_CT = beta_ref + 999.6."""


@dataclass(frozen=True)
class RodMeasurement:
    """One rod in the picture."""

    name: str
    hu: float
    standard_error_hu: float


@dataclass(frozen=True)
class PhantomFit:
    """``HU = slope * density + offset``, density on :attr:`scale`."""

    scale: DensityScale
    slope_hu_per_mg_cm3: float
    offset_hu: float
    slope_variance: float
    offset_variance_hu2: float
    slope_offset_covariance: float
    r_squared: float
    residual_sd_hu: float
    """0 for two rods, where nothing is left over."""

    def density_mg_cm3(self, hu: float) -> float:
        return (hu - self.offset_hu) / self.slope_hu_per_mg_cm3


def fit_phantom(
    certificate: PhantomCertificate, rods: Sequence[RodMeasurement], constants: ClinicalConstants
) -> PhantomFit:
    """Least squares over the rods, weighted by their errors.

    In the Mindways form, ``HU - water_equivalent`` is fitted on density, then ``slope_CT = slope_ref - 0.2174`` and
    ``offset_CT = offset_ref + 999.6``. The two-point form of the review is the line through two rods.

    Raises:
        ValueError: if the rods are not those of the certificate.
    """
    measured = {rod.name: rod for rod in rods}
    if measured.keys() != {rod.name for rod in certificate.rods}:
        raise ValueError("the rods measured are not those of the certificate")
    density = np.array([rod.density_mg_cm3 for rod in certificate.rods])
    hu = np.array([measured[rod.name].hu for rod in certificate.rods])
    floor = constants.row("calibration.phantom").number("rod_standard_uncertainty_hu")
    error = np.hypot([measured[rod.name].standard_error_hu for rod in certificate.rods], floor)
    solid = certificate.form is FitForm.MINDWAYS
    shown = hu - np.array([rod.water_equivalent_mg_cm3 or 0.0 for rod in certificate.rods]) if solid else hu
    design = np.column_stack([density, np.ones_like(density)])
    weighted = design / error[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    slope, offset = covariance @ weighted.T @ (shown / error)
    residual = shown - design @ (slope, offset)
    spare = len(density) - 2
    residual_sd = math.sqrt(float((residual**2).sum()) / spare) if spare else 0.0
    if spare:  # a fit worse than the rods' own errors is less certain by as much
        covariance = covariance * max(1.0, float(((residual / error) ** 2).sum()) / spare)
    total = float(((shown - shown.mean()) ** 2).sum())
    displacement = constants.number("calibration.slope.water_displacement") if solid else 0.0
    return PhantomFit(
        certificate.scale,
        float(slope) - displacement,
        float(offset) + (_WATER_HU if solid else 0.0),
        float(covariance[0, 0]),
        float(covariance[1, 1]),
        float(covariance[0, 1]),
        1.0 - float((residual**2).sum()) / total if total > 0.0 else 0.0,
        residual_sd,
    )
