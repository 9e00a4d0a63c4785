"""Whether the body reaches past the field of view."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from trabecula.composition.morphology import BoolPlane
from trabecula.composition.rules import TissueRules
from trabecula.composition.tissue import Plane
from trabecula.imaging.study import OUTSIDE_HU


def is_truncated(plane: Plane, body: BoolPlane, rules: TissueRules) -> bool:
    """True when the body touches the border of the image, or of the circle it was reconstructed in."""
    outside = _outside_field(plane)
    rim = ndi.binary_dilation(outside, border_value=1, iterations=2)
    contact_mm = float((body & rim & ~ndi.binary_erosion(body, border_value=0)).sum()) * float(np.mean(plane.pixel_mm))
    return contact_mm >= rules.truncation_contact_mm


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
