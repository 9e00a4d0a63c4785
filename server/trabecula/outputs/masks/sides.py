"""Left and right of structures that the canonical labels do not tell apart."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import Anatomy, LabelArray, LabelMeaning, Structure, label_meaning

PAIRED: Final = (Structure.LUNG, Structure.KIDNEY, Structure.RIB, Structure.PARASPINAL_MUSCLE)
LEFT_BASE: Final = 128
RIGHT_BASE: Final = 160
"""A paired structure leaves as 128 + its label (left) or 160 + its label (right), never as its own label."""


def with_sides(anatomy: Anatomy) -> LabelArray:
    """A copy of the labels, (K, J, I), in which paired structures are split into left and right.

    The line between them is, in each slice, the column's own place: the middle of the spinal canal
    there, between slices without canal interpolated. A lung that reaches across that line in front of
    the spine is cut by it.
    """
    labels = anatomy.labels.copy()
    paired = np.zeros(256, dtype=np.bool_)
    paired[list(PAIRED)] = True
    columns = np.arange(labels.shape[2])
    for plane, middle in zip(labels, _midline(anatomy), strict=True):
        side = np.where(columns > middle, LEFT_BASE, RIGHT_BASE).astype(np.uint8)
        np.add(plane, side[None, :], out=plane, where=paired[plane])
    return labels


def meaning_with_sides(label: int) -> LabelMeaning:
    """Meaning of a label of :func:`with_sides`.

    Raises:
        ValueError: if the number is not in the table.
    """
    for base, side in ((RIGHT_BASE, "right"), (LEFT_BASE, "left")):
        if label > base:
            return LabelMeaning(label, Structure(label - base).name.lower(), None, None, side)
    return label_meaning(label)


def _midline(anatomy: Anatomy) -> npt.NDArray[np.float64]:
    """Column index i of the body's middle in every slice."""
    slices, places = [], []
    for k, plane in enumerate(anatomy.labels):
        canal = np.count_nonzero(plane == Structure.SPINAL_CANAL, axis=0)
        if canal.any():
            slices.append(float(k))
            places.append(float(np.average(np.arange(len(canal)), weights=canal)))
    if not slices:
        centres = [anatomy.geometry.lps_to_index(v.centroid_lps_mm) for v in reversed(anatomy.vertebrae)]
        slices, places = [float(c[0]) for c in centres], [float(c[2]) for c in centres]
    if not slices:
        return np.full(anatomy.labels.shape[0], (anatomy.labels.shape[2] - 1) / 2)
    return np.interp(np.arange(anatomy.labels.shape[0]), slices, places)
