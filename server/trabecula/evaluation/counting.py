"""Counting labels slice by slice: a whole volume at once would be copied to eight bytes a voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def label_counts(labels: npt.NDArray[np.integer], minlength: int = 256) -> npt.NDArray[np.int64]:
    """Voxels of each label number (0 .. the largest, at least ``minlength`` numbers) in a (K, J, I) volume."""
    length = max(minlength, int(labels.max(initial=0)) + 1)
    counts = np.zeros(length, dtype=np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=length)
    return counts
