"""Planes as SVG files that stand alone: the CT below, reference and predicted outlines above."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr  # escapes, parses nothing  # nosec B406

import contourpy
import numpy as np
import numpy.typing as npt
from PIL import Image

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, LabelArray, Level, Structure
from trabecula.bone.vertebra import TrabecularRoi
from trabecula.evaluation.measurement import inside_roi
from trabecula.evaluation.planes import Plane

REFERENCE: Final = "#4cc3ff"
PREDICTED: Final = "#ffa02e"
ROI_PREDICTED: Final = "#ffe14d"
ROI_REFERENCE: Final = "#ffffff"
WRONG: Final = "#ff5c5c"
"""Blue and orange stay apart for colour-blind readers."""
BONE_WINDOW_HU: Final = (250.0, 1100.0)
SOFT_WINDOW_HU: Final = (60.0, 420.0)
"""Centre and width of the grey scale, for looking only."""
ORGANS: Final = (Structure.SPINAL_CANAL, Structure.AORTA, Structure.PARASPINAL_MUSCLE)
_JPEG_QUALITY: Final = 84
_FEWEST_POINTS: Final = 6
_FONT: Final = "Arial, Liberation Sans, sans-serif"


@dataclass(frozen=True)
class Word:
    """A name on a picture, mm."""

    text: str
    x: float
    y: float
    colour: str
    anchor: str = "start"


@dataclass(frozen=True, eq=False)
class Panel:
    """One plane with everything that is drawn on it."""

    plane: Plane
    window_hu: tuple[float, float]
    letters: tuple[str, str]
    """At the left and at the right edge."""
    words: tuple[Word, ...] = ()
    rois: Mapping[str, Sequence[TrabecularRoi]] | None = None
    """By colour."""
    organs: bool = False
    line_mm: float = 0.7

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        rows, columns = self.plane.hu.shape
        return columns * self.plane.pixel_mm[1], rows * self.plane.pixel_mm[0]


def draw(panels: Sequence[Panel], description: str) -> str:
    """Panels side by side as one SVG document."""
    gap = 2.0
    width = sum(panel.size_mm[0] for panel in panels) + gap * (len(panels) - 1)
    height = max(panel.size_mm[1] for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.1f} {height:.1f}" role="img" '
        f"aria-label={quoteattr(description)}>"
    ]
    left = 0.0
    for panel in panels:
        parts.append(f'<g transform="translate({left:.1f} 0)">')
        parts.extend(_panel(panel))
        parts.append("</g>")
        left += panel.size_mm[0] + gap
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel) -> Iterator[str]:
    width, height = panel.size_mm
    yield (
        f'<image href="{_picture(panel.plane.hu, panel.window_hu)}" width="{width:.1f}" height="{height:.1f}" '
        'preserveAspectRatio="none"/>'
    )
    yield '<g class="drawn" fill="none" stroke-linejoin="round">'
    for labels, colour in ((panel.plane.reference, REFERENCE), (panel.plane.predicted, PREDICTED)):
        if labels is not None:
            yield from _outlines(labels, panel, colour)
    for colour, rois in (panel.rois or {}).items():
        for roi in rois:
            dash = ' stroke-dasharray="1.6 1.1"' if colour == ROI_REFERENCE else ""
            path = _path(inside_roi(roi, panel.plane.points_mm), panel.plane.pixel_mm)
            if path:
                yield f'<path d="{path}" stroke="{colour}" stroke-width="{panel.line_mm:g}"{dash}/>'
    yield "</g>"
    yield from _text(panel, width, height)


def _outlines(labels: LabelArray, panel: Panel, colour: str) -> Iterator[str]:
    """Bodies in full lines, posterior elements and organs in thin ones."""
    thick, thin, organs = [], [], []
    for label in np.unique(labels):
        if label > POSTERIOR_LABEL_BASE:
            thin.append(_path(labels == label, panel.plane.pixel_mm))
        elif label > BODY_LABEL_BASE:
            thick.append(_path(labels == label, panel.plane.pixel_mm))
        elif panel.organs and label in ORGANS:
            organs.append(_path(labels == label, panel.plane.pixel_mm))
    for paths, share, opacity in ((thick, 1.0, 1.0), (thin, 0.6, 0.9), (organs, 0.6, 0.9)):
        path = "".join(paths)
        if path:
            width = panel.line_mm * share
            yield f'<path d="{path}" stroke="{colour}" stroke-width="{width:.2f}" stroke-opacity="{opacity:g}"/>'


def _text(panel: Panel, width: float, height: float) -> Iterator[str]:
    size = max(4.5, 0.03 * width)
    halo = 'stroke="#000" stroke-width="1" paint-order="stroke"'
    yield f'<g font-family="{_FONT}" font-size="{size:.1f}" fill="#fff" {halo}>'
    yield f'<text x="2" y="{height / 2:.1f}">{panel.letters[0]}</text>'
    yield f'<text x="{width - 2:.1f}" y="{height / 2:.1f}" text-anchor="end">{panel.letters[1]}</text>'
    scale = 50.0 if width > 120 else 10.0
    yield f'<path d="M3 4h{scale:g}m-{scale:g} -1.5v3m{scale:g} -3v3" fill="none" stroke="#fff" stroke-width=".6"/>'
    small = f'dominant-baseline="central" font-size="{0.8 * size:.1f}"'
    yield f'<text x="{scale + 5:g}" y="4" {small}>{scale / 10:g} cm</text>'
    for word in panel.words:
        yield (
            f'<text x="{word.x:.1f}" y="{word.y:.1f}" fill="{word.colour}" text-anchor="{word.anchor}" '
            f'dominant-baseline="central">{escape(word.text)}</text>'
        )
    yield "</g>"


def named(level: Level, x: float, y: float, colour: str, anchor: str) -> Word:
    """A level's name."""
    return Word(level.value, x, y, colour, anchor)


def _path(mask: npt.NDArray[np.bool_], pixel_mm: tuple[float, float]) -> str:
    """SVG path data (mm) of the outlines of a mask, specks left out."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ""
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.float32), 1)
    out = []
    for line in contourpy.contour_generator(z=part).lines(0.5):
        points = np.asarray(line, dtype=np.float64)
        if len(points) < _FEWEST_POINTS:
            continue
        # minus the padding, plus half a pixel: centres of pixels lie at half-integers of the drawing
        x = (points[:, 0] + left - 0.5) * pixel_mm[1]
        y = (points[:, 1] + top - 0.5) * pixel_mm[0]
        out.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)) + "Z")
    return "".join(out)


def _picture(hu: npt.NDArray[np.float32], window_hu: tuple[float, float]) -> str:
    centre, width = window_hu
    grey = (np.clip((hu - (centre - width / 2)) / width, 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
