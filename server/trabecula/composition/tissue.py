"""Muscle and fat in one axial slab: the one source of both the areas and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from trabecula.anatomy import BODY_LABEL_BASE, Anatomy, LabelArray, Structure
from trabecula.calibration.calibration import Calibration
from trabecula.clinical import ClinicalConstants
from trabecula.composition.morphology import BoolPlane, closed, distance_inside, enclosed, grown, opened, pieces
from trabecula.composition.rules import TissueRules, tissue_rules
from trabecula.imaging.study import CtVolume

FloatPlane = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
TissueMap = npt.NDArray[np.uint8]


class Tissue(IntEnum):
    """Values of a tissue map."""

    NONE = 0
    MUSCLE = 1
    IMAT = 2
    """Intermuscular fat: fat inside the muscle compartment."""
    SAT = 3
    """Subcutaneous fat."""
    VAT = 4
    """Visceral fat: fat inside the wall of trunk and abdomen."""


_NOT_BODY: Final = (Structure.OUTSIDE, Structure.TABLE)
_INNER: Final = (
    Structure.CAVITY,
    Structure.LUNG,
    Structure.TRACHEA,
    Structure.HEART,
    Structure.AORTA,
    Structure.LIVER,
    Structure.SPLEEN,
    Structure.KIDNEY,
)
_BONE: Final = (Structure.RIB, Structure.OTHER_BONE)
_GAS_DEPTH_MM: Final = 8.0
"""Gas nearer to the surface than this is outside air in a fold, or in the skin."""
_NOISE_WINDOW_MM: Final = 6.0
_BESIDE_SPINE_MM: Final = 25.0
_SECTORS: Final = 180
_MAX_RIB_GAP: Final = 25
"""Of 180 sectors: 50 degrees."""
_PLEURA_MM: Final = 2.0
"""Inside the ribs come fascia, pleura and the diaphragm's slips before the organs."""
_SPINE: Final = (Structure.SPINAL_CANAL, Structure.INTERVERTEBRAL_DISC)


@dataclass(frozen=True, eq=False)
class Plane:
    """One axial slab brought to a plane. All arrays are (J, I)."""

    hu: FloatPlane
    """Mean calibrated attenuation over the slab."""
    labels: LabelArray
    pixel_mm: tuple[float, float]

    @property
    def pixel_cm2(self) -> float:
        return self.pixel_mm[0] * self.pixel_mm[1] / 100.0


def slab_plane(
    volume: CtVolume, anatomy: Anatomy, slice_index: int, rules: TissueRules, calibration: Calibration | None = None
) -> Plane:
    """The slab about a slice: attenuation averaged over an odd number of slices, about ``slab_mm`` thick.

    Averaging over the thickness that published cut-offs were read at keeps the noise of thin slices from
    throwing pixels out of the windows.
    """
    spacing = volume.geometry.spacing_mm
    side = max(0, int((rules.slab_mm / spacing[0] - 1.0) / 2.0 + 0.5))
    low, high = max(0, slice_index - side), min(volume.geometry.shape[0], slice_index + side + 1)
    hu = volume.hu[low:high].mean(axis=0, dtype=np.float32)
    if calibration is not None:
        hu = hu * np.float32(calibration.gain) + np.float32(calibration.offset_hu)
    return Plane(hu, anatomy.labels[slice_index], (spacing[1], spacing[2]))


@dataclass(frozen=True, eq=False)
class TissuePlane:
    """A classified plane, whole image. All arrays are (J, I)."""

    plane: Plane
    """Attenuation as measured in the slab, before any smoothing."""
    body: BoolPlane
    tissue: TissueMap
    noise_hu: float
    """Noise of the image that was classified."""


def tissue_map(
    volume: CtVolume,
    anatomy: Anatomy,
    slice_index: int,
    constants: ClinicalConstants,
    calibration: Calibration | None = None,
) -> TissueMap:
    """Muscle and fat of the slab about an axial slice.

    Args:
        volume: CT numbers.
        anatomy: labels on the same grid; coarse outlines will do, attenuation refines them.
        slice_index: k of the slice.
        constants: clinical data.
        calibration: its gain and offset are applied before the windows; None leaves HU as on the scan.

    Returns:
        (J, I) :class:`Tissue` values.
    """
    rules = tissue_rules(constants)
    return classify_plane(slab_plane(volume, anatomy, slice_index, rules, calibration), rules).tissue


def classify_plane(plane: Plane, rules: TissueRules) -> TissuePlane:
    """Muscle and fat of one plane; see :func:`tissue_map`."""
    found = np.zeros(plane.hu.shape, dtype=np.uint8)
    body = body_outline(plane, rules)
    if not body.any():
        return TissuePlane(plane, body, found, 0.0)
    box = ndi.find_objects(body.astype(np.uint8))[0]
    cut = Plane(plane.hu[box], plane.labels[box], plane.pixel_mm)
    calm, noise_hu = _calmed(cut, body[box], rules)
    found[box] = _classify(calm, body[box], rules)
    return TissuePlane(plane, body, found, noise_hu)


def _calmed(plane: Plane, body: BoolPlane, rules: TissueRules) -> tuple[Plane, float]:
    """The plane smoothed as little as brings its noise under ``max_noise_hu``, and the noise that is left.

    In sharp kernels and at low dose noise is wider than the windows, and fat breaks up into specks of muscle.
    """
    inside = body & (plane.hu > rules.body_above_hu)
    for sigma_mm in (0.0, *rules.smoothing_mm):
        sigma = [sigma_mm / mm for mm in plane.pixel_mm]
        hu = plane.hu if sigma_mm == 0.0 else ndi.gaussian_filter(plane.hu, sigma, truncate=3.0)
        calm = Plane(hu, plane.labels, plane.pixel_mm)
        noise_hu = _noise_hu(calm, inside)
        if noise_hu <= rules.max_noise_hu:
            break
    return calm, noise_hu


def _noise_hu(plane: Plane, inside: BoolPlane) -> float:
    """Noise as the lower quartile of the standard deviation in windows of some millimetres: the flat places."""
    window = [max(3, round(_NOISE_WINDOW_MM / mm)) for mm in plane.pixel_mm]
    mean = ndi.uniform_filter(plane.hu, window)
    square = ndi.uniform_filter(plane.hu * plane.hu, window)
    spread = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return float(np.quantile(spread[inside], 0.25))


def body_outline(plane: Plane, rules: TissueRules) -> BoolPlane:
    """The trunk in the plane, filled: the largest piece that is denser than air and labelled as body."""
    labelled = ~np.isin(plane.labels, _NOT_BODY)
    near = grown(labelled, 3.0, plane.pixel_mm)
    dense = (plane.hu > rules.body_above_hu) & near
    numbered, count = ndi.label(dense)
    if count == 0:
        return np.zeros(plane.hu.shape, dtype=bool)
    largest = np.bincount(numbered.ravel())[1:].argmax() + 1
    return np.asarray(ndi.binary_fill_holes(numbered == largest))


def _classify(plane: Plane, body: BoolPlane, rules: TissueRules) -> TissueMap:
    hu, mm = plane.hu, plane.pixel_mm
    depth = distance_inside(body, mm)
    gas = body & (hu < rules.gas_below_hu)
    bone, spine = _bone(plane, body & (depth > rules.skin_mm), rules)
    inner = _inner(plane, gas & (depth > _GAS_DEPTH_MM), bone | spine, rules) & body
    inner |= _within_ribs(inner, bone, spine, mm) & body & ~bone & ~spine
    wall = body & ~inner & ~bone & ~spine
    fat = (hu >= rules.fat_hu[0]) & (hu <= rules.fat_hu[1])
    muscle = wall & (depth > rules.skin_mm) & (hu >= rules.muscle_hu[0]) & (hu <= rules.muscle_hu[1])
    muscle = pieces(muscle & ~_cartilage(plane, bone | spine, rules), rules.min_muscle_mm2, mm)
    # Thick skin, as on the back, reaches past skin_mm but is a piece by itself that goes no deeper.
    muscle = ndi.binary_propagation(muscle & (depth > rules.muscle_reaches_mm), mask=muscle)
    compartment = closed(muscle, rules.compartment_mm, mm) & wall
    fascia = enclosed(muscle | inner | spine | bone, rules.fascia_mm, mm)
    away_from_gas = ~grown(gas, rules.gas_rim_mm, mm)
    found = np.zeros(hu.shape, dtype=np.uint8)
    found[fat & body & ~fascia & (depth > rules.surface_mm)] = Tissue.SAT
    # Fat between a cavity outlined too small and the wall's muscle belongs to the cavity it is continuous with.
    visceral = ndi.binary_propagation(inner, mask=inner | (fat & fascia & wall & ~compartment))
    found[fat & visceral & away_from_gas] = Tissue.VAT
    found[fat & compartment & away_from_gas] = Tissue.IMAT
    found[muscle] = Tissue.MUSCLE
    return found


def _bone(plane: Plane, body: BoolPlane, rules: TissueRules) -> tuple[BoolPlane, BoolPlane]:
    """(ribs and other bone, spine with canal and discs)."""
    spine = np.isin(plane.labels, _SPINE) | (plane.labels >= BODY_LABEL_BASE)
    bone = np.isin(plane.labels, _BONE)
    dense = body & (plane.hu > rules.bone_above_hu) & ~np.isin(plane.labels, _INNER)
    # Cortex is a ring: its filling is marrow, which has muscle's attenuation.
    ring = _filled(closed(dense, 1.5, plane.pixel_mm), rules.max_marrow_mm2, plane.pixel_mm)
    bone = (bone & grown(ring, 1.5, plane.pixel_mm)) | ring
    spine = ndi.binary_fill_holes(closed(spine, 3.0, plane.pixel_mm))
    return bone & body & ~spine, np.asarray(spine)


def _filled(mask: BoolPlane, max_hole_mm2: float, pixel_mm: tuple[float, float]) -> BoolPlane:
    """The mask with its smaller holes filled. A wide one is no marrow: cables, or skin in a sharp kernel, ring it."""
    holes = ndi.binary_fill_holes(mask) & ~mask
    return np.asarray(mask | (holes & ~pieces(holes, max_hole_mm2, pixel_mm)))


def _inner(plane: Plane, gas: BoolPlane, bone: BoolPlane, rules: TissueRules) -> BoolPlane:
    """Everything inside the wall: labelled cavity and organs, the gas in them, and what lies between.

    In front of the spine trunk and abdomen are convex, so gaps that a coarse model leaves between organs are
    filled along rows and columns. Behind it the paravertebral gutters are not, and labels alone count.
    """
    seeds = pieces(np.isin(plane.labels, _INNER) | gas, rules.min_muscle_mm2, plane.pixel_mm)
    inner = ndi.binary_fill_holes(closed(seeds, rules.compartment_mm, plane.pixel_mm))
    rows = np.flatnonzero((plane.labels >= BODY_LABEL_BASE).any(axis=1))
    front = int(rows[0]) if rows.size else 0
    inner[:front] = _between_ends(_between_ends(inner[:front]).T).T
    return np.asarray(inner & ~bone)


def _within_ribs(inner: BoolPlane, bone: BoolPlane, spine: BoolPlane, pixel_mm: tuple[float, float]) -> BoolPlane:
    """What lies inside the ring of ribs: between ribs that are near each other the wall runs from one to the next.

    Liver and spleen have muscle's attenuation, so an organ that a coarse outline leaves to the wall would count
    as muscle. Ribs beside the spine do not serve: there the chest wall turns inwards.
    """
    ribs = bone & ~grown(spine, _BESIDE_SPINE_MM, pixel_mm)
    if not inner.any() or not ribs.any():
        return np.zeros_like(inner)
    centre = np.argwhere(inner).mean(axis=0)
    rows, columns = np.ogrid[: inner.shape[0], : inner.shape[1]]
    down, across = (rows - centre[0]) * pixel_mm[0], (columns - centre[1]) * pixel_mm[1]
    radius, angle = np.hypot(down, across), np.arctan2(down, across)
    sector = ((angle + np.pi) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
    nearest = np.full(_SECTORS, np.inf)
    np.minimum.at(nearest, sector[ribs], radius[ribs])
    # A rib's ends show its outer parts; the sectors beside them know where its inner face is.
    faces = np.where(np.isfinite(nearest), ndi.minimum_filter1d(nearest, 5, mode="wrap"), np.inf)
    return np.asarray(radius < _bridged(faces)[sector] - _PLEURA_MM)


def _bridged(radius_mm: FloatArray) -> FloatArray:
    """Radii by sector, along chords across gaps up to :data:`_MAX_RIB_GAP` sectors; 0 in wider ones."""
    count = len(radius_mm)
    known = np.flatnonzero(np.isfinite(radius_mm))
    around = np.concatenate([known - count, known, known + count])
    sectors = np.arange(count)
    after = np.searchsorted(around, sectors)
    first, last = around[after - 1], around[after]
    to_angle = 2 * np.pi / count
    # A chord's distance from the centre in a direction between its ends; the wall bulges out of it.
    gap = np.sin((last - first) * to_angle)
    inverse = np.sin((last - sectors) * to_angle) / radius_mm[first % count]
    inverse = inverse + np.sin((sectors - first) * to_angle) / radius_mm[last % count]
    near = (last - first <= _MAX_RIB_GAP) & (inverse > 0.0)
    chord = np.where(near, gap / np.where(near, inverse, 1.0), 0.0)
    return np.where(np.isfinite(radius_mm), radius_mm, chord)


def _between_ends(mask: BoolPlane) -> BoolPlane:
    """Each row filled between its first and last True."""
    return np.asarray(np.maximum.accumulate(mask, axis=1) & np.maximum.accumulate(mask[:, ::-1], axis=1)[:, ::-1])


def _cartilage(plane: Plane, bone: BoolPlane, rules: TissueRules) -> BoolPlane:
    """Costal cartilage: denser than muscle over its whole width, in front of the spine."""
    smooth = ndi.gaussian_filter(plane.hu, [1.5 / mm for mm in plane.pixel_mm])
    labelled = np.isin(plane.labels, _BONE) & (smooth > rules.labelled_cartilage_above_hu)
    core = ((smooth > rules.cartilage_above_hu) | labelled) & (plane.hu <= rules.bone_above_hu) & ~bone
    front = np.zeros(plane.hu.shape, dtype=bool)
    front[: int(plane.hu.shape[0] * 0.6)] = True
    return grown(opened(core & front, 1.5, plane.pixel_mm), 1.5, plane.pixel_mm)
