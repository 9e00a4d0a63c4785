"""Calibration phantoms in the simulated scans: under the patient, and under a body of water on another day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from cohort.anatomy_section import ellipses_of, inside, places, rods_under, water_body
from cohort.materials import SCALE_WATER, FloatArray, rod
from cohort.patients import SimulatedPatient
from cohort.scanners import Misadjustment
from cohort.section import Ellipse, material_paths, scan
from cohort.simulate import REFERENCE_BEAM, bone_as_measured, middling_weight

RODS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "A": (-51.83, 1012.25),
        "B": (-53.40, 1056.95),
        "C": (58.88, 1103.57),
        "D": (157.05, 1119.52),
        "E": (375.83, 923.20),
    }
)
"""Certificate of a Mindways Model 3 CT phantom: K2HPO4 and water equivalent of each rod, mg/cm3."""
WATER_BODY_CM: Final = 28.0


@dataclass(frozen=True)
class PhantomScan:
    """What a scan with a phantom in it shows."""

    rods_hu: Mapping[str, float]
    rod_standard_error_hu: float
    bone_hu: float | None
    """Trabecular region in the same scan; None where the phantom was alone."""


def with_rods(patient: SimulatedPatient) -> PhantomScan:
    """The same patient, the phantom lying under the back."""
    plain, mu = patient.materials(enhanced=False), patient.materials(enhanced=True)
    body = ellipses_of(patient.body, plain, middling_weight(REFERENCE_BEAM))
    shown = _scan(patient, rods_under(body, list(RODS)), {**mu, **_rod_materials()}, patient.errors.scanner, bone=body)
    return PhantomScan(_rods(patient, shown, 1), _rod_error(patient), bone_as_measured(patient, shown["bone"]))


def phantom_alone(patient: SimulatedPatient) -> PhantomScan:
    """The patient's scanner and beam, the phantom under a body of water, some days before."""
    mu = {"water": SCALE_WATER.mu, **_rod_materials()}
    body = rods_under(water_body(WATER_BODY_CM), list(RODS))
    shown = _scan(patient, body, mu, patient.errors.scanner_at_phantom_scan)
    return PhantomScan(_rods(patient, shown, 2), _rod_error(patient), None)


def _scan(
    patient: SimulatedPatient,
    ellipses: tuple[Ellipse, ...],
    mu: Mapping[str, FloatArray],
    fault: Misadjustment,
    bone: tuple[Ellipse, ...] = (),
) -> dict[str, float]:
    points = {e.material: (e.material, inside(e)) for e in ellipses if e.material in RODS}
    if bone:
        points["bone"] = places(bone)["bone"]
    return scan(material_paths(ellipses), mu, points, patient.technique.beam, fault)


def _rod_materials() -> dict[str, FloatArray]:
    return {name: rod(*values) for name, values in RODS.items()} | {"pad": 1.02 * SCALE_WATER.mu}


def _rod_error(patient: SimulatedPatient) -> float:
    return 0.6 * patient.technique.noise_hu / 15.0


def _rods(patient: SimulatedPatient, shown: Mapping[str, float], stream: int) -> dict[str, float]:
    rng = np.random.default_rng((patient.number, stream, round(1000.0 * patient.body.size_cm)))
    return {name: shown[name] + float(rng.normal(0.0, _rod_error(patient))) for name in RODS}
