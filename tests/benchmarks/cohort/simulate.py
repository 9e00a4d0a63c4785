"""Sample level: each simulated patient yields what the calibration stage takes, and the truth.

python -m cohort.simulate            (from tests/benchmarks; writes cohort/exams/*.jsonl anew)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from cohort.anatomy_section import ellipses_of, places, water_equivalent_diameter_cm
from cohort.exams import FOLDER, Exam, write_exams
from cohort.materials import SCALE_WATER, FloatArray
from cohort.patients import DEVELOPMENT, TEST, CohortDesign, SimulatedPatient, draw_cohort
from cohort.phantom_scans import phantom_alone, with_rods
from cohort.repeats import draw_repeats
from cohort.scanners import REFERENCE_TUBE, Beam, channel_weights
from cohort.section import Ellipse, beam_behind, ideal_qct, material_paths, mineral_slope, scan

REFERENCE_BEAM: Final = Beam(REFERENCE_TUBE, 120.0)
_CORTEX_ERROR_HU: Final = 15.0
_CUT_DIAMETER: Final = 0.96
"""What is left of the diameter where the field of view cuts the flanks."""


def simulate_cohort(design: CohortDesign) -> Iterator[Exam]:
    """Half a second a patient, once the spectra are there."""
    for patient in draw_cohort(design):
        yield examine(patient)


def simulate_repeats(design: CohortDesign, count: int) -> Iterator[Exam]:
    """The first unenhanced patients of a cohort, each scanned again and again with one thing changed."""
    for patient, what in draw_repeats(design, count):
        yield replace(examine(patient, phantoms=False), repeat=what)


def examine(patient: SimulatedPatient, *, phantoms: bool = True) -> Exam:
    """Scan one section of the patient, and the phantoms."""
    technique, errors = patient.technique, patient.errors
    plain, scanned_mu = patient.materials(enhanced=False), patient.materials(enhanced=True)
    ellipses = ellipses_of(patient.body, plain, middling_weight(REFERENCE_BEAM))
    points = places(ellipses)
    centre = points["bone"][1].mean(axis=0)
    behind = beam_behind(ellipses, scanned_mu, centre, technique.beam)
    shown = scan(material_paths(ellipses), scanned_mu, points, technique.beam, errors.scanner)
    tissue_hu = {name: shown[name] + errors.sampling[name] * spread for name, spread in errors.sampling_hu.items()}
    measured_cm = water_equivalent_diameter_cm(ellipses, scanned_mu, middling_weight(technique.beam))
    exam = Exam(
        patient=patient.number,
        vbmd_mg_cm3=ideal_qct(beam_behind(ellipses, plain, centre, REFERENCE_BEAM), plain["bone"]),
        mineral_mg_cm3=1000.0 * patient.body.mineral_g_cm3,
        slope_hu_per_mg_cm3=mineral_slope(behind),
        size_cm=patient.body.size_cm,
        marrow_fat=patient.body.marrow_fat,
        tube=technique.beam.tube.name,
        kvp=technique.beam.kvp,
        tin=technique.beam.tin,
        kernel=technique.kernel,
        noise_hu=technique.noise_hu,
        slice_mm=technique.slice_mm,
        phase=technique.phase,
        header_has_kvp=technique.header_has_kvp,
        header_on_contrast=technique.header_on_contrast,
        cut_field=technique.cut_field,
        bone_hu=patient.bone_as_measured(shown["bone"]),
        bone_standard_error_hu=errors.bone_hu,
        tissue_hu={**tissue_hu, "cortex": _cortex_hu(patient, scanned_mu, behind)},
        tissue_standard_error_hu={**errors.sampling_hu, "cortex": _CORTEX_ERROR_HU},
        diameter_cm=measured_cm * (_CUT_DIAMETER if technique.cut_field else 1.0),
    )
    return _with_phantoms(exam, patient, ellipses, scanned_mu) if phantoms else exam


def _with_phantoms(
    exam: Exam, patient: SimulatedPatient, ellipses: tuple[Ellipse, ...], mu: Mapping[str, FloatArray]
) -> Exam:
    return replace(
        exam,
        with_rods=with_rods(patient, ellipses, mu),
        phantom_alone=phantom_alone(patient),
        days_since_phantom_scan=patient.errors.days_since_phantom_scan,
        rod_standard_error_hu=patient.rod_standard_error_hu,
    )


def _cortex_hu(patient: SimulatedPatient, mu: Mapping[str, FloatArray], behind: FloatArray) -> float:
    """The brightest voxels of a shell too thin to be resolved: a share of solid bone above muscle."""
    water = behind @ SCALE_WATER.mu
    solid, around = (1000.0 * float(np.mean(behind @ mu[name] / water - 1.0)) for name in ("cortex", "muscle"))
    seen = around + patient.errors.cortex_seen * (solid - around)
    return patient.errors.scanner.shown(seen)


def middling_weight(beam: Beam) -> FloatArray:
    """A beam behind 20 cm of water, in which areas are weighed."""
    weight = channel_weights(beam, np.zeros(1))[0] * np.exp(-20.0 * SCALE_WATER.mu)
    return np.asarray(weight / weight.sum())


def main() -> None:
    for name, design in (("development", DEVELOPMENT), ("test", TEST)):
        sys.stderr.write(f"{name}: {design.count} patients, seed {design.seed}\n")
        write_exams(simulate_cohort(design), FOLDER / f"{name}.jsonl")
    write_exams(simulate_repeats(TEST, REPEATED), FOLDER / "repeats.jsonl")


REPEATED: Final = 60
"""Patients in the series of repeats."""

if __name__ == "__main__":
    main()
