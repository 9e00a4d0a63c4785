"""The scan's own point spread, from the edge between air and skin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage as ndi

from trabecula.anatomy import Anatomy, Structure
from trabecula.bone.rules import BlurRules
from trabecula.geometry import FloatArray
from trabecula.imaging.study import CtVolume

FWHM_OF_SD: Final = 2.3548
"""Full width at half maximum of a Gaussian over its standard deviation."""
_TENTH_TO_HALF: Final = 1.2816
"""Standard deviations between 10 % and 50 % of a Gaussian edge."""
_STEP_MM: Final = 0.25
_REACH_MM: Final = 6.0
_ANGLES: Final = np.deg2rad(np.arange(-100.0, 101.0, 2.0))
"""Directions about the body's middle; 0 is the front, away from table and blankets."""


@dataclass(frozen=True)
class Blur:
    """Standard deviation of the point spread in the axial plane, linear interpolation of the voxels included."""

    sd_mm: float
    standard_uncertainty_mm: float
    edges: int

    @property
    def fwhm_mm(self) -> float:
        return FWHM_OF_SD * self.sd_mm


def measure_blur(volume: CtVolume, anatomy: Anatomy, rules: BlurRules) -> Blur | None:
    """Median width of the air-skin edge around the body in the slices of the vertebrae.

    Only the outer half of the edge is used, 10 to 50 % of the way from air to tissue: further in, skin turns into fat.
    None when too little skin lies free in the field of view.
    """
    if not anatomy.vertebrae:
        return None
    index = volume.geometry.lps_to_index([v.centroid_lps_mm for v in anatomy.vertebrae])[:, 0]
    slices = np.unique(np.clip(np.rint(np.linspace(index.min(), index.max(), rules.slices)), 0, volume.hu.shape[0] - 1))
    widths = np.concatenate([_edge_widths(volume, anatomy, int(k), rules) for k in slices])
    if widths.size < rules.min_edges:
        return None
    middle = float(np.median(widths))
    scatter = 1.4826 * float(np.median(np.abs(widths - middle)))
    error = np.hypot(scatter / np.sqrt(widths.size / rules.correlated_edges), rules.relative_error * middle)
    return Blur(middle, float(error), int(widths.size))


def _edge_widths(volume: CtVolume, anatomy: Anatomy, k: int, rules: BlurRules) -> FloatArray:
    """Standard deviation of each clean edge of one slice, mm."""
    _, j_mm, i_mm = volume.geometry.spacing_mm
    body = ndi.binary_opening(anatomy.labels[k] != Structure.OUTSIDE, iterations=2)
    body &= anatomy.labels[k] != Structure.TABLE
    if not body.any():
        return np.empty(0)
    rows, columns = np.nonzero(body)
    centre = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
    reach = np.arange(0.0, float(np.hypot(body.shape[0] * j_mm, body.shape[1] * i_mm)) / 2, 1.0)
    directions = np.stack([-np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
    per_mm = directions / np.array([j_mm, i_mm])
    along = np.array(centre)[:, None, None] + per_mm.T[:, :, None] * reach
    inside = ndi.map_coordinates(body.astype(np.float32), along, order=0, mode="constant") > 0
    edge = reach[inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)]
    at = edge[:, None] + np.arange(-_REACH_MM, _REACH_MM + _STEP_MM, _STEP_MM)
    points = np.array(centre)[:, None, None] + per_mm.T[:, :, None] * at
    hu = ndi.map_coordinates(volume.hu[k].astype(np.float32), points, order=1, mode="constant", cval=np.nan)
    # Rays meet the skin aslant: the edge is narrower across it.
    slant = np.gradient(ndi.median_filter(edge, 5), _ANGLES) / np.maximum(edge, 1.0)
    widths = [_width(row, rules) for row in hu[:, ::-1]]
    found = np.array(widths) / np.sqrt(1.0 + slant**2)
    clean: FloatArray = found[np.isfinite(found) & (np.abs(slant) < rules.most_slant)]
    return clean


def _width(profile: np.typing.NDArray[np.float32], rules: BlurRules) -> float:
    """Standard deviation of one edge that comes from outside; NaN when it is no clean edge of air and tissue."""
    if not np.isfinite(profile).all():
        return np.nan
    above = np.flatnonzero(profile >= rules.half_hu)
    if above.size == 0 or above[0] < 8:
        return np.nan
    first = int(above[0])
    air = float(np.median(profile[: max(first - 6, 1)]))
    tissue = float(np.median(profile[first + 3 : first + 9])) if first + 9 <= profile.size else np.nan
    if not (rules.air_hu[0] <= air <= rules.air_hu[1]) or not (rules.tissue_hu[0] <= tissue <= rules.tissue_hu[1]):
        return np.nan
    places = [_crossing(profile, first, air + share * (tissue - air)) for share in (0.1, 0.5)]
    return (places[1] - places[0]) * _STEP_MM / _TENTH_TO_HALF


def _crossing(profile: np.typing.NDArray[np.float32], start: int, level: float) -> float:
    """Fractional index at which the rising profile last crosses a level before ``start`` + 3."""
    stop = min(start + 3, profile.size - 1)
    below = np.flatnonzero(profile[: stop + 1] < level)
    if below.size == 0 or below[-1] + 1 >= profile.size:
        return np.nan
    n = int(below[-1])
    return n + float((level - profile[n]) / (profile[n + 1] - profile[n]))
