"""The bone stage: trabecular attenuation and shape of every vertebral body in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trabecula.anatomy import Anatomy, Level, VertebraInstance, VertebraPart, vertebra_label
from trabecula.bone.exclusion import foreign_material, fractured, out_of_line, too_high, unfit_region
from trabecula.bone.frame import resample, vertebra_frame
from trabecula.bone.roi import measure_roi, place_roi
from trabecula.bone.rules import BoneRules, ExclusionRules, bone_rules
from trabecula.bone.shape import Heights, find_shape
from trabecula.bone.vertebra import ExclusionReason, VertebraMeasurement
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import OUTSIDE_HU, CtVolume
from trabecula.outcome import Refusal, RefusalCode, Stage


def measure_vertebrae(
    volume: CtVolume, anatomy: Anatomy, constants: ClinicalConstants
) -> tuple[VertebraMeasurement, ...] | Refusal:
    """Measure every thoracic and lumbar vertebra in view, head to foot.

    The body is found on a 1 mm grid in the vertebra's own frame; attenuation is then read from the scan's own
    voxels inside the region, so that no interpolation smooths noise or shifts the mean.

    Returns:
        One measurement a vertebra, with the reasons why it does not count, or a refusal when no region could be
        placed in any of them.

    Raises:
        ClinicalDataError: if a number is missing in the data file.
    """
    rules = bone_rules(constants)
    measured = [_measure(volume, anatomy, vertebra, rules) for vertebra in _in_order(anatomy)]
    column = [vertebra for vertebra, _ in measured]
    if all(vertebra.roi is None for vertebra in column):
        return Refusal(
            RefusalCode.NO_VERTEBRA_LEFT,
            Stage.BONE,
            "No vertebral body is complete enough to measure.",
            "Send a series that covers T11 to L2 in slices of 5 mm or less.",
        )
    slice_mm = volume.geometry.spacing_mm[0]
    label_heights = [heights for _, heights in measured]
    return tuple(
        replace(
            vertebra,
            excluded=vertebra.excluded + _beside_neighbours(index, column, label_heights, slice_mm, rules.exclusion),
        )
        for index, vertebra in enumerate(column)
    )


def _beside_neighbours(
    index: int,
    column: Sequence[VertebraMeasurement],
    label_heights: Sequence[Heights],
    slice_mm: float,
    rules: ExclusionRules,
) -> tuple[ExclusionReason, ...]:
    """What shows only beside the other vertebrae: lost height, attenuation out of line."""
    found = []
    levels = [vertebra.level for vertebra in column]
    heights = [Heights(v.height_anterior_mm, v.height_middle_mm, v.height_posterior_mm) for v in column]
    # Endplates and label must agree: either alone takes osteophytes or a ragged label for a deformity.
    if all(fractured(index, levels, source, slice_mm, rules) for source in (heights, label_heights)):
        found.append(ExclusionReason.FRACTURE)
    already = column[index].excluded
    if ExclusionReason.IMPLAUSIBLE not in already and too_high(index, levels, heights, rules):
        found.append(ExclusionReason.IMPLAUSIBLE)
    if ExclusionReason.LESION not in already and out_of_line(index, column, rules):
        found.append(ExclusionReason.LESION)
    return tuple(found)


def _in_order(anatomy: Anatomy) -> list[VertebraInstance]:
    below_neck = [v for v in anatomy.vertebrae if v.level.ordinal >= Level.T1.ordinal]
    return sorted(below_neck, key=lambda v: v.level.ordinal)


def _measure(
    volume: CtVolume, anatomy: Anatomy, vertebra: VertebraInstance, rules: BoneRules
) -> tuple[VertebraMeasurement, Heights]:
    """One vertebra on its own, and the heights that its label alone would have."""
    nothing = VertebraMeasurement(
        vertebra.level, vertebra.level_confidence, None, None, None, 0, None, None, None, None, ()
    )
    unknown = Heights(None, None, None)
    if not vertebra.complete:
        return replace(nothing, excluded=(ExclusionReason.OUT_OF_VIEW,)), unknown
    frame = vertebra_frame(vertebra)
    labels = resample(anatomy.labels, anatomy.geometry, frame, order=0, outside=0)
    hu = resample(volume.hu, volume.geometry, frame, order=1, outside=OUTSIDE_HU)
    body = labels == vertebra_label(vertebra.level, VertebraPart.BODY)
    whole = body | (labels == vertebra_label(vertebra.level, VertebraPart.POSTERIOR))
    foreign = foreign_material(hu, labels, body, whole, rules.exclusion, rules.roi.erosion_mm)
    shape = find_shape(hu, body, rules.shape)
    if shape is None:
        return replace(nothing, excluded=(*foreign, ExclusionReason.ROI_TOO_SMALL)), unknown
    shaped = replace(
        nothing,
        height_anterior_mm=shape.heights.anterior_mm,
        height_middle_mm=shape.heights.middle_mm,
        height_posterior_mm=shape.heights.posterior_mm,
    )
    roi = place_roi(frame, shape, volume.geometry, rules.roi)
    measured = None if roi is None else measure_roi(volume, roi, rules.roi)
    if measured is None:
        return replace(shaped, excluded=(*foreign, ExclusionReason.ROI_TOO_SMALL)), shape.label_heights
    region, statistics = measured
    filled = replace(
        shaped,
        hu_mean=statistics.hu_mean,
        hu_sd=statistics.hu_sd,
        hu_standard_error=statistics.hu_standard_error,
        roi_voxels=statistics.voxels,
        roi=region,
        excluded=foreign + unfit_region(statistics, rules.roi, rules.exclusion),
    )
    return filled, shape.label_heights
