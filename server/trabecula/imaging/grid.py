"""From placed slices to the canonical grid, or the reasons why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.instance import Slice
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.refusals import inform, refuse, warn
from trabecula.imaging.stacks import Stack, slice_normal
from trabecula.outcome import Notice, Refusal, RefusalCode

_ROUNDING_MM = 0.11
"""Positions are often written with one decimal."""
_ROUNDED_UP = 1.01
"""5 mm may be written, or come out of positions, as 5.001."""
_LEAST_PIXEL_MM = 0.01
"""No CT of a person has smaller pixels; squares of much smaller numbers vanish."""
_GAP_FACTOR = 1.5
_DRIFT_PIXELS = 0.5
"""In-plane drift over the whole stack that needs no resampling."""


@dataclass(frozen=True, eq=False)
class GridPlan:
    """How slices become the canonical volume. Decided before any pixel is decoded."""

    slices: tuple[Slice, ...]
    """From foot to head."""
    transpose: bool
    """Swap rows and columns first,"""
    flip_j: bool
    """then reverse j,"""
    flip_i: bool
    """then i."""
    shift_rows: FloatArray | None
    """(K,) rows by which each slice is moved towards larger j to undo gantry tilt; None without tilt."""
    geometry: Geometry
    slice_mm: float
    """Larger of slice thickness and spacing."""
    notices: tuple[Notice, ...]


def plan_grid(stack: Stack, limits: ImagingLimits) -> GridPlan | tuple[Refusal, ...]:
    """The grid of a stack, or every reason against it."""
    first = stack.slices[0].frame
    if not (first.position and first.orientation and first.pixel_spacing) or not _orthonormal(first.orientation):
        return (refuse(RefusalCode.NO_AXIAL_SERIES, "The header does not place the images."),)
    if min(first.pixel_spacing) < _LEAST_PIXEL_MM:
        return (refuse(RefusalCode.NO_AXIAL_SERIES, "The header gives no pixel spacing."),)
    normal = slice_normal(first.orientation)
    oblique_deg = math.degrees(math.acos(min(1.0, abs(float(normal[2])))))
    if oblique_deg > limits.max_oblique_deg:
        return (refuse(RefusalCode.NO_AXIAL_SERIES, f"Its slices stand {oblique_deg:.0f} degrees from axial."),)
    slices, notices, refusals = _uniform_run(stack.slices, limits)
    refusals += _coverage(slices, limits)
    if refusals:
        return refusals
    return _plan(slices, notices, limits)


def _orthonormal(orientation: tuple[float, ...]) -> bool:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(np.allclose(lengths, 1.0, atol=0.01) and abs(row @ column) < 0.01)


def _positions(slices: Sequence[Slice]) -> FloatArray:
    return np.array([one.frame.position for one in slices], dtype=np.float64)


def _along(slices: Sequence[Slice]) -> FloatArray:
    """Position of each slice along the normal that looks towards the head, mm."""
    along: FloatArray = _positions(slices) @ slice_normal(slices[0].frame.orientation)
    return along


def _uniform_run(
    slices: tuple[Slice, ...], limits: ImagingLimits
) -> tuple[tuple[Slice, ...], tuple[Notice, ...], tuple[Refusal, ...]]:
    """Slices without gap; a few beyond a gap near an end are dropped with a notice."""
    notices: tuple[Notice, ...] = ()
    while len(slices) > 2:
        steps = np.diff(_along(slices))
        median = float(np.median(steps))
        gaps = np.flatnonzero(steps > _GAP_FACTOR * median)
        if gaps.size == 0:
            allowed = max(limits.spacing_tolerance * median, _ROUNDING_MM)
            if float(np.abs(steps - median).max()) > allowed:
                detail = f"Steps run from {steps.min():.2f} to {steps.max():.2f} mm."
                return slices, notices, (refuse(RefusalCode.NON_UNIFORM_SPACING, detail),)
            return slices, notices, ()
        below, above = int(gaps[0]) + 1, len(slices) - int(gaps[-1]) - 1
        dropped = min(below, above)
        if dropped > min(limits.max_end_slices_dropped, limits.max_end_fraction_dropped * len(slices)):
            return slices, notices, (refuse(RefusalCode.SLICE_GAP, _where(slices, gaps, steps, median)),)
        slices = slices[below:] if below <= above else slices[:-above]
        notices += (warn("end-slices-dropped", f"{dropped} slice(s) beyond a gap at an end were left out."),)
    return slices, notices, ()


def _where(slices: Sequence[Slice], gaps: np.ndarray, steps: FloatArray, median: float) -> str:
    missing = sum(round(float(steps[gap]) / median) - 1 for gap in gaps)
    places = ", ".join(
        f"{steps[gap]:.1f} mm between slices {gap + 1} and {gap + 2} of {len(slices)} from the feet" for gap in gaps[:3]
    )
    return (
        f"About {missing} missing: {places}{' and more' if gaps.size > 3 else ''}; the usual step is {median:.2f} mm."
    )


def _coverage(slices: Sequence[Slice], limits: ImagingLimits) -> tuple[Refusal, ...]:
    refusals: tuple[Refusal, ...] = ()
    thickness = slices[0].frame.thickness_mm or 0.0
    if len(slices) < 2:
        return (refuse(RefusalCode.TOO_FEW_SLICES, f"It has {len(slices)} slice(s)."),)
    along = _along(slices)
    step = float(np.median(np.diff(along)))
    extent = float(along[-1] - along[0]) + step
    if len(slices) < limits.min_slices or extent < limits.min_extent_mm:
        refusals += (refuse(RefusalCode.TOO_FEW_SLICES, f"It has {len(slices)} slices over {extent:.0f} mm."),)
    slice_mm = max(thickness, step)
    if slice_mm > limits.max_slice_mm * _ROUNDED_UP:
        detail = f"{slice_mm:.1f} mm, at most {limits.max_slice_mm:.1f} mm can be used."
        refusals += (refuse(RefusalCode.SLICES_TOO_THICK, detail),)
    return refusals


def _plan(
    slices: tuple[Slice, ...], notices: tuple[Notice, ...], limits: ImagingLimits
) -> GridPlan | tuple[Refusal, ...]:
    frame, pixels = slices[0].frame, slices[0].instance.pixels
    row_step = np.asarray(frame.orientation[3:]) * frame.pixel_spacing[0]
    column_step = np.asarray(frame.orientation[:3]) * frame.pixel_spacing[1]
    positions = _positions(slices)
    k_step = (positions[-1] - positions[0]) / (len(slices) - 1)
    origin = positions[0].copy()

    transpose = abs(column_step[1]) / frame.pixel_spacing[1] > abs(row_step[1]) / frame.pixel_spacing[0]
    j_step, i_step = (column_step, row_step) if transpose else (row_step, column_step)
    j_size, i_size = (pixels.columns, pixels.rows) if transpose else (pixels.rows, pixels.columns)
    flip_j, flip_i = bool(j_step[1] < 0), bool(i_step[0] < 0)
    if flip_j:
        origin, j_step = origin + (j_size - 1) * j_step, -j_step
    if flip_i:
        origin, i_step = origin + (i_size - 1) * i_step, -i_step

    if _strays(positions - positions[0] - np.outer(np.arange(len(slices)), k_step), j_step, i_step, k_step):
        return (refuse(RefusalCode.NON_UNIFORM_SPACING, "The slices do not lie in one straight row."),)
    tilt = _tilt(k_step, j_step, i_step, len(slices), limits)
    if isinstance(tilt, Refusal):
        return (tilt,)
    shift_rows: FloatArray | None = None
    if tilt:
        shift = tilt * np.arange(len(slices), dtype=np.float64)
        origin = origin + shift.min() * j_step
        shift_rows = shift - shift.min()
        j_size += math.ceil(float(shift_rows.max()))
        k_step = k_step - tilt * j_step
        angle = math.degrees(math.atan2(abs(tilt) * np.linalg.norm(j_step), np.linalg.norm(k_step)))
        notices += (inform("gantry-tilt-corrected", f"A gantry tilt of {angle:.1f} degrees was undone by resampling."),)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([k_step, j_step, i_step], axis=1)
    affine[:3, 3] = origin
    geometry = Geometry((len(slices), j_size, i_size), affine)
    slice_mm = max(frame.thickness_mm or 0.0, geometry.spacing_mm[0])
    if slice_mm > limits.warn_slice_mm * _ROUNDED_UP:
        notices += (warn("thick-slices", f"Slices of {slice_mm:.1f} mm; 1 to 3 mm measure bone better."),)
    return GridPlan(slices, transpose, flip_j, flip_i, shift_rows, geometry, slice_mm, notices)


def _strays(offsets: FloatArray, j_step: FloatArray, i_step: FloatArray, k_step: FloatArray) -> bool:
    """Whether any slice lies off its place on the grid (offsets: (K, 3) mm) by a pixel, or by half a slice step."""
    normal = np.cross(j_step, i_step)
    normal /= np.linalg.norm(normal)
    across = max(float(np.abs(offsets @ step).max()) / float(step @ step) for step in (j_step, i_step))
    along = float(np.abs(offsets @ normal).max()) / abs(float(k_step @ normal))
    return across > 1.0 or along > 0.5


def _tilt(
    k_step: FloatArray, j_step: FloatArray, i_step: FloatArray, count: int, limits: ImagingLimits
) -> float | Refusal:
    """Rows by which each slice is displaced towards larger j against the one below it; 0 without tilt."""
    rows = float(k_step @ j_step) / float(j_step @ j_step)
    columns = float(k_step @ i_step) / float(i_step @ i_step)
    if abs(columns) * (count - 1) > 2 * _DRIFT_PIXELS:
        return refuse(RefusalCode.GANTRY_TILT, "The slices drift sideways.")
    if abs(rows) * (count - 1) <= _DRIFT_PIXELS:
        return 0.0
    across = np.linalg.norm(k_step - rows * j_step)
    angle = math.degrees(math.atan2(abs(rows) * float(np.linalg.norm(j_step)), float(across)))
    if angle > limits.max_gantry_tilt_deg:
        return refuse(RefusalCode.GANTRY_TILT, f"The tilt is {angle:.1f} degrees.")
    return rows
