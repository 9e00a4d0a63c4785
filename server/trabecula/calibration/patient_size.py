"""Water-equivalent diameter from the scan itself (AAPM Report 220)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from trabecula.calibration.sections import MaskImage, Section
from trabecula.imaging.study import OUTSIDE_HU

_TRUNCATED_MM: Final = 20.0
"""Length of skin cut off by the field of view in one section that counts as truncation."""
_TISSUE_HU: Final = -250
"""A pixel above this that borders the padding was cut; uncut skin fades into air over a pixel or more."""


@dataclass(frozen=True)
class PatientSize:
    """Mean over the sections."""

    water_equivalent_diameter_cm: float
    truncated: bool
    """The body reaches past the field of view, so the diameter is too small."""


def water_equivalent_size(sections: Sequence[Section]) -> PatientSize | None:
    """``Dw = 2 sqrt(A_w / pi)`` with ``A_w`` the sum over body pixels of (HU / 1000 + 1) times the pixel's area.

    None when the sections hold no body.
    """
    diameters = [d for d in map(_diameter_cm, sections) if d > 0.0]
    if not diameters:
        return None
    return PatientSize(float(np.mean(diameters)), any(_cut_mm(s) > _TRUNCATED_MM for s in sections))


def _diameter_cm(section: Section) -> float:
    pixel_cm2 = section.pixel_mm[0] * section.pixel_mm[1] / 100.0
    relative = section.hu[section.body].astype(np.float32) / 1000.0 + 1.0
    area_cm2 = float(np.maximum(relative, 0.0).sum()) * pixel_cm2
    return 2.0 * math.sqrt(area_cm2 / math.pi)


def _cut_mm(section: Section) -> float:
    """Length of the body's outline that lies on the image's edge or on padding."""
    tissue = section.body & (section.hu > _TISSUE_HU)
    outline = np.zeros_like(tissue)
    outline[[0, -1], :] = True
    outline[:, [0, -1]] = True
    padding = padding_value(section)
    if padding is not None:
        padded = _solid(section.hu == padding)
        outline[1:] |= padded[:-1]
        outline[:-1] |= padded[1:]
        outline[:, 1:] |= padded[:, :-1]
        outline[:, :-1] |= padded[:, 1:]
    return float((tissue & outline).sum()) * math.sqrt(section.pixel_mm[0] * section.pixel_mm[1])


def _solid(mask: MaskImage) -> MaskImage:
    """Blocks of the mask at least 5 pixels wide: sharp kernels scatter single clipped pixels along the skin."""
    return np.asarray(ndimage.maximum_filter(ndimage.minimum_filter(mask.view(np.uint8), 5), 5)).view(np.bool_)


def padding_value(section: Section) -> int | None:
    """The value outside the reconstruction circle, None when the whole image was reconstructed.

    The circle shows in the corners: all four hold one value that no scanner in specification gives air.
    """
    corners = {int(section.hu[j, i]) for j in (0, -1) for i in (0, -1)}
    return corners.pop() if len(corners) == 1 and max(corners) <= OUTSIDE_HU else None


def reconstructed(section: Section, edge_mm: float) -> MaskImage:
    """Pixels at least ``edge_mm`` inside the reconstruction circle, or inside the image where there is none."""
    rows, columns = section.hu.shape
    j_mm = (np.arange(rows) - (rows - 1) / 2)[:, None] * section.pixel_mm[0]
    i_mm = (np.arange(columns) - (columns - 1) / 2)[None, :] * section.pixel_mm[1]
    padding = padding_value(section)
    if padding is None:
        half_j, half_i = rows / 2 * section.pixel_mm[0] - edge_mm, columns / 2 * section.pixel_mm[1] - edge_mm
        return np.asarray((np.abs(j_mm) < half_j) & (np.abs(i_mm) < half_i))
    radius2 = j_mm**2 + i_mm**2
    filled = section.hu != padding
    if not filled.any():
        return np.asarray(filled)
    circle_mm = math.sqrt(float(radius2[filled].max())) - edge_mm
    return np.asarray(radius2 < max(circle_mm, 0.0) ** 2)
