"""Views as pictures: a grey PNG, a coloured PNG to lay over it, outlines and marks in millimetres."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import contourpy
import numpy as np
import numpy.typing as npt
from PIL import Image

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, Level
from trabecula.report import ScreeningReport, View

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

BONE_WINDOW_HU: Final = (250.0, 1000.0)
SOFT_WINDOW_HU: Final = (40.0, 400.0)
"""Centre and width of the grey scale, for looking only."""
TISSUE_COLOURS: Final[dict[int, tuple[str, str]]] = {
    1: ("Muscle", "#d55e00"),
    2: ("Fat inside muscle", "#f0e442"),
    3: ("Subcutaneous fat", "#56b4e9"),
    4: ("Visceral fat", "#cc79a7"),
}
"""Okabe-Ito colours, which stay apart for colour-blind readers."""
TISSUE_OPACITY: Final = 0.55


@dataclass(frozen=True)
class Outline:
    """A closed line, as SVG path data in mm."""

    path: str
    kind: str
    """``body``, ``roi`` or ``roi-excluded``."""


@dataclass(frozen=True)
class Mark:
    text: str
    x_mm: float
    y_mm: float
    emphasis: bool
    """A level that counts towards the means."""


@dataclass(frozen=True)
class Picture:
    kind: str
    title: str
    description: str
    caption: str
    width_mm: float
    height_mm: float
    image: str
    """Data URI of the grey picture."""
    overlay: str | None
    """Data URI of the tissue colours."""
    outlines: tuple[Outline, ...]
    marks: tuple[Mark, ...]

    @property
    def letter_mm(self) -> float:
        """Height of letters that stay readable when the whole picture is shown small."""
        return round(max(7.0, 0.032 * self.width_mm), 1)


def pictures(views: tuple[View, ...], report: ScreeningReport) -> tuple[Picture, ...]:
    """Every view as a picture."""
    return tuple(_picture(view, report) for view in views)


def _picture(view: View, report: ScreeningReport) -> Picture:
    sagittal = view.kind == "sagittal"
    rows, columns = view.hu.shape
    row_mm, column_mm = view.pixel_mm
    title = "Along the column" if sagittal else f"Through {view.level.value if view.level else 'the body'}"
    return Picture(
        kind=view.kind,
        title=title,
        description=_description(view),
        caption=_caption(view, report),
        width_mm=round(columns * column_mm, 2),
        height_mm=round(rows * row_mm, 2),
        image=_data_uri(_grey(view.hu, BONE_WINDOW_HU if sagittal else SOFT_WINDOW_HU)),
        overlay=None if view.tissue is None else _data_uri(_tissue_colours(view.tissue)),
        outlines=tuple(_outlines(view, report)),
        marks=_marks(view, report) if sagittal else (),
    )


def _description(view: View) -> str:
    """Text for readers who do not see the picture."""
    if view.kind == "sagittal":
        named = ", ".join(text for text, _, _ in view.marks) or "none"
        return f"Sagittal CT picture following the spine, front to the left. Vertebrae named: {named}."
    level = "a vertebra" if view.level is None else view.level.value
    return f"Axial CT picture through {level} with muscle and fat in colour, patient's right on the left."


def _caption(view: View, report: ScreeningReport) -> str:
    if view.kind == "sagittal":
        return (
            "Surface through the middle of the vertebral bodies, unrolled; bone window. Thin lines: vertebral bodies. "
            "Yellow: trabecular regions, and the names that count towards the mean; dashed red: left out of it."
        )
    here = next((item for item in report.composition if item.level is view.level), None)
    cut = " The field of view cuts the body here." if here is not None and here.truncated else ""
    return f"Slice through the middle of {view.level.value if view.level else 'the body'}; soft-tissue window.{cut}"


def _grey(hu: npt.NDArray[np.int16], window_hu: tuple[float, float]) -> Image.Image:
    centre, width = window_hu
    level = (np.clip((hu - (centre - width / 2)) / width, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(level)


def _tissue_colours(tissue: Bytes) -> Image.Image:
    """One of five colours a pixel, the first of them clear."""
    picture = Image.fromarray(tissue).convert("P")
    colours = [(0, 0, 0), *(bytes.fromhex(colour[1:]) for _, colour in TISSUE_COLOURS.values())]
    picture.putpalette([channel for colour in colours for channel in colour])
    picture.info["transparency"] = bytes([0, *[round(255 * TISSUE_OPACITY)] * len(TISSUE_COLOURS)])
    return picture


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _outlines(view: View, report: ScreeningReport) -> Iterator[Outline]:
    """Vertebral bodies as thin lines, then the regions measured, on top."""
    is_body = (view.labels > BODY_LABEL_BASE) & (view.labels <= BODY_LABEL_BASE + len(Level))
    for label in np.unique(view.labels[is_body]):
        yield from (Outline(path, "body") for path, _ in _contours(view.labels == label, view.pixel_mm))
    if view.roi_mask is None:
        return
    excluded = {BODY_LABEL_BASE + vertebra.level.ordinal for vertebra in report.vertebrae if vertebra.excluded}
    for path, (row, column) in _contours(view.roi_mask, view.pixel_mm):
        left_out = int(view.labels[row, column]) % POSTERIOR_LABEL_BASE in excluded
        yield Outline(path, "roi-excluded" if left_out else "roi")


def _contours(mask: Mask, pixel_mm: tuple[float, float]) -> Iterator[tuple[str, tuple[int, int]]]:
    """SVG paths (mm) of the outlines of a mask, each with a pixel at its middle."""
    padded = np.pad(mask.astype(np.float32), 1)
    row_mm, column_mm = pixel_mm
    for line in contourpy.contour_generator(z=padded).lines(0.5):
        points = np.asarray(line, dtype=np.float64)
        if len(points) < 6:  # specks of one pixel
            continue
        # minus the padding, plus half a pixel: centres of pixels lie at half-integers of the drawing
        x, y = (points[:, 0] - 0.5) * column_mm, (points[:, 1] - 0.5) * row_mm
        middle = points.mean(axis=0) - 1
        row = min(max(round(middle[1]), 0), mask.shape[0] - 1)
        column = min(max(round(middle[0]), 0), mask.shape[1] - 1)
        yield "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)) + "Z", (row, column)


def _marks(view: View, report: ScreeningReport) -> tuple[Mark, ...]:
    """Level names in front of their bodies, clear of what they name."""
    used = set() if report.density is None else {level.value for level in report.density.levels_used}
    row_mm, column_mm = view.pixel_mm
    return tuple(
        Mark(text, round((column + 0.5) * column_mm - 24.0, 1), round((row + 0.5) * row_mm, 1), text in used)
        for text, row, column in view.marks
    )


def legend() -> tuple[tuple[str, str], ...]:
    """(name, colour) of the tissues."""
    return tuple(TISSUE_COLOURS.values())
