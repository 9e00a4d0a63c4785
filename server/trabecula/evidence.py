"""Planes of the scan for people to look at: one along the column, one through each target level.

Only the planes are resampled, never the volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import Anatomy, Level, Structure, VertebraInstance
from trabecula.bone.vertebra import TrabecularRoi
from trabecula.calibration.density_result import VertebraResult
from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.study import OUTSIDE_HU, CtVolume
from trabecula.report import View

TissueMap = npt.NDArray[np.uint8]

AXIAL_LEVELS: Final = (Level.T11, Level.T12, Level.L1)
SAGITTAL_PIXEL_MM: Final = 0.8
SAGITTAL_FRONT_MM: Final = 85.0
"""How far the picture reaches in front of the foremost vertebral body's centre."""
SAGITTAL_BACK_MM: Final = 75.0
COLUMN_SMOOTHING_MM: Final = 15.0
AXIAL_MARGIN_MM: Final = 8.0


def build_views(
    volume: CtVolume,
    anatomy: Anatomy,
    vertebrae: Sequence[VertebraResult],
    tissue: Mapping[int, TissueMap],
) -> tuple[View, ...]:
    """The sagittal view along the column, then an axial view at each of T11, T12, L1 that is in view.

    Args:
        volume: CT on the canonical grid.
        anatomy: labels and vertebrae on the same grid.
        vertebrae: results whose ROIs are drawn.
        tissue: tissue maps (J, I) of axial slices by their k index, as composition measured them.

    Returns:
        No views when no vertebra is known.
    """
    if not anatomy.vertebrae:
        return ()
    rois = {vertebra.level: vertebra.roi for vertebra in vertebrae if vertebra.roi is not None}
    axial = (
        _axial(volume, anatomy, vertebra, rois.get(vertebra.level), tissue)
        for level in AXIAL_LEVELS
        if (vertebra := anatomy.vertebra(level)) is not None and _mid_body_in_view(vertebra, volume.geometry)
    )
    return (_sagittal(volume, anatomy, tuple(rois.values())), *axial)


def _sagittal(volume: CtVolume, anatomy: Anatomy, rois: Sequence[TrabecularRoi]) -> View:
    """A surface that follows the column from side to side, unrolled: head up, front to the left."""
    geometry = volume.geometry
    centres = np.array([geometry.lps_to_index(v.centroid_lps_mm) for v in anatomy.vertebrae])
    centres = centres[np.argsort(centres[:, 0])]
    k_mm, j_mm, _ = geometry.spacing_mm
    k = np.arange(geometry.shape[0] - 1, -1e-9, -SAGITTAL_PIXEL_MM / k_mm)
    j = _sagittal_columns(centres[:, 1], geometry.shape[1], j_mm)
    # a straight continuation above and below the named vertebrae; smoothing takes the corners off
    i = ndimage.gaussian_filter1d(
        np.interp(k, centres[:, 0], centres[:, 2]), COLUMN_SMOOTHING_MM / SAGITTAL_PIXEL_MM, mode="nearest"
    )
    plane = np.stack(np.broadcast_arrays(k[:, None], j[None, :], i[:, None]), axis=-1)
    marks = tuple(
        (
            vertebra.level.value,
            float((k[0] - row) * k_mm / SAGITTAL_PIXEL_MM),
            float((column - j[0]) * j_mm / SAGITTAL_PIXEL_MM),
        )
        for vertebra in anatomy.vertebrae
        for row, column, _ in [geometry.lps_to_index(vertebra.centroid_lps_mm)]
    )
    return View(
        kind="sagittal",
        level=None,
        hu=_sample(volume.hu, plane, order=1, outside=OUTSIDE_HU).round().astype(np.int16),
        labels=_sample(anatomy.labels, plane, order=0, outside=0).astype(np.uint8),
        tissue=None,
        pixel_mm=(SAGITTAL_PIXEL_MM, SAGITTAL_PIXEL_MM),
        marks=marks,
        roi_mask=_roi_mask(rois, geometry.index_to_lps(plane)),
    )


def _sagittal_columns(column_j: FloatArray, columns: int, j_mm: float) -> FloatArray:
    """Fractional j of the picture's columns: from well in front of the column to behind its processes."""
    first = max(0.0, float(column_j.min()) - SAGITTAL_FRONT_MM / j_mm)
    last = min(columns - 1.0, float(column_j.max()) + SAGITTAL_BACK_MM / j_mm)
    return np.arange(first, last + 1e-9, SAGITTAL_PIXEL_MM / j_mm)


def _axial(
    volume: CtVolume,
    anatomy: Anatomy,
    vertebra: VertebraInstance,
    roi: TrabecularRoi | None,
    tissue: Mapping[int, TissueMap],
) -> View:
    """The scan's own slice through the middle of a body, cropped to the patient."""
    geometry = volume.geometry
    k, j, i = geometry.lps_to_index(vertebra.centroid_lps_mm)
    index = round(float(k))
    labels = anatomy.labels[index]
    _, j_mm, i_mm = geometry.spacing_mm
    rows, columns = _body_box(labels, (j_mm, i_mm))
    grid = np.stack(
        np.meshgrid(index, np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop), indexing="ij"),
        axis=-1,
    )[0]
    return View(
        kind="axial",
        level=vertebra.level,
        hu=volume.hu[index, rows, columns].copy(),
        labels=labels[rows, columns].copy(),
        tissue=None if index not in tissue else tissue[index][rows, columns].copy(),
        pixel_mm=(j_mm, i_mm),
        marks=((vertebra.level.value, float(j) - rows.start, float(i) - columns.start),),
        roi_mask=None if roi is None else _roi_mask((roi,), geometry.index_to_lps(grid)),
    )


def _mid_body_in_view(vertebra: VertebraInstance, geometry: Geometry) -> bool:
    k = float(geometry.lps_to_index(vertebra.centroid_lps_mm)[0])
    return vertebra.complete and 0 <= round(k) < geometry.shape[0]


def _body_box(labels: npt.NDArray[np.uint8], pixel_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns that hold the patient, with a small margin; everything when nothing is labelled."""
    body = (labels != Structure.OUTSIDE) & (labels != Structure.TABLE)
    box = []
    for axis, size_mm in enumerate(pixel_mm):
        filled = np.flatnonzero(body.any(axis=1 - axis))
        if not len(filled):
            box.append(slice(0, labels.shape[axis]))
            continue
        margin = round(AXIAL_MARGIN_MM / size_mm)
        box.append(slice(max(0, int(filled[0]) - margin), min(labels.shape[axis], int(filled[-1]) + 1 + margin)))
    return box[0], box[1]


def _sample(array: npt.NDArray[np.generic], plane: FloatArray, *, order: int, outside: int) -> FloatArray:
    coordinates = np.moveaxis(plane, -1, 0)
    values: FloatArray = ndimage.map_coordinates(
        array, coordinates, output=np.float64, order=order, mode="constant", cval=outside, prefilter=False
    )
    return values


def _roi_mask(rois: Sequence[TrabecularRoi], points_mm: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the (..., 3) LPS points lie in one of the elliptic cylinders."""
    inside = np.zeros(points_mm.shape[:-1], dtype=np.bool_)
    for roi in rois:
        offset = points_mm - np.asarray(roi.centre_lps_mm)
        across = offset @ np.asarray(roi.left) / roi.half_width_mm
        along = offset @ np.asarray(roi.anterior) / roi.half_depth_mm
        up = offset @ np.asarray(roi.superior) / roi.half_height_mm
        inside |= (across**2 + along**2 <= 1) & (np.abs(up) <= 1)
    return inside
