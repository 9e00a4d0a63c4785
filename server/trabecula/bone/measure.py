"""The bone stage: trabecular attenuation, shape and shell of every vertebral body in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from trabecula.anatomy import Anatomy, Level, VertebraInstance, VertebraPart, vertebra_label
from trabecula.bone import exclusion
from trabecula.bone.blur import Blur, measure_blur
from trabecula.bone.cortex import measure_cortex
from trabecula.bone.deformity import assess_deformities
from trabecula.bone.endplates import Endplates, fit_endplates
from trabecula.bone.exclusion import Subchondral
from trabecula.bone.frame import Frame, as_vector, resample, vertebra_frame
from trabecula.bone.heights import BodyProfile, read_profile
from trabecula.bone.roi import Hole, RoiStatistics, measure_roi, place_roi
from trabecula.bone.rules import BoneRules, bone_rules, compact_hu
from trabecula.bone.shape import BodyShape, find_shape
from trabecula.bone.vertebra import (
    Deformity,
    DeformityStatus,
    Exclusion,
    ExclusionReason,
    RoiGrowth,
    TrabecularRoi,
    VertebraMeasurement,
)
from trabecula.clinical import ClinicalConstants
from trabecula.geometry import FloatArray
from trabecula.imaging.study import OUTSIDE_HU, Acquisition, CtVolume, SpectralFilter
from trabecula.outcome import Refusal, RefusalCode, Stage


@dataclass(frozen=True, eq=False)
class _Body:
    """One vertebra on its own, before it is seen beside its neighbours."""

    measurement: VertebraMeasurement
    exclusions: tuple[Exclusion, ...]
    profile: BodyProfile | None = None
    excess: Subchondral | None = None
    top_lps_mm: FloatArray | None = None
    bottom_lps_mm: FloatArray | None = None
    """Centres of the endplates."""


@dataclass(frozen=True, eq=False)
class _Scan:
    """What all bodies of one scan share."""

    volume: CtVolume
    anatomy: Anatomy
    blur: Blur | None
    compact_hu: float
    rules: BoneRules


def measure_vertebrae(
    volume: CtVolume, anatomy: Anatomy, constants: ClinicalConstants, acquisition: Acquisition | None = None
) -> tuple[VertebraMeasurement, ...] | Refusal:
    """Measure every thoracic and lumbar vertebra in view, head to foot.

    The body is found on a 1 mm grid in the vertebra's own frame; attenuation is then read from the scan's own
    voxels inside the region, so that no interpolation smooths noise or shifts the mean.

    Args:
        acquisition: tells the tube voltage, which the attenuation of compact bone goes with; 120 kV without it.

    Returns:
        One measurement a vertebra, with what is left out and why, or a refusal when no region could be placed in
        any of them.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    rules = bone_rules(constants)
    kvp = None if acquisition is None else acquisition.kvp
    tin = acquisition is not None and acquisition.spectral_filter is SpectralFilter.TIN
    blur = measure_blur(volume, anatomy, rules.blur)
    scan = _Scan(volume, anatomy, blur, compact_hu(constants, kvp, tin), rules)
    column = [_measure(scan, vertebra) for vertebra in _in_order(anatomy)]
    if all(body.measurement.roi is None for body in column):
        return Refusal(
            RefusalCode.NO_VERTEBRA_LEFT,
            Stage.BONE,
            "No vertebral body is complete enough to measure.",
            "Send a series that covers T11 to L2 in slices of 5 mm or less.",
        )
    levels = [body.measurement.level for body in column]
    deformities = assess_deformities(levels, [body.profile for body in column], rules.deformity)
    return tuple(_beside_neighbours(index, column, deformities, rules) for index in range(len(column)))


def _in_order(anatomy: Anatomy) -> list[VertebraInstance]:
    below_neck = [v for v in anatomy.vertebrae if v.level.ordinal >= Level.T1.ordinal]
    return sorted(below_neck, key=lambda v: v.level.ordinal)


def _beside_neighbours(
    index: int, column: Sequence[_Body], deformities: Sequence[Deformity], rules: BoneRules
) -> VertebraMeasurement:
    """The finished measurement, with what shows only beside the other vertebrae."""
    body, deformity = column[index], deformities[index]
    levels = [other.measurement.level for other in column]
    bent = (DeformityStatus.POSSIBLE, DeformityStatus.SUSPECTED)
    heights = [
        None if n != index and deformities[n].status in bent else other.measurement.height_middle_mm
        for n, other in enumerate(column)
    ]
    means = [other.measurement.hu_mean for other in column]
    discs = _discs(column)
    candidates = [
        exclusion.fractured(deformity),
        exclusion.too_high(index, levels, heights, rules.exclusion),
        exclusion.out_of_line(index, levels, means, rules.exclusion),
        None
        if body.excess is None
        else exclusion.degenerated(body.excess, discs[index], discs[index + 1], rules.exclusion),
    ]
    own = {found.reason for found in body.exclusions if found.whole}
    added = tuple(found for found in candidates if found is not None and found.reason not in own)
    exclusions = (*body.exclusions, *added)
    return replace(
        body.measurement,
        excluded=tuple(dict.fromkeys(found.reason for found in exclusions if found.whole)),
        exclusions=exclusions,
        deformity=None if ExclusionReason.OUT_OF_VIEW in own else deformity,
    )


def _discs(column: Sequence[_Body]) -> list[float | None]:
    """Height of the disc above each body, and below the last, over the median of all; None where not known."""
    gaps: list[float | None] = [None]
    for above, below in pairwise(column):
        adjacent = below.measurement.level.ordinal - above.measurement.level.ordinal == 1
        if adjacent and above.bottom_lps_mm is not None and below.top_lps_mm is not None:
            gaps.append(float(np.linalg.norm(above.bottom_lps_mm - below.top_lps_mm)))
        else:
            gaps.append(None)
    known = [gap for gap in gaps if gap is not None]
    median = float(np.median(known)) if len(known) >= 3 else None
    return [*(None if gap is None or not median else gap / median for gap in gaps), None]


def _measure(scan: _Scan, vertebra: VertebraInstance) -> _Body:
    """One vertebra on its own."""
    rules = scan.rules
    nothing = VertebraMeasurement(
        vertebra.level, vertebra.level_confidence, None, None, None, 0, None, None, None, None, ()
    )
    if not vertebra.complete:
        return _Body(nothing, (exclusion.out_of_view(),))
    frame = vertebra_frame(vertebra)
    labels = resample(scan.anatomy.labels, scan.anatomy.geometry, frame, order=0, outside=0)
    hu = resample(scan.volume.hu, scan.volume.geometry, frame, order=1, outside=OUTSIDE_HU)
    mask = labels == vertebra_label(vertebra.level, VertebraPart.BODY)
    whole = mask | (labels == vertebra_label(vertebra.level, VertebraPart.POSTERIOR))
    foreign = exclusion.foreign_material(hu, labels, mask, whole, rules.exclusion, rules.roi.erosion_mm)
    shape = find_shape(hu, mask, rules.shape)
    if shape is None:
        return _Body(nothing, (*foreign, exclusion.no_region(rules.roi)))
    body = _Body(nothing, foreign)
    slice_mm = _slice_along(frame, scan.volume)
    plates = fit_endplates(hu, mask, shape, _endplate_blur(slice_mm, scan.volume, scan.blur), rules.endplate)
    if plates is not None:
        profile = read_profile(plates, shape, slice_mm, rules.height)
        excess = exclusion.subchondral_excess(hu, plates, shape, rules.exclusion)
        body = _shaped(body, frame, shape, plates, profile, excess)
    holes = () if plates is None else _holes(frame, plates, rules.exclusion.pit_margin_mm)
    cortex = measure_cortex(scan.volume, frame, shape, scan.blur, scan.compact_hu, rules.cortex)
    body = replace(body, measurement=replace(body.measurement, cortex=cortex))
    return _with_region(body, scan, frame, shape, holes)


def _slice_along(frame: Frame, volume: CtVolume) -> float:
    """Slice spacing as it counts along the body's height."""
    return (
        volume.geometry.spacing_mm[0]
        * abs(float(frame.axes[0] @ volume.geometry.affine[:3, 0]))
        / float(np.linalg.norm(volume.geometry.affine[:3, 0]))
    )


def _endplate_blur(slice_mm: float, volume: CtVolume, blur: Blur | None) -> float:
    """Point spread along the body's height, rounded: a slice's box, its linear interpolation, and the kernel."""
    in_plane = volume.geometry.spacing_mm[1] / 2 if blur is None else blur.sd_mm
    return max(0.6, round(float(np.hypot(0.5 * slice_mm, 0.5 * in_plane)), 1))


def _shaped(
    body: _Body, frame: Frame, shape: BodyShape, plates: Endplates, profile: BodyProfile | None, excess: Subchondral
) -> _Body:
    top, bottom = (float(plate.height_mm(*shape.centre_mm)) for plate in (plates.top, plates.bottom))
    shaped = replace(
        body,
        profile=profile,
        excess=excess,
        top_lps_mm=frame.to_lps([top, *shape.centre_mm]),
        bottom_lps_mm=frame.to_lps([bottom, *shape.centre_mm]),
    )
    if profile is None:
        return shaped
    heights = profile.heights
    measurement = replace(
        body.measurement,
        height_anterior_mm=heights.anterior_mm,
        height_middle_mm=heights.middle_mm,
        height_posterior_mm=heights.posterior_mm,
        height_rim_standard_uncertainty_mm=heights.rim_uncertainty_mm,
        height_middle_standard_uncertainty_mm=heights.middle_uncertainty_mm,
    )
    return replace(shaped, measurement=measurement)


def _holes(frame: Frame, plates: Endplates, margin_mm: float) -> tuple[Hole, ...]:
    """Surroundings of the endplates' pits."""
    return tuple(
        Hole(as_vector(frame.to_lps(pit.centre_mm)), float(np.sqrt(pit.area_mm2 / np.pi)) + margin_mm)
        for plate in (plates.top, plates.bottom)
        for pit in plate.pits
    )


def _with_region(body: _Body, scan: _Scan, frame: Frame, shape: BodyShape, holes: Sequence[Hole]) -> _Body:
    """The body with its region placed, grown as noise asks for, and measured."""
    rules = scan.rules.roi
    sizes: list[tuple[float, float]] = [(rules.half_height_fraction, rules.erosion_mm), *rules.growth]
    first: RoiStatistics | None = None
    best: tuple[TrabecularRoi, RoiStatistics] | None = None
    for size in sizes:
        roi = place_roi(frame, shape, scan.volume.geometry, rules, size)
        measured = None if roi is None else measure_roi(scan.volume, roi, rules, holes)
        if measured is None:
            break
        first = first or measured[1]
        if best is None or measured[1].noise_standard_error_hu < best[1].noise_standard_error_hu:
            best = measured
        if best[1].noise_standard_error_hu <= rules.target_standard_error_hu:
            break
    if best is None or first is None:
        return replace(body, exclusions=(*body.exclusions, exclusion.no_region(rules)))
    region, statistics = best
    measurement = replace(
        body.measurement,
        hu_mean=statistics.hu_mean,
        hu_sd=statistics.hu_sd,
        hu_standard_error=statistics.hu_standard_error,
        roi_voxels=statistics.voxels,
        roi=region,
        roi_growth=_growth(first, statistics, rules.target_standard_error_hu),
    )
    limits = scan.rules.exclusion
    found = (*exclusion.unfit_region(statistics, rules, limits), *exclusion.cut_parts(statistics, limits))
    return replace(body, measurement=measurement, exclusions=(*body.exclusions, *found))


def _growth(before: RoiStatistics, after: RoiStatistics, target_hu: float) -> RoiGrowth | None:
    if after is before:
        return None
    return RoiGrowth(
        noise_hu=after.noise_hu,
        target_standard_error_hu=target_hu,
        standard_error_before_hu=before.noise_standard_error_hu,
        standard_error_after_hu=after.noise_standard_error_hu,
        volume_before_mm3=before.volume_mm3,
        volume_after_mm3=after.volume_mm3,
        slices_before=before.slices,
        slices_after=after.slices,
        change_hu=after.hu_mean - before.hu_mean,
    )
