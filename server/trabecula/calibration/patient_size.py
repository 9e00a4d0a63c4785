"""Water-equivalent diameter from the scan itself (AAPM Report 220)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.calibration.sections import MaskImage, Section
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import OUTSIDE_HU

_TRUNCATED_MM: Final = 20.0
"""Length of skin cut off by the field of view in one section that counts as truncation."""
_FEW_OUTLINE_PIXELS: Final = 40
_TISSUE_HU: Final = -250
"""A pixel above this that borders the padding was cut; uncut skin fades into air over a pixel or more."""


@dataclass(frozen=True)
class PatientSize:
    """Mean over the sections."""

    water_equivalent_diameter_cm: float
    truncated: bool
    """The body reaches past the field of view."""
    added_cm: float = 0.0
    """Part of the diameter that was added for what the field of view cut off."""
    standard_uncertainty_cm: float = 0.0


def water_equivalent_size(
    sections: Sequence[Section], constants: ClinicalConstants, *, complete: bool = True
) -> PatientSize | None:
    """``Dw = 2 sqrt(A_w / pi)`` with ``A_w`` the sum over body pixels of (HU / 1000 + 1) times the pixel's area.

    Where the field of view cuts the body and ``complete`` is set, an ellipse through the outline that is left stands
    for the missing part. None when the sections hold no body.
    """
    areas_cm2 = [_area_cm2(section) for section in sections]
    seen = [(section, area) for section, area in zip(sections, areas_cm2, strict=True) if area > 0.0]
    if not seen:
        return None
    row = constants.row("calibration.size")
    cut = any(_cut_mm(section) > _TRUNCATED_MM for section, _ in seen)
    visible_cm = float(np.mean([_diameter_cm(area) for _, area in seen]))
    diameter_cm = visible_cm
    if cut and complete:
        share = row.number("missing_attenuation")
        most = row.number("most_missing_fraction")
        whole = [area + min(share * missing_area_cm2(section), most * area) for section, area in seen]
        diameter_cm = float(np.mean([_diameter_cm(area) for area in whole]))
    added_cm = diameter_cm - visible_cm
    spread_cm = math.hypot(
        row.number("standard_uncertainty_cm"),
        row.number("completion_relative_uncertainty") * added_cm,
        row.number("cut_standard_uncertainty_cm") if cut and not complete else 0.0,
    )
    return PatientSize(diameter_cm, cut, added_cm, spread_cm)


def _area_cm2(section: Section) -> float:
    pixel_cm2 = section.pixel_mm[0] * section.pixel_mm[1] / 100.0
    relative = section.hu[section.body].astype(np.float32) / 1000.0 + 1.0
    return float(np.maximum(relative, 0.0).sum()) * pixel_cm2


def _diameter_cm(area_cm2: float) -> float:
    return 2.0 * math.sqrt(area_cm2 / math.pi)


def missing_area_cm2(section: Section) -> float:
    """Area outside the field of view of the upright ellipse through the outline that is not cut; 0 when nothing is.

    Least squares of ``a x^2 + b y^2 + c x + d y = 1`` on the uncut outline.
    """
    cut = _cut_pixels(section)
    if not cut.any():
        return 0.0
    body = section.body
    inner = np.asarray(ndimage.minimum_filter(body.view(np.uint8), 3, mode="constant")).view(np.bool_)
    near_cut = np.asarray(ndimage.maximum_filter(cut.view(np.uint8), 9, mode="constant")).view(np.bool_)
    rows, columns = np.nonzero(body & ~inner & ~near_cut)
    if rows.size < _FEW_OUTLINE_PIXELS:
        return 0.0
    scale = max(body.shape)
    y, x = (
        _centred(rows, body.shape[0], section.pixel_mm[0], scale),
        _centred(columns, body.shape[1], section.pixel_mm[1], scale),
    )
    (a, b, c, d), *_ = np.linalg.lstsq(np.column_stack([x * x, y * y, x, y]), np.ones(x.size), rcond=None)
    if a <= 0.0 or b <= 0.0:
        return 0.0
    level = 1.0 + c * c / (4.0 * a) + d * d / (4.0 * b)
    ellipse_cm2 = math.pi * level / math.sqrt(a * b) * scale**2 / 100.0
    all_y = _centred(np.arange(body.shape[0]), body.shape[0], section.pixel_mm[0], scale)[:, None]
    all_x = _centred(np.arange(body.shape[1]), body.shape[1], section.pixel_mm[1], scale)[None, :]
    inside = a * all_x**2 + b * all_y**2 + c * all_x + d * all_y <= 1.0
    inside &= reconstructed(section, 0.0)
    seen_cm2 = float(inside.sum()) * section.pixel_mm[0] * section.pixel_mm[1] / 100.0
    return max(0.0, float(ellipse_cm2) - seen_cm2)


def _centred(index: npt.NDArray[np.intp], count: int, pixel_mm: float, scale: float) -> npt.NDArray[np.float64]:
    """Millimetres from the image's middle over ``scale``, so that the squares stay near one."""
    return np.asarray((index - (count - 1) / 2.0) * pixel_mm / scale)


def _cut_mm(section: Section) -> float:
    """Length of the body's outline that the field of view cuts."""
    return float(_cut_pixels(section).sum()) * math.sqrt(section.pixel_mm[0] * section.pixel_mm[1])


def _cut_pixels(section: Section) -> MaskImage:
    """Pixels of the body that lie on the image's edge or on padding."""
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
    return np.asarray(tissue & outline)


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
