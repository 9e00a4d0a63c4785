"""Which pictures a case gets: along the column twice, through T12 wide and close, and its worst vertebrae."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from trabecula.anatomy import Level, VertebraInstance
from trabecula.bone.vertebra import TrabecularRoi
from trabecula.evaluation.drawing import (
    BONE_WINDOW_HU,
    PREDICTED,
    REFERENCE,
    ROI_PREDICTED,
    ROI_REFERENCE,
    SOFT_WINDOW_HU,
    WRONG,
    Panel,
    Word,
    draw,
    named,
)
from trabecula.evaluation.measurement import Measurement
from trabecula.evaluation.planes import Layers, Plane, along_column, axial, close_up, place_on
from trabecula.evaluation.ranking import describe_vertebra, worst_vertebrae
from trabecula.evaluation.results import PictureFile, VertebraScore
from trabecula.evaluation.score import Scored

CLOSE_UPS: Final = 3
"""Of the worst vertebrae of each case."""
_AXIAL_LEVELS: Final = (Level.T12, Level.T11, Level.L1, Level.T10, Level.L2, Level.T9, Level.T8)
_NAME_PLACES: Final = {"sagittal": ((-37.0, "end"), (-22.0, "end")), "coronal": ((-28.0, "end"), (28.0, "start"))}
"""Clear of the bodies; from the side both in front, as posterior elements lie behind."""
_OUTLINES: Final = "Reference blue, prediction orange; regions measured: reference dashed white, prediction yellow."


def draw_case(scored: Scored, folder: Path, stem: str) -> tuple[PictureFile, ...]:
    """Write a case's pictures as SVG files into an existing folder; none where nothing could be read.

    Returns:
        The pictures, their files relative to the folder above.

    Raises:
        OSError: if the folder does not take them.
    """
    if scored.ct is None or scored.reference is None:
        return ()
    predicted = scored.predicted
    layers = Layers(scored.ct.volume, scored.reference.anatomy, predicted)
    out = []
    for kind, level, title, caption, text in _pictures(scored, layers):
        suffix = f"-{level.value.lower()}" if level else ""
        path = folder / f"{stem}.{kind}{suffix}.svg"
        path.write_text(text, encoding="utf-8")
        out.append(PictureFile(kind, level, f"{folder.name}/{path.name}", title, caption))
    return tuple(out)


def _pictures(scored: Scored, layers: Layers) -> Iterator[tuple[str, Level | None, str, str, str]]:
    name = scored.result.name
    rois = _rois(scored.measured)
    for kind, letters in (("sagittal", ("A", "P")), ("coronal", ("R", "L"))):
        plane = along_column(layers, coronal=kind == "coronal")
        panel = Panel(plane, BONE_WINDOW_HU, letters, _names(plane, scored, _NAME_PLACES[kind]), rois)
        title = "Along the column, " + ("from the front" if kind == "coronal" else "from the side")
        caption = f"{_OUTLINES} Names: reference left, prediction right, red where they differ."
        yield kind, None, title, caption, draw([panel], f"{name}: {title}")
    middle = _axial_vertebra(layers.reference.vertebrae)
    if middle is not None:
        panel = Panel(axial(layers, middle), SOFT_WINDOW_HU, ("R", "L"), rois=rois, organs=True)
        title = f"Through {middle.level.value} of the reference"
        caption = "Vertebra, canal, aorta and paraspinal muscle."
        yield "axial", middle.level, title, caption, draw([panel], f"{name}: {title}")
        title, caption = f"{middle.level.value} close up", "In the reference vertebra's own axes."
        panels = _close_panels(layers, middle, rois)
        yield "detail", middle.level, title, caption, draw(panels, f"{name}: {title}")
    for vertebra in worst_vertebrae(scored.result.vertebrae)[:CLOSE_UPS]:
        yield _close_up(vertebra, scored, layers)


def _close_up(vertebra: VertebraScore, scored: Scored, layers: Layers) -> tuple[str, Level | None, str, str, str]:
    instance = layers.reference.vertebra(vertebra.level)
    assert instance is not None  # noqa: S101 - the score is of a reference vertebra
    rois = _rois(scored.measured, vertebra.level, vertebra.named)
    panels = _close_panels(layers, instance, rois)
    title = f"{scored.result.name}, {vertebra.level.value}"
    return "vertebra", vertebra.level, title, describe_vertebra(vertebra), draw(panels, f"Close-up of {title}")


def _close_panels(
    layers: Layers, vertebra: VertebraInstance, rois: Mapping[str, Sequence[TrabecularRoi]]
) -> list[Panel]:
    """From the side and from below."""
    return [
        Panel(close_up(layers, vertebra, axial_view=view), BONE_WINDOW_HU, letters, rois=rois, line_mm=0.6)
        for view, letters in ((False, ("A", "P")), (True, ("R", "L")))
    ]


def _rois(
    measured: tuple[Measurement, Measurement] | None, level: Level | None = None, named_level: Level | None = None
) -> dict[str, list[TrabecularRoi]]:
    """Regions by colour; of one vertebra when a level is given."""
    if measured is None:
        return {}
    theirs, ours = measured
    wanted = ((ROI_REFERENCE, theirs, level), (ROI_PREDICTED, ours, named_level))
    return {
        colour: [
            each.roi
            for each in measurement.vertebrae.values()
            if each.roi is not None and (level is None or each.level is only)
        ]
        for colour, measurement, only in wanted
    }


def _names(plane: Plane, scored: Scored, places: tuple[tuple[float, str], tuple[float, str]]) -> tuple[Word, ...]:
    """Names beside the bodies' centres: distance in mm and anchor of the reference's and of the predicted ones."""
    (reference_mm, reference_anchor), (predicted_mm, predicted_anchor) = places
    assert scored.reference is not None  # noqa: S101 - the caller looked
    wrong = {v.named for v in scored.result.vertebrae if v.off_by} | {e.named for e in scored.result.extra}
    words = []
    for vertebra in scored.reference.anatomy.vertebrae:
        x, y = place_on(plane, vertebra.centroid_lps_mm)
        words.append(named(vertebra.level, x + reference_mm, y, REFERENCE, reference_anchor))
    for vertebra in scored.predicted.vertebrae if scored.predicted else ():
        x, y = place_on(plane, vertebra.centroid_lps_mm)
        colour = WRONG if vertebra.level in wrong else PREDICTED
        words.append(named(vertebra.level, x + predicted_mm, y, colour, predicted_anchor))
    return tuple(words)


def _axial_vertebra(vertebrae: Sequence[VertebraInstance]) -> VertebraInstance | None:
    by_level = {v.level: v for v in vertebrae if v.complete}
    return next((by_level[level] for level in _AXIAL_LEVELS if level in by_level), next(iter(vertebrae), None))
