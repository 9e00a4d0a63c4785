"""What the stage makes of a real network's labels on a real chest CT: TotalSegmentator's map in the network's place."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from trabecula.anatomy import Anatomy, Level, VertebraPart, vertebra_label
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy
from trabecula.segmentation.full import segment_full
from trabecula.segmentation.nnunet.labels import load_label_map, read_target
from trabecula.segmentation.nnunet.predict import NetworkLabels
from trabecula.segmentation.settings import SegmentationSettings

pytestmark = pytest.mark.data

LEVELS = [Level.from_ordinal(n) for n in range(Level.T1.ordinal, Level.L2.ordinal + 1)]
RIBS = [f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)]
NUMBERS = (
    {50 - n: f"vertebrae_{Level.from_ordinal(n + 1)}" for n in range(24)}
    | {79: "spinal_cord", 86: "autochthon_left", 87: "autochthon_right", 52: "aorta"}
    | {92 + n: name for n, name in enumerate(RIBS)}
)


@pytest.fixture(scope="module")
def anatomy(data_dir: Path) -> Anatomy:
    study = read_study([data_dir / "ct" / "lidc-idri-0001"], ImagingLimits())
    assert isinstance(study, CtStudy)
    image = sitk.DICOMOrient(sitk.ReadImage(str(data_dir / "labels" / "lidc-idri-0001.nii.gz")), "LPS")
    labels = sitk.GetArrayFromImage(image).astype(np.uint16)
    assert labels.shape == study.volume.geometry.shape
    names = {0: "background", **NUMBERS}
    known = load_label_map("totalsegmentator-total").labels
    targets = [read_target(known[names.get(n, "background")]) for n in range(int(labels.max()) + 1)]
    certainty = np.where(np.bincount(labels.ravel()) > 0, 0.96, 0.0)
    found = segment_full(
        study.volume, [(NetworkLabels(labels, certainty), targets)], SegmentationSettings(), lambda *_: None
    )
    assert isinstance(found, Anatomy)
    return found


def test_every_level_is_kept_and_believed(anatomy: Anatomy) -> None:
    whole = [v for v in anatomy.vertebrae if v.level in LEVELS]
    assert [v.level for v in whole] == LEVELS
    assert all(v.complete and v.level_confidence > 0.9 for v in whole)
    assert "12 of 12 ribs meet the vertebra with their own number." in anatomy.level_evidence


def test_bodies_and_arches_have_the_volumes_that_anatomy_books_give(anatomy: Anatomy) -> None:
    voxel_cm3 = anatomy.geometry.voxel_volume_mm3 / 1000
    volumes = {
        level: [
            float((anatomy.labels == vertebra_label(level, part)).sum() * voxel_cm3)
            for part in (VertebraPart.BODY, VertebraPart.POSTERIOR)
        ]
        for level in LEVELS
    }
    bodies = [volumes[level][0] for level in LEVELS]
    assert all(5 < body < 45 for body in bodies)
    assert np.corrcoef(bodies, np.arange(len(bodies)))[0, 1] > 0.95  # they grow from head to foot
    assert 15 < volumes[Level.T12][0] < 35
    for body, posterior in volumes.values():
        assert 0.4 < body / (body + posterior) < 0.75 or body < 10


def test_directions_turn_smoothly_down_the_column(anatomy: Anatomy) -> None:
    whole = [v for v in anatomy.vertebrae if v.level in LEVELS]
    for upper, lower in pairwise(whole):
        assert np.dot(upper.superior, lower.superior) > 0.9
        assert np.dot(upper.anterior, lower.anterior) > 0.9
