"""Reference tissues as they show in the image: a robust value, its sampling error, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import BODY_LABEL_BASE, Structure
from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.patient_size import reconstructed
from trabecula.calibration.sections import FloatImage, MaskImage, Section
from trabecula.clinical import ClinicalConstants, Row

Values = npt.NDArray[np.float32]

_MODE_BANDWIDTH_HU: Final = 5.0
_SOFT: Final = (Structure.LIVER, Structure.SPLEEN, Structure.PARASPINAL_MUSCLE, Structure.AORTA, Structure.CAVITY)
_SOFT_HU: Final = (-60, 250)
_STEP: Final = 3
"""Pixels between the two of a pair: far enough that reconstruction noise is nearly independent."""
_FEW_VALUES: Final = 30
"""A section with fewer is not counted when sections are compared."""


@dataclass(frozen=True)
class Sample:
    """One tissue in the image."""

    tissue: ReferenceTissue
    hu: float | None
    standard_error_hu: float
    """From the spread between sections, so that correlated noise and structure are in it."""
    voxels: int
    unusable_because: str | None = None


def take_samples(sections: Sequence[Section], constants: ClinicalConstants) -> dict[ReferenceTissue, Sample]:
    """Measure every reference tissue in the sections."""
    floor = constants.number("calibration.measure.standard_error_floor")
    fat, muscle, blood = (constants.row(f"calibration.measure.{name}") for name in ("fat", "muscle", "blood"))
    fat_labels = (Structure.SUBCUTANEOUS_FAT,)
    if not any((s.labels == Structure.SUBCUTANEOUS_FAT).any() for s in sections):
        fat_labels = (Structure.BODY,)

    def trimmed_median(values: Values) -> float:
        return _without_calcification(values, blood.number("calcification_mad"))

    organ = constants.row("calibration.measure.organ")
    cortex = constants.row("calibration.measure.cortical_bone")

    samples = (
        _air(sections, constants.row("calibration.measure.air"), floor),
        _tissue(ReferenceTissue.SUBCUTANEOUS_FAT, sections, fat_labels, fat, mode_hu, floor),
        _tissue(ReferenceTissue.PARASPINAL_MUSCLE, sections, (Structure.PARASPINAL_MUSCLE,), muscle, mode_hu, floor),
        _tissue(ReferenceTissue.AORTIC_BLOOD, sections, (Structure.AORTA,), blood, trimmed_median, floor),
        _tissue(ReferenceTissue.LIVER, sections, (Structure.LIVER,), organ, mode_hu, floor),
        _tissue(ReferenceTissue.SPLEEN, sections, (Structure.SPLEEN,), organ, mode_hu, floor),
        _cortex(sections, cortex, floor),
    )
    return {sample.tissue: sample for sample in samples}


def _tissue(
    tissue: ReferenceTissue,
    sections: Sequence[Section],
    labels: tuple[Structure, ...],
    rule: Row,
    statistic: Callable[[Values], float],
    floor_hu: float,
) -> Sample:
    per_section = [_eroded_values(section, labels, rule) for section in sections]
    return _summarise(tissue, per_section, statistic, rule.number("fewest_voxels"), floor_hu)


def eroded_values(sections: Sequence[Section], labels: tuple[Structure, ...], rule: Row) -> Values:
    """Smoothed HU well inside a region and its window, all sections together."""
    return np.concatenate([np.empty(0, np.float32), *(_eroded_values(s, labels, rule) for s in sections)])


def soft_tissue_noise_hu(sections: Sequence[Section]) -> float | None:
    """Standard deviation of one voxel in soft tissue: robust spread of differences between pixels 3 apart."""
    spreads = []
    for section in sections:
        soft = np.isin(section.labels, _SOFT) & (section.hu > _SOFT_HU[0]) & (section.hu < _SOFT_HU[1])
        both = soft[:, _STEP:] & soft[:, :-_STEP]
        if both.sum() >= _FEW_VALUES * 10:
            difference = (section.hu[:, _STEP:].astype(np.float32) - section.hu[:, :-_STEP])[both]
            spreads.append(1.4826 * float(np.median(np.abs(difference))) / math.sqrt(2.0))
    return float(np.median(spreads)) if spreads else None


def averaging_mm(noise_hu: float | None, constants: ClinicalConstants) -> float:
    """Foot-to-head thickness to average references over: grows with the square of noise, within limits."""
    row = constants.row("calibration.averaging")
    if noise_hu is None:
        return row.number("least_mm")
    wanted = row.number("least_mm") * (noise_hu / row.number("noise_hu")) ** 2
    return min(max(wanted, row.number("least_mm")), row.number("most_mm"))


def _cortex(sections: Sequence[Section], rule: Row, floor_hu: float) -> Sample:
    """Densest cortex of the vertebrae: mean of the brightest voxels after dropping the very brightest."""
    tissue = ReferenceTissue.CORTICAL_BONE
    drop, take = int(rule.number("dropped_voxels")), int(rule.number("taken_voxels"))
    per_section = [section.hu[section.labels >= BODY_LABEL_BASE].astype(np.float32) for section in sections]
    bright = np.sort(np.concatenate([np.empty(0, np.float32), *per_section]))[::-1][drop : drop + take]
    if bright.size < rule.number("fewest_voxels") or bright.mean() < rule.number("lowest_hu"):
        return Sample(tissue, None, floor_hu, int(bright.size), "too little of it in view")
    error = float(bright.std(ddof=1)) / math.sqrt(bright.size)
    return Sample(tissue, float(bright.mean()), math.hypot(error, floor_hu), int(bright.size))


def _eroded_values(section: Section, labels: tuple[Structure, ...], rule: Row) -> Values:
    """Smoothed HU well inside the labelled region and the tissue's window."""
    region = np.isin(section.labels, labels)
    if not region.any():
        return np.empty(0, np.float32)
    box = _box(region, section, rule.number("erosion_mm") + 4.0 * rule.number("smoothing_mm"))
    region, hu = region[box], _smoothed(section.slab_hu[box], section, rule.number("smoothing_mm"))
    inside = region & (hu > rule.number("lowest_hu")) & (hu < rule.number("highest_hu"))
    return hu[_eroded(inside, section, rule.number("erosion_mm"))]


def _box(region: MaskImage, section: Section, margin_mm: float) -> tuple[slice, slice]:
    slices = []
    for axis, pixel_mm in enumerate(section.pixel_mm):
        hit = np.flatnonzero(region.any(axis=1 - axis))
        margin = math.ceil(margin_mm / pixel_mm)
        slices.append(slice(max(0, int(hit[0]) - margin), int(hit[-1]) + margin + 1))
    return slices[0], slices[1]


def _smoothed(hu: FloatImage, section: Section, sigma_mm: float) -> FloatImage:
    sigma = [sigma_mm / pixel_mm for pixel_mm in section.pixel_mm]
    return np.asarray(ndimage.gaussian_filter(hu, sigma, truncate=3.0), dtype=np.float32)


def _eroded(mask: MaskImage, section: Section, distance_mm: float) -> MaskImage:
    """Square erosion, separable and so cheap; outside the image counts as outside the mask."""
    size = [2 * math.ceil(distance_mm / pixel_mm) + 1 for pixel_mm in section.pixel_mm]
    return np.asarray(ndimage.minimum_filter(mask.view(np.uint8), size=size, mode="constant")).view(np.bool_)


def _air(sections: Sequence[Section], rule: Row, floor_hu: float) -> Sample:
    """Median of unsmoothed air in front of the patient's middle, where no table is."""
    tissue = ReferenceTissue.OUTSIDE_AIR
    per_section = [_air_values(section, rule) for section in sections]
    pooled = np.concatenate([np.empty(0, np.float32), *per_section])
    if pooled.size and (pooled == pooled.min()).mean() > rule.number("most_clipped_fraction"):
        return Sample(tissue, None, floor_hu, int(pooled.size), "clipped or padded at the lowest stored value")
    low, high = rule.number("lowest_hu"), rule.number("highest_hu")
    per_section = [values[(values > low) & (values < high)] for values in per_section]
    return _summarise(tissue, per_section, _median, rule.number("fewest_voxels"), floor_hu)


def _air_values(section: Section, rule: Row) -> Values:
    body = section.body
    occupied = np.asarray(section.labels != Structure.OUTSIDE)
    if not body.any():
        return np.empty(0, np.float32)
    size = [2 * math.ceil(rule.number("body_distance_mm") / pixel_mm) + 1 for pixel_mm in section.pixel_mm]
    near = np.asarray(ndimage.maximum_filter(occupied.view(np.uint8), size=size, mode="constant")).view(np.bool_)
    air = ~near & reconstructed(section, rule.number("edge_distance_mm"))
    middle = int(np.mean(np.flatnonzero(body.any(axis=1))[[0, -1]]))
    air[middle:] = False
    return section.hu[air].astype(np.float32)


def _summarise(
    tissue: ReferenceTissue,
    per_section: Sequence[Values],
    statistic: Callable[[Values], float],
    fewest_voxels: float,
    floor_hu: float,
) -> Sample:
    pooled = np.concatenate([np.empty(0, np.float32), *per_section])
    if pooled.size < fewest_voxels:
        return Sample(tissue, None, floor_hu, int(pooled.size), "too little of it in view")
    values = [statistic(v) for v in per_section if v.size >= _FEW_VALUES]
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 2.0 * floor_hu
    return Sample(tissue, statistic(pooled), math.hypot(error, floor_hu), int(pooled.size))


def _median(values: Values) -> float:
    return float(np.median(values))


def mode_hu(values: Values) -> float:
    """Highest point of the histogram after Gaussian smoothing, to a fraction of a HU."""
    low = math.floor(float(values.min())) - 4 * _MODE_BANDWIDTH_HU
    bins = int(float(values.max()) - low + 4 * _MODE_BANDWIDTH_HU) + 1
    counts, edges = np.histogram(values, bins=bins, range=(low, low + bins))
    density = ndimage.gaussian_filter1d(counts.astype(np.float64), _MODE_BANDWIDTH_HU)
    top = int(np.clip(density.argmax(), 1, bins - 2))
    left, middle, right = density[top - 1 : top + 2]
    bend = left - 2.0 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(edges[top] + 0.5 + shift)


def _without_calcification(values: Values, mads: float) -> float:
    """Median after cutting what is brighter than the blood's own spread allows."""
    centre = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - centre)))
    return float(np.median(values[values <= centre + mads * max(spread, 1.0)]))
