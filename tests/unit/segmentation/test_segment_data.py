"""The column logic on a real spine: a reference label map in the place of the models."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from trabecula.anatomy import Level, VertebraPart, vertebra_label
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.segmentation.pipeline import segment_with
from trabecula.segmentation.predict import Prediction, Predictor
from trabecula.segmentation.resample import Grid, nearest_labels
from trabecula.segmentation.settings import SegmentationSettings

CHANNELS = ("body", "lung", "aorta", "rib", "spinal_canal", "vertebra_body", "vertebra_posterior")
BODY = CHANNELS.index("vertebra_body")


@pytest.fixture(scope="module")
def reference(data_dir):
    """(the CT, class of each voxel by the reference, ordinal of each vertebra voxel)."""
    study = read_study([data_dir / "ct" / "lidc-idri-0001"], ImagingLimits())
    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(data_dir / "labels" / "lidc-idri-0001.nii.gz")), "LPS")
    labels = SimpleITK.GetArrayFromImage(image)
    assert labels.shape == study.volume.hu.shape
    classes = np.zeros(labels.shape, dtype=np.uint8)
    classes[(labels >= 10) & (labels <= 14)] = CHANNELS.index("lung")
    classes[labels == 52] = CHANNELS.index("aorta")
    classes[(labels >= 92) & (labels <= 115)] = CHANNELS.index("rib")
    canal = labels == 79
    classes[canal] = CHANNELS.index("spinal_canal")
    front = np.array([np.quantile(np.nonzero(plane)[0], 0.03) if plane.any() else np.nan for plane in canal])
    rows = np.arange(len(front))
    front = np.interp(rows, rows[~np.isnan(front)], front[~np.isnan(front)])
    bone = (labels >= 29) & (labels <= 45)
    ordinals = np.where(bone, 51 - labels.astype(np.int16), 0).astype(np.uint8)
    ahead = np.arange(labels.shape[1])[None, :, None] <= front[:, None, None]
    classes[bone & ahead] = BODY
    classes[bone & ~ahead] = CHANNELS.index("vertebra_posterior")
    return study.volume, classes, ordinals


def oracle(scan, classes, ordinals, shift):
    centres = {int(n): np.argwhere((ordinals == n) & (classes == BODY))[:, 0].mean() for n in np.unique(ordinals) if n}
    heights, levels = zip(*sorted((k, n) for n, k in centres.items()), strict=True)

    def predict(_hu, grid, on_fraction):
        on_fraction(1.0)
        found = nearest_labels(classes, scan, grid)
        probability = np.stack([found == n for n in range(len(CHANNELS))]).astype(np.float32)
        k = (grid.start_mm[0] + np.arange(grid.shape[0]) * grid.spacing_mm[0]) / scan.spacing_mm[0]
        level = np.interp(k, heights, levels) + shift
        coordinate = np.broadcast_to(level[:, None, None], grid.shape).astype(np.float32)
        return Prediction(grid, CHANNELS, probability, coordinate)

    return Predictor((4.0, 4.0, 4.0), CHANNELS, predict)


@pytest.mark.data
@pytest.mark.parametrize("shift", [0.0, -0.7])
def test_a_real_scoliotic_spine_is_named_right(reference, shift):
    volume, classes, ordinals = reference
    model = oracle(Grid.of_scan(volume.geometry), classes, ordinals, shift)
    anatomy = segment_with(volume, model, None, (), SegmentationSettings(), lambda *_: None)
    assert {v.level.ordinal for v in anatomy.vertebrae} >= set(range(Level.T1.ordinal, Level.L3.ordinal + 1))
    assert any("Lowest attached rib" in s and "T12" in s for s in anatomy.level_evidence)
    for n in range(Level.T4.ordinal, Level.L3.ordinal):
        truth = (ordinals == n) & (classes == BODY)
        found = anatomy.labels == vertebra_label(Level.from_ordinal(n), VertebraPart.BODY)
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.8, n
