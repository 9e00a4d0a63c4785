"""Rendered vertebrae with known density, for the example second reader.

Each anatomy of the digital phantom is painted twice, at a low and at a high density, around one lumbar vertebra. The
picture is linear in the marrow's attenuation, so any density between and beyond is a mixture of the two; the scanner's
kernel, noise and calibration error come on top at each draw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import Level, VertebraInstance
from trabecula.geometry import Geometry
from trabecula.phantom import physics, scanner
from trabecula.phantom.render import Patient, beam_of, build_patient, render, scan_grid
from trabecula.phantom.spec import Kernel, PhantomSpec
from trabecula.second_reader.crop import crop_around
from trabecula.second_reader.manifest import CropSpec

Array = npt.NDArray[np.float32]
LEVELS = (Level.L1, Level.L2)
LOW_MG_CM3, HIGH_MG_CM3 = 20.0, 200.0
HALF_MM = (26.0, 34.0, 34.0)
NEEDED_MM = (22.0, 28.0, 28.0)
"""Around the centre: half the crop, its tilt and shift, and the reach of the kernel."""
FAT_FRACTION = 0.5


@dataclass(frozen=True)
class Anatomy:
    """One vertebra painted at two densities. Arrays are (K, J, I), ideal HU."""

    low: Array
    high: Array
    affine: npt.NDArray[np.float64]
    vertebra: VertebraInstance
    pixel_mm: float
    size_cm: float


def _spec(seed: int, density: float) -> PhantomSpec:
    rng = np.random.default_rng((seed, 7))
    return PhantomSpec(
        vbmd_mg_cm3=dict.fromkeys(LEVELS, density),
        size_cm=float(rng.uniform(22.0, 36.0)),
        sex="F" if rng.random() < 0.6 else "M",
        slice_mm=float(rng.choice([1.25, 2.0, 2.5])),
        marrow_fat_fraction=FAT_FRACTION,
        top=Level.T12,
        bottom=Level.L2,
        seed=seed,
    )


def make_anatomy(seed: int) -> Anatomy:
    """Paint one vertebra of one phantom."""
    level = LEVELS[seed % len(LEVELS)]
    low = build_patient(_spec(seed, LOW_MG_CM3))
    beam = beam_of(low.spec)
    bones = {name: _brighter(bone, beam) if name in LEVELS else bone for name, bone in low.bones.items()}
    high = replace(low, bones=bones)
    frame = low.frames[level]
    grid = scan_grid(low)
    centre = np.asarray(frame.centre)
    near = [
        np.abs(axis - at) <= half
        for axis, at, half in zip((grid.z_mm, grid.y_mm, grid.x_mm), centre[::-1], HALF_MM, strict=True)
    ]
    part = replace(grid, z_mm=grid.z_mm[near[0]], y_mm=grid.y_mm[near[1]], x_mm=grid.x_mm[near[2]])
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = grid.slice_mm, grid.pixel_mm, grid.pixel_mm, 1.0
    affine[:3, 3] = (part.x_mm[0], part.y_mm[0], part.z_mm[0])
    superior = np.asarray(frame.superior)
    anterior = np.array([0.0, -1.0, 0.0]) - superior * float(np.dot([0.0, -1.0, 0.0], superior))
    anterior /= np.linalg.norm(anterior)
    vertebra = VertebraInstance(level, 1.0, tuple(centre), tuple(superior), tuple(anterior), True)
    return Anatomy(_painted(low, part), _painted(high, part), affine, vertebra, grid.pixel_mm, low.spec.size_cm)


def _brighter(bone: object, beam: physics.Beam) -> object:
    """The vertebra's marrow at the high density instead of the low one, body and arch alike."""
    step = (
        physics.trabecular(HIGH_MG_CM3, FAT_FRACTION, beam).hu - physics.trabecular(LOW_MG_CM3, FAT_FRACTION, beam).hu
    )
    return replace(bone, trabecular=bone.trabecular + step, arch=bone.arch + step)  # type: ignore[attr-defined,type-var]


def _painted(patient: Patient, part: object) -> Array:
    slabs = [slab.ideal_hu for slab in render(patient, part)]  # type: ignore[arg-type]
    return np.concatenate(slabs).astype(np.float32)


def anatomies(seeds: range, cache: Path) -> Iterator[Anatomy]:
    """Anatomies by seed, kept on disk."""
    cache.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = cache / f"anatomy-{seed:04d}.npz"
        if not path.is_file():
            made = make_anatomy(seed)
            v = made.vertebra
            np.savez_compressed(
                path, low=made.low.astype(np.float16), high=made.high.astype(np.float16), affine=made.affine,
                centre=v.centroid_lps_mm, superior=v.superior, anterior=v.anterior, level=v.level.value,
                pixel_mm=made.pixel_mm, size_cm=made.size_cm,
            )  # fmt: skip
            sys.stdout.write(f"painted {seed}\n")
            sys.stdout.flush()
        with np.load(path) as stored:
            vertebra = VertebraInstance(
                Level(str(stored["level"])), 1.0, tuple(stored["centre"]), tuple(stored["superior"]),
                tuple(stored["anterior"]), True,
            )  # fmt: skip
            whole = Anatomy(
                stored["low"].astype(np.float32), stored["high"].astype(np.float32), stored["affine"], vertebra,
                float(stored["pixel_mm"]), float(stored["size_cm"]),
            )  # fmt: skip
        yield _trimmed(whole)


def _trimmed(anatomy: Anatomy) -> Anatomy:
    """No more than a crop can need."""
    shape = anatomy.low.shape
    geometry = Geometry((shape[0], shape[1], shape[2]), anatomy.affine)
    centre = geometry.lps_to_index(anatomy.vertebra.centroid_lps_mm)
    half = np.array(NEEDED_MM) / np.array(geometry.spacing_mm)
    low = np.maximum(np.floor(centre - half).astype(int), 0)
    high = np.minimum(np.ceil(centre + half).astype(int) + 1, shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    affine = anatomy.affine.copy()
    affine[:3, 3] = geometry.index_to_lps(low)
    return replace(anatomy, low=anatomy.low[box], high=anatomy.high[box], affine=affine)


def draw(anatomy: Anatomy, spec: CropSpec, rng: np.random.Generator) -> tuple[Array, float]:
    """One scan of one anatomy: the crop as the server would make it, and the true density, mg/cm3 K2HPO4."""
    density = float(np.clip(rng.normal(95.0, 32.0), 15.0, 210.0))
    share = (density - LOW_MG_CM3) / (HIGH_MG_CM3 - LOW_MG_CM3)
    ideal = anatomy.low + np.float32(share) * (anatomy.high - anatomy.low)
    # Marrow fat moves attenuation at the same mineral; here density is what ideal QCT reads, so it moves it little.
    kernel = Kernel.SOFT if rng.random() < 0.7 else Kernel.MEDIUM
    noise, gain, offset = rng.uniform(6.0, 28.0), rng.normal(1.0, 0.006), rng.normal(0.0, 3.0)
    seed = int(rng.integers(2**31))
    hu = np.stack(
        [scanner.scan(plane, anatomy.pixel_mm, kernel, noise, gain, offset, (seed, k)) for k, plane in enumerate(ideal)]
    )
    v = anatomy.vertebra
    moved = np.asarray(v.centroid_lps_mm) + rng.normal(0.0, 1.5, 3)
    turn = rng.normal(0.0, 0.05, 3)
    up = _unit(np.asarray(v.superior) + turn)
    front = np.asarray(v.anterior) + rng.normal(0.0, 0.05, 3)
    front = _unit(front - up * float(front @ up))
    placed = replace(v, centroid_lps_mm=tuple(moved), superior=tuple(up), anterior=tuple(front))
    box = crop_around(hu, Geometry(hu.shape, anatomy.affine), placed, spec)
    return (box[:, :, ::-1].copy() if rng.random() < 0.5 else box), density


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))
