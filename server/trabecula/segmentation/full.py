"""The segmentation stage with imported networks that label the whole scan and name the vertebrae themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trabecula.anatomy import (
    Anatomy,
    LabelArray,
    Level,
    Structure,
    VertebraInstance,
    VertebraPart,
    vertebra_label,
)
from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage
from trabecula.progress import ProgressListener
from trabecula.segmentation.body import find_body
from trabecula.segmentation.labels import mark_metal, trim_to_body
from trabecula.segmentation.named import (
    NamedVertebra,
    canal_in_arches,
    clean_levels,
    find_named,
    orderly,
    rib_agreement,
)
from trabecula.segmentation.nnunet.labels import Target
from trabecula.segmentation.nnunet.merge import UNLABELLED, MergedLabels, merge_labels
from trabecula.segmentation.nnunet.predict import NetworkLabels
from trabecula.segmentation.notices import as_vector, cut_vertebrae, doubtful_levels, notice, refusal
from trabecula.segmentation.resample import Grid, resample_hu, scan_directions
from trabecula.segmentation.settings import SegmentationSettings

_BODY_GRID_MM = 4.0
NETWORKS_SHARE = 0.85
"""Share of the stage's progress that the networks take."""


@dataclass(frozen=True)
class NamingTrust:
    """How far the names of an imported network are believed. Not clinical constants; judged, not fitted: no data can
    calibrate a network that is not known yet."""

    alone: float = 0.9
    """At most, on the network's word alone."""
    with_ribs: float = 0.97
    """At most, when the ribs' own numbers agree."""
    against_ribs: float = 0.5
    """At most, when they do not."""
    doubtful: float = 0.5
    """At most, where a name was given twice, is missing between neighbours, or stands at an unlikely distance."""
    ribs_agree: float = 0.8
    """Share of ribs that must meet their own vertebra."""
    min_ribs: int = 3
    """With fewer the ribs say nothing."""


@dataclass(frozen=True)
class _Naming:
    confidence: tuple[float, ...]
    sentences: tuple[str, ...]


def segment_full(
    volume: CtVolume,
    answers: Sequence[tuple[NetworkLabels, Sequence[Target]]],
    settings: SegmentationSettings,
    progress: ProgressListener,
    trust: NamingTrust = NamingTrust(),
) -> Anatomy | Refusal:
    """Anatomy of a scan that networks have labelled; ``models`` is left to the caller.

    Args:
        answers: each network's labels on the scan's grid, and what they mean; earlier ones take precedence.
    """
    grid = Grid.of_scan(volume.geometry).covering((_BODY_GRID_MM,) * 3)
    body = find_body(resample_hu(volume, grid), grid, settings.body)
    if body is None:
        return refusal(RefusalCode.BODY_NOT_FOUND, "No trunk was found in the images.", "Send a CT of the chest.")
    merged = merge_labels(answers)
    spacing = volume.geometry.spacing_mm
    ordinal, doubled = clean_levels(merged.ordinal, spacing)
    canal = merged.structure == Structure.SPINAL_CANAL
    if not canal.any():
        canal = canal_in_arches(ordinal, spacing)
        merged.structure[canal & (ordinal == 0)] = Structure.SPINAL_CANAL
    named = find_named(ordinal, merged.part, canal, spacing, doubled)
    if not named:
        return refusal(
            RefusalCode.SPINE_NOT_FOUND, "No vertebral column was found.", "Send axial images that hold the spine."
        )
    vertebrae = orderly(named)
    doubt = _level_refusal(named, vertebrae, settings)
    if doubt is not None:
        return doubt
    progress(Stage.SEGMENTATION, NETWORKS_SHARE + 0.05)
    labels = _canonical(merged, ordinal, vertebrae)
    trim_to_body(labels, volume, body, grid, Grid.of_scan(volume.geometry), settings)
    mark_metal(labels, volume, settings)
    labels.setflags(write=False)
    naming = _naming(vertebrae, merged, spacing, settings, trust)
    instances = _instances(labels, volume.geometry, vertebrae, naming)
    progress(Stage.SEGMENTATION, 1.0)
    return Anatomy(
        labels=labels,
        geometry=volume.geometry,
        vertebrae=instances,
        level_evidence=naming.sentences,
        models=(),
        notices=_notices(instances, len(named) - len(vertebrae), settings),
    )


def _level_refusal(
    named: Sequence[NamedVertebra], kept: Sequence[NamedVertebra], settings: SegmentationSettings
) -> Refusal | None:
    if len(named) - len(kept) > settings.levels.max_misfit_fraction * len(named):
        return refusal(
            RefusalCode.LEVELS_INCONSISTENT,
            "The vertebrae found do not follow each other as a spine's do; their levels cannot be told.",
            "Look at the sagittal images; send thinner slices or a scan that shows more of the spine.",
        )
    wanted = {level.ordinal for level in settings.wanted_levels}
    if not wanted & {v.ordinal for v in kept}:
        first, last = (Level.from_ordinal(v.ordinal) for v in (kept[0], kept[-1]))
        return refusal(
            RefusalCode.LEVEL_NOT_IN_VIEW,
            f"The scan shows {first} to {last}; none of {settings.wanted_levels[0]} to {settings.wanted_levels[-1]} "
            "is in view.",
            "Send a scan that reaches the lower thoracic or upper lumbar spine.",
        )
    return None


def _canonical(merged: MergedLabels, ordinal: LabelArray, vertebrae: Sequence[NamedVertebra]) -> LabelArray:
    """Canonical labels before outside, table and metal are marked. Bone that is no kept vertebra is other bone."""
    labels = np.where(merged.structure == UNLABELLED, np.uint8(Structure.BODY), merged.structure)
    labels[ordinal > 0] = Structure.OTHER_BONE
    for vertebra in vertebrae:
        level, here = Level.from_ordinal(vertebra.ordinal), labels[vertebra.box]
        here[vertebra.whole] = vertebra_label(level, VertebraPart.POSTERIOR)
        here[vertebra.body] = vertebra_label(level, VertebraPart.BODY)
    return labels


def _naming(
    vertebrae: Sequence[NamedVertebra],
    merged: MergedLabels,
    spacing_mm: tuple[float, float, float],
    settings: SegmentationSettings,
    trust: NamingTrust,
) -> _Naming:
    """How sure each name is: the network's own probability, held down by what speaks against it."""
    sentences = ["Levels as named by the imported model, checked for order and distances."]
    most = trust.alone
    ribs = rib_agreement(merged.rib, tuple(vertebrae), spacing_mm)
    if len(ribs) >= trust.min_ribs:
        agree = sum(ribs.values())
        most = trust.with_ribs if agree >= trust.ribs_agree * len(ribs) else trust.against_ribs
        sentences.append(f"{agree} of {len(ribs)} ribs meet the vertebra with their own number.")
    if merged.supernumerary:
        most = min(most, trust.doubtful)
        sentences.append("The model names a 13th thoracic or 6th lumbar vertebra; levels below may be one off.")
    odd = _odd_neighbours(vertebrae, settings.column.spacing_range_mm)
    if any(odd):
        names = ", ".join(Level.from_ordinal(v.ordinal) for v, o in zip(vertebrae, odd, strict=True) if o)
        sentences.append(f"Doubtful by distance, a missing neighbour or a name given twice: {names}.")
    return _Naming(
        tuple(
            min(merged.certainty.get(v.ordinal, 0.0), trust.doubtful if o else most)
            for v, o in zip(vertebrae, odd, strict=True)
        ),
        tuple(sentences),
    )


def _odd_neighbours(vertebrae: Sequence[NamedVertebra], usual_mm: tuple[float, float]) -> list[bool]:
    odd = [v.doubled for v in vertebrae]
    for n, (upper, lower) in enumerate(pairwise(vertebrae)):
        steps = lower.ordinal - upper.ordinal
        each_mm = float(np.linalg.norm(lower.centre_mm - upper.centre_mm)) / steps
        if steps > 1 or not usual_mm[0] <= each_mm <= usual_mm[1]:
            odd[n] = odd[n + 1] = True
    return odd


def _instances(
    labels: LabelArray, geometry: Geometry, vertebrae: Sequence[NamedVertebra], naming: _Naming
) -> tuple[VertebraInstance, ...]:
    """Vertebrae with body voxels left in the label volume, head to foot."""
    to_lps, out = scan_directions(geometry), []
    for n, (vertebra, confidence) in enumerate(zip(vertebrae, naming.confidence, strict=True)):
        level = Level.from_ordinal(vertebra.ordinal)
        index = np.argwhere(labels[vertebra.box] == vertebra_label(level, VertebraPart.BODY))
        if len(index) == 0:
            continue
        index += [side.start for side in vertebra.box]
        superior = _unit(to_lps @ _along_column(vertebrae, n))
        anterior = to_lps @ (vertebra.centre_mm - vertebra.canal_mm)
        touches = (index == 0).any() or (index == np.array(geometry.shape) - 1).any()
        out.append(
            VertebraInstance(
                level=level,
                level_confidence=confidence,
                centroid_lps_mm=as_vector(geometry.index_to_lps(index.mean(axis=0))),
                superior=as_vector(superior),
                anterior=as_vector(_unit(anterior - superior * float(anterior @ superior))),
                complete=not touches,
            )
        )
    return tuple(out)


def _along_column(vertebrae: Sequence[NamedVertebra], n: int) -> FloatArray:
    """Direction towards the head at a vertebra, in scan mm: from the body below to the body above."""
    upper, lower = vertebrae[max(0, n - 1)], vertebrae[min(len(vertebrae) - 1, n + 1)]
    return upper.centre_mm - lower.centre_mm if upper is not lower else np.array([1.0, 0.0, 0.0])


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector))


def _notices(vertebrae: Sequence[VertebraInstance], dropped: int, settings: SegmentationSettings) -> tuple[Notice, ...]:
    message = f"{dropped} named vertebrae were out of order and left out."
    out_of_order = (notice("vertebra-out-of-order", Severity.WARNING, message),) if dropped else ()
    return (*doubtful_levels(vertebrae, settings), *out_of_order, *cut_vertebrae(vertebrae))
