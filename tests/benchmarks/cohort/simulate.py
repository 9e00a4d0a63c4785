"""Sample level: each simulated patient yields what the calibration stage takes, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from cohort.anatomy_section import ellipses_of, places, water_equivalent_diameter_cm
from cohort.materials import SCALE_WATER, FloatArray
from cohort.patients import CohortDesign, SimulatedPatient, draw_cohort
from cohort.scanners import REFERENCE_TUBE, Beam, channel_weights
from cohort.section import beam_behind, ideal_qct, material_paths, mineral_slope, scan

REFERENCE_BEAM: Final = Beam(REFERENCE_TUBE, 120.0)


@dataclass(frozen=True)
class Exam:
    """One scan of one patient, and what is true of it."""

    patient: SimulatedPatient
    vbmd_mg_cm3: float
    """What artefact-free single-energy QCT reads at 120 kVp in this patient, K2HPO4 scale, without contrast medium. The
    cut-offs in use are on this scale; marrow fat lowers it as it does in practice."""
    mineral_mg_cm3: float
    """Bone mineral itself, not what QCT reads."""
    true_slope: float
    """HU per mg/cm3 K2HPO4 at the vertebra in the scan's own beam."""
    bone_hu: float
    """Mean of the trabecular region as measured."""
    bone_standard_error_hu: float
    tissue_hu: dict[str, float]
    """air, fat, muscle, blood, cava, liver, spleen, kidney and cortex as measured."""
    tissue_standard_error_hu: dict[str, float]
    diameter_cm: float
    """Water-equivalent, as measured: too small where the field of view cuts the flanks."""


def simulate_cohort(design: CohortDesign) -> list[Exam]:
    """A fifth of a second a patient, once the spectra are there."""
    return [examine(patient) for patient in draw_cohort(design)]


def examine(patient: SimulatedPatient) -> Exam:
    """Scan one section of the patient."""
    technique, errors = patient.technique, patient.errors
    plain, scanned_mu = patient.materials(enhanced=False), patient.materials(enhanced=True)
    ellipses = ellipses_of(patient.body, plain, middling_weight(REFERENCE_BEAM))
    paths, points = material_paths(ellipses), places(ellipses)
    centre = points["bone"][1].mean(axis=0)
    truth = ideal_qct(beam_behind(ellipses, plain, centre, REFERENCE_BEAM), plain["bone"])
    behind = beam_behind(ellipses, scanned_mu, centre, technique.beam)
    slope = mineral_slope(behind)
    shown = scan(paths, scanned_mu, points, technique.beam, errors.scanner)
    tissue_hu = {name: shown[name] + errors.sampling[name] * spread for name, spread in errors.sampling_hu.items()}
    tissue_hu["cortex"] = _cortex_hu(patient, scanned_mu, behind)
    measured_cm = water_equivalent_diameter_cm(ellipses, scanned_mu, middling_weight(technique.beam))
    return Exam(
        patient=patient,
        vbmd_mg_cm3=truth,
        mineral_mg_cm3=1000.0 * patient.body.mineral_g_cm3,
        true_slope=slope,
        bone_hu=bone_as_measured(patient, shown["bone"]),
        bone_standard_error_hu=errors.bone_hu,
        tissue_hu=tissue_hu,
        tissue_standard_error_hu={**errors.sampling_hu, "cortex": 15.0},
        diameter_cm=measured_cm * (0.96 if technique.cut_field else 1.0),
    )


def bone_as_measured(patient: SimulatedPatient, shown_hu: float) -> float:
    """Noise, structure, kernel and slice thickness upon what the rays gave."""
    errors = patient.errors
    return shown_hu + errors.bone * errors.bone_hu + errors.kernel_hu + errors.partial_hu


def _cortex_hu(patient: SimulatedPatient, mu: Mapping[str, FloatArray], behind: FloatArray) -> float:
    """The brightest voxels of a shell too thin to be resolved: a share of solid bone above muscle."""
    water = behind @ SCALE_WATER.mu
    solid, around = (1000.0 * float(np.mean(behind @ mu[name] / water - 1.0)) for name in ("cortex", "muscle"))
    seen = around + patient.errors.cortex_seen * (solid - around)
    return float(patient.errors.scanner.shown(seen))


def middling_weight(beam: Beam) -> FloatArray:
    """A beam behind 20 cm of water, in which areas are weighed."""
    weight = channel_weights(beam, np.zeros(1))[0] * np.exp(-20.0 * SCALE_WATER.mu)
    return np.asarray(weight / weight.sum())
