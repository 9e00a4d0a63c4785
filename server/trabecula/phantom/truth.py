"""What is true of a phantom, and truth.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import Level, Structure
from trabecula.phantom import extras, physics
from trabecula.phantom.canvas import Canvas
from trabecula.phantom.extras import Rod
from trabecula.phantom.render import (
    Patient,
    ScanGrid,
    render_slices,
    slice_water_equivalent_diameter_cm,
    water_equivalent_diameter_cm,
)
from trabecula.phantom.spec import PHANTOM_LEVELS, PhantomSpec, Rods
from trabecula.phantom.tissues import Tissue

COMPOSITION_LEVELS: Final = (Level.T11, Level.T12, Level.L1)
_PIXEL_MM: Final = 0.6
_FAT_OR_LEAN_HU: Final = -30.0
"""Half way between the phantom's fat and muscle; splits ideal, noise-free pixels."""
_SOFT_BELOW_HU: Final = 150.0
"""Upper end of muscle's attenuation window."""
_LAYER_PIXELS: Final = 2
"""Half the thickness of the thinnest muscle layer, in pixels of 0.6 mm."""
_SECTORS: Final = 720
DENSITY_DEFINITION: Final = (
    "vbmd_mg_cm3 is the K2HPO4 density an ideal single-energy QCT reads at 120 kVp behind 25 cm of water: "
    "HU(120 kVp, 25 cm) = s_K(120 kVp, 25 cm) * vbmd. mineral_mg_cm3 = vbmd - HU_marrow / s_K (same beam) is the "
    "K2HPO4-equivalent mineral added to the marrow; HU(beam) = HU_marrow(beam) + s_K(beam) * mineral, plus iodine."
)


@dataclass(frozen=True)
class VertebraTruth:
    level: str
    vbmd_mg_cm3: float
    mineral_mg_cm3: float
    hu: float
    """Trabecular CT number in the files: contrast, scanner gain and offset included, noise not."""
    hu_ideal: float
    """On a scanner in specification."""
    centroid_lps_mm: tuple[float, float, float]
    superior: tuple[float, float, float]
    anterior_height_mm: float
    middle_height_mm: float
    posterior_height_mm: float
    """Outer heights at the body's margins and in its middle."""
    cortex_mm: float
    """Thickness of the body's side walls."""
    cortex_hu: float
    """Of compact bone, on a scanner in specification."""
    fracture: str | None
    hardware: bool


@dataclass(frozen=True)
class CompositionTruth:
    """Areas in the axial plane through a level's centre, table and rods left out."""

    level: str
    z_mm: float
    muscle_area_cm2: float
    """Lean muscle, paraspinal and other."""
    paraspinal_area_cm2: float
    intermuscular_fat_area_cm2: float
    subcutaneous_fat_area_cm2: float
    visceral_fat_area_cm2: float
    muscle_hu: float
    """Mean of lean muscle in this beam, scanner error left out."""
    water_equivalent_diameter_cm: float
    fat_in_muscle_by_share_cm2: float
    """Fat inside the muscle compartment, each pixel of 0.6 mm counted by its share of fat."""
    pure_muscle_hu: float
    """Muscle without any fat in it."""


@dataclass(frozen=True)
class PhantomTruth:
    """Everything known about a written phantom."""

    spec: PhantomSpec
    study_instance_uid: str
    series_instance_uid: str
    slices: int
    pixel_mm: float
    beam: dict[str, Any]
    water_equivalent_diameter_cm: float
    """As reached at T12."""
    tissue_hu: dict[str, float]
    vertebrae: tuple[VertebraTruth, ...]
    """Levels the scan covers whole, head to foot."""
    composition: tuple[CompositionTruth, ...]
    rods: tuple[Rod, ...]

    def vertebra(self, level: Level) -> VertebraTruth:
        """Truth of a covered level.

        Raises:
            KeyError: if the scan does not cover it.
        """
        for vertebra in self.vertebrae:
            if vertebra.level == level.value:
                return vertebra
        raise KeyError(level.value)

    def to_json(self) -> str:
        document = {"density_definition": DENSITY_DEFINITION, **asdict(self)}
        return json.dumps(document, indent=2, default=str) + "\n"


def phantom_truth(patient: Patient, grid: ScanGrid, study_uid: str, series_uid: str) -> PhantomTruth:
    """Gather the truth; composition takes a second or two because its slices are painted anew."""
    spec, beam = patient.spec, patient.beam
    return PhantomTruth(
        spec,
        study_uid,
        series_uid,
        len(grid.z_mm),
        grid.pixel_mm,
        {
            "kvp": beam.kvp,
            "tin_mm": beam.tin_mm,
            "aluminium_mm": physics.ALUMINIUM_MM,
            "anode_angle_deg": physics.ANODE_ANGLE_DEG,
            "water_cm": beam.water_cm,
            "effective_energy_kev": physics.effective_energy_kev(beam),
            "k2hpo4_slope_hu_per_mg_cm3": physics.k2hpo4_slope(beam),
            "reference_k2hpo4_slope_hu_per_mg_cm3": physics.k2hpo4_slope(physics.REFERENCE_BEAM),
            "iodine_slope_hu_per_mg_ml": physics.iodine_slope(beam),
            "marrow_hu": physics.marrow_hu(spec.marrow_fat_fraction, beam),
        },
        water_equivalent_diameter_cm(patient),
        {tissue.value: hu for tissue, hu in patient.hu.items()},
        tuple(_vertebra(patient, level) for level in PHANTOM_LEVELS if _covered(patient, grid, level)),
        _composition(patient, [level for level in COMPOSITION_LEVELS if _covered(patient, grid, level)]),
        extras.lay_rods(patient.back_y_mm, beam) if spec.rods is Rods.MINDWAYS3 else (),
    )


def _covered(patient: Patient, grid: ScanGrid, level: Level) -> bool:
    frame = patient.frames[level]
    z, half = float(frame.centre[2]), frame.half_height_mm
    return float(grid.z_mm[0]) <= z - half and z + half <= float(grid.z_mm[-1])


def _vertebra(patient: Patient, level: Level) -> VertebraTruth:
    spec, frame = patient.spec, patient.frames[level]
    bone = physics.trabecular(spec.density(level), spec.marrow_fat_fraction, patient.beam)
    ideal = patient.bones[level].trabecular
    fracture = spec.fractures.get(level)
    return VertebraTruth(
        level.value,
        bone.vbmd_mg_cm3,
        bone.mineral_mg_cm3,
        spec.scanner_gain * (ideal + 1000.0) - 1000.0 + spec.scanner_offset_hu,
        ideal,
        _triple(frame.centre),
        _triple(frame.superior),
        frame.front_mm,
        frame.middle_mm,
        frame.back_mm,
        spec.cortex_mm,
        patient.bones[level].cortex,
        f"grade{int(fracture.grade)}-{fracture.shape}" if fracture else None,
        level in spec.hardware,
    )


def _composition(patient: Patient, levels: Sequence[Level]) -> tuple[CompositionTruth, ...]:
    if not levels:
        return ()
    heights = [float(patient.frames[level].centre[2]) for level in levels]
    canvases = render_slices(patient, heights, _PIXEL_MM, textured=True)
    pure = patient.hu[Tissue.MUSCLE], patient.hu[Tissue.FAT]
    return tuple(_areas(level, z, canvas, *pure) for level, z, canvas in zip(levels, heights, canvases, strict=True))


def _areas(level: Level, z: float, canvas: Canvas, muscle_hu: float, fat_hu: float) -> CompositionTruth:
    hu, labels = canvas.hu[0], canvas.labels[0]
    pixel_cm2 = (_PIXEL_MM / 10.0) ** 2
    fat = hu <= _FAT_OR_LEAN_HU
    paraspinal = labels == Structure.PARASPINAL_MUSCLE
    soft = hu <= _SOFT_BELOW_HU  # arches and ribs drawn over muscle keep its label at their rim
    painted = (paraspinal | (labels == Structure.SKELETAL_MUSCLE)) & soft
    muscle = painted & _within_outermost(painted & ~fat, labels != Structure.OUTSIDE)
    visceral = (labels == Structure.CAVITY) & fat & (hu >= -190.0)
    return CompositionTruth(
        level.value,
        z,
        float((muscle & ~fat).sum()) * pixel_cm2,
        float((paraspinal & ~fat).sum()) * pixel_cm2,
        float((muscle & fat).sum()) * pixel_cm2,
        float(((labels == Structure.SUBCUTANEOUS_FAT) | (painted & ~muscle & fat)).sum()) * pixel_cm2,
        float(visceral.sum()) * pixel_cm2,
        float(hu[muscle & ~fat].mean()),
        slice_water_equivalent_diameter_cm(canvas),
        float((muscle_hu - hu[muscle]).sum() / (muscle_hu - fat_hu)) * pixel_cm2,
        muscle_hu,
    )


def _within_outermost(lean: npt.NDArray[np.bool_], body: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels that have a layer of muscle between them and the skin, seen from the body's middle.

    Layers thinner than 2 mm are aponeurosis here: fat under them, with no muscle outside, is subcutaneous.
    """
    layers = ndimage.binary_opening(lean, ndimage.generate_binary_structure(2, 1), iterations=_LAYER_PIXELS)
    middle = np.argwhere(body).mean(axis=0)
    down, across = np.ogrid[: lean.shape[0], : lean.shape[1]]
    radius = np.hypot(down - middle[0], across - middle[1])
    sector = ((np.arctan2(down - middle[0], across - middle[1]) + np.pi) / (2 * np.pi) * _SECTORS).astype(int)
    outermost = np.zeros(_SECTORS + 1)
    np.maximum.at(outermost, sector[layers], radius[layers])
    return np.asarray(radius <= outermost[sector] + 1.0)


def _triple(vector: np.typing.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
