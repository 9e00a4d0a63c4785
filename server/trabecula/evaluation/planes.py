"""Planes of a scan as pictures are drawn from them: attenuation and both label volumes, resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import Anatomy, LabelArray, Structure, VertebraInstance
from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.study import OUTSIDE_HU, CtVolume

PIXEL_MM: Final = 0.8
CLOSE_PIXEL_MM: Final = 0.5
CLOSE_HALF_MM: Final = 40.0
_FRONT_MM: Final = 75.0
_BACK_MM: Final = 80.0
_SIDE_MM: Final = 85.0
_SMOOTHING_MM: Final = 15.0
_AXIAL_MARGIN_MM: Final = 6.0


@dataclass(frozen=True, eq=False)
class Plane:
    """A picture's raw material; rows and columns as they are shown."""

    index: FloatArray
    """(rows, columns, 3) fractional voxel indices (k, j, i)."""
    points_mm: FloatArray
    """The same in LPS."""
    pixel_mm: tuple[float, float]
    hu: npt.NDArray[np.float32]
    reference: LabelArray
    predicted: LabelArray | None


@dataclass(frozen=True, eq=False)
class Layers:
    """What is cut by planes."""

    volume: CtVolume
    reference: Anatomy
    predicted: Anatomy | None

    def cut(self, index: FloatArray, pixel_mm: tuple[float, float]) -> Plane:
        """Sample at (rows, columns, 3) fractional indices."""
        where = np.moveaxis(index, -1, 0)
        hu = _sample(self.volume.hu, where, 1, OUTSIDE_HU).astype(np.float32)
        labels = [
            None if anatomy is None else _sample(anatomy.labels, where, 0, 0).astype(np.uint8)
            for anatomy in (self.reference, self.predicted)
        ]
        assert labels[0] is not None  # noqa: S101 - the reference is always there
        return Plane(index, self.volume.geometry.index_to_lps(index), pixel_mm, hu, labels[0], labels[1])


def along_column(layers: Layers, *, coronal: bool) -> Plane:
    """A surface that follows the reference's bodies through the scan, unrolled, head up.

    Sagittal: it follows them from side to side, front to the left. Coronal: from front to back, patient's right to
    the left.
    """
    geometry = layers.volume.geometry
    k_mm, j_mm, i_mm = geometry.spacing_mm
    centres = _centres(layers.reference.vertebrae, geometry)
    k = np.arange(geometry.shape[0] - 1, -1e-9, -PIXEL_MM / k_mm)
    curve = [
        ndimage.gaussian_filter1d(
            np.interp(k, centres[:, 0], centres[:, axis]), _SMOOTHING_MM / PIXEL_MM, mode="nearest"
        )
        for axis in (1, 2)
    ]
    if coronal:
        across = _span(centres[:, 2], geometry.shape[2], i_mm, _SIDE_MM, _SIDE_MM)
        index = np.stack(np.broadcast_arrays(k[:, None], curve[0][:, None], across[None]), axis=-1)
    else:
        across = _span(centres[:, 1], geometry.shape[1], j_mm, _FRONT_MM, _BACK_MM)
        index = np.stack(np.broadcast_arrays(k[:, None], across[None], curve[1][:, None]), axis=-1)
    return layers.cut(index, (PIXEL_MM, PIXEL_MM))


def axial(layers: Layers, vertebra: VertebraInstance) -> Plane:
    """The scan's own slice through the middle of a body, cropped to the patient; patient's right to the left."""
    geometry = layers.volume.geometry
    k = round(float(np.clip(geometry.lps_to_index(vertebra.centroid_lps_mm)[0], 0, geometry.shape[0] - 1)))
    _, j_mm, i_mm = geometry.spacing_mm
    rows, columns = _patient_box(layers, k, (j_mm, i_mm))
    index = np.stack(np.meshgrid([float(k)], rows, columns, indexing="ij"), axis=-1)[0]
    return layers.cut(index, (j_mm, i_mm))


def close_up(layers: Layers, vertebra: VertebraInstance, *, axial_view: bool) -> Plane:
    """A square through a vertebral body in its own frame: front to the left (sagittal) or up (axial)."""
    steps = np.arange(-CLOSE_HALF_MM, CLOSE_HALF_MM + 1e-9, CLOSE_PIXEL_MM)
    superior, anterior = np.asarray(vertebra.superior), np.asarray(vertebra.anterior)
    left = np.cross(superior, anterior)
    centre = np.asarray(vertebra.centroid_lps_mm) - 12.0 * anterior
    down, right = (-anterior, left) if axial_view else (-superior, -anterior)
    points = centre + steps[:, None, None] * down + steps[None, :, None] * right
    return layers.cut(layers.volume.geometry.lps_to_index(points), (CLOSE_PIXEL_MM, CLOSE_PIXEL_MM))


def place_on(plane: Plane, point_mm: Sequence[float]) -> tuple[float, float]:
    """(x, y) in mm on the picture of the pixel nearest to a point in LPS."""
    distance = ((plane.points_mm - np.asarray(point_mm)) ** 2).sum(axis=-1)
    row, column = np.unravel_index(int(distance.argmin()), distance.shape)
    return (float(column) + 0.5) * plane.pixel_mm[1], (float(row) + 0.5) * plane.pixel_mm[0]


def _centres(vertebrae: Sequence[VertebraInstance], geometry: Geometry) -> FloatArray:
    centres = np.array([geometry.lps_to_index(v.centroid_lps_mm) for v in vertebrae])
    return centres[np.argsort(centres[:, 0])]


def _span(values: FloatArray, count: int, mm: float, before_mm: float, after_mm: float) -> FloatArray:
    first = max(0.0, float(values.min()) - before_mm / mm)
    last = min(count - 1.0, float(values.max()) + after_mm / mm)
    return np.arange(first, last + 1e-9, PIXEL_MM / mm)


def _patient_box(layers: Layers, k: int, pixel_mm: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Rows and columns that hold the patient: where anything is labelled and, without such labels, denser than air."""
    source = layers.predicted or layers.reference
    labels = source.labels[k]
    inside = (labels != Structure.OUTSIDE) & (labels != Structure.TABLE)
    if layers.predicted is None:
        inside |= ndimage.binary_opening(layers.volume.hu[k] > -300, iterations=3)
    spans = []
    for axis, mm in enumerate(pixel_mm):
        hit = np.flatnonzero(inside.any(axis=1 - axis))
        low, high = (int(hit[0]), int(hit[-1])) if len(hit) else (0, inside.shape[axis] - 1)
        margin = round(_AXIAL_MARGIN_MM / mm)
        spans.append(np.arange(max(0, low - margin), min(inside.shape[axis], high + 1 + margin), dtype=np.float64))
    return spans[0], spans[1]


def _sample(array: npt.NDArray[np.generic], where: FloatArray, order: int, outside: int) -> FloatArray:
    values: FloatArray = ndimage.map_coordinates(
        array, where, output=np.float64, order=order, mode="constant", cval=outside, prefilter=False
    )
    return values
