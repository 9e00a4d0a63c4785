"""Which predicted vertebra lies over which of the reference, whatever the names say."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from trabecula.anatomy import BODY_LABEL_BASE, LabelArray, Level
from trabecula.evaluation.counting import label_counts

LEAST_DICE: Final = 0.3
"""Bodies that overlap less are not the same vertebra. Two bodies half a vertebra out of step have less than 0.5."""
_COUNT: Final = len(Level) + 1


def match_vertebrae(predicted: LabelArray, reference: LabelArray) -> dict[Level, Level]:
    """Reference level to the predicted level whose body lies over it: one to one, with the largest sum of Dice."""
    ours, theirs = _body_ordinals(predicted), _body_ordinals(reference)
    both = np.flatnonzero((ours > 0) & (theirs > 0))
    pairs = theirs.ravel()[both].astype(np.intp) * _COUNT + ours.ravel()[both]
    together = np.bincount(pairs, minlength=_COUNT * _COUNT).reshape(_COUNT, _COUNT).astype(np.float64)
    sizes = [label_counts(each, _COUNT).astype(np.float64) for each in (theirs, ours)]
    dice = 2.0 * together / np.maximum(sizes[0][:, None] + sizes[1][None, :], 1.0)
    dice[0, :] = dice[:, 0] = 0.0
    rows, columns = linear_sum_assignment(dice, maximize=True)
    return {
        Level.from_ordinal(int(row)): Level.from_ordinal(int(column))
        for row, column in zip(rows, columns, strict=True)
        if row and column and dice[row, column] >= LEAST_DICE
    }


def _body_ordinals(labels: LabelArray) -> LabelArray:
    """Ordinal of the vertebra whose body a voxel is, else 0."""
    lookup = np.zeros(256, dtype=np.uint8)
    lookup[BODY_LABEL_BASE + 1 : BODY_LABEL_BASE + _COUNT] = np.arange(1, _COUNT)
    return np.asarray(lookup[labels], dtype=np.uint8)
