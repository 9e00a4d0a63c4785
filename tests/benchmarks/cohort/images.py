"""Image level: some simulated patients as volumes, so that regions, masks, noise, kernel and thick slices have a say.

The shape of the body and its labels are those of the project's digital phantom; every CT number in it, the point spread
and the noise are from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from cohort.anatomy_section import ellipses_of, places
from cohort.materials import FloatArray, marrow, trabecular_bone, with_iodine
from cohort.methods import Tools
from cohort.patients import CohortDesign, SimulatedPatient, draw_cohort
from cohort.scanners import Misadjustment
from cohort.section import beam_behind, ideal_qct, material_paths, scan
from cohort.simulate import REFERENCE_BEAM, middling_weight
from scipy import ndimage

from trabecula.anatomy import Anatomy, Level, VertebraInstance
from trabecula.bone.measure import measure_vertebrae
from trabecula.calibration.calibrate import calibrate
from trabecula.calibration.density import measure_density
from trabecula.calibration.profile import DEFAULT_PROFILE, CalibrationProfile
from trabecula.geometry import Geometry
from trabecula.imaging.study import Acquisition, ContrastTag, CtVolume, KernelClass, SpectralFilter
from trabecula.outcome import Refusal
from trabecula.phantom.render import Patient, ScanGrid, build_patient, render, scan_grid
from trabecula.phantom.spec import PhantomSpec
from trabecula.phantom.tissues import Tissue
from trabecula.phantom.vertebra import BoneHu

LEVELS: Final = {Level.T11: 1.06, Level.T12: 1.03, Level.L1: 1.0, Level.L2: 0.97}
"""Mineral of each level over the patient's own."""
_MATRIX: Final = 360
_WALL_MM: Final = 0.4
"""Of the vertebral body's side."""
_LOWEST_HU, _HIGHEST_HU = -1024, 3071
_ROWS: Final[Mapping[Tissue, tuple[str, float]]] = {
    Tissue.FAT: ("fat", 0.0),
    Tissue.MUSCLE: ("muscle", 6.0),
    Tissue.SKIN: ("muscle", 15.0),
    Tissue.BLOOD: ("blood", 0.0),
    Tissue.VENOUS_BLOOD: ("cava", 0.0),
    Tissue.HEART: ("muscle", 5.0),
    Tissue.LIVER: ("liver", 0.0),
    Tissue.SPLEEN: ("spleen", 0.0),
    Tissue.KIDNEY: ("kidney", 0.0),
    Tissue.PANCREAS: ("spleen", -10.0),
    Tissue.BOWEL: ("kidney", 0.0),
    Tissue.FLUID: ("csf", 5.0),
    Tissue.CSF: ("csf", 0.0),
    Tissue.CORD: ("csf", 25.0),
    Tissue.DISC: ("muscle", 30.0),
    Tissue.CARTILAGE: ("muscle", 60.0),
    Tissue.CORTEX: ("cortex", 0.0),
    Tissue.LUNG: ("lung", -550.0),
}
"""Where each tissue of the phantom takes its CT number from, and what is added; only those of the references matter.
Fat streaks that the phantom draws into muscle bring its average back down."""


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: blur, edge enhancement, and the middle of the noise power spectrum in 1/mm."""

    blur_mm: float
    enhance: float
    noise_per_mm: float


KERNELS: Final = {"soft": Kernel(0.62, 0.0, 0.28), "medium": Kernel(0.50, 0.35, 0.40), "sharp": Kernel(0.35, 1.1, 0.62)}


@dataclass(frozen=True)
class Reading:
    """One vertebra of one volume."""

    patient: int
    level: str
    vbmd_mg_cm3: float
    reported_mg_cm3: float | None
    standard_uncertainty_mg_cm3: float | None
    excluded: tuple[str, ...]
    refused: str
    beam: str
    size_cm: float
    kernel: str
    slice_mm: float
    noise_hu: float
    phase: str


def read_volumes(
    design: CohortDesign, tools: Tools, profile: CalibrationProfile = DEFAULT_PROFILE
) -> Iterator[Reading]:
    """Every vertebra T11 to L2 of every patient of the design, through the product's own measurement."""
    for patient in draw_cohort(design):
        volume, anatomy, truth = render_volume(patient)
        yield from _read(patient, volume, anatomy, truth, tools, profile)


def render_volume(patient: SimulatedPatient) -> tuple[CtVolume, Anatomy, dict[Level, float]]:
    """The patient as a volume with labels, and the true density of each level."""
    technique = patient.technique
    spec = PhantomSpec(
        size_cm=patient.body.size_cm,
        slice_mm=max(technique.slice_mm, 1.0),
        matrix=_MATRIX,
        top=Level.T11,
        bottom=Level.L2,
        sex="F" if patient.female else "M",
        seed=patient.number + 1,
    )
    hu, bones, truth = _attenuation(patient)
    shape = build_patient(spec)
    shape = _painted(shape, hu, bones)
    grid = scan_grid(shape)
    rng = np.random.default_rng((patient.number, 9))
    slices, labels = [], []
    for slab in render(shape, grid):
        slices += [_reconstructed(ideal, grid.pixel_mm, patient, rng) for ideal in slab.ideal_hu]
        labels.append(slab.labels)
    volume = CtVolume(np.stack(slices), _geometry(grid, len(slices)))
    return volume, _anatomy(shape, np.concatenate(labels), volume.geometry), truth


def _attenuation(patient: SimulatedPatient) -> tuple[dict[Tissue, float], dict[Level, BoneHu], dict[Level, float]]:
    """CT numbers by the polyenergetic section; scatter is in them, the scanner's misadjustment comes later."""
    technique, body = patient.technique, patient.body
    plain, mu = patient.materials(enhanced=False), patient.materials(enhanced=True)
    for factor in LEVELS.values():
        bare = trabecular_bone(factor * body.mineral_g_cm3, marrow(body.marrow_fat))
        plain[f"bone {factor}"] = bare
        mu[f"bone {factor}"] = with_iodine(bare, technique.marrow_iodine_mg_ml)
    ellipses = ellipses_of(body, plain, middling_weight(REFERENCE_BEAM))
    points = places(ellipses)
    middle = points["bone"][1]
    points |= {name: (name, middle) for name in mu if name.startswith("bone ")}
    points |= {"cortex": ("cortex", middle), "csf": ("csf", middle), "lung": ("lung", points["muscle"][1])}
    fault = Misadjustment(residual_scatter=patient.errors.scanner.residual_scatter)
    shown = scan(material_paths(ellipses), mu, points, technique.beam, fault)
    behind = beam_behind(ellipses, plain, middle.mean(axis=0), REFERENCE_BEAM)
    tissues = {tissue: shown[name] + added for tissue, (name, added) in _ROWS.items()}
    tissues |= {Tissue.AIR: -1000.0, Tissue.MARROW: shown["bone"]}
    bones = {
        level: BoneHu(shown["cortex"], shown[f"bone {f}"], shown["cava"] - 10.0, shown[f"bone {f}"] + 60.0, _WALL_MM)
        for level, f in LEVELS.items()
    }
    truth = {level: ideal_qct(behind, plain[f"bone {factor}"]) for level, factor in LEVELS.items()}
    return tissues, bones, truth


def _painted(shape: Patient, hu: dict[Tissue, float], bones: dict[Level, BoneHu]) -> Patient:
    every = {level: bones.get(level, bones[Level.L1]) for level in shape.frames}
    return replace(shape, hu=hu, bones=every)


def _reconstructed(
    ideal: npt.NDArray[np.float32], pixel_mm: float, patient: SimulatedPatient, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    kernel, fault = KERNELS[patient.technique.kernel], patient.errors.scanner
    image = ndimage.gaussian_filter(ideal, kernel.blur_mm / pixel_mm)
    if kernel.enhance:
        image = image + np.float32(kernel.enhance) * (image - ndimage.gaussian_filter(image, 0.9 / pixel_mm))
    image = image + _noise(image.shape, pixel_mm, kernel, patient.technique.noise_hu, rng)
    image = image + fault.water_hu * (1.0 + image / 1000.0) - fault.air_hu * image / 1000.0
    return np.rint(np.clip(image, _LOWEST_HU, _HIGHEST_HU)).astype(np.int16)


def _noise(
    shape: tuple[int, ...], pixel_mm: float, kernel: Kernel, noise_hu: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Ramp times a Gaussian roll-off, as filtered back-projection makes it; stronger in the middle of the body."""
    frequency = np.hypot(np.fft.fftfreq(shape[0], pixel_mm)[:, None], np.fft.rfftfreq(shape[1], pixel_mm)[None, :])
    power = (frequency + 0.02) * np.exp(-((frequency / kernel.noise_per_mm) ** 2))
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * np.sqrt(power), s=shape)
    j, i = (np.linspace(-1.0, 1.0, n) for n in shape)
    weight = 0.45 + 0.55 * np.exp(-1.5 * (j[:, None] ** 2 + i[None, :] ** 2))
    return np.asarray(noise_hu * field / field.std() * weight, dtype=np.float32)


def _geometry(grid: ScanGrid, slices: int) -> Geometry:
    affine = np.array(
        [
            [0.0, 0.0, grid.pixel_mm, float(grid.x_mm[0])],
            [0.0, grid.pixel_mm, 0.0, float(grid.y_mm[0])],
            [grid.slice_mm, 0.0, 0.0, float(grid.z_mm[0])],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    return Geometry((slices, len(grid.y_mm), len(grid.x_mm)), affine)


def _anatomy(shape: Patient, labels: npt.NDArray[np.uint8], geometry: Geometry) -> Anatomy:
    def triple(values: FloatArray) -> tuple[float, float, float]:
        return float(values[0]), float(values[1]), float(values[2])

    vertebrae = tuple(
        VertebraInstance(level, 1.0, triple(f.centre), triple(f.superior), triple(f.anterior), True)
        for level, f in shape.frames.items()
        if level in LEVELS
    )
    return Anatomy(labels, geometry, vertebrae, (), ())


def _read(
    patient: SimulatedPatient,
    volume: CtVolume,
    anatomy: Anatomy,
    truth: Mapping[Level, float],
    tools: Tools,
    profile: CalibrationProfile,
) -> Iterator[Reading]:
    acquisition = _acquisition(patient, volume)
    measured = measure_vertebrae(volume, anatomy, tools.constants, acquisition)
    calibration = calibrate(volume, anatomy, acquisition, tools.model, tools.constants, profile)
    refused = next((o.message for o in (measured, calibration) if isinstance(o, Refusal)), "")
    results = {}
    if not isinstance(measured, Refusal) and not isinstance(calibration, Refusal):
        results = {r.level: r for r in measure_density(measured, calibration, tools.constants)[0]}
    technique = patient.technique
    for level, value in truth.items():
        result = results.get(level)
        yield Reading(
            patient=patient.number,
            level=level.value,
            vbmd_mg_cm3=value,
            reported_mg_cm3=result.vbmd_mg_cm3 if result else None,
            standard_uncertainty_mg_cm3=result.vbmd_standard_uncertainty_mg_cm3 if result else None,
            excluded=tuple(reason.value for reason in result.excluded) if result else (),
            refused=refused,
            beam=f"{'Sn' if technique.beam.tin else ''}{technique.beam.kvp:.0f}",
            size_cm=patient.body.size_cm,
            kernel=technique.kernel,
            slice_mm=max(technique.slice_mm, 1.0),
            noise_hu=technique.noise_hu,
            phase=technique.phase,
        )


def _acquisition(patient: SimulatedPatient, volume: CtVolume) -> Acquisition:
    t = patient.technique
    spacing_k, spacing_j, spacing_i = volume.geometry.spacing_mm
    return Acquisition(
        kvp=t.beam.kvp if t.header_has_kvp else None,
        spectral_filter=SpectralFilter.TIN if t.beam.tin else SpectralFilter.NONE,
        kernel=None,
        kernel_class=KernelClass(t.kernel),
        slice_thickness_mm=spacing_k,
        slice_spacing_mm=spacing_k,
        pixel_spacing_mm=(spacing_j, spacing_i),
        reconstruction_diameter_mm=math.floor(spacing_i * volume.hu.shape[2]),
        contrast=ContrastTag(t.header_on_contrast),
        exposure_mas=None,
        ctdi_vol_mgy=None,
        manufacturer=None,
        model=None,
        station_hash=None,
        acquired_at=None,
    )
