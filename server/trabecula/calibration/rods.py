"""Finding the rods of a QCT phantom under the patient: a row of even, evenly spaced discs in the known order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import BODY_LABEL_BASE, Anatomy, Structure
from trabecula.calibration.certificates import PhantomCertificate
from trabecula.calibration.phantom_fit import PhantomFit, RodMeasurement, fit_phantom
from trabecula.calibration.sections import FloatImage, MaskImage, Section, take_sections
from trabecula.clinical import ClinicalConstants, Row
from trabecula.imaging.study import CtVolume

_SLAB_MM: Final = 8.0
_TRIED_RADII_MM: Final = (6.0, 8.0, 10.0, 12.0)
_MOST_CANDIDATES: Final = 24
_INSIDE: Final = 0.7
"""Share of a rod's radius that is measured: its edge and the noise of finding it stay out."""
_SNAP_MM: Final = 4.0
_NO_ROD_HU: Final = -250.0
"""Air and foam; no rod of any phantom is so dark at any tube voltage."""
_NOT_A_ROD: Final = (
    Structure.LUNG,
    Structure.PARASPINAL_MUSCLE,
    Structure.SKELETAL_MUSCLE,
    Structure.RIB,
    Structure.SPINAL_CANAL,
    Structure.CAVITY,
)


@dataclass(frozen=True)
class FoundRods:
    """Rods of one phantom as they show in this scan."""

    certificate: PhantomCertificate
    rods: tuple[RodMeasurement, ...]


@dataclass(frozen=True)
class _Picture:
    """Region behind the spine on a 1 mm grid, rows anterior to posterior."""

    hu: FloatImage
    allowed: MaskImage


@dataclass(frozen=True)
class _Row:
    """Where a phantom's rods may lie, (row, column) in mm, in the certificate's order."""

    places: tuple[tuple[float, float], ...]
    seen: int
    fit: PhantomFit


def find_rods(
    volume: CtVolume,
    anatomy: Anatomy,
    certificates: Sequence[PhantomCertificate],
    constants: ClinicalConstants,
    *,
    whole_picture: bool = False,
) -> FoundRods | None:
    """The phantom whose rods fit best, measured in up to 12 slabs; None when none of the site's phantoms is there.

    They lie behind the spine, or anywhere where ``whole_picture`` is set (a phantom without a patient). Rods that show
    no contrast against the phantom's base (a 0 mg/cm3 rod) are taken where the spacing puts them.
    """
    rule = constants.row("calibration.phantom_rods")
    first_row_mm = 0.0 if whole_picture else _behind_spine_mm(anatomy)
    sections = take_sections(volume, anatomy, constants, _SLAB_MM)
    pictures = [_picture(section, first_row_mm) for section in sections]
    if not pictures or min(pictures[0].hu.shape) < 4 * rule.number("least_radius_mm"):
        return None
    mean = _Picture(
        np.mean([p.hu for p in pictures], axis=0, dtype=np.float32), np.all([p.allowed for p in pictures], axis=0)
    )
    best: tuple[tuple[int, float], PhantomCertificate, float, _Row] | None = None
    for certificate in certificates:
        for radius_mm in (certificate.rod_radius_mm,) if certificate.rod_radius_mm else _TRIED_RADII_MM:
            row = _best_row(mean, certificate, radius_mm, rule, constants)
            if row is None:
                continue
            rank = (row.seen, -row.fit.residual_sd_hu)
            if best is None or rank > best[0]:
                best = rank, certificate, radius_mm, row
    if best is None:
        return None
    _, certificate, radius_mm, row = best
    names = [rod.name for rod in certificate.rods]
    rods = [_measure(pictures, name, place, radius_mm) for name, place in zip(names, row.places, strict=True)]
    return FoundRods(certificate, tuple(rods))


def _behind_spine_mm(anatomy: Anatomy) -> float:
    """Row, in mm from the image's top, a hand's breadth behind the vertebral bodies."""
    rows = [anatomy.geometry.lps_to_index(v.centroid_lps_mm)[1] for v in anatomy.vertebrae]
    middle = float(np.median(rows)) if rows else 0.5 * anatomy.geometry.shape[1]
    return middle * anatomy.geometry.spacing_mm[1] + 45.0


def _picture(section: Section, first_row_mm: float) -> _Picture:
    j_mm, i_mm = section.pixel_mm
    start = min(int(first_row_mm / j_mm), section.slab_hu.shape[0])
    hu = ndimage.zoom(section.slab_hu[start:], (j_mm, i_mm), order=1, grid_mode=True, mode="nearest")
    labels = ndimage.zoom(section.labels[start:], (j_mm, i_mm), order=0, grid_mode=True, mode="nearest")
    return _Picture(np.asarray(hu, np.float32), ~(np.isin(labels, _NOT_A_ROD) | (labels >= BODY_LABEL_BASE)))


def _disc(inner_mm: float, outer_mm: float) -> npt.NDArray[np.float32]:
    reach = math.ceil(outer_mm)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    ring = (np.hypot(x, y) <= outer_mm) & (np.hypot(x, y) >= inner_mm)
    return np.asarray(ring / ring.sum(), np.float32)


def _sides(radius_mm: float) -> tuple[FloatImage, FloatImage]:
    """What lies left and right of a rod: above and below it the phantom's base may end."""
    ring = _disc(1.15 * radius_mm, 1.5 * radius_mm) > 0.0
    reach = ring.shape[0] // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    left, right = ring & (x < -np.abs(y)), ring & (x > np.abs(y))
    return np.asarray(left / left.sum(), np.float32), np.asarray(right / right.sum(), np.float32)


def _best_row(
    picture: _Picture, certificate: PhantomCertificate, radius_mm: float, rule: Row, constants: ClinicalConstants
) -> _Row | None:
    hu = np.maximum(picture.hu, _NO_ROD_HU)
    disc = _disc(0.0, _INSIDE * radius_mm)
    inside = ndimage.correlate(hu, disc, mode="nearest")
    spread = np.sqrt(np.maximum(ndimage.correlate(hu * hu, disc, mode="nearest") - inside**2, 0.0))
    left, right = (inside - ndimage.correlate(hu, side, mode="nearest") for side in _sides(radius_mm))
    is_spot = (left * right > 0.0) & (inside > _NO_ROD_HU + 1.0)
    contrast = np.where(is_spot, np.minimum(np.abs(left), np.abs(right)), 0.0)
    score = np.where(picture.allowed & (contrast >= rule.number("least_contrast_hu")), contrast / (spread + 5.0), 0.0)
    peaks = (score == ndimage.maximum_filter(score, int(2 * radius_mm) | 1)) & (score > 1.0)
    found = np.argwhere(peaks)
    found = found[np.argsort(-score[peaks])][:_MOST_CANDIDATES]
    candidates = np.asarray(found, np.float64)
    best: _Row | None = None
    for places, seen in _rows(
        candidates, len(certificate.rods), radius_mm, certificate.pitch_mm, picture.hu.shape, rule
    ):
        values = [float(inside[round(y), round(x)]) for y, x in places]
        for order in (places, places[::-1]):
            hu_in_order = values if order is places else values[::-1]
            rods = [
                RodMeasurement(rod.name, value, 1.0) for rod, value in zip(certificate.rods, hu_in_order, strict=True)
            ]
            fit = fit_phantom(certificate, rods, constants)
            if not _plausible(fit, rule):
                continue
            if best is None or (seen, -fit.residual_sd_hu) > (best.seen, -best.fit.residual_sd_hu):
                best = _Row(tuple(order), seen, fit)
    return best


def _rows(
    found: npt.NDArray[np.float64],
    count: int,
    radius_mm: float,
    pitch_mm: float | None,
    shape: tuple[int, ...],
    rule: Row,
) -> Iterator[tuple[list[tuple[float, float]], int]]:
    """Rows of ``count`` evenly spaced places that start and end at, or near, candidates; how many are candidates."""
    needed = count if count == 2 else count - 1
    for p in found:
        for q in found:
            dy, dx = q - p
            if dx <= 0 or abs(dy) > rule.number("most_tilt_fraction") * dx:
                continue
            for steps in range(1, count):
                length = math.hypot(dx, dy) / steps
                if not 2.0 * radius_mm < length < 8.0 * radius_mm:
                    continue
                if pitch_mm is not None and abs(length - pitch_mm) > rule.number("pitch_tolerance_mm"):
                    continue
                for first in range(count - steps):
                    ideal = [p + (n - first) / steps * (q - p) for n in range(count)]
                    places, seen = _snapped(ideal, found)
                    if seen >= needed and all(_within(place, shape, radius_mm) for place in places):
                        yield places, seen


def _snapped(
    ideal: Sequence[npt.NDArray[np.float64]], found: npt.NDArray[np.float64]
) -> tuple[list[tuple[float, float]], int]:
    places, seen = [], 0
    for point in ideal:
        distance = np.hypot(*(found - point).T)
        nearest = int(distance.argmin())
        near = bool(distance[nearest] <= _SNAP_MM)
        y, x = found[nearest] if near else point
        places.append((float(y), float(x)))
        seen += near
    return places, seen


def _within(place: tuple[float, float], shape: tuple[int, ...], radius_mm: float) -> bool:
    return all(radius_mm <= at < size - radius_mm for at, size in zip(place, shape, strict=True))


def _plausible(fit: PhantomFit, rule: Row) -> bool:
    low, high = rule.number("least_slope"), rule.number("most_slope")
    return low <= fit.slope_hu_per_mg_cm3 <= high and (
        abs(fit.offset_hu) <= rule.number("most_offset_hu") and fit.residual_sd_hu <= rule.number("most_residual_hu")
    )


def _measure(pictures: Sequence[_Picture], name: str, place: tuple[float, float], radius_mm: float) -> RodMeasurement:
    """Median within the rod in each slab, the rod followed by a few mm; mean over slabs, error by their spread."""
    values = [_median_in(picture.hu, _followed(picture.hu, place, radius_mm), radius_mm) for picture in pictures]
    kept = np.sort(values)[len(values) // 5 : len(values) - len(values) // 5]
    error = float(np.std(kept, ddof=1)) / math.sqrt(len(kept)) if len(kept) > 1 else 2.0
    return RodMeasurement(name, float(np.mean(kept)), error)


def _followed(hu: FloatImage, place: tuple[float, float], radius_mm: float) -> tuple[float, float]:
    """The place nearby whose disc is most even; rods may lie aslant to the scan."""
    y0, x0 = round(place[0]), round(place[1])
    steps = [(dy, dx) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)]

    def unevenness(step: tuple[int, int]) -> float:
        return float(np.std(_inside(hu, (y0 + step[0], x0 + step[1]), 0.9 * radius_mm))) + 0.1 * math.hypot(*step)

    dy, dx = min(steps, key=unevenness)
    return float(y0 + dy), float(x0 + dx)


def _inside(hu: FloatImage, place: tuple[float, float], radius_mm: float) -> npt.NDArray[np.float32]:
    """Pixels of a disc, cut at the picture's edge."""
    reach = math.ceil(radius_mm)
    row, column = round(place[0]), round(place[1])
    top, left = max(0, row - reach), max(0, column - reach)
    near = hu[top : row + reach + 1, left : column + reach + 1]
    y, x = np.ogrid[: near.shape[0], : near.shape[1]]
    return np.asarray(near[np.hypot(y + top - row, x + left - column) <= radius_mm])


def _median_in(hu: FloatImage, place: tuple[float, float], radius_mm: float) -> float:
    return float(np.median(_inside(hu, place, _INSIDE * radius_mm)))
