"""Who is in the simulated cohort and how each was scanned: everything that is drawn at random, from one seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from cohort.materials import (
    FloatArray,
    adipose,
    blood,
    marrow,
    mixture,
    muscle,
    soft_organ,
    trabecular_bone,
    with_iodine,
)
from cohort.scanners import DEVELOPMENT_TUBES, TEST_TUBES, Beam, Misadjustment, Tube

BEAMS: Final = (
    (80.0, False), (90.0, False), (100.0, False), (110.0, False), (120.0, False), (130.0, False), (140.0, False),
    (100.0, True), (140.0, True),
)  # fmt: skip
_BEAM_WEIGHTS: Final = (0.09, 0.06, 0.15, 0.09, 0.26, 0.08, 0.11, 0.09, 0.07)
KERNELS: Final = ("soft", "medium", "sharp")
PHASES: Final = ("none", "arterial", "portal-venous")


@dataclass(frozen=True)
class CohortDesign:
    """Which cohort is drawn: the same design gives the same patients."""

    seed: int
    count: int
    tubes: tuple[Tube, ...]


DEVELOPMENT: Final = CohortDesign(77, 400, DEVELOPMENT_TUBES)
"""Open to anyone who works on the calibration."""
TEST: Final = CohortDesign(20_261_122, 600, TEST_TUBES)
"""The published one: other patients on other scanners. Nothing is tuned on it."""

_ENHANCEMENT_MG_CM3: Final = {"arterial": (8.0, 2.2, 4.0), "portal-venous": (16.4, 2.0, 5.5)}
"""Rise of trabecular density: mean over published cohorts, their spread, and the spread between patients. Pompe 2015
(+13.5 and +18.2 HU), Gruenewald (+14.4, +25.7 HU), Shetty 2024 (+6.2, +16.7 mg/cm3), Ruehling 2022 (+5.7, +17.5 mg/ml;
the patients' spread from its RMSE against its mean)."""


@dataclass(frozen=True)
class Body:
    """Composition and build of one person."""

    size_cm: float
    """Asked water-equivalent diameter."""
    lipid: float
    """Mass share of fat in adipose tissue."""
    muscle_fat: float
    """Volume share of fat inside muscle too fine to be seen."""
    muscle_water: float
    haematocrit: float
    organ_water: float
    liver_fat: float
    visceral_fat: float
    """Volume share of the abdominal cavity."""
    marrow_fat: float
    mineral_g_cm3: float
    cortex_mm: float
    lung_bases: bool
    """They reach down into the section."""


@dataclass(frozen=True)
class Technique:
    """How the scan was made."""

    beam: Beam
    kernel: str
    noise_hu: float
    """Standard deviation of a pixel in the middle of the body."""
    slice_mm: float
    phase: str
    blood_iodine_mg_ml: float
    marrow_iodine_mg_ml: float
    muscle_iodine_mg_ml: float
    liver_iodine_mg_ml: float
    spleen_iodine_mg_ml: float
    kidney_iodine_mg_ml: float
    cava_iodine_mg_ml: float
    header_has_kvp: bool
    header_on_contrast: str
    """given, not-given or unknown."""
    cut_field: bool
    """The field of view cuts the flanks."""


@dataclass(frozen=True)
class Errors:
    """What no calibration can know, drawn once per scan."""

    scanner: Misadjustment
    scanner_at_phantom_scan: Misadjustment
    """The same scanner when its phantom was last scanned."""
    days_since_phantom_scan: int
    sampling: Mapping[str, float]
    """Standard normal draw for each sampled place."""
    sampling_hu: Mapping[str, float]
    """Their standard errors as the image would show them."""
    cortex_seen: float
    """Share of solid cortex's attenuation that survives the point spread in the brightest voxels."""
    bone: float
    """Standard normal draw for the region's own mean."""
    bone_hu: float
    """Standard error of the trabecular region's mean as the image would show it."""
    kernel_hu: float
    """Shift of the region's mean by the kernel (Bodden 2024: RMSE 3.0 mg/cm3 between kernels on the same raw data)."""
    partial_hu: float
    """Endplate seen in the region, by slice thickness."""


@dataclass(frozen=True)
class SimulatedPatient:
    number: int
    female: bool
    age: int
    body: Body
    technique: Technique
    errors: Errors

    @property
    def rod_standard_error_hu(self) -> float:
        """Of a calibration rod's mean."""
        return 0.6 * self.technique.noise_hu / 15.0

    def bone_as_measured(self, shown_hu: float) -> float:
        """Noise, structure, kernel and slice thickness upon what the rays gave."""
        e = self.errors
        return shown_hu + e.bone * e.bone_hu + e.kernel_hu + e.partial_hu

    def materials(self, *, enhanced: bool) -> dict[str, FloatArray]:
        """Attenuation of everything in the section, 1/cm per energy bin."""
        b, t = self.body, self.technique
        on = 1.0 if enhanced else 0.0
        fat = adipose(b.lipid)
        organ = soft_organ(b.organ_water)
        cavity = b.visceral_fat * fat + (1.0 - b.visceral_fat) * with_iodine(organ, on * 0.5 * t.muscle_iodine_mg_ml)
        return {
            "fat": fat,
            "muscle": with_iodine(muscle(b.muscle_fat, b.muscle_water), on * t.muscle_iodine_mg_ml),
            "cavity": cavity,
            "liver": with_iodine((1.0 - b.liver_fat) * organ + b.liver_fat * fat, on * t.liver_iodine_mg_ml),
            "spleen": with_iodine(soft_organ(b.organ_water + 0.012), on * t.spleen_iodine_mg_ml),
            "kidney": with_iodine(soft_organ(b.organ_water + 0.045), on * t.kidney_iodine_mg_ml),
            "cava": with_iodine(blood(b.haematocrit), on * t.cava_iodine_mg_ml),
            "blood": with_iodine(blood(b.haematocrit), on * t.blood_iodine_mg_ml),
            "lung": 0.3 * organ,
            "cortex": trabecular_bone(1.05, blood(0.4)),
            "bone": with_iodine(trabecular_bone(b.mineral_g_cm3, marrow(b.marrow_fat)), on * t.marrow_iodine_mg_ml),
            "csf": mixture({"water": 0.99, "protein": 0.001, "blood-salts": 0.009}),
        }


def draw_cohort(design: CohortDesign) -> list[SimulatedPatient]:
    """Patient n does not depend on how many are drawn."""
    streams = np.random.SeedSequence(design.seed).spawn(design.count)
    return [_draw(number, np.random.default_rng(stream), design.tubes) for number, stream in enumerate(streams)]


def _draw(number: int, rng: np.random.Generator, tubes: Sequence[Tube]) -> SimulatedPatient:
    female = bool(rng.random() < 0.55)
    age = int(np.clip(rng.normal(64, 11), 35, 90))
    body = _draw_body(rng, female, age)
    technique = _draw_technique(rng, body, tubes)
    return SimulatedPatient(number, female, age, body, technique, draw_errors(rng, technique))


def _draw_body(rng: np.random.Generator, female: bool, age: int) -> Body:
    size = float(rng.uniform(20.0, 40.0))
    stout = (size - 30.0) / 10.0
    marrow_fat = float(np.clip(rng.normal(0.48 + 0.006 * (age - 64), 0.13), 0.20, 0.80))
    mineral = rng.normal(0.145 - 0.0015 * (age - 64) - 0.08 * (marrow_fat - 0.48), 0.038)
    return Body(
        size_cm=size,
        lipid=float(np.clip(rng.normal(0.83 + 0.015 * stout, 0.032), 0.66, 0.90)),
        muscle_fat=float(np.clip(rng.gamma(3.0, 0.018) + 0.012 * stout + 0.0006 * (age - 64), 0.0, 0.25)),
        muscle_water=float(rng.normal(0.772, 0.006)),
        haematocrit=float(np.clip(rng.normal(0.39 if female else 0.42, 0.042), 0.24, 0.54)),
        organ_water=float(rng.normal(0.755, 0.012)),
        liver_fat=float(np.clip(rng.gamma(1.5, 0.03), 0.0, 0.35)),
        visceral_fat=float(np.clip(rng.normal(0.28 + 0.16 * stout, 0.10), 0.05, 0.65)),
        marrow_fat=marrow_fat,
        mineral_g_cm3=float(np.clip(mineral, 0.070, 0.25)),
        cortex_mm=float(rng.uniform(0.8, 1.6)),
        lung_bases=bool(rng.random() < 0.6),
    )


def _draw_technique(rng: np.random.Generator, body: Body, tubes: Sequence[Tube]) -> Technique:
    kvp, tin = BEAMS[int(rng.choice(len(BEAMS), p=_BEAM_WEIGHTS))]
    tube = tubes[int(rng.integers(len(tubes)))]
    kernel = KERNELS[int(rng.choice(3, p=(0.5, 0.25, 0.25)))]
    noise = float(rng.choice([1.0, 2.0], p=(0.6, 0.4)))
    slice_mm = float(rng.choice([0.75, 1.0, 1.5, 2.0, 3.0, 5.0], p=(0.1, 0.25, 0.2, 0.15, 0.15, 0.15)))
    phase = PHASES[int(rng.choice(3, p=(0.62, 0.16, 0.22)))]
    technique = scanned_with(body, Beam(tube, kvp, tin), kernel, noise, slice_mm, phase, rng)
    return replace(
        technique,
        header_has_kvp=bool(rng.random() > 0.04),
        header_on_contrast=technique.header_on_contrast if rng.random() > 0.15 else "unknown",
        cut_field=bool(rng.random() < 0.06),
    )


def scanned_with(
    body: Body, beam: Beam, kernel: str, dose: float, slice_mm: float, phase: str, rng: np.random.Generator
) -> Technique:
    """A scan with a complete header and the whole body in view; ``dose`` 2 has twice the noise of 1."""
    sharpness = {"soft": 1.0, "medium": 1.6, "sharp": 3.0}[kernel]
    noise = 9.0 * dose * sharpness * math.exp(0.045 * (body.size_cm - 28.0)) * rng.lognormal(0.0, 0.15)
    given = phase != "none"
    plain = Technique(
        beam=beam,
        kernel=kernel,
        noise_hu=float(min(noise, 90.0)),
        slice_mm=slice_mm,
        phase=phase,
        blood_iodine_mg_ml=0.0,
        marrow_iodine_mg_ml=0.0,
        muscle_iodine_mg_ml=0.0,
        liver_iodine_mg_ml=0.0,
        spleen_iodine_mg_ml=0.0,
        kidney_iodine_mg_ml=0.0,
        cava_iodine_mg_ml=0.0,
        header_has_kvp=True,
        header_on_contrast="given" if given else "not-given",
        cut_field=False,
    )
    return _with_contrast(rng, plain, body) if given else plain


def _with_contrast(rng: np.random.Generator, technique: Technique, body: Body) -> Technique:
    """Iodine at 120 kVp reads about 27 HU per mg/ml behind 25 cm of water."""
    arterial = technique.phase == "arterial"
    mean, between, spread = _ENHANCEMENT_MG_CM3[technique.phase]
    perfused = (1.0 - body.marrow_fat) / 0.52
    rise_mg_cm3 = max(0.0, perfused * mean + rng.normal(0.0, math.hypot(between, 0.8 * spread)))
    return replace(
        technique,
        blood_iodine_mg_ml=float(np.clip(rng.normal(10.0, 2.2), 5.0, 16.0) if arterial else rng.uniform(3.0, 5.5)),
        marrow_iodine_mg_ml=rise_mg_cm3 * 1.38 / 27.0,
        muscle_iodine_mg_ml=_at_least_zero(rng, (0.22, 0.10) if arterial else (0.42, 0.15)),
        liver_iodine_mg_ml=_at_least_zero(rng, (0.5, 0.25) if arterial else (2.0, 0.4)),
        spleen_iodine_mg_ml=_at_least_zero(rng, (2.4, 0.7) if arterial else (2.4, 0.5)),
        kidney_iodine_mg_ml=_at_least_zero(rng, (4.5, 1.2) if arterial else (5.5, 1.0)),
        cava_iodine_mg_ml=_at_least_zero(rng, (1.5, 1.0) if arterial else (3.6, 0.7)),
    )


def _at_least_zero(rng: np.random.Generator, mean_and_sd: tuple[float, float]) -> float:
    return float(max(0.0, rng.normal(*mean_and_sd)))


def draw_errors(rng: np.random.Generator, technique: Technique) -> Errors:
    water_hu, air_hu, scatter = rng.normal(0.0, 2.2), rng.normal(1.0, 2.6), rng.normal(0.0, 0.004)

    def on_some_day() -> Misadjustment:
        return Misadjustment(
            water_hu=float(np.clip(water_hu + rng.normal(0.0, 1.2), -6.0, 6.0)),
            air_hu=float(np.clip(air_hu + rng.normal(0.0, 1.5), -8.0, 10.0)),
            residual_scatter=float(scatter),
        )

    grain = {"soft": 1.0, "medium": 0.7, "sharp": 0.4}[technique.kernel]
    own = technique.noise_hu * grain / 15.0
    floors = {
        "air": 0.2,
        "fat": 1.3,
        "muscle": 1.2,
        "blood": 1.2,
        "liver": 1.0,
        "spleen": 1.5,
        "kidney": 4.0,
        "cava": 3.0,
    }
    sampling_hu = {name: math.hypot(floor, 0.5 * own) for name, floor in floors.items()}
    kernel = {"soft": 0.5, "medium": 1.5, "sharp": 3.0}[technique.kernel] / math.sqrt(2.0)
    thick = technique.slice_mm
    return Errors(
        scanner=on_some_day(),
        scanner_at_phantom_scan=on_some_day(),
        days_since_phantom_scan=int(rng.integers(1, 30)),
        sampling={name: float(rng.normal()) for name in floors},
        sampling_hu=sampling_hu,
        cortex_seen=float(np.clip(rng.normal(0.62, 0.08), 0.4, 0.85)),
        bone=float(rng.normal()),
        bone_hu=math.hypot(1.2, own),
        kernel_hu=float(rng.normal(0.0, 1.4 * kernel)),
        partial_hu=float(abs(rng.normal(0.0, 0.25 * thick))) if thick > 1.5 else 0.0,
    )
