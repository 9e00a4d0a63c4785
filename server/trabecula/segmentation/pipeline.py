"""The segmentation stage from end to end, for any pair of predictors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trabecula.anatomy import (
    Anatomy,
    LabelArray,
    Level,
    ModelUse,
    VertebraInstance,
    VertebraPart,
    vertebra_label,
)
from trabecula.geometry import FloatArray, Geometry
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage
from trabecula.progress import ProgressListener
from trabecula.segmentation.body import BodyMask, find_body
from trabecula.segmentation.column import Column, find_column
from trabecula.segmentation.instances import (
    Profile,
    Segment,
    column_profile,
    cuts_seen,
    find_segments,
    unsupported_share,
)
from trabecula.segmentation.labels import Cleaned, scan_labels
from trabecula.segmentation.landmarks import find_landmarks
from trabecula.segmentation.level_evidence import VertebraEvidence
from trabecula.segmentation.level_words import level_name
from trabecula.segmentation.levels import Naming, name_levels
from trabecula.segmentation.notices import as_vector, cut_vertebrae, doubtful_levels, notice, refusal
from trabecula.segmentation.ownership import Chain
from trabecula.segmentation.predict import Prediction, Predictor
from trabecula.segmentation.resample import Grid, Triple, resample_hu, scan_directions
from trabecula.segmentation.ribs import rib_volumes_mm3
from trabecula.segmentation.settings import FINE_LEVELS, FineBoxSettings, SegmentationSettings
from trabecula.segmentation.soft_tissue import with_wall_tissues
from trabecula.segmentation.vertebrae import cut_planes, keep_vertebrae

_COARSE_SHARE = (0.05, 0.45)
_FINE_SHARE = (0.50, 0.85)


@dataclass(frozen=True, eq=False)
class Spine:
    """The column taken apart and named."""

    column: Column
    segments: tuple[Segment, ...]
    naming: Naming
    unsupported: float
    """Share of its discs without evidence."""


def segment_with(
    volume: CtVolume,
    coarse_model: Predictor,
    fine_model: Predictor | None,
    models: tuple[ModelUse, ...],
    settings: SegmentationSettings,
    progress: ProgressListener,
) -> Anatomy | Refusal:
    """Segment a scan: body, coarse pass, column, levels, fine pass around T10..L2, levels again, labels."""
    progress(Stage.SEGMENTATION, 0.0)
    grid = Grid.of_scan(volume.geometry).covering(coarse_model.spacing_mm)
    hu = resample_hu(volume, grid)
    body = find_body(hu, grid, settings.body)
    if body is None:
        return refusal(RefusalCode.BODY_NOT_FOUND, "No trunk was found in the images.", "Send a CT of the chest.")
    box = body.bounding_box(margin=3)
    coarse = coarse_model.predict(hu[box], grid.crop(box), _part_of(progress, *_COARSE_SHARE))
    spine = read_spine(volume, coarse, None, settings)
    if spine is None:
        return _no_spine()
    progress(Stage.SEGMENTATION, _FINE_SHARE[0])
    fine = _fine_pass(volume, spine, fine_model, settings.fine_box, progress)
    if fine is not None:
        spine = read_spine(volume, coarse, fine, settings, spine.column) or spine
    doubt = _level_refusal(spine, settings)
    if doubt is not None:
        return doubt
    progress(Stage.SEGMENTATION, _FINE_SHARE[1])
    coarse = with_wall_tissues(coarse, hu[box], settings.soft_tissue)
    anatomy = _assemble(volume, body, grid, coarse, fine, spine, settings)
    progress(Stage.SEGMENTATION, 1.0)
    return replace(anatomy, models=models)


def read_spine(
    volume: CtVolume,
    coarse: Prediction,
    fine: Prediction | None,
    settings: SegmentationSettings,
    column: Column | None = None,
) -> Spine | None:
    """Find the column (where it is not given), its vertebrae and their names; None where there is none."""
    column = column or find_column(coarse, settings.column)
    if column is None:
        return None
    profile = column_profile(volume, column, coarse, fine)
    segments = find_segments(profile, settings.column)
    if not segments:
        return None
    ribs = rib_volumes_mm3(coarse, column, segments)
    seen = cuts_seen(profile, segments, settings.column)
    evidence = [
        VertebraEvidence(
            coordinate=_segment_level(profile, segment),
            rib_volume_mm3=rib,
            whole=segment.cut_head and segment.cut_foot,
            length_mm=segment.length_mm if segment.cut_head and segment.cut_foot else None,
            cut_seen=cut,
        )
        for segment, rib, cut in zip(segments, ribs, seen, strict=True)
    ]
    naming = name_levels(evidence, settings.levels, find_landmarks(coarse, column, segments))
    return Spine(column, segments, naming, unsupported_share(profile, segments, settings.column))


def _segment_level(profile: Profile, segment: Segment) -> float | None:
    """Mean spine coordinate of a vertebra with both discs in view."""
    if profile.level is None or not (segment.cut_head and segment.cut_foot):
        return None
    return float(profile.level[round(segment.head_mm) : round(segment.foot_mm) + 1].mean())


def _fine_pass(
    volume: CtVolume,
    spine: Spine,
    model: Predictor | None,
    extent: FineBoxSettings,
    progress: ProgressListener,
) -> Prediction | None:
    if model is None:
        return None
    wanted = {level.ordinal for level in FINE_LEVELS}
    chosen = [s for s, n in zip(spine.segments, spine.naming.ordinals, strict=True) if n in wanted]
    if not chosen:
        return None
    grid = fine_grid(Grid.of_scan(volume.geometry), spine.column, chosen, model.spacing_mm, extent)
    return model.predict(resample_hu(volume, grid), grid, _part_of(progress, *_FINE_SHARE))


def fine_grid(
    scan: Grid, column: Column, chosen: Sequence[Segment], spacing_mm: Triple, extent: FineBoxSettings
) -> Grid:
    """Grid of the fine pass: a box around a stretch of the column, inside the scan."""
    first = max(0, round(chosen[0].head_mm - extent.along_mm))
    last = round(chosen[-1].foot_mm + extent.along_mm) + 1
    line = column.points[first:last]
    low = line.min(axis=0) - np.array((extent.along_mm / 2, extent.anterior_mm, extent.lateral_mm))
    high = line.max(axis=0) + np.array((extent.along_mm / 2, extent.posterior_mm, extent.lateral_mm))
    return scan.crop(scan.box_around(low, high)).covering(spacing_mm)


def _level_refusal(spine: Spine, settings: SegmentationSettings) -> Refusal | None:
    if not spine.naming.consistent or spine.unsupported > settings.column.max_unsupported_share:
        return refusal(
            RefusalCode.LEVELS_INCONSISTENT,
            "The vertebrae found do not follow each other as a spine's do; their levels cannot be told.",
            "Look at the sagittal images; send thinner slices or a scan that shows more of the spine.",
        )
    wanted = {level.ordinal for level in settings.wanted_levels}
    if not wanted & set(spine.naming.ordinals):
        seen = f"{level_name(spine.naming.ordinals[0])} to {level_name(spine.naming.ordinals[-1])}"
        return refusal(
            RefusalCode.LEVEL_NOT_IN_VIEW,
            f"The scan shows {seen}; none of {settings.wanted_levels[0]} to {settings.wanted_levels[-1]} is in view.",
            "Send a scan that reaches the lower thoracic or upper lumbar spine.",
        )
    return None


def _assemble(
    volume: CtVolume,
    body: BodyMask,
    body_grid: Grid,
    coarse: Prediction,
    fine: Prediction | None,
    spine: Spine,
    settings: SegmentationSettings,
) -> Anatomy:
    planes = cut_planes(spine.column, spine.segments)
    chain = Chain(spine.column, spine.segments, spine.naming.ordinals)
    cleaned = Cleaned(*keep_vertebrae(coarse, chain, planes, settings.column))
    cleaned_fine = None if fine is None else Cleaned(*keep_vertebrae(fine, chain, planes, settings.column))
    labels = scan_labels(volume, body, body_grid, cleaned, cleaned_fine, planes, spine.naming.ordinals, settings)
    vertebrae = _instances(labels, volume.geometry, spine)
    return Anatomy(
        labels=labels,
        geometry=volume.geometry,
        vertebrae=vertebrae,
        level_evidence=spine.naming.sentences,
        models=(),
        notices=_notices(vertebrae, spine, settings),
    )


def _instances(labels: LabelArray, geometry: Geometry, spine: Spine) -> tuple[VertebraInstance, ...]:
    """Vertebrae with a body in the label volume, head to foot."""
    out = []
    to_lps = scan_directions(geometry)
    centre_rows = [int(np.clip(round(s.centre_mm), 0, len(spine.column.points) - 1)) for s in spine.segments]
    for row, ordinal, confidence in zip(centre_rows, spine.naming.ordinals, spine.naming.confidence, strict=True):
        if ordinal > len(Level):
            continue
        level = Level.from_ordinal(ordinal)
        near = _slices_around(spine.column.points[row], geometry)
        index = np.argwhere(labels[near] == vertebra_label(level, VertebraPart.BODY))
        if len(index) == 0:
            continue
        index += [part.start for part in near]
        superior = to_lps @ spine.column.superior[row]
        superior /= np.linalg.norm(superior)
        anterior = to_lps @ spine.column.anterior[row]
        anterior -= superior * float(anterior @ superior)
        anterior /= np.linalg.norm(anterior)
        touches = (index == 0).any() or (index == np.array(geometry.shape) - 1).any()
        out.append(
            VertebraInstance(
                level=level,
                level_confidence=confidence,
                centroid_lps_mm=as_vector(geometry.index_to_lps(index.mean(axis=0))),
                superior=as_vector(superior),
                anterior=as_vector(anterior),
                complete=not touches,
            )
        )
    return tuple(out)


def _slices_around(point_mm: FloatArray, geometry: Geometry, reach_mm: float = 50.0) -> tuple[slice, slice, slice]:
    spacing = np.array(geometry.spacing_mm)
    low = np.clip(np.floor((point_mm - reach_mm) / spacing), 0, geometry.shape).astype(int)
    high = np.clip(np.ceil((point_mm + reach_mm) / spacing), 0, geometry.shape).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _notices(vertebrae: Sequence[VertebraInstance], spine: Spine, settings: SegmentationSettings) -> tuple[Notice, ...]:
    few = sum(s.cut_head and s.cut_foot for s in spine.segments) < 5
    message = "Few whole vertebrae are in view; levels rest on little."
    short = (notice("column-view-short", Severity.WARNING, message),) if few else ()
    return (*doubtful_levels(vertebrae, settings), *short, *cut_vertebrae(vertebrae))


def _no_spine() -> Refusal:
    return refusal(
        RefusalCode.SPINE_NOT_FOUND, "No vertebral column was found.", "Send axial images that hold the spine."
    )


def _part_of(progress: ProgressListener, start: float, end: float) -> _Part:
    return _Part(progress, start, end)


@dataclass(frozen=True)
class _Part:
    """Progress of a part of the stage, as a fraction of the whole stage."""

    progress: ProgressListener
    start: float
    end: float

    def __call__(self, fraction: float) -> None:
        self.progress(Stage.SEGMENTATION, self.start + (self.end - self.start) * fraction)
