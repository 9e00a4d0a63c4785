"""From a spec to slices: builds the patient once, then paints slab after slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import Level, Structure
from trabecula.phantom import extras, lungs, organs, physics, scanner, thorax, vertebra
from trabecula.phantom.canvas import Canvas, Field, Grid, Tube
from trabecula.phantom.organ_painting import OrganPainter
from trabecula.phantom.physics import Beam
from trabecula.phantom.spec import Filter, PhantomSpec, Rods
from trabecula.phantom.spine import VertebraFrame, build_spine
from trabecula.phantom.texture import Texture, noise_block
from trabecula.phantom.tissues import ContrastPhase, Tissue
from trabecula.phantom.trunk import ANGLES, AXIS_Y_MM, BodyShape, PolarMap, Trunk
from trabecula.phantom.wall import WallTextures, paint_wall

SUBSLICE_MM: Final = 1.3
"""Slices thicker than this are averages of thinner ones."""
_SLAB: Final = 16
_FIT_PIXEL_MM: Final = 2.0


@dataclass(frozen=True, eq=False)
class Patient:
    """Everything about the phantom that does not depend on the scan's grid."""

    spec: PhantomSpec
    beam: Beam
    hu: dict[Tissue, float]
    bones: dict[Level, vertebra.BoneHu]
    frames: dict[Level, VertebraFrame]
    trunk: Trunk
    canal: vertebra.Canal
    thorax: thorax.Thorax
    organs: organs.Organs
    lung_trees: tuple[lungs.Branch, ...]
    hardware: tuple[Tube, ...]
    back_y_mm: float
    """Rearmost skin; table or rods lie behind it."""


@dataclass(frozen=True, eq=False)
class ScanGrid:
    """Voxel centres of the series in LPS mm, slices foot to head."""

    x_mm: Field
    y_mm: Field
    z_mm: Field
    pixel_mm: float
    slice_mm: float


def beam_of(spec: PhantomSpec) -> Beam:
    tin = physics.TIN_MM if spec.spectral_filter is Filter.TIN else 0.0
    return Beam(spec.kvp, spec.size_cm, tin)


def build_patient(spec: PhantomSpec) -> Patient:
    """Build the phantom, its trunk scaled until the slice at T12 has the asked water-equivalent diameter."""
    scale = 1.0 * (spec.size_cm / 28.0) ** 0.75
    for _ in range(6):
        patient = _patient_at(spec, scale)
        reached = water_equivalent_diameter_cm(patient)
        if abs(reached - spec.size_cm) < 0.05:
            break
        scale = float(np.clip(scale * (spec.size_cm / reached) ** 1.15, 0.5, 1.7))
    return replace(patient, lung_trees=lungs.grow_lung_trees(patient.trunk, spec.seed))


def _patient_at(spec: PhantomSpec, scale: float) -> Patient:
    beam = beam_of(spec)
    frames = build_spine(spec)
    fat_mm = 6.0 + 1.15 * (spec.size_cm - 20.0) + 2.6 * max(0.0, spec.size_cm - 28.0)
    trunk = Trunk(frames, BodyShape(scale, fat_mm, spec.sex == "F", spec.seed))
    z = np.arange(trunk.z_of(Level.L3), trunk.z_of(Level.T1), 10.0)
    skin = trunk.contours(z).skin
    back = float((AXIS_Y_MM + skin * np.cos(np.arange(ANGLES) * 2 * np.pi / ANGLES)).max())
    hu = dict(physics.tissue_hu(beam, spec.contrast))
    return Patient(
        spec,
        beam,
        hu,
        {level: _bone_hu(spec, beam, hu, level) for level in frames},
        frames,
        trunk,
        vertebra.build_canal(frames),
        thorax.build_thorax(frames, trunk),
        organs.build_organs(frames, trunk),
        (),
        extras.build_hardware(frames, spec.hardware) if spec.hardware else (),
        back,
    )


def _bone_hu(spec: PhantomSpec, beam: Beam, hu: dict[Tissue, float], level: Level) -> vertebra.BoneHu:
    iodine = physics.iodine_mg_ml(Tissue.MARROW, spec.contrast) * physics.iodine_slope(beam)
    if spec.contrast is ContrastPhase.NONE:
        iodine = 0.0
    bone = physics.trabecular(spec.density(level), spec.marrow_fat_fraction, beam)
    arch = physics.trabecular(spec.density(level) + 45.0, spec.marrow_fat_fraction, beam)
    vein = hu[Tissue.VENOUS_BLOOD] - 10.0
    return vertebra.BoneHu(hu[Tissue.CORTEX], bone.hu + iodine, vein, arch.hu + iodine, spec.cortex_mm)


def scan_grid(patient: Patient) -> ScanGrid:
    """Square field around body and table, slices over the asked levels."""
    spec, trunk = patient.spec, patient.trunk
    top, bottom = patient.frames[spec.top], patient.frames[spec.bottom]
    high = float(top.centre[2]) + top.half_height_mm + (22.0 if spec.top is Level.T1 else 6.0)
    low = float(bottom.centre[2]) - bottom.half_height_mm - 6.0
    count = int(np.ceil((high - low) / spec.slice_mm)) + 1
    z = low + spec.slice_mm * np.arange(count)
    middle = trunk.contours(np.array([trunk.z_of(Level.T8), trunk.z_of(Level.T12)]))
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    half = float((middle.skin * np.abs(np.sin(angles))).max())
    front = float((AXIS_Y_MM + middle.skin * np.cos(angles)).min())
    field_mm = max(2.0 * half + 36.0, patient.back_y_mm - front + 75.0)
    pixel = field_mm / spec.matrix
    offsets = (np.arange(spec.matrix) - (spec.matrix - 1) / 2.0) * pixel
    centre_y = 0.5 * (front + patient.back_y_mm) + 12.0
    return ScanGrid(
        offsets.astype(np.float32), (offsets + centre_y).astype(np.float32), z.astype(np.float32), pixel, spec.slice_mm
    )


class Painter:
    """Paints slabs of one patient on one grid."""

    def __init__(
        self, patient: Patient, x_mm: Field, y_mm: Field, pixel_mm: float, step_mm: float, textured: bool = True
    ) -> None:
        self.patient, self._x, self._y, self._pixel, self._step = patient, x_mm, y_mm, pixel_mm, step_mm
        spacing = (step_mm, pixel_mm, pixel_mm)

        def block(stream: int, fine: float | tuple[float, float, float], coarse: float, sd: float) -> Field:
            if not textured:
                return np.zeros((1, 1, 1), dtype=np.float32)
            return noise_block((patient.spec.seed, stream), spacing, fine, coarse, sd)

        streaks = block(42, (3.0, 0.7, 1.5), 6.0, 1.0)
        septa = block(44, 3.0, 14.0, 1.0)
        sheets = block(50, (9.0, 3.6, 4.4), 20.0, 1.0)
        self._blocks = {
            "bone": block(41, 0.45, 1.5, 45.0),
            "streaks": np.clip(0.7 * (streaks - 1.3), 0.0, 0.8).astype(np.float32),
            "sheets": (np.exp(-np.square(sheets / 0.09)) * np.float32(textured)).astype(np.float32),
            "muscle": block(43, 1.2, 8.0, 5.0),
            "septa": (np.exp(-np.square(septa / 0.07)) * (block(48, 5.0, 25.0, 1.0) > 0.3)).astype(np.float32),
            "fat": block(45, 2.0, 12.0, 5.0),
            "lung": block(46, 0.8, 6.0, 20.0) + block(47, 5.0, 30.0, 12.0),
            "organ": block(49, 1.2, 8.0, 3.0),
        }
        self._polar = PolarMap.of(Grid(x_mm, y_mm, np.zeros(1, np.float32), pixel_mm, step_mm))

    def paint(self, z_mm: Field, first: int) -> Canvas:
        """Ideal CT numbers and labels of consecutive (sub)slices, ``first`` being the first one's index."""
        p = self.patient
        canvas = Canvas(Grid(self._x, self._y, z_mm, self._pixel, self._step), p.hu[Tissue.AIR])
        tex = {name: Texture(block, canvas.grid, first) for name, block in self._blocks.items()}
        with_rods = p.spec.rods is Rods.MINDWAYS3
        extras.paint_table(canvas, p.back_y_mm + (32.0 if with_rods else 3.0))
        if with_rods:
            extras.paint_rods(canvas, extras.lay_rods(p.back_y_mm, p.beam))
        walls = WallTextures(tex["fat"], tex["septa"], tex["muscle"], tex["streaks"], tex["sheets"], tex["lung"])
        regions = paint_wall(canvas, p.trunk, p.hu, walls, self._polar)
        lungs.paint_lung_trees(canvas, p.lung_trees, regions.lung, p.hu[Tissue.BLOOD], p.hu[Tissue.AIR])
        OrganPainter(canvas, p.organs, regions, p.hu, tex["organ"]).paint()
        self._bones(canvas, tex)
        if p.hardware:
            extras.paint_hardware(canvas, p.hardware)
        return canvas

    def _bones(self, canvas: Canvas, tex: dict[str, Texture]) -> None:
        p = self.patient
        sample = p.bones[Level.T8]
        skeleton = thorax.SkeletonHu(sample.cortex, 0.6 * sample.trabecular, p.hu[Tissue.CARTILAGE])
        vertebra.paint_canal(canvas, p.canal, p.hu[Tissue.FAT], p.hu[Tissue.CSF], p.hu[Tissue.CORD])
        ordered = list(p.frames.values())
        for above, below in pairwise(ordered):
            vertebra.paint_disc(canvas, above, below, p.hu[Tissue.DISC])
        thorax.paint_thorax(canvas, p.thorax, skeleton, tex["bone"])
        for frame in ordered:
            vertebra.paint_body(canvas, frame, p.bones[frame.level], tex["bone"])
        for frame in ordered:
            vertebra.paint_arch(canvas, frame, p.bones[frame.level], tex["bone"])


@dataclass(frozen=True, eq=False)
class RenderedSlab:
    first: int
    ideal_hu: Field
    """(K, J, I) noise-free, unblurred."""
    labels: npt.NDArray[np.uint8]


def render(patient: Patient, grid: ScanGrid) -> Iterator[RenderedSlab]:
    """Slabs of the scan, foot to head; thick slices are averages of thin ones."""
    parts = max(1, int(np.ceil(grid.slice_mm / SUBSLICE_MM - 1e-6)))
    step = grid.slice_mm / parts
    painter = Painter(patient, grid.x_mm, grid.y_mm, grid.pixel_mm, step)
    offsets = (np.arange(parts) - (parts - 1) / 2.0) * step
    per_slab = max(1, _SLAB // parts)
    for first in range(0, len(grid.z_mm), per_slab):
        z = grid.z_mm[first : first + per_slab]
        fine = (z[:, None] + offsets[None, :]).ravel().astype(np.float32)
        canvas = painter.paint(fine, first * parts)
        shape = (len(z), parts, *canvas.grid.shape[1:])
        ideal = canvas.hu.reshape(shape).mean(axis=1)
        labels = canvas.labels.reshape(shape)[:, parts // 2]
        yield RenderedSlab(first, ideal, labels)


def render_slices(patient: Patient, heights_mm: Sequence[float], pixel_mm: float, *, textured: bool) -> list[Canvas]:
    """Single ideal slices over the whole body, without rods."""
    bare = replace(patient, spec=replace(patient.spec, rods=Rods.NONE))
    angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    skin = patient.trunk.contours(np.array(heights_mm)).skin
    half, front = float((skin * np.abs(np.sin(angles))).max()), float((skin * np.cos(angles)).min())
    x = np.arange(-half - 4.0, half + 4.0, pixel_mm, dtype=np.float32)
    y = np.arange(AXIS_Y_MM + front - 4.0, patient.back_y_mm + 4.0, pixel_mm, dtype=np.float32)
    painter = Painter(bare, x, y, pixel_mm, SUBSLICE_MM, textured)
    return [painter.paint(np.array([z], dtype=np.float32), n) for n, z in enumerate(heights_mm)]


def water_equivalent_diameter_cm(patient: Patient) -> float:
    """Of the slice through T12's centre, table left out."""
    canvas = render_slices(patient, [patient.trunk.z_of(Level.T12)], _FIT_PIXEL_MM, textured=False)[0]
    return slice_water_equivalent_diameter_cm(canvas)


def slice_water_equivalent_diameter_cm(canvas: Canvas) -> float:
    """Of a canvas's first slice (AAPM report 220), table left out."""
    inside = (canvas.labels[0] != Structure.OUTSIDE) & (canvas.labels[0] != Structure.TABLE)
    water_mm2 = float((canvas.hu[0][inside] / 1000.0 + 1.0).sum()) * canvas.grid.pixel_mm**2
    return float(2.0 * np.sqrt(water_mm2 / np.pi)) / 10.0


def scanned(patient: Patient, grid: ScanGrid, slab: RenderedSlab) -> npt.NDArray[np.int16]:
    """The slab as the scanner reconstructs it."""
    spec = patient.spec
    slices = [
        scanner.scan(
            ideal, grid.pixel_mm, spec.kernel, spec.noise_hu, spec.scanner_gain, spec.scanner_offset_hu,
            (spec.seed, 51, slab.first + k),
        )
        for k, ideal in enumerate(slab.ideal_hu)
    ]  # fmt: skip
    return np.stack(slices)
