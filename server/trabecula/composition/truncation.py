"""Whether the body reaches past the field of view, and how much of it is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.composition.morphology import BoolPlane
from trabecula.composition.rules import TissueRules
from trabecula.composition.tissue import Plane
from trabecula.imaging.study import OUTSIDE_HU


@dataclass(frozen=True)
class Truncation:
    """What the field of view cuts off in one plane."""

    truncated: bool
    missing_cm2: float | None
    """Estimated area of the body outside the field; 0 when nothing is cut, None when it cannot be estimated."""


def find_truncation(plane: Plane, body: BoolPlane, rules: TissueRules) -> Truncation:
    """Whether the body touches the border of the image, or of the circle it was reconstructed in, and what is lost.

    The loss is the part of an upright ellipse, fitted to the outline that is in view, that lies outside the field.
    A trunk is an ellipse within a few per cent; less than a third of the outline in view gives no estimate.
    """
    outside = _outside_field(plane)
    rim = ndi.binary_dilation(outside, border_value=1, iterations=2)
    outline = body & ~ndi.binary_erosion(body, border_value=0)
    at_rim = body & rim & outline
    contact_mm = float(at_rim.sum()) * float(np.mean(plane.pixel_mm))
    if contact_mm < rules.truncation_contact_mm:
        return Truncation(False, 0.0)
    seen = outline & ~ndi.binary_dilation(rim, iterations=2)
    if float(seen.sum()) < rules.fewest_outline * float(outline.sum()):
        return Truncation(True, None)
    return Truncation(True, _missing_cm2(seen, outside, plane))


def _missing_cm2(seen: BoolPlane, outside: BoolPlane, plane: Plane) -> float | None:
    """Area of the fitted ellipse outside the field; None when the outline fits no ellipse."""
    fitted = _upright_ellipse(np.argwhere(seen).astype(np.float64))
    if fitted is None:
        return None
    rows, columns = outside.shape
    centre, half = fitted
    low = np.minimum(np.floor(centre - half).astype(int), 0)
    high = np.maximum(np.ceil(centre + half).astype(int) + 1, (rows, columns))
    j, i = np.ogrid[low[0] : high[0], low[1] : high[1]]
    ellipse = ((j - centre[0]) / half[0]) ** 2 + ((i - centre[1]) / half[1]) ** 2 <= 1.0
    field = np.zeros(ellipse.shape, dtype=bool)
    field[-low[0] : rows - low[0], -low[1] : columns - low[1]] = ~outside
    return float((ellipse & ~field).sum()) * plane.pixel_cm2


def _upright_ellipse(points: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Centre and half axes (row, column) by least squares; None when the best conic is no ellipse of trunk's size."""
    middle, scale = points.mean(axis=0), float(points.std())
    y, x = ((points - middle) / scale).T
    # x^2 + a y^2 + b x + c y + d = 0
    solution, *_ = np.linalg.lstsq(np.stack([y * y, x, y, np.ones_like(x)], axis=1), -x * x, rcond=None)
    a, b, c, d = (float(value) for value in solution)
    if a <= 0.0:
        return None
    centre_x, centre_y = -b / 2.0, -c / (2.0 * a)
    level = centre_x**2 + a * centre_y**2 - d
    if level <= 0.0:
        return None
    half = np.array([np.sqrt(level / a), np.sqrt(level)]) * scale
    extent = np.ptp(points, axis=0)
    if np.any(half > 2.0 * extent.max()):
        return None
    return np.array([centre_y, centre_x]) * scale + middle, half


def _outside_field(plane: Plane) -> BoolPlane:
    """Pixels that the scanner did not reconstruct: padding that fills the image's corners."""
    rows, columns = plane.hu.shape
    outside = np.zeros((rows, columns), dtype=bool)
    corners = plane.hu[[0, 0, -1, -1], [0, -1, 0, -1]]
    if np.all(corners <= OUTSIDE_HU):
        j, i = np.ogrid[:rows, :columns]
        radius = ((j - (rows - 1) / 2) / (rows / 2)) ** 2 + ((i - (columns - 1) / 2) / (columns / 2)) ** 2
        circle = radius > 1.0
        # Air can be clipped to the padding value too: all of the circle's outside must hold it.
        if np.all(plane.hu[circle] <= OUTSIDE_HU):
            outside |= circle
    return outside
