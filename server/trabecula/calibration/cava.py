"""Where the inferior vena cava runs: no model labels it, but it lies in front of the right half of the spine."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import ndimage

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, Structure
from trabecula.calibration.sections import Section
from trabecula.clinical import ClinicalConstants

_NOT_CAVA: Final = (
    Structure.AORTA,
    Structure.KIDNEY,
    Structure.LUNG,
    Structure.RIB,
    Structure.PARASPINAL_MUSCLE,
    Structure.SUBCUTANEOUS_FAT,
    Structure.OUTSIDE,
    Structure.TABLE,
)


def cava_values(section: Section, constants: ClinicalConstants) -> tuple[float, int] | None:
    """Mean HU and pixels of the brightest even disc in front of the right half of the vertebral body.

    None where no vertebral body is cut, or where no disc of a vein's size is as even as blood.
    """
    rule = constants.row("calibration.measure.cava")
    labels = section.labels
    body = (labels > BODY_LABEL_BASE) & (labels < POSTERIOR_LABEL_BASE)
    if not body.any():
        return None
    rows, columns = np.nonzero(body)
    j_mm, i_mm = section.pixel_mm
    top, bottom = _span(rows.min() * j_mm - rule.number("in_front_mm"), rows.min() * j_mm, j_mm, labels.shape[0])
    middle = float(np.median(columns)) * i_mm
    left, right = _span(middle - rule.number("to_the_right_mm"), middle + 3.0, i_mm, labels.shape[1])
    if bottom - top < 3 or right - left < 3:
        return None
    near = slice(top, bottom), slice(left, right)
    hu = section.slab_hu[near]
    free = ~(np.isin(labels[near], _NOT_CAVA) | (labels[near] >= BODY_LABEL_BASE))
    disc = _disc(rule.number("radius_mm"), j_mm, i_mm)
    weight = disc / disc.sum()
    mean = ndimage.correlate(hu, weight, mode="nearest")
    spread = np.sqrt(np.maximum(ndimage.correlate(hu * hu, weight, mode="nearest") - mean**2, 0.0))
    whole = ndimage.binary_erosion(free, disc > 0.0)
    fits = whole & (spread < rule.number("most_spread_hu")) & (mean > rule.number("lowest_hu"))
    if not fits.any():
        return None
    return float(mean[fits].max()), int(disc.sum())


def _span(low_mm: float, high_mm: float, pixel_mm: float, count: int) -> tuple[int, int]:
    return max(0, int(low_mm / pixel_mm)), min(count, int(high_mm / pixel_mm) + 1)


def _disc(radius_mm: float, j_mm: float, i_mm: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    reach_j, reach_i = int(radius_mm / j_mm), int(radius_mm / i_mm)
    j, i = np.mgrid[-reach_j : reach_j + 1, -reach_i : reach_i + 1]
    return np.asarray(np.hypot(j * j_mm, i * i_mm) <= radius_mm, np.float32)
