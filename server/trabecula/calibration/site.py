"""What a site has fitted to its own scanners: corrections that no published figure can replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trabecula.calibration.calibration import CorrectionName
from trabecula.imaging.study import KernelClass


class Vessel(StrEnum):
    """Where iodine is read for a fitted contrast correction."""

    AORTA = "aorta"
    PORTAL_VEIN = "portal-vein"


@dataclass(frozen=True)
class ContrastRegression:
    """Rise of trabecular HU with the enhancement of a vessel: ``rise = intercept_hu + slope * vessel_hu``."""

    vessel: Vessel
    slope: float
    intercept_hu: float
    residual_sd_hu: float
    """Spread of patients about the line."""
    vessel_range_hu: tuple[float, float]
    """Vessel HU between which it was fitted; outside it is not used."""
    kvp: float
    source: str


@dataclass(frozen=True)
class VirtualUnenhancedMap:
    """True unenhanced trabecular HU from virtual unenhanced: ``hu = slope * virtual_hu + intercept_hu``."""

    slope: float
    intercept_hu: float
    residual_sd_hu: float
    equivalent_kvp: float
    """Tube voltage whose true unenhanced HU the map gives."""
    station_hashes: tuple[str, ...]
    """Scanners it was fitted on; empty: all of the site's."""
    source: str


@dataclass(frozen=True)
class KernelShift:
    """How far a kernel class reads above the site's reference kernel."""

    amount_mg_cm3: float
    standard_uncertainty_mg_cm3: float
    source: str


@dataclass(frozen=True)
class SiteCorrections:
    """Everything that a site may fit or switch off; the default is what the clinical data file says."""

    contrast: ContrastRegression | None = None
    virtual_unenhanced: tuple[VirtualUnenhancedMap, ...] = ()
    kernels: Mapping[KernelClass, KernelShift] = field(default_factory=dict)
    without: frozenset[CorrectionName] = frozenset()
    """Corrections switched off, to see what each is worth; the report says so."""


NO_SITE = SiteCorrections()
