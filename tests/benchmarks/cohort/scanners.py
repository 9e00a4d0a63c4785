"""Simulated scanners: tube, filters, bow-tie, detector, water correction, and how far each is out of adjustment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import spekpy
from cohort.materials import (
    ALUMINIUM,
    BIN_KEV,
    COPPER,
    ENERGY_KEV,
    GADOLINIUM_OXYSULFIDE,
    PTFE,
    SCALE_WATER,
    TIN,
    FloatArray,
)

_WATER_GRID_CM: Final = np.concatenate([np.linspace(0.0, 4.0, 17), np.linspace(4.5, 62.0, 116)])


@dataclass(frozen=True)
class Tube:
    """What hardens the beam before the patient, and what counts it after. No two makers agree on these."""

    name: str
    anode_deg: float
    aluminium_mm: float
    copper_mm: float
    tin_mm: float
    """Of the filter that can be driven in; not in the beam unless asked for."""
    scintillator_mm: float
    bowtie_cm: float
    """Diameter of the water cylinder that the bow-tie half makes up for."""


DEVELOPMENT_TUBES: Final = (
    Tube("A", 7.0, 5.5, 0.00, 0.4, 1.4, 32.0),
    Tube("B", 8.5, 6.8, 0.00, 0.4, 1.1, 34.0),
    Tube("C", 7.0, 4.5, 0.08, 0.6, 1.4, 30.0),
    Tube("D", 8.5, 8.5, 0.00, 0.5, 1.0, 32.0),
    Tube("E", 12.0, 4.5, 0.00, 0.4, 1.8, 36.0),
    Tube("F", 12.0, 3.5, 0.15, 0.4, 1.2, 32.0),
)
TEST_TUBES: Final = (
    Tube("G", 7.0, 6.2, 0.00, 0.4, 1.2, 35.0),
    Tube("H", 10.0, 5.0, 0.00, 0.4, 1.5, 31.0),
    Tube("I", 8.5, 4.0, 0.10, 0.5, 1.3, 33.0),
    Tube("J", 7.0, 9.0, 0.00, 0.4, 1.6, 32.0),
    Tube("K", 10.0, 7.5, 0.00, 0.6, 0.9, 34.0),
    Tube("L", 12.0, 5.5, 0.05, 0.4, 1.4, 30.0),
)
"""None of these was looked at while the calibration was worked on."""
REFERENCE_TUBE: Final = Tube("reference", 8.5, 6.0, 0.03, 0.4, 1.3, 32.0)
"""The middle of the field: true densities are what ideal QCT reads with it at 120 kVp."""


@dataclass(frozen=True)
class Beam:
    tube: Tube
    kvp: float
    tin: bool = False


@lru_cache(maxsize=64)
def _tube_photons(kvp: float, anode_deg: float) -> FloatArray:
    """Photons per energy bin as they leave the anode, by SpekCalc's model (the calibration's table uses another)."""
    energy, fluence = spekpy.Spek(kvp=kvp, th=anode_deg, dk=1.0, physics="spekcalc").get_spectrum(diff=True)
    edges = np.append(ENERGY_KEV - BIN_KEV / 2.0, ENERGY_KEV[-1] + BIN_KEV[-1] / 2.0)
    return np.diff(np.interp(edges, energy + 0.5, np.cumsum(fluence)))


@lru_cache(maxsize=256)
def detected_weight(beam: Beam) -> FloatArray:
    """Signal per energy bin without a patient, before the bow-tie; energy-integrating, sums to 1."""
    tube = beam.tube
    tin_mm = tube.tin_mm if beam.tin else 0.0
    behind = ALUMINIUM.mu * tube.aluminium_mm + COPPER.mu * tube.copper_mm + TIN.mu * tin_mm
    photons = _tube_photons(beam.kvp, tube.anode_deg) * np.exp(-behind / 10.0)
    caught = 1.0 - np.exp(-GADOLINIUM_OXYSULFIDE.mu * beam.tube.scintillator_mm / 10.0)
    signal = photons * ENERGY_KEV * caught
    return np.asarray(signal / signal.sum())


def bowtie_cm(tube: Tube, offset_cm: FloatArray) -> FloatArray:
    """PTFE in the way of rays at this distance from the middle: half of what a water cylinder lacks there."""
    radius = tube.bowtie_cm / 2.0
    chord = 2.0 * np.sqrt(np.maximum(radius**2 - offset_cm**2, 0.0))
    return np.asarray(0.5 * (2.0 * radius - chord) / 1.75)


def channel_weights(beam: Beam, offset_cm: FloatArray) -> FloatArray:
    """(channel, energy) signal behind the bow-tie; each channel sums to 1."""
    weight = detected_weight(beam) * np.exp(-np.outer(bowtie_cm(beam.tube, offset_cm), PTFE.mu))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


class WaterCorrection:
    """The scanner's beam-hardening correction: from measured attenuation to cm of water, exact for water."""

    def __init__(self, weights: FloatArray) -> None:
        transmitted = weights @ np.exp(-np.outer(SCALE_WATER.mu, _WATER_GRID_CM))
        self._attenuation = -np.log(transmitted)

    def water_cm(self, attenuation: FloatArray) -> FloatArray:
        """``attenuation`` is (view, channel)."""
        columns = [
            np.interp(column, curve, _WATER_GRID_CM)
            for column, curve in zip(attenuation.T, self._attenuation, strict=True)
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Misadjustment:
    """How far a scanner in use is off: what it shows for water and for air."""

    water_hu: float = 0.0
    air_hu: float = 0.0
    """Above -1000."""
    residual_scatter: float = 0.0
    """Scatter left (or taken off too much), as a share of the signal behind the middle of the patient."""

    def shown(self, hu: float) -> float:
        return hu + self.water_hu * (1.0 + hu / 1000.0) - self.air_hu * hu / 1000.0
