"""The trunk: told from air, table and blankets by attenuation and size alone, before any network runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.segmentation.resample import Grid
from trabecula.segmentation.session import FloatVolume
from trabecula.segmentation.settings import BodySettings

Mask = npt.NDArray[np.bool_]
_LIMB_HU = (-200.0, 200.0)
_TABLE_HU = -900.0


@dataclass(frozen=True, eq=False)
class BodyMask:
    """Where the body is on the coarse grid."""

    body: Mask
    """(K, J, I), lungs and gut gas included."""
    other: Mask
    """Material outside the body: table, blankets, leads."""

    def bounding_box(self, margin: int) -> tuple[slice, slice, slice]:
        """Box around the body, in voxels, clipped to the grid."""
        box = ndimage.find_objects(self.body.astype(np.uint8))[0]
        k, j, i = (
            slice(max(0, part.start - margin), min(n, part.stop + margin))
            for part, n in zip(box, self.body.shape, strict=True)
        )
        return k, j, i


def find_body(hu: FloatVolume, grid: Grid, settings: BodySettings) -> BodyMask | None:
    """The largest object denser than air, opened so that the table falls off, holes filled slice by slice.

    Args:
        hu: (K, J, I) on a grid of some millimetres.

    Returns:
        None when nothing is as large as a trunk.
    """
    dense = hu > settings.threshold_hu
    cross = ndimage.generate_binary_structure(2, 1)[None]
    opened = ndimage.binary_opening(dense, cross)
    labels, count = ndimage.label(opened)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    trunk = int(sizes.argmax())
    if sizes[trunk] * float(np.prod(grid.spacing_mm)) / 1000.0 < settings.min_volume_ml:
        return None
    kept = [
        n
        for n in np.flatnonzero(sizes >= settings.limb_fraction * sizes[trunk])
        if n == trunk or _is_limb(hu, labels == n)
    ]
    body = np.isin(labels, kept)
    body = ndimage.binary_dilation(body, cross, mask=dense)
    for plane in body:
        ndimage.binary_fill_holes(plane, output=plane)
    near = ndimage.binary_dilation(body, cross)
    other = ndimage.binary_dilation((hu > _TABLE_HU) & ~near, cross) & ~near
    return BodyMask(body, other)


def _is_limb(hu: FloatVolume, mask: Mask) -> bool:
    low, high = _LIMB_HU
    return bool(low < float(np.median(hu[mask])) < high)
