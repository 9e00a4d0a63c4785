"""The same patients scanned again with one thing changed, after Bodden and others 2024 (Eur Radiol Exp 8:86)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from cohort.patients import CohortDesign, SimulatedPatient, draw_cohort, draw_errors, scanned_with
from cohort.scanners import Beam

BASE: Final = "first scan"
CHANGES: Final = ("kernel", "dose", "session", "tube voltage", "scanner", "contrast", "all")


def draw_repeats(design: CohortDesign, count: int) -> Iterator[tuple[SimulatedPatient, str]]:
    """For each patient the first scan (120 kVp, soft kernel, unenhanced) and one scan for each change."""
    for patient in draw_cohort(replace(design, count=count)):
        rng = np.random.default_rng((design.seed, 3, patient.number))
        first = _plain(patient)
        yield first, BASE
        for change in CHANGES:
            yield _changed(first, change, design, rng), change


def _plain(patient: SimulatedPatient) -> SimulatedPatient:
    technique = scanned_with(
        patient.body, Beam(patient.technique.beam.tube, 120.0), "soft", 1.0, 1.0, "none", np.random.default_rng(0)
    )
    rng = np.random.default_rng((patient.number, 4))
    return replace(patient, technique=technique, errors=draw_errors(rng, technique))


def _changed(first: SimulatedPatient, change: str, design: CohortDesign, rng: np.random.Generator) -> SimulatedPatient:
    """Kernel and dose leave the scanner as it is; a session finds it drifted; another scanner has its own faults."""
    everything = change == "all"
    tube, kvp = first.technique.beam.tube, 120.0
    if everything or change == "scanner":
        tube = design.tubes[int(rng.integers(len(design.tubes)))]
    if everything or change == "tube voltage":
        kvp = float(rng.choice([80.0, 100.0, 140.0]))
    phase = str(rng.choice(["arterial", "portal-venous"])) if everything or change == "contrast" else "none"
    kernel = str(rng.choice(["medium", "sharp"])) if everything or change == "kernel" else "soft"
    dose = 2.5 if everything or change == "dose" else 1.0
    technique = scanned_with(first.body, Beam(tube, kvp), kernel, dose, 1.0, phase, rng)
    errors = draw_errors(rng, technique)
    if change in ("kernel", "dose", "contrast"):
        errors = replace(errors, scanner=first.errors.scanner)
    elif change in ("session", "tube voltage"):
        errors = replace(errors, scanner=first.errors.scanner_at_phantom_scan)
    same = {name: first.errors.sampling[name] for name in first.errors.sampling}
    if change == "kernel":
        errors = replace(errors, sampling=same, bone=first.errors.bone, cortex_seen=first.errors.cortex_seen)
    return replace(first, technique=technique, errors=errors)
