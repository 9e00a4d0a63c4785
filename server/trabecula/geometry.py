"""Where voxels are: index (k, j, i) to patient LPS millimetres and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Voxel grid of a canonical volume.

    Axis k runs foot to head, j anterior to posterior, i patient right to left, as nearly as the
    scan's own axes allow (axes are flipped and swapped, never resampled).
    """

    shape: tuple[int, int, int]
    """Voxels along (k, j, i)."""
    affine: FloatArray
    """(4, 4): homogeneous (k, j, i, 1) to LPS mm of the voxel's centre."""

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along (k, j, i) in mm."""
        k, j, i = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def voxel_volume_mm3(self) -> float:
        k, j, i = self.spacing_mm
        return k * j * i

    def index_to_lps(self, index: npt.ArrayLike) -> FloatArray:
        """LPS mm of (..., 3) voxel indices (k, j, i), fractions allowed."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def lps_to_index(self, point_mm: npt.ArrayLike) -> FloatArray:
        """Fractional voxel indices (k, j, i) of (..., 3) LPS mm points."""
        offset = np.asarray(point_mm, dtype=np.float64) - self.affine[:3, 3]
        return offset @ np.linalg.inv(self.affine[:3, :3]).T
