"""Shapes in a plane, with distances in millimetres whatever the pixels' size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

BoolPlane = npt.NDArray[np.bool_]


def distance_inside(mask: BoolPlane, pixel_mm: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Distance in mm of each inside pixel from the outline."""
    distance: npt.NDArray[np.float64] = ndi.distance_transform_edt(np.pad(mask, 1), sampling=pixel_mm)[1:-1, 1:-1]
    return distance


def _around(mask: BoolPlane, margin_mm: float, pixel_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Box around what is True, with a margin: distances are dear, and most masks are small."""
    box = []
    for axis, mm in enumerate(pixel_mm):
        filled = np.flatnonzero(mask.any(axis=1 - axis))
        margin = int(np.ceil(margin_mm / mm)) + 1
        box.append(slice(max(0, int(filled[0]) - margin), int(filled[-1]) + 1 + margin))
    return box[0], box[1]


def grown(mask: BoolPlane, by_mm: float, pixel_mm: tuple[float, float]) -> BoolPlane:
    """Dilation by a disc."""
    if not mask.any():
        return mask
    out = np.zeros_like(mask)
    box = _around(mask, by_mm, pixel_mm)
    out[box] = ndi.distance_transform_edt(~mask[box], sampling=pixel_mm) <= by_mm
    return out


def closed(mask: BoolPlane, by_mm: float, pixel_mm: tuple[float, float]) -> BoolPlane:
    """Closing by a disc, also near the edge of the picture."""
    if not mask.any():
        return mask
    out = mask.copy()
    box = _around(mask, 0.0, pixel_mm)
    pad = int(np.ceil(by_mm / min(pixel_mm))) + 1
    wide = grown(np.pad(mask[box], pad), by_mm, pixel_mm)
    out[box] |= (ndi.distance_transform_edt(wide, sampling=pixel_mm) > by_mm)[pad:-pad, pad:-pad]
    return out


def opened(mask: BoolPlane, by_mm: float, pixel_mm: tuple[float, float]) -> BoolPlane:
    """Opening by a disc."""
    if not mask.any():
        return mask
    out = np.zeros_like(mask)
    box = _around(mask, 0.0, pixel_mm)
    out[box] = grown(distance_inside(mask[box], pixel_mm) > by_mm, by_mm, pixel_mm)
    return out & mask


def enclosed(mask: BoolPlane, gap_mm: float, pixel_mm: tuple[float, float]) -> BoolPlane:
    """The mask with gaps up to twice ``gap_mm`` closed, and filled. Its wide closing is done on every third pixel."""
    step = 3
    rows, columns = mask.shape
    # The middle pixel stands for its block, so that the outline moves neither way on the whole.
    padded = np.pad(mask, ((0, -rows % step), (0, -columns % step)))
    coarse = closed(padded[1::step, 1::step], gap_mm, (pixel_mm[0] * step, pixel_mm[1] * step))
    wide = np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[:rows, :columns]
    return np.asarray(ndi.binary_fill_holes(mask | wide))


def pieces(mask: BoolPlane, min_mm2: float, pixel_mm: tuple[float, float]) -> BoolPlane:
    """Connected pieces of at least so much area."""
    numbered, count = ndi.label(mask)
    if count == 0:
        return mask
    areas = np.bincount(numbered.ravel()) * pixel_mm[0] * pixel_mm[1]
    areas[0] = 0.0
    return np.asarray((areas >= min_mm2)[numbered])
