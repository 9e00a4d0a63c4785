"""Attenuation and thickness of the vertebral body's shell, deconvolved for the point spread.

A vertebral shell (a third to half a millimetre) is thinner than any clinical point spread, so a scan shows its *mass*
(thickness times attenuation above marrow) but not both factors. As Treece et al. (Med Image Anal 2010;14:276) do for
the femur, the profile across the wall is fitted as marrow, shell and outer tissue under the measured blur; thickness
follows for a stated attenuation of compact bone, and the shell's attenuation is given as the mean over a layer of
fixed thickness. Where slices or blur are too coarse no number is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import ndimage as ndi
from scipy.special import ndtr

from trabecula.bone.blur import FWHM_OF_SD, Blur
from trabecula.bone.frame import Frame
from trabecula.bone.rules import CortexRules
from trabecula.bone.shape import BodyShape
from trabecula.bone.vertebra import CortexMeasurement
from trabecula.geometry import FloatArray
from trabecula.imaging.study import CtVolume

_STEP_MM: Final = 0.25
_TRIALS_MM: Final = np.arange(-1.8, 2.25, 0.1)
"""Trial places of the outer edge beside the traced ridge."""
_MAD_TO_SD: Final = 1.4826


@dataclass(frozen=True, eq=False)
class _Walls:
    """Profiles across the side walls: (R, W) HU at (W,) mm outwards of the traced ridge, and blur of each (R,)."""

    hu: FloatArray
    at_mm: FloatArray
    blur_mm: FloatArray
    sector: FloatArray


def measure_cortex(
    volume: CtVolume, frame: Frame, shape: BodyShape, blur: Blur | None, compact_hu: float, rules: CortexRules
) -> CortexMeasurement:
    """Shell of one body.

    Args:
        volume: the scan; its own voxels are read.
        frame, shape: where the body is.
        blur: point spread of the scan in the axial plane; None when it could not be measured.
        compact_hu: attenuation taken for compact bone at the scan's voltage.
        rules: layer, window and limits of resolution.
    """
    nothing = CortexMeasurement(
        False, "", None, None, None, None, rules.layer_mm, compact_hu,
        0.0 if blur is None else blur.fwhm_mm, "edge between air and skin" if blur is not None else "not measured", 0,
    )  # fmt: skip
    slice_mm = volume.geometry.spacing_mm[0]
    if blur is None:
        return replace(nothing, why_not="the scan's point spread could not be measured")
    if slice_mm > rules.max_slice_mm:
        return replace(nothing, why_not=f"slices of {slice_mm:.1f} mm, more than {rules.max_slice_mm:g} mm")
    if blur.fwhm_mm > rules.max_fwhm_mm:
        text = f"point spread of {blur.fwhm_mm:.1f} mm, more than {rules.max_fwhm_mm:g} mm (soft kernel)"
        return replace(nothing, why_not=text)
    walls = _walls(volume, frame, shape, blur, rules)
    masses = _shell_mass(walls, 1.0, compact_hu, rules)
    if masses is None:
        return replace(nothing, why_not="too little of the wall stands free")
    wider = _shell_mass(walls, 1.0 + blur.standard_uncertainty_mm / blur.sd_mm, compact_hu, rules)
    from_blur = 0.0 if wider is None else abs(wider[0] - masses[0])
    return _summary(nothing, masses, from_blur, compact_hu, rules)


_Mass = tuple[float, float, float, int]
"""Shell mass above marrow in HU mm, its standard error from scatter, marrow HU beside it, sectors."""


def _summary(
    base: CortexMeasurement, masses: _Mass, from_blur: float, compact_hu: float, rules: CortexRules
) -> CortexMeasurement:
    mass, scatter, marrow, sectors = masses
    u_mass = float(np.hypot(scatter, from_blur))
    contrast = compact_hu - marrow
    thickness = mass / contrast
    u_compact = thickness * rules.compact_relative_uncertainty * compact_hu / contrast
    return replace(
        base,
        resolved=True,
        thickness_mm=thickness,
        thickness_standard_uncertainty_mm=float(np.hypot(u_mass / contrast, u_compact)),
        attenuation_hu=marrow + mass / rules.layer_mm,
        attenuation_standard_uncertainty_hu=float(np.hypot(u_mass / rules.layer_mm, rules.model_uncertainty_hu)),
        sectors=sectors,
    )


def _walls(volume: CtVolume, frame: Frame, shape: BodyShape, blur: Blur, rules: CortexRules) -> _Walls:
    """Sample across the front and side walls in the middle of the body, averaged along its height."""
    outline = shape.outline_mm()
    tangent = np.roll(outline, -1, axis=0) - np.roll(outline, 1, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    outwards = outline - np.asarray(shape.centre_mm)
    normal *= np.sign((normal * outwards).sum(axis=1, keepdims=True))
    used = np.abs(shape.angles) <= np.deg2rad(rules.widest_angle_deg)
    # Along the head-foot axis the slice blurs, however sharp the kernel.
    tilt = np.abs(normal[used] @ frame.axes[1:, 2])
    slice_sd = volume.geometry.spacing_mm[0] * rules.slice_blur
    blurs = np.sqrt((blur.sd_mm**2) * (1.0 - tilt**2) + (slice_sd * tilt) ** 2)
    at = np.arange(-rules.window_inner_mm, rules.window_outer_mm + _STEP_MM / 2, _STEP_MM)
    middle = (shape.marrow_bottom_mm + shape.marrow_top_mm) / 2
    heights = middle + np.linspace(-rules.slab_half_mm, rules.slab_half_mm, 9)
    plane = outline[used][:, None, :] + normal[used][:, None, :] * at[:, None]
    points = np.empty((heights.size, *plane.shape[:2], 3))
    points[..., 0] = heights[:, None, None]
    points[..., 1:] = plane
    index = volume.geometry.lps_to_index(frame.to_lps(points))
    low = np.clip(np.floor(index.min(axis=(0, 1, 2))).astype(int) - 1, 0, None)
    high = np.ceil(index.max(axis=(0, 1, 2))).astype(int) + 2
    part = volume.hu[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    hu = ndi.map_coordinates(part, np.moveaxis(index - low, -1, 0), order=1, mode="nearest").mean(axis=0)
    return _Walls(hu.astype(np.float64), at, blurs, np.floor(np.rad2deg(shape.angles[used]) / rules.sector_deg))


def _shell_mass(walls: _Walls, widen: float, compact_hu: float, rules: CortexRules) -> _Mass | None:
    """Median over sectors of the shell's mass; None when fewer sectors than asked for show a wall."""
    mass, marrow = np.full(len(walls.hu), np.nan), np.full(len(walls.hu), np.nan)
    for blur in np.unique(np.round(walls.blur_mm * widen, 2)):
        rows = np.round(walls.blur_mm * widen, 2) == blur
        if blur * FWHM_OF_SD <= rules.max_fwhm_mm * widen:
            mass[rows], marrow[rows] = _fit(walls.hu[rows], walls.at_mm, float(blur), rules.nominal_mm)
    good = np.isfinite(mass) & (mass > 0) & (mass < compact_hu * rules.most_mm)
    found = [np.median(mass[good & (walls.sector == s)]) for s in np.unique(walls.sector[good])]
    if len(found) < rules.min_sectors:
        return None
    middle = float(np.median(found))
    scatter = _MAD_TO_SD * float(np.median(np.abs(np.array(found) - middle)))
    return middle, scatter / float(np.sqrt(len(found))), float(np.median(marrow[good])), len(found)


def _fit(hu: FloatArray, at_mm: FloatArray, blur_mm: float, nominal_mm: float) -> tuple[FloatArray, FloatArray]:
    """Mass above marrow and marrow of each profile, by variable projection over the place of the outer edge."""
    solve, basis = _models(tuple(at_mm.tolist()), blur_mm, nominal_mm)
    explained = np.square(np.einsum("rw,twc->rtc", hu, basis)).sum(axis=2)
    best = np.argmax(explained, axis=1)
    inner, shell, _ = np.einsum("rw,rcw->cr", hu, solve[best])
    mass = np.where((best > 0) & (best < len(_TRIALS_MM) - 1), (shell - inner) * nominal_mm, np.nan)
    return mass, inner


@lru_cache(maxsize=64)
def _models(at_mm: tuple[float, ...], blur_mm: float, nominal_mm: float) -> tuple[FloatArray, FloatArray]:
    """For each trial place: ((T, 3, W) least-squares solution for marrow, shell, outside; (T, W, 3) its basis)."""
    at = np.array(at_mm)
    solves, bases = [], []
    for place in _TRIALS_MM:
        outer = ndtr((at - place) / blur_mm)
        inner = ndtr((at - place + nominal_mm) / blur_mm)
        design = np.stack([1.0 - inner, inner - outer, outer], axis=1)
        solves.append(np.linalg.pinv(design))
        bases.append(np.linalg.qr(design)[0])
    return np.stack(solves), np.stack(bases)
