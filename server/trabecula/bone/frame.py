"""A vertebral body's own frame, and its neighbourhood resampled into it.

Frame coordinates are millimetres (s, a, l) along superior, anterior and left from the frame's origin.
Resampled arrays have those axes in that order at :data:`STEP_MM`. They serve to *find* the body;
attenuation is measured on the scan's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.anatomy import Vector, VertebraInstance
from trabecula.geometry import FloatArray, Geometry

STEP_MM: Final = 1.0
EXTENT_MM: Final = (25.0, 30.0, 32.0)
"""Half extent of the resampled box along (s, a, l): holds any adult thoracic or lumbar body with its endplates."""

FloatVolume = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frame:
    """Right-handed frame: ``axes`` rows are unit vectors superior, anterior, left in LPS."""

    origin_lps_mm: FloatArray
    axes: FloatArray

    def to_lps(self, points_mm: npt.ArrayLike) -> FloatArray:
        """LPS mm of (..., 3) frame points (s, a, l) in mm."""
        return self.origin_lps_mm + np.asarray(points_mm, dtype=np.float64) @ self.axes

    def from_lps(self, points_mm: npt.ArrayLike) -> FloatArray:
        """Frame points (s, a, l) in mm of (..., 3) LPS mm points."""
        return (np.asarray(points_mm, dtype=np.float64) - self.origin_lps_mm) @ self.axes.T

    def moved(self, offset_mm: npt.ArrayLike) -> Frame:
        """The same axes about another origin, given in frame mm."""
        return Frame(self.to_lps(offset_mm), self.axes)


def vertebra_frame(vertebra: VertebraInstance) -> Frame:
    """The vertebra's frame, its axes made exactly orthonormal (``superior`` rules)."""
    superior = _unit(np.asarray(vertebra.superior, dtype=np.float64))
    anterior = np.asarray(vertebra.anterior, dtype=np.float64)
    anterior = _unit(anterior - superior * float(anterior @ superior))
    left = np.cross(superior, anterior)
    return Frame(np.asarray(vertebra.centroid_lps_mm, dtype=np.float64), np.stack([superior, anterior, left]))


def as_vector(values: FloatArray) -> Vector:
    """Three numbers as the plain tuple that result values hold."""
    first, second, third = (float(value) for value in values)
    return first, second, third


def resample(
    array: npt.NDArray[np.generic], geometry: Geometry, frame: Frame, *, order: int, outside: float
) -> FloatVolume:
    """Sample ``array`` (K, J, I) on the frame's box: (S, A, L) float32, ``outside`` beyond the scan.

    ``order`` 0 takes the nearest voxel (labels), 1 interpolates linearly (HU).
    """
    half = np.array([round(extent / STEP_MM) for extent in EXTENT_MM])
    shape = tuple(int(n) for n in 2 * half + 1)
    to_index = np.linalg.inv(geometry.affine[:3, :3])
    matrix = to_index @ frame.axes.T * STEP_MM
    start = geometry.lps_to_index(frame.to_lps(-half * STEP_MM))
    low, high = _box(matrix, start, shape, geometry.shape)
    if np.any(high <= low):
        return np.full(shape, outside, dtype=np.float32)
    part = array[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    sampled: FloatVolume = ndi.affine_transform(
        part, matrix, offset=start - low, output_shape=shape, order=order, mode="constant", cval=outside
    )
    return sampled


def _box(
    matrix: FloatArray, start: FloatArray, shape: tuple[int, ...], limit: tuple[int, int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Index range (low, high) of the voxels the frame's box can touch, cut to the volume."""
    corners = np.array([[s, a, b] for s in (0, shape[0] - 1) for a in (0, shape[1] - 1) for b in (0, shape[2] - 1)])
    reached = corners @ matrix.T + start
    low = np.clip(np.floor(reached.min(axis=0)).astype(np.int64) - 1, 0, limit)
    high = np.clip(np.ceil(reached.max(axis=0)).astype(np.int64) + 2, 0, limit)
    return low, high


def axis_mm(axis: int) -> FloatArray:
    """Coordinates in mm along one axis of a resampled box."""
    half = round(EXTENT_MM[axis] / STEP_MM)
    coordinates: FloatArray = np.arange(-half, half + 1, dtype=np.float64) * STEP_MM
    return coordinates


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.linalg.norm(vector)
