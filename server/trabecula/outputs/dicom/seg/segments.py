"""Which segments there are, and their pixels on the canonical grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.sr.coding import Code

from trabecula.anatomy import Anatomy, Level, VertebraPart, vertebra_label
from trabecula.composition.tissue import Tissue
from trabecula.outputs.dicom import codes
from trabecula.report import Screening, View

Planes = npt.NDArray[np.uint8]

TISSUES: Final[dict[Tissue, tuple[str, Code, tuple[int, int, int]]]] = {
    Tissue.MUSCLE: ("Skeletal muscle", codes.SKELETAL_MUSCLE, (213, 94, 0)),
    Tissue.IMAT: ("Fat inside the muscle compartment", codes.FAT, (240, 228, 66)),
    Tissue.SAT: ("Subcutaneous fat", codes.SUBCUTANEOUS_FAT, (86, 180, 233)),
    Tissue.VAT: ("Visceral fat", codes.FAT, (204, 121, 167)),
}
"""Label, type and RGB colour of the tissues; the colours are those of the page."""
VERTEBRA_COLOURS: Final = ((0, 158, 115), (0, 114, 178))
"""Neighbours differ."""


@dataclass(frozen=True)
class Segment:
    """One segment of the object."""

    number: int
    label: str
    category: Code
    type: Code
    region: Code | None
    level: Level
    """The vertebra, or that through whose middle the slice with the tissue lies."""
    tissue: Tissue | None
    colour: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class SegmentPixels:
    """Segment numbers by voxel, on those planes of the canonical grid that have any."""

    segments: tuple[Segment, ...]
    planes: tuple[int, ...]
    """k indices, rising."""
    numbers: Planes
    """(len(planes), J, I); 0 is no segment."""


def segment_pixels(screening: Screening) -> SegmentPixels | None:
    """Whole vertebrae, then the tissue of the slices in which it was measured; None when nothing is segmented."""
    anatomy = screening.evidence.anatomy
    if anatomy is None:
        return None
    lookup = np.zeros(256, dtype=np.uint8)
    segments: list[Segment] = []
    present = np.flatnonzero(np.bincount(anatomy.labels.ravel(), minlength=256))
    for level in Level:
        labels = [vertebra_label(level, part) for part in VertebraPart]
        if np.isin(labels, present).any():
            segments.append(_vertebra(len(segments) + 1, level))
            lookup[labels] = segments[-1].number
    tissue = _tissue_planes(screening, anatomy)
    numbers: dict[int, dict[Tissue, int]] = {}
    for level, k, plane in tissue:
        for kind in TISSUES:
            if (plane == kind).any():
                segments.append(_tissue(len(segments) + 1, kind, level))
                numbers.setdefault(k, {})[kind] = segments[-1].number
    if not segments:
        return None
    maps = {k: plane for _, k, plane in tissue}
    planes, pixels = [], []
    for k in range(anatomy.labels.shape[0]):
        plane = lookup[anatomy.labels[k]]
        for kind, number in numbers.get(k, {}).items():
            plane[(maps[k] == kind) & (plane == 0)] = number
        if plane.any():
            planes.append(k)
            pixels.append(plane)
    return SegmentPixels(tuple(segments), tuple(planes), np.stack(pixels))


def _vertebra(number: int, level: Level) -> Segment:
    colour = VERTEBRA_COLOURS[level.ordinal % 2]
    return Segment(
        number,
        f"{level.value} vertebra",
        codes.ANATOMICAL_STRUCTURE,
        codes.vertebra(level),
        None,
        level,
        None,
        colour,
    )


def _tissue(number: int, kind: Tissue, level: Level) -> Segment:
    label, code, colour = TISSUES[kind]
    return Segment(number, f"{label} at {level.value}", codes.TISSUE, code, codes.TRUNK, level, kind, colour)


def _tissue_planes(screening: Screening, anatomy: Anatomy) -> list[tuple[Level, int, Planes]]:
    """Level, k and tissue map (J, I) of each slice in which tissue was measured, put back from the cropped views.

    A view marks its vertebra's centre; the same centre on the grid tells where the crop began.
    """
    slices = {measured.level: measured.slice_index for measured in screening.report.composition}
    found = []
    for view in screening.evidence.views:
        if view.kind != "axial" or view.tissue is None or view.level not in slices:
            continue
        start = _crop_start(view, anatomy)
        if start is None:
            continue
        rows, columns = view.tissue.shape
        height, width = anatomy.labels[0].shape
        whole = np.zeros((height, width), dtype=np.uint8)
        if min(start) < 0 or start[0] + rows > height or start[1] + columns > width:
            continue
        whole[start[0] : start[0] + rows, start[1] : start[1] + columns] = view.tissue
        found.append((view.level, slices[view.level], whole))
    return found


def _crop_start(view: View, anatomy: Anatomy) -> tuple[int, int] | None:
    vertebra = None if view.level is None else anatomy.vertebra(view.level)
    if vertebra is None or len(view.marks) != 1:
        return None
    _, j, i = anatomy.geometry.lps_to_index(vertebra.centroid_lps_mm)
    _, row, column = view.marks[0]
    return round(float(j) - row), round(float(i) - column)
