"""A straight piece of vertebral column with known attenuation, at any tilt and on any voxel grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.anatomy import Anatomy, Level, Structure, VertebraInstance, VertebraPart, vertebra_label
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume

Array = npt.NDArray[np.float64]
Edit = Callable[[Level, Array, Array], Array]
"""(level, body coordinates (..., 3) as (s, a, l) mm about the body's centre, HU) to HU."""

PITCH_MM = 31.0
HEIGHT_MM = 25.0
HALF_DEPTH_MM = 15.0
HALF_WIDTH_MM = 20.0
CORTEX_MM = 1.0
CORTEX_HU = 600.0
DISC_HU = 85.0


@dataclass(frozen=True)
class Column:
    """What to build. ``hu`` gives the trabecular attenuation of each vertebra, head to foot."""

    hu: Mapping[Level, float] = field(default_factory=lambda: {Level.T11: 130.0, Level.T12: 120.0, Level.L1: 110.0})
    spacing_mm: tuple[float, float, float] = (1.5, 0.9, 0.9)
    pitch_deg: float = 0.0
    """Forward tilt of the column."""
    roll_deg: float = 0.0
    """Sideways tilt."""
    noise_hu: float = 0.0
    noise_mm: float = 0.0
    """Standard deviation of the Gaussian that correlates the noise."""
    seed: int = 0
    front_height: Mapping[Level, float] = field(default_factory=dict)
    """Share of the height left at the front (wedge)."""
    height: Mapping[Level, float] = field(default_factory=dict)
    """Share of the height left everywhere (crush)."""
    edit: Edit | None = None
    incomplete: tuple[Level, ...] = ()


def axes_of(column: Column) -> Array:
    """Rows: superior, anterior, left in LPS."""
    p, r = np.radians(column.pitch_deg), np.radians(column.roll_deg)
    superior = np.array([np.sin(r), -np.sin(p) * np.cos(r), np.cos(p) * np.cos(r)])
    anterior = np.array([0.0, -1.0, 0.0])
    anterior -= superior * (superior @ anterior)
    anterior /= np.linalg.norm(anterior)
    return np.stack([superior, anterior, np.cross(superior, anterior)])


def build(column: Column) -> tuple[CtVolume, Anatomy]:
    """The scan and its exact labels."""
    axes = axes_of(column)
    levels = list(column.hu)
    centres = [axes[0] * PITCH_MM * ((len(levels) - 1) / 2 - n) for n in range(len(levels))]
    reach = np.abs(np.array(centres)).max(axis=0) + (np.abs(axes.T) @ [18.0, 37.0, 26.0])
    spacing = np.array(column.spacing_mm)
    shape = np.ceil(2 * reach[::-1] / spacing).astype(int)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *column.spacing_mm, 1.0
    affine[:3, 3] = -(spacing * (shape - 1) / 2)[::-1]
    geometry = Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    # Finer than an endplate is thick: a scanner averages over the slice and never steps over one.
    layers = max(1, int(np.ceil(column.spacing_mm[0] / 0.75)))
    hu = np.zeros(geometry.shape)
    for layer in range(layers):
        shifted = geometry.index_to_lps(grid + np.array([(layer + 0.5) / layers - 0.5, 0.0, 0.0]))
        hu += _paint(column, shifted, axes, centres)[0] / layers
    hu = ndi.gaussian_filter(hu, [0, 0.5 / column.spacing_mm[1], 0.5 / column.spacing_mm[2]])
    labels = _paint(column, geometry.index_to_lps(grid), axes, centres)[1]
    if column.noise_hu:
        noise = np.random.default_rng(column.seed).normal(size=hu.shape)
        noise = ndi.gaussian_filter(noise, column.noise_mm / spacing)
        hu += noise * (column.noise_hu / noise.std())
    vertebrae = tuple(
        VertebraInstance(level, 0.95, tuple(centre), tuple(axes[0]), tuple(axes[1]), level not in column.incomplete)
        for level, centre in zip(levels, centres, strict=True)
    )
    volume = CtVolume(np.rint(hu).astype(np.int16), geometry)
    return volume, Anatomy(labels.astype(np.uint8), geometry, vertebrae, ("synthetic",), ())


def misplaced(anatomy: Anatomy, shift_mm: tuple[float, float, float], centroid_mm: Array, tilt_deg: float) -> Anatomy:
    """The same anatomy as a poor segmentation would give it: labels shifted along (k, j, i), frames off."""
    voxels = np.array(shift_mm) / anatomy.geometry.spacing_mm
    labels = ndi.shift(anatomy.labels, voxels, order=0, mode="nearest")
    turn = np.radians(tilt_deg)

    def off(vertebra: VertebraInstance) -> VertebraInstance:
        superior, anterior = np.array(vertebra.superior), np.array(vertebra.anterior)
        turned = superior * np.cos(turn) + anterior * np.sin(turn), anterior * np.cos(turn) - superior * np.sin(turn)
        centroid = np.array(vertebra.centroid_lps_mm) + centroid_mm
        return replace(vertebra, centroid_lps_mm=tuple(centroid), superior=tuple(turned[0]), anterior=tuple(turned[1]))

    return replace(anatomy, labels=labels, vertebrae=tuple(off(v) for v in anatomy.vertebrae))


def _paint(column: Column, points: Array, axes: Array, centres: list[Array]) -> tuple[Array, Array]:
    """HU and labels at LPS points."""
    s, a, b = np.moveaxis(points @ axes.T, -1, 0)
    hu = np.where(a > -22.0, -90.0, 50.0)
    labels = np.where(a > -22.0, float(Structure.BODY), float(Structure.PARASPINAL_MUSCLE))
    oval = (a / HALF_DEPTH_MM) ** 2 + (b / HALF_WIDTH_MM) ** 2
    inner = (a / (HALF_DEPTH_MM - CORTEX_MM)) ** 2 + (b / (HALF_WIDTH_MM - CORTEX_MM)) ** 2
    within = oval <= 1.0
    along = np.abs(s) <= PITCH_MM * (len(centres) - 1) / 2 + HEIGHT_MM / 2
    hu[within & along] = DISC_HU
    labels[within & along] = Structure.INTERVERTEBRAL_DISC
    canal = (a + 23.0) ** 2 + b**2 <= 8.0**2
    hu[canal] = 20.0
    labels[canal] = Structure.SPINAL_CANAL
    for (level, trabecular), centre in zip(column.hu.items(), centres, strict=True):
        local = np.stack([s - centre @ axes[0], a, b], axis=-1)
        share = column.height.get(level, 1.0)
        front = share * column.front_height.get(level, 1.0)
        depth = np.clip((HALF_DEPTH_MM - a) / (2 * HALF_DEPTH_MM), 0.0, 1.0)
        half = HEIGHT_MM / 2 * (front + (share - front) * depth)
        body = within & (np.abs(local[..., 0]) <= half)
        marrow = (inner <= 1.0) & (np.abs(local[..., 0]) <= half - CORTEX_MM)
        hu[body] = CORTEX_HU
        hu[marrow] = trabecular
        labels[body] = vertebra_label(level, VertebraPart.BODY)
        arch = (np.abs(local[..., 0]) <= 9.0) & (np.abs(b) > 9.0) & (np.abs(b) < 15.0) & (a < -10.0) & (a > -34.0)
        arch |= (np.abs(local[..., 0]) <= 9.0) & (np.abs(b) < 15.0) & (a < -32.0) & (a > -36.0)
        arch &= ~within
        hu[arch] = 300.0
        labels[arch] = vertebra_label(level, VertebraPart.POSTERIOR)
        if column.edit is not None:
            near = np.abs(local[..., 0]) <= PITCH_MM / 2
            hu[near] = column.edit(level, local[near], hu[near])
    return hu, labels
