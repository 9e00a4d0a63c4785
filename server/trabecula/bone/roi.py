"""The trabecular region of one body: placing it, reading the scan's voxels in it, and their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.anatomy import Vector
from trabecula.bone.frame import Frame, as_vector
from trabecula.bone.rules import RoiRules
from trabecula.bone.shape import BodyShape, BoolArray
from trabecula.bone.vertebra import TrabecularRoi
from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.study import CtVolume

_MAD_TO_SD = 1.4826
"""Scaled median absolute deviation of a normal distribution."""
_MIN_SEMI_AXIS_MM = 2.0
_MIN_PAIRS = 30


@dataclass(frozen=True)
class RoiStatistics:
    """Attenuation of the kept voxels of a region."""

    hu_mean: float
    hu_sd: float
    hu_standard_error: float
    voxels: int
    volume_mm3: float
    cut_fraction: float
    """Share of the region's voxels cut out as islands, calcified or lytic spots."""
    slices: int
    """Slices that the kept voxels come from."""
    noise_hu: float
    """Noise per voxel, from differences between neighbouring slices inside the region, where texture mostly cancels."""
    noise_standard_error_hu: float
    """What noise alone adds to the error of the mean; the rest of ``hu_standard_error`` is the bone's own texture."""
    dense: Spot | None
    lytic: Spot | None
    holes_mm3: float
    """Volume kept out because of holes that were handed in."""


@dataclass(frozen=True)
class Spot:
    """What was cut for being far brighter or darker than the rest."""

    volume_mm3: float
    hu_mean: float
    limit_hu: float
    """Distance from the region's median beyond which voxels were cut."""


@dataclass(frozen=True)
class Hole:
    """A ball kept out of the region, LPS mm."""

    centre_lps_mm: Vector
    radius_mm: float


def place_roi(
    frame: Frame,
    shape: BodyShape,
    geometry: Geometry,
    rules: RoiRules,
    size: tuple[float, float] | None = None,
) -> TrabecularRoi | None:
    """The largest elliptic cylinder in the middle of the body that keeps clear of cortex and endplates.

    Its ellipse lies within the outline moved inwards by the erosion. ``size`` is (half-height fraction, erosion in
    mm) when it is not the usual one. None when nothing is left inside.
    """
    half_height_fraction, erosion_mm = size or (rules.half_height_fraction, rules.erosion_mm)
    slice_mm = float(np.abs(frame.axes[0] @ geometry.affine[:3, :3]).max())
    middle = (shape.marrow_bottom_mm + shape.marrow_top_mm) / 2
    # Half a slice more: a voxel at the region's end averages over its own thickness.
    room = (shape.marrow_top_mm - shape.marrow_bottom_mm) / 2 - rules.endplate_clearance_mm - slice_mm / 2
    half_height = min(max(half_height_fraction * shape.height_mm, rules.min_slices * slice_mm / 2), room)
    # A thick slice still gets its one layer of voxels when the body is low.
    half_height = max(half_height, slice_mm / 2)
    ellipse = _inscribed_ellipse(shape, erosion_mm)
    if ellipse is None:
        return None
    (centre_a, centre_l), half_depth, half_width = ellipse
    centre = frame.to_lps([middle, centre_a, centre_l])
    return TrabecularRoi(
        centre_lps_mm=as_vector(centre),
        superior=as_vector(frame.axes[0]),
        left=as_vector(frame.axes[2]),
        anterior=as_vector(frame.axes[1]),
        half_width_mm=half_width,
        half_depth_mm=half_depth,
        half_height_mm=half_height,
        volume_mm3=0.0,
    )


def measure_roi(
    volume: CtVolume, roi: TrabecularRoi, rules: RoiRules, holes: Sequence[Hole] = ()
) -> tuple[TrabecularRoi, RoiStatistics] | None:
    """Read the scan's own voxels whose centres lie in the region, cut spots out, and summarise.

    Returns:
        The region with its kept volume, and the statistics; None when fewer than two voxels lie inside.
    """
    low, whole = _voxels_inside(volume.geometry, roi, rules)
    inside = whole & ~_in_holes(volume.geometry, low, whole.shape, holes)
    high = low + np.array(inside.shape)
    hu = volume.hu[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float64)
    kept, bright, limit = _without_spots(hu, inside, volume.geometry.spacing_mm, rules)
    count = int(kept.sum())
    if count < 2:
        return None
    values = hu[kept]
    deviation = float(values.std(ddof=1))
    voxel_mm3 = volume.geometry.voxel_volume_mm3
    noise_hu, noise_error_hu = _noise(hu, kept, volume.geometry.spacing_mm, rules.correlation_reach_mm)
    independent = _independent_voxels(hu, kept, volume.geometry.spacing_mm, rules.correlation_reach_mm)
    statistics = RoiStatistics(
        hu_mean=float(values.mean()),
        hu_sd=deviation,
        hu_standard_error=deviation / float(np.sqrt(independent)),
        voxels=count,
        volume_mm3=count * voxel_mm3,
        cut_fraction=1.0 - count / float(inside.sum()),
        slices=int(kept.any(axis=(1, 2)).sum()),
        noise_hu=noise_hu,
        noise_standard_error_hu=noise_error_hu,
        dense=_spot(hu, bright, voxel_mm3, limit),
        lytic=_spot(hu, inside & ~kept & ~bright, voxel_mm3, limit),
        holes_mm3=float((whole & ~inside).sum()) * voxel_mm3,
    )
    return replace(roi, volume_mm3=statistics.volume_mm3), statistics


def _inscribed_ellipse(shape: BodyShape, inset_mm: float) -> tuple[tuple[float, float], float, float] | None:
    """((a, l) centre, half depth, half width) of the largest axis-aligned ellipse within the eroded outline."""
    points = shape.outline_mm(inset_mm)
    extent = (points.max(axis=0) - points.min(axis=0)) / 2
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    if np.any(extent < inset_mm / 2):
        return None
    shifts, aspects = np.linspace(-0.3, 0.3, 7), np.linspace(0.75, 1.25, 6)
    shift_a, shift_l, aspect = (v.ravel() for v in np.meshgrid(shifts, shifts[2:5], aspects, indexing="ij"))
    centres = middle + extent * np.stack([shift_a, shift_l], axis=1)
    axes = extent * np.stack([aspect, 1.0 / aspect], axis=1)
    # The outline may cut the ellipse at a few rays: one ray's error must not shrink the region.
    reach = np.linalg.norm((points[None] - centres[:, None]) / axes[:, None], axis=2)
    axes *= np.quantile(reach, 0.03, axis=1)[:, None]
    best = int(np.argmax(axes.prod(axis=1)))
    if np.any(axes[best] < _MIN_SEMI_AXIS_MM):
        return None
    (centre_a, centre_l), (half_depth, half_width) = centres[best], axes[best]
    return (float(centre_a), float(centre_l)), float(half_depth), float(half_width)


def _voxels_inside(geometry: Geometry, roi: TrabecularRoi, rules: RoiRules) -> tuple[npt.NDArray[np.int64], BoolArray]:
    """Lowest index of the box around the region, and which of the box's voxels have their centre inside."""
    frame = Frame(np.asarray(roi.centre_lps_mm), np.array([roi.superior, roi.anterior, roi.left]))
    half = np.array([roi.half_height_mm, roi.half_depth_mm, roi.half_width_mm])
    signs = np.array([[s, a, b] for s in (-1, 1) for a in (-1, 1) for b in (-1, 1)])
    corners = geometry.lps_to_index(frame.to_lps(signs * half))
    # One voxel of margin, and room for the smoothing that finds the spots.
    margin = np.ceil(2 * rules.cut_smoothing_mm / np.array(geometry.spacing_mm)).astype(np.int64) + 1
    low = np.clip(np.floor(corners.min(axis=0)).astype(np.int64) - margin, 0, geometry.shape)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(np.int64) + margin + 1, low, geometry.shape)
    grid = np.stack(np.meshgrid(*(np.arange(lo, hi) for lo, hi in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    s, a, b = np.moveaxis(frame.from_lps(geometry.index_to_lps(grid)), -1, 0)
    inside = (np.abs(s) <= half[0]) & ((a / half[1]) ** 2 + (b / half[2]) ** 2 <= 1.0)
    vein = (np.abs(b) <= rules.vein_half_width_mm) & (np.abs(s) <= rules.vein_half_height_mm)
    vein &= a < -rules.vein_depth_fraction * half[1]
    return low, np.asarray(inside & ~vein)


def _in_holes(
    geometry: Geometry, low: npt.NDArray[np.int64], shape: tuple[int, ...], holes: Sequence[Hole]
) -> BoolArray:
    """Which voxels of the box from ``low`` have their centre in one of the holes."""
    found = np.zeros(shape, dtype=bool)
    if holes:
        points = geometry.index_to_lps(np.moveaxis(np.indices(shape), 0, -1) + low)
        for hole in holes:
            found |= np.linalg.norm(points - np.asarray(hole.centre_lps_mm), axis=-1) <= hole.radius_mm
    return found


def _spot(hu: FloatArray, cut: BoolArray, voxel_mm3: float, limit_hu: float) -> Spot | None:
    return Spot(float(cut.sum()) * voxel_mm3, float(hu[cut].mean()), limit_hu) if cut.any() else None


def _noise(
    hu: FloatArray, kept: BoolArray, spacing_mm: tuple[float, float, float], reach_mm: float
) -> tuple[float, float]:
    """Standard deviation of noise per voxel, and of the region's mean by noise alone, HU.

    From differences between neighbouring slices; with too few voxels above each other everything is taken for noise.
    """
    both = kept[1:] & kept[:-1]
    if both.sum() < _MIN_PAIRS:
        deviation = float(hu[kept].std())
        return deviation, deviation / float(np.sqrt(_independent_voxels(hu, kept, spacing_mm, reach_mm)))
    difference = hu[1:] - hu[:-1]
    middle = float(np.median(difference[both]))
    noise = _MAD_TO_SD * float(np.median(np.abs(difference[both] - middle))) / float(np.sqrt(2.0))
    # Within slices only: two differences that share a slice are not independent.
    apart = (float("inf"), *spacing_mm[1:])
    share = _independent_voxels(difference, both, apart, reach_mm) / float(both.sum())
    return noise, noise / float(np.sqrt(max(1.0, share * float(kept.sum()))))


def _without_spots(
    hu: FloatArray, inside: BoolArray, spacing_mm: tuple[float, float, float], rules: RoiRules
) -> tuple[BoolArray, BoolArray, float]:
    """The region without islands, calcified spots, vessels and lytic areas: a robust cut on smoothed attenuation.

    Beside it which voxels were cut for being too bright, and the distance from the median, HU, beyond which was cut.
    """
    if not inside.any():
        return inside, inside, 0.0
    smooth = ndi.gaussian_filter(hu, [rules.cut_smoothing_mm / mm for mm in spacing_mm], mode="nearest", truncate=2.0)
    values = smooth[inside]
    centre = float(np.median(values))
    limit = max(rules.cut_mad * _MAD_TO_SD * float(np.median(np.abs(values - centre))), rules.cut_floor_hu)
    kept, bright = np.abs(smooth - centre) <= limit, smooth - centre > limit
    return np.asarray(inside & kept), np.asarray(inside & bright), limit


def _independent_voxels(hu: FloatArray, kept: BoolArray, spacing_mm: tuple[float, ...], reach_mm: float) -> float:
    """Effective number of independent voxels: the count over the correlation volume of the residuals.

    The correlation volume is the product over the axes of ``1 + 2 * sum of autocorrelations``, each sum
    ending at the first lag without positive correlation (separable noise; Barlow, Statistics, 1989, 4.3 for
    the variance of a mean of correlated values).
    """
    residual = np.where(kept, hu - hu[kept].mean(), 0.0)
    variance = float((residual[kept] ** 2).mean())
    if variance <= 0.0:
        return float(kept.sum())
    volume = 1.0
    for axis, mm in enumerate(spacing_mm):
        reach = 1.0
        for lag in range(1, min(int(reach_mm / mm), kept.shape[axis] - 1) + 1):
            front = [slice(None)] * 3
            back = [slice(None)] * 3
            front[axis], back[axis] = slice(lag, None), slice(None, -lag)
            pairs = int((kept[tuple(front)] & kept[tuple(back)]).sum())
            if pairs == 0:
                break
            correlation = float((residual[tuple(front)] * residual[tuple(back)]).sum()) / pairs / variance
            if correlation <= 0.0:
                break
            reach += 2.0 * correlation
        volume *= reach
    return max(1.0, float(kept.sum()) / volume)
