"""What both ways of segmenting say about the vertebrae they found."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.anatomy import Vector, VertebraInstance
from trabecula.geometry import FloatArray
from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage
from trabecula.segmentation.settings import SegmentationSettings


def doubtful_levels(vertebrae: Sequence[VertebraInstance], settings: SegmentationSettings) -> tuple[Notice, ...]:
    """A warning when some names are not sure."""
    doubtful = [v.level.value for v in vertebrae if v.level_confidence < settings.levels.low_confidence]
    if not doubtful:
        return ()
    named = doubtful[0] if len(doubtful) == 1 else f"{doubtful[0]} to {doubtful[-1]}"
    message = f"Levels are not sure ({named}); check them on the sagittal image."
    return (notice("level-confidence-low", Severity.WARNING, message),)


def cut_vertebrae(vertebrae: Sequence[VertebraInstance]) -> tuple[Notice, ...]:
    """Word of the vertebrae that leave the images."""
    cut = [v.level.value for v in vertebrae if not v.complete]
    if not cut:
        return ()
    message = f"Cut by the edge of the images: {', '.join(cut)}."
    return (notice("vertebra-cut-by-view", Severity.INFORMATION, message),)


def notice(code: str, severity: Severity, message: str) -> Notice:
    return Notice(code, Stage.SEGMENTATION, severity, message)


def refusal(code: RefusalCode, message: str, remedy: str) -> Refusal:
    return Refusal(code, Stage.SEGMENTATION, message, remedy)


def as_vector(values: FloatArray) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
