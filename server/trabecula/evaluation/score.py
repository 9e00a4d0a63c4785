"""One case from its folder to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import ndimage

from trabecula.anatomy import (
    BODY_LABEL_BASE,
    POSTERIOR_LABEL_BASE,
    Anatomy,
    LabelArray,
    Level,
    Structure,
    VertebraInstance,
    VertebraPart,
    vertebra_label,
)
from trabecula.errors import InputError, ModelError, TrabeculaError
from trabecula.evaluation.case import Case
from trabecula.evaluation.label_map import load_label_map
from trabecula.evaluation.matching import match_vertebrae
from trabecula.evaluation.measurement import Measurement, compare_composition, compare_scan, compare_vertebra, measure
from trabecula.evaluation.models import Judged
from trabecula.evaluation.probe import probed
from trabecula.evaluation.reference import (
    FRAME_STRUCTURES,
    VERTEBRA,
    VERTEBRA_BODY,
    VERTEBRA_POSTERIOR,
    Reference,
    build_reference,
    completed,
)
from trabecula.evaluation.regions import Box, compare_regions, joined_box
from trabecula.evaluation.results import (
    CaseResult,
    ExtraVertebra,
    Measured,
    Outcome,
    Overlap,
    RefusalFound,
    StructureScore,
    VertebraScore,
)
from trabecula.evaluation.volumes import LoadedCt, read_ct, read_labels
from trabecula.outcome import Refusal
from trabecula.progress import ProgressListener, no_progress
from trabecula.segmentation import segment

_BODIES: Final = (BODY_LABEL_BASE, POSTERIOR_LABEL_BASE)
"""Labels of bodies lie above the first and up to the second, those of posterior elements above it."""
_NOT_SCORED: Final = FRAME_STRUCTURES | {"body", VERTEBRA_BODY, VERTEBRA_POSTERIOR}
"""Not organs, or scored vertebra by vertebra."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A result, and what its pictures are drawn from (None where the case was not scored)."""

    result: CaseResult
    ct: LoadedCt | None = None
    reference: Reference | None = None
    predicted: Anatomy | None = None
    measured: tuple[Measurement, Measurement] | None = None
    """With the reference's anatomy, with the predicted one."""


def evaluate_case(case: Case, judged: Judged, progress: ProgressListener = no_progress) -> Scored:
    """Run the chain on a case and compare with its reference.

    A case that cannot be used, and a model that fails on it, give a result with outcome ``failed``; whatever the
    listener raises goes through.
    """
    try:
        return _evaluate(case, judged, progress)
    except (InputError, ModelError) as error:
        return Scored(failed(case, error))


def failed(case: Case, error: TrabeculaError) -> CaseResult:
    """The result of a case that ended in an error of the tree."""
    detail = f" [{error.detail}]" if error.detail else ""
    return replace(_blank(case), outcome=Outcome.FAILED, fault=f"{error.code}: {error.client_message}{detail}")


def _evaluate(case: Case, judged: Judged, progress: ProgressListener) -> Scored:
    label_map = load_label_map(case.info.label_map, case.folder)
    blank = _blank(case)
    ct = read_ct(case, judged.limits)
    if isinstance(ct, tuple):
        return Scored(replace(blank, outcome=Outcome.REFUSED, refusals=_refusals(*ct)))
    geometry = ct.volume.geometry
    predicted, cost = probed(lambda: segment(ct.volume, judged.segmentation, progress))
    raw, note = read_labels(case.labels, geometry)
    reference = build_reference(raw, geometry, label_map, case.info)
    del raw
    known = replace(
        blank,
        notes=(*blank.notes, *((note,) if note else ()), *reference.notes),
        slices=geometry.shape[0],
        spacing_mm=geometry.spacing_mm,
        segmentation_s=cost.wall_s,
        segmentation_cpu_s=cost.cpu_s,
        peak_memory_mib=cost.peak_memory_mib,
        levels_in_reference=tuple(v.level for v in reference.anatomy.vertebrae),
    )
    if isinstance(predicted, Refusal):
        result = replace(known, outcome=Outcome.REFUSED, refusals=_refusals(predicted))
        return Scored(result, ct, reference)
    return compare(known, ct, predicted, reference, judged)


def compare(known: CaseResult, ct: LoadedCt, predicted: Anatomy, reference: Reference, judged: Judged) -> Scored:
    """Score a predicted anatomy; ``known`` is the result so far."""
    theirs = measure(ct, completed(reference, predicted), judged.calibration, judged.constants)
    ours = measure(ct, predicted, judged.calibration, judged.constants)
    matched = match_vertebrae(predicted.labels, reference.anatomy.labels)
    result = replace(
        known,
        outcome=Outcome.SCORED,
        refusals=_refusals(*([ours.refusal] if ours.refusal else [])),
        reference_refusals=_refusals(*([theirs.refusal] if theirs.refusal else [])),
        vertebrae=_vertebrae(predicted, reference, matched, (theirs, ours), judged.flag_below),
        extra=_extra(predicted, reference, matched, judged.flag_below),
        structures=_structures(predicted.labels, reference, judged.structures),
        reference_only=tuple(sorted(reference.known - judged.structures - FRAME_STRUCTURES)),
        composition=compare_composition(theirs, ours, ct.volume.geometry),
        scan=compare_scan(theirs, ours),
        level_evidence=predicted.level_evidence,
        notices=tuple(notice.code for notice in predicted.notices),
    )
    return Scored(result, ct, reference, predicted, (theirs, ours))


def _blank(case: Case) -> CaseResult:
    info = case.info
    return CaseResult(
        name=case.name,
        folder=case.folder.name,
        fingerprint=case.fingerprint(),
        reference=info.reference,
        source=info.source,
        licence=info.licence,
        transitional=info.transitional,
        notes=info.notes,
        outcome=Outcome.FAILED,
    )


def _refusals(*refusals: Refusal) -> tuple[RefusalFound, ...]:
    return tuple(RefusalFound(each.code.value, each.stage.value, each.message) for each in refusals)


def _vertebrae(
    predicted: Anatomy,
    reference: Reference,
    matched: Mapping[Level, Level],
    measured: tuple[Measurement, Measurement],
    flag_below: float,
) -> tuple[VertebraScore, ...]:
    boxes = [ndimage.find_objects(labels, max_label=int(labels.max())) for labels in _labels(predicted, reference)]
    out = []
    for vertebra in reference.anatomy.vertebrae:
        level = vertebra.level
        named = matched.get(level)
        found = None if named is None else predicted.vertebra(named)
        if found is None:
            out.append(_missed(vertebra, measured[0], level in reference.split_levels))
            continue
        whole, body, posterior = _parts(predicted, reference, level, found.level, boxes)
        offset = np.subtract(found.centroid_lps_mm, vertebra.centroid_lps_mm)
        out.append(
            VertebraScore(
                level=level,
                whole_in_view=vertebra.complete,
                found=True,
                named=found.level,
                off_by=found.level.ordinal - level.ordinal,
                level_confidence=found.level_confidence,
                flagged=found.level_confidence < flag_below,
                whole=whole,
                body=body,
                posterior=posterior,
                centre_distance_mm=float(np.linalg.norm(offset)),
                measured=compare_vertebra(measured[0].vertebrae.get(level), measured[1].vertebrae.get(found.level)),
                parts_by_our_cut=level in reference.split_levels,
            )
        )
    return tuple(out)


def _missed(vertebra: VertebraInstance, theirs: Measurement, our_cut: bool) -> VertebraScore:
    measured: Measured | None = compare_vertebra(theirs.vertebrae.get(vertebra.level), None)
    return VertebraScore(
        vertebra.level, vertebra.complete, False, None, None, None, None, None, None, None, None, measured, our_cut
    )


def _labels(predicted: Anatomy, reference: Reference) -> tuple[LabelArray, LabelArray]:
    return predicted.labels, reference.anatomy.labels


def _parts(
    predicted: Anatomy,
    reference: Reference,
    level: Level,
    named: Level,
    boxes: Sequence[Sequence[Box | None]],
) -> tuple[Overlap | None, Overlap | None, Overlap | None]:
    """Overlap of the whole vertebra, its body and its posterior elements."""
    ours, theirs = _labels(predicted, reference)
    wanted = [
        [vertebra_label(named, part) for part in VertebraPart],
        [vertebra_label(level, part) for part in VertebraPart],
    ]
    found = [
        found[label - 1] if label <= len(found) else None
        for found, labels in zip(boxes, wanted, strict=True)
        for label in labels
    ]
    box = joined_box(found, ours.shape)
    assert box is not None  # noqa: S101 - both bodies exist, else they were not matched
    spacing = predicted.geometry.spacing_mm
    one, other = ours[box], theirs[box]
    whole = compare_regions(np.isin(one, wanted[0]), np.isin(other, wanted[1]), spacing)
    parts = [
        compare_regions(one == a, other == b, spacing) if (one == a).any() or (other == b).any() else None
        for a, b in zip(*wanted, strict=True)
    ]
    if not (other == wanted[1][1]).any():  # the reference has bodies alone: nothing else can be said of this vertebra
        return parts[0], parts[0], None
    return whole, parts[0], parts[1]


def _extra(
    predicted: Anatomy, reference: Reference, matched: Mapping[Level, Level], flag_below: float
) -> tuple[ExtraVertebra, ...]:
    """Predicted vertebrae over none of the reference's, within the stretch of the column that the reference labels."""
    taken = set(matched.values())
    known = [v.centroid_lps_mm[2] for v in reference.anatomy.vertebrae]
    reach_mm = 12.0
    return tuple(
        ExtraVertebra(v.level, v.level_confidence, v.level_confidence < flag_below)
        for v in predicted.vertebrae
        if v.level not in taken and min(known) - reach_mm < v.centroid_lps_mm[2] < max(known) + reach_mm
    )


def _structures(ours: LabelArray, reference: Reference, modelled: frozenset[str]) -> tuple[StructureScore, ...]:
    theirs = reference.anatomy.labels
    spacing = reference.anatomy.geometry.spacing_mm
    names = sorted((reference.known & modelled) - _NOT_SCORED - {VERTEBRA})
    out = [
        StructureScore(name, compare_regions(ours == label, theirs == label, spacing))
        for name in names
        for label in [int(Structure[name.upper()])]
    ]
    if VERTEBRA_POSTERIOR in reference.known:
        return (StructureScore(VERTEBRA, compare_regions(ours > _BODIES[0], theirs > _BODIES[0], spacing)), *out)
    our_bodies, their_bodies = ((labels > _BODIES[0]) & (labels <= _BODIES[1]) for labels in (ours, theirs))
    return (StructureScore(VERTEBRA_BODY, compare_regions(our_bodies, their_bodies, spacing)), *out)
