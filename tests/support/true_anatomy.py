"""A phantom's own labels in place of what the models would have found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from trabecula.anatomy import Anatomy, Level, VertebraInstance
from trabecula.imaging.study import CtVolume
from trabecula.phantom.truth import PhantomTruth
from trabecula.phantom.write import LABELS_FILE


def true_anatomy(folder: Path, volume: CtVolume, truth: PhantomTruth) -> Anatomy:
    """The phantom's label file brought onto the canonical grid (both are axis-aligned)."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(folder / LABELS_FILE)), "LPS")
    labels = sitk.GetArrayFromImage(image)
    origin = np.array(volume.geometry.index_to_lps((0, 0, 0)))
    assert np.allclose(origin, image.GetOrigin(), atol=0.01)
    assert labels.shape == volume.hu.shape
    vertebrae = tuple(
        VertebraInstance(Level(v.level), 1.0, v.centroid_lps_mm, v.superior, (0.0, -1.0, 0.0), True)
        for v in truth.vertebrae
    )
    return Anatomy(labels, volume.geometry, vertebrae, (), ())
