"""A trunk of ellipses with known areas: skin, subcutaneous fat, muscle ring, cavity with fat, organ and lung."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.anatomy import Anatomy, Level, Structure, VertebraInstance, VertebraPart, vertebra_label
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume

Plane = npt.NDArray[np.float64]
FAT_HU, MUSCLE_HU, SKIN_HU, ORGAN_HU = -100.0, 50.0, 20.0, 45.0


@dataclass(frozen=True)
class Ring:
    """Semi-axes (left-right, front-back) in mm."""

    skin: tuple[float, float] = (160.0, 112.0)
    fat: tuple[float, float] = (157.5, 109.5)
    muscle: tuple[float, float] = (138.0, 90.0)
    cavity: tuple[float, float] = (124.0, 76.0)
    pixel_mm: float = 0.9
    field_mm: float = 360.0
    slices: int = 3
    slice_mm: float = 2.5
    noise_hu: float = 0.0
    stripes: bool = False
    """Two layers of fat, 3 mm thick, in the muscle ring."""
    block_mm: float = 0.0
    """Labels blurred to blocks of this size."""
    muscle_hu: float = MUSCLE_HU


@dataclass(frozen=True)
class Areas:
    muscle: float
    imat: float
    sat: float
    vat: float
    paraspinal: float


@cache
def build(ring: Ring) -> tuple[CtVolume, Anatomy, Areas]:
    """Scan, labels, and areas in cm2 counted on the exact plane."""
    size = round(ring.field_mm / ring.pixel_mm)
    fine = 2
    hu, labels = _paint(ring, size * fine)
    pixel_cm2 = (ring.pixel_mm / fine) ** 2 / 100.0
    truth = _areas(ring, size * fine, pixel_cm2)
    hu = hu.reshape(size, fine, size, fine).mean(axis=(1, 3))
    labels = labels[::fine, ::fine]
    if ring.block_mm:
        step = round(ring.block_mm / ring.pixel_mm)
        coarse = labels[step // 2 :: step, step // 2 :: step]
        labels = np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)
        labels = np.pad(labels, ((0, max(0, size - len(labels))),) * 2, mode="edge")[:size, :size]
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = ring.slice_mm, ring.pixel_mm, ring.pixel_mm, 1.0
    geometry = Geometry((ring.slices, size, size), affine)
    volume = np.repeat(hu[None], ring.slices, axis=0)
    if ring.noise_hu:
        volume = volume + np.random.default_rng(3).normal(0.0, ring.noise_hu, volume.shape)
    scan = np.clip(np.rint(volume), -1024, 3071).astype(np.int16)
    scan.setflags(write=False)
    middle = ((ring.slices - 1) / 2, (0.5 + 0.24) * size, 0.5 * size)
    vertebra = VertebraInstance(
        Level.T12, 0.95, tuple(geometry.index_to_lps(middle)), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0), True
    )
    stack = np.repeat(labels[None].astype(np.uint8), ring.slices, axis=0)
    return CtVolume(scan, geometry), Anatomy(stack, geometry, (vertebra,), (), ()), truth


def _paint(ring: Ring, size: int) -> tuple[Plane, Plane]:
    x, y = _grid(ring, size)
    inside = {name: _oval(x, y, getattr(ring, name)) for name in ("skin", "fat", "muscle", "cavity")}
    hu, labels = np.full(x.shape, -1000.0), np.full(x.shape, float(Structure.OUTSIDE))
    for name, value, label in (
        ("skin", SKIN_HU, Structure.BODY),
        ("fat", FAT_HU, Structure.BODY),
        ("muscle", ring.muscle_hu, Structure.BODY),
        ("cavity", FAT_HU, Structure.CAVITY),
    ):
        hu[inside[name]], labels[inside[name]] = value, label
    if ring.stripes:
        hu[_stripes(ring, x, y)] = FAT_HU
    organ, lung = _oval(x + 55.0, y, (50.0, 48.0)), _oval(x - 60.0, y - 5.0, (40.0, 45.0))
    hu[organ], labels[organ] = ORGAN_HU, Structure.LIVER
    hu[lung], labels[lung] = -850.0, Structure.LUNG
    back = _back(ring, x, y)
    hu[back], labels[back] = ring.muscle_hu, Structure.PARASPINAL_MUSCLE
    spine = _spine(x, y)
    hu[spine], labels[spine] = 300.0, vertebra_label(Level.T12, VertebraPart.BODY)
    for rib in _ribs(ring, x, y):
        hu[rib], labels[rib] = 700.0, Structure.RIB
        marrow = ndi.binary_erosion(rib, iterations=round(2.0 / (ring.field_mm / size)))
        hu[marrow] = 60.0
    table = (y > 118.0) & (y < 122.0) & (np.abs(x) < 150.0)
    hu[table], labels[table] = 100.0, Structure.TABLE
    return hu, labels


def _areas(ring: Ring, size: int, pixel_cm2: float) -> Areas:
    x, y = _grid(ring, size)
    ribs, spine = np.any(_ribs(ring, x, y), axis=0), _spine(x, y)
    back = _back(ring, x, y) & ~spine & ~ribs
    wall = (_oval(x, y, ring.muscle) & ~_oval(x, y, ring.cavity) & ~spine & ~ribs) | back
    stripes = _stripes(ring, x, y) & wall & ~back if ring.stripes else np.zeros_like(wall)
    filled = _oval(x + 55.0, y, (50.0, 48.0)) | _oval(x - 60.0, y - 5.0, (40.0, 45.0)) | back | spine | ribs
    vat = _oval(x, y, ring.cavity) & ~filled
    sat = _oval(x, y, ring.fat) & ~_oval(x, y, ring.muscle) & ~ribs
    count = [float(mask.sum()) * pixel_cm2 for mask in (wall & ~stripes, stripes, sat, vat, back)]
    return Areas(*count)


def _grid(ring: Ring, size: int) -> tuple[Plane, Plane]:
    at = (np.arange(size) + 0.5) * ring.field_mm / size - ring.field_mm / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    return x, y


def _oval(x: Plane, y: Plane, axes: tuple[float, float]) -> npt.NDArray[np.bool_]:
    return np.asarray((x / axes[0]) ** 2 + (y / axes[1]) ** 2 <= 1.0)


def _spine(x: Plane, y: Plane) -> npt.NDArray[np.bool_]:
    return np.asarray((x / 20.0) ** 2 + ((y - 62.0) / 16.0) ** 2 <= 1.0)


def _back(ring: Ring, x: Plane, y: Plane) -> npt.NDArray[np.bool_]:
    return np.asarray(_oval(x, y, ring.muscle) & (y > 55.0) & (np.abs(x) < 60.0))


def _ribs(ring: Ring, x: Plane, y: Plane) -> list[npt.NDArray[np.bool_]]:
    """Ten ribs inside the muscle ring."""
    middle = [(a + b) / 2 for a, b in zip(ring.muscle, ring.cavity, strict=True)]
    angles = [np.radians(angle) for angle in (-160, -130, -90, -50, -20, 20, 160, 200)]
    centres = [(middle[0] * np.cos(t), middle[1] * np.sin(t)) for t in angles]
    return [np.asarray((x - u) ** 2 + (y - v) ** 2 <= 5.5**2) for u, v in centres]


def _stripes(ring: Ring, x: Plane, y: Plane) -> npt.NDArray[np.bool_]:
    found = np.zeros(x.shape, dtype=bool)
    for share in (0.3, 0.65):
        outer = [c + share * (m - c) + 1.5 for m, c in zip(ring.muscle, ring.cavity, strict=True)]
        found |= _oval(x, y, (outer[0], outer[1])) & ~_oval(x, y, (outer[0] - 3.0, outer[1] - 3.0))
    return found & (y < 40.0)
