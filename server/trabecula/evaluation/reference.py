"""The reference labels as the chain's own value: an anatomy that was not predicted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
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
    label_meaning,
    vertebra_label,
)
from trabecula.errors import InvalidCase
from trabecula.evaluation.case import CaseInfo
from trabecula.evaluation.counting import label_counts
from trabecula.evaluation.label_map import LabelMap
from trabecula.evaluation.split import as_vector, canal_points, foramina, split_body, stances
from trabecula.geometry import FloatArray, Geometry

VERTEBRA_BODY: Final = "vertebra_body"
VERTEBRA_POSTERIOR: Final = "vertebra_posterior"
VERTEBRA: Final = "vertebra"
"""Body and posterior elements together."""
FRAME_STRUCTURES: Final = frozenset({"outside", "table"})
_FOREGROUND: Final = frozenset({"body", "subcutaneous_fat"})
"""A reference that knows one of these labels the whole patient."""
_ALWAYS_KNOWN: Final = frozenset({"outside", "body"})


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference labels of one case on the CT's grid."""

    anatomy: Anatomy
    """Vertebrae have level confidence 1; whole ones are split."""
    known: frozenset[str]
    """Structures that it labels completely, by lower-case name; vertebrae as ``vertebra`` and its parts."""
    split_levels: frozenset[Level]
    """Levels whose parts were told apart by our cut."""
    covers_patient: bool
    """Whether every voxel of the patient has a label."""
    notes: tuple[str, ...]


def build_reference(raw: npt.NDArray[np.integer], geometry: Geometry, label_map: LabelMap, info: CaseInfo) -> Reference:
    """From a label volume on the CT's grid.

    Raises:
        InvalidCase: if it holds no vertebra, or ids that the canonical table does not know.
    """
    labels, unknown = label_map.apply(raw)
    notes = []
    if unknown:
        shown = ", ".join(map(str, unknown[:12])) + (" ..." if len(unknown) > 12 else "")
        if label_map.name == "canonical":
            raise InvalidCase(f"ids {shown} are no canonical labels", unknown_ids=len(unknown))
        notes.append(f"Label ids that the label map does not know were passed over: {shown}.")
    present = _present_levels(labels)
    if not present:
        raise InvalidCase("the labels hold no vertebra", label_map=label_map.name)
    canal_mm = _canal(labels, geometry)
    whole = label_map.whole_levels & present
    boxes = ndimage.find_objects(labels)
    split = frozenset(
        level
        for level in whole
        if _split(labels, boxes[BODY_LABEL_BASE + level.ordinal - 1], level, geometry, canal_mm)
    )
    unsplit = sorted(whole - split, key=lambda level: level.ordinal)
    if unsplit:
        notes.append(f"Not split into body and posterior elements: {', '.join(level.value for level in unsplit)}.")
    anatomy = _anatomy(labels, geometry, canal_mm)
    known = _known(labels, info, label_map)
    return Reference(anatomy, known, split, bool(known & _FOREGROUND), tuple(notes))


def completed(reference: Reference, predicted: Anatomy) -> Anatomy:
    """The reference's anatomy with gaps filled from the prediction, so that a measurement can be run on it.

    Where the reference has no label, the prediction's holds if the reference does not know that structure at all;
    else the voxel is plain body. A reference that covers the whole patient stays as it is.
    """
    if reference.covers_patient:
        return reference.anatomy
    lookup = np.arange(256, dtype=np.uint8)
    for label in np.flatnonzero(label_counts(predicted.labels)):
        if structure_name(int(label)) in reference.known - _ALWAYS_KNOWN:
            lookup[label] = Structure.BODY
    labels = np.where(reference.anatomy.labels == 0, lookup[predicted.labels], reference.anatomy.labels)
    labels.flags.writeable = False
    return replace(reference.anatomy, labels=labels)


def structure_name(label: int) -> str:
    """Lower-case name of a canonical label; vertebrae by part."""
    meaning = label_meaning(label)
    return meaning.structure if meaning.part is None else f"{meaning.structure}_{meaning.part.value}"


def structure_names(labels: LabelArray) -> frozenset[str]:
    """Names of all structures that occur in a label volume."""
    present = np.flatnonzero(label_counts(labels))
    return frozenset(structure_name(int(label)) for label in present)


def _known(labels: LabelArray, info: CaseInfo, label_map: LabelMap) -> frozenset[str]:
    present = structure_names(labels)
    known = present - label_map.partial - FRAME_STRUCTURES
    if info.structures is not None:
        known &= frozenset(info.structures) | {VERTEBRA_BODY, VERTEBRA_POSTERIOR}
    return known | {VERTEBRA}


def _present_levels(labels: LabelArray) -> frozenset[Level]:
    counts = label_counts(labels)
    return frozenset(level for level in Level if any(counts[vertebra_label(level, part)] for part in VertebraPart))


def _split(labels: LabelArray, box: tuple[slice, ...], level: Level, geometry: Geometry, canal_mm: FloatArray) -> bool:
    """Give the posterior part of a whole vertebra its own label, in place; whether it could be done."""
    part = labels[box]
    index = np.argwhere(part == vertebra_label(level, VertebraPart.BODY))
    body = split_body(geometry.index_to_lps(index + [each.start for each in box]), canal_mm)
    if body is None:
        return False
    part[tuple(index[~body].T)] = vertebra_label(level, VertebraPart.POSTERIOR)
    pieces, count = ndimage.label(part == vertebra_label(level, VertebraPart.BODY))
    if count > 1:
        largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
        part[(pieces > 0) & (pieces != largest)] = vertebra_label(level, VertebraPart.POSTERIOR)
    return True


def _canal(labels: LabelArray, geometry: Geometry) -> FloatArray:
    """Points along the canal: as labelled, else from the vertebrae's own rings."""
    canal = labels == Structure.SPINAL_CANAL
    if canal.any():
        return canal_points(canal, geometry)
    ordinals = np.where(labels > POSTERIOR_LABEL_BASE, labels - POSTERIOR_LABEL_BASE, labels - BODY_LABEL_BASE)
    ordinals[labels <= BODY_LABEL_BASE] = 0
    whole = {
        Level.from_ordinal(number): geometry.index_to_lps(index)
        for number, box in enumerate(ndimage.find_objects(ordinals), start=1)
        if box is not None
        for index in [np.argwhere(ordinals[box] == number) + [each.start for each in box]]
    }
    return foramina(whole, max(geometry.spacing_mm))


def _anatomy(labels: LabelArray, geometry: Geometry, canal_mm: FloatArray) -> Anatomy:
    bodies: dict[Level, FloatArray] = {}
    posterior: dict[Level, FloatArray] = {}
    touching: set[Level] = set()
    edge = np.array(geometry.shape) - 1
    boxes = ndimage.find_objects(labels)
    for level, base in _parts(len(boxes)):
        box = boxes[base + level.ordinal - 1]
        if box is None:
            continue
        index = np.argwhere(labels[box] == base + level.ordinal) + [each.start for each in box]
        (bodies if base == BODY_LABEL_BASE else posterior)[level] = geometry.index_to_lps(index)
        if base == BODY_LABEL_BASE and ((index == 0).any() or (index == edge).any()):
            touching.add(level)
    stood = stances(bodies, canal_mm, posterior)
    vertebrae = tuple(
        VertebraInstance(
            level=level,
            level_confidence=1.0,
            centroid_lps_mm=as_vector(stance.centre_mm),
            superior=as_vector(stance.superior),
            anterior=as_vector(stance.anterior),
            complete=level not in touching,
        )
        for level, stance in stood.items()
    )
    labels.flags.writeable = False
    return Anatomy(labels, geometry, vertebrae, (), ())


def _parts(count: int) -> Iterable[tuple[Level, int]]:
    """Every level with each base whose label is among the first ``count``."""
    for base in (BODY_LABEL_BASE, POSTERIOR_LABEL_BASE):
        for level in Level:
            if base + level.ordinal <= count:
                yield level, base
