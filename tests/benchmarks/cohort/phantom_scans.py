"""Calibration phantoms in the simulated scans: under the patient, and under a body of water on another day."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from cohort.anatomy_section import inside, places, rods_under, water_body
from cohort.materials import SCALE_WATER, FloatArray, rod
from cohort.patients import SimulatedPatient
from cohort.section import Ellipse, material_paths, scan

CERTIFICATE: Final = "4541A"
RODS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "A": (-51.83, 1012.25),
        "B": (-53.40, 1056.95),
        "C": (58.88, 1103.57),
        "D": (157.05, 1119.52),
        "E": (375.83, 923.20),
    }
)
"""Certificate of that Mindways Model 3 CT phantom: K2HPO4 and water equivalent of each rod, mg/cm3."""
WATER_BODY_CM: Final = 28.0
_PAD: Final = 1.02
"""Attenuation of the pad that holds the rods over water's."""


def with_rods(
    patient: SimulatedPatient, ellipses: tuple[Ellipse, ...], mu: Mapping[str, FloatArray]
) -> dict[str, float]:
    """The same patient, the phantom lying under the back: HU of rods and ``bone``."""
    body = rods_under(ellipses, list(RODS))
    points = {**_rod_points(body), "bone": places(ellipses)["bone"]}
    shown = scan(
        material_paths(body), {**mu, **_rod_materials()}, points, patient.technique.beam, patient.errors.scanner
    )
    return {**_noisy(patient, shown, 1), "bone": patient.bone_as_measured(shown["bone"])}


def phantom_alone(patient: SimulatedPatient) -> dict[str, float]:
    """The patient's scanner and beam, the phantom under a body of water, some days before."""
    body = rods_under(water_body(WATER_BODY_CM), list(RODS))
    mu = {"water": SCALE_WATER.mu, **_rod_materials()}
    fault = patient.errors.scanner_at_phantom_scan
    shown = scan(material_paths(body), mu, _rod_points(body), patient.technique.beam, fault)
    return _noisy(patient, shown, 2)


def _rod_points(ellipses: tuple[Ellipse, ...]) -> dict[str, tuple[str, FloatArray]]:
    return {e.material: (e.material, inside(e)) for e in ellipses if e.material in RODS}


def _rod_materials() -> dict[str, FloatArray]:
    return {name: rod(*values) for name, values in RODS.items()} | {"pad": _PAD * SCALE_WATER.mu}


def _noisy(patient: SimulatedPatient, shown: Mapping[str, float], stream: int) -> dict[str, float]:
    rng = np.random.default_rng((patient.number, stream, round(1000.0 * patient.body.size_cm)))
    return {name: shown[name] + float(rng.normal(0.0, patient.rod_standard_error_hu)) for name in RODS}
