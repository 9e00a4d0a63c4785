"""Segment pixels put onto the pixel matrices of the source images, or kept on the canonical grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.enum import CoordinateSystemNames

from trabecula.geometry import Geometry
from trabecula.outputs.dicom.source import SourceImage

Planes = npt.NDArray[np.uint8]

_ACROSS_PIXELS: Final = 0.5
_ALONG_SLICES: Final = 0.5
"""How far a source's pixels may lie off the grid and still be the same: positions are rounded, grids are fitted."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Frames with where they lie."""

    pixels: Planes
    """(frames, rows, columns)"""
    images: tuple[SourceImage, ...]
    """One for each frame where ``on_source``; else those that the grid was made of."""
    on_source: bool
    """Frames correspond pixel for pixel with ``images``."""
    positions: tuple[PlanePositionSequence, ...]
    orientation: PlaneOrientationSequence
    measures: PixelMeasuresSequence


def place(planes: Sequence[int], pixels: Planes, geometry: Geometry, images: Sequence[SourceImage]) -> Placed:
    """Frames in the geometry of the source images where each plane has one, else in the grid's own.

    The grid's own geometry is used for scans that were resampled (gantry tilt) and for multi-frame sources.
    """
    matched = _match(planes, geometry, images)
    if matched is None:
        return _on_grid(planes, pixels, geometry, images)
    frames = np.stack([_onto(plane, turn) for plane, (_, turn) in zip(pixels, matched, strict=True)])
    sources = tuple(image for image, _ in matched)
    first = sources[0]
    return Placed(
        pixels=frames,
        images=sources,
        on_source=True,
        positions=tuple(_position(image.position) for image in sources),
        orientation=PlaneOrientationSequence(CoordinateSystemNames.PATIENT, [_ds(v) for v in first.orientation]),
        measures=_measures(first.spacing, first.thickness_mm, geometry.spacing_mm[0]),
    )


@dataclass(frozen=True)
class _Turn:
    """How a canonical plane (J, I) becomes a source's pixel matrix."""

    transpose: bool
    flip_rows: bool
    flip_columns: bool


def _match(
    planes: Sequence[int], geometry: Geometry, images: Sequence[SourceImage]
) -> list[tuple[SourceImage, _Turn]] | None:
    by_plane: dict[int, tuple[SourceImage, _Turn]] = {}
    for image in images:
        fitted = _fit(image, geometry) if image.placed else None
        if fitted is not None:
            by_plane.setdefault(fitted[0], (image, fitted[1]))
    if not planes or any(k not in by_plane for k in planes):
        return None
    matched = [by_plane[k] for k in planes]
    same = {(image.rows, image.columns, image.spacing, image.orientation) for image, _ in matched}
    return matched if len(same) == 1 else None


def _fit(image: SourceImage, geometry: Geometry) -> tuple[int, _Turn] | None:
    """Plane and turn of an image whose corners lie on the corners of one of the grid's planes."""
    corners = np.array([(0, 0, 1), (image.rows - 1, 0, 1), (0, image.columns - 1, 1)], dtype=np.float64)
    index = geometry.lps_to_index(corners @ image.pixel_to_lps.T)
    k = round(float(index[0, 0]))
    if not 0 <= k < geometry.shape[0] or np.abs(index[:, 0] - k).max() > _ALONG_SLICES:
        return None
    down_rows = index[1, 1:] - index[0, 1:]
    transpose = abs(down_rows[1]) > abs(down_rows[0])
    along_row = index[2, 1:] - index[0, 1:]
    turn = _Turn(transpose, bool(down_rows[int(transpose)] < 0), bool(along_row[int(not transpose)] < 0))
    height, width = geometry.shape[1:]
    expected = _corners(turn, height, width)
    if (image.columns, image.rows) != ((height, width) if transpose else (width, height)):
        return None
    return (k, turn) if np.abs(index[:, 1:] - expected).max() <= _ACROSS_PIXELS else None


def _corners(turn: _Turn, height: int, width: int) -> npt.NDArray[np.float64]:
    """(j, i) of the pixels (0, 0), (last row, 0), (0, last column)."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    turned = np.swapaxes(grid, 0, 1) if turn.transpose else grid
    turned = turned[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]
    return np.array([turned[0, 0], turned[-1, 0], turned[0, -1]], dtype=np.float64)


def _onto(plane: Planes, turn: _Turn) -> Planes:
    turned = plane.T if turn.transpose else plane
    return turned[:: -1 if turn.flip_rows else 1, :: -1 if turn.flip_columns else 1]


def _on_grid(planes: Sequence[int], pixels: Planes, geometry: Geometry, images: Sequence[SourceImage]) -> Placed:
    k_mm, j_mm, i_mm = geometry.spacing_mm
    along_row, along_column = geometry.affine[:3, 2] / i_mm, geometry.affine[:3, 1] / j_mm
    return Placed(
        pixels=pixels,
        images=tuple(images),
        on_source=False,
        positions=tuple(_position([float(v) for v in geometry.index_to_lps((k, 0, 0))]) for k in planes),
        orientation=PlaneOrientationSequence(
            CoordinateSystemNames.PATIENT, [_ds(float(v)) for v in (*along_row, *along_column)]
        ),
        measures=_measures((j_mm, i_mm), k_mm, k_mm),
    )


def _position(position: Sequence[float]) -> PlanePositionSequence:
    return PlanePositionSequence(CoordinateSystemNames.PATIENT, [_ds(value) for value in position])


def _measures(spacing: Sequence[float], thickness_mm: float | None, step_mm: float) -> PixelMeasuresSequence:
    return PixelMeasuresSequence(
        pixel_spacing=[_ds(value) for value in spacing],
        slice_thickness=_ds(thickness_mm or step_mm),
        spacing_between_slices=_ds(step_mm),
    )


def _ds(value: float) -> float:
    """A number that fits the 16 characters of a DS."""
    return float(f"{value:.9g}")
