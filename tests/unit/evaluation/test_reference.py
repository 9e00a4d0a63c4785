"""Reference labels as an anatomy: the split of whole vertebrae, how bodies stand, what is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from trabecula.anatomy import BODY_LABEL_BASE, LabelArray, Level, Structure, VertebraPart, vertebra_label
from trabecula.errors import InvalidCase
from trabecula.evaluation.case import Case, CaseInfo
from trabecula.evaluation.label_map import LabelMap, load_label_map
from trabecula.evaluation.reference import Reference, build_reference, completed
from trabecula.evaluation.regions import dice
from trabecula.evaluation.volumes import LoadedCt

LEVELS = (Level.T9, Level.T10, Level.T11, Level.T12, Level.L1, Level.L2)
WHOLE = load_label_map("verse", None)  # type: ignore[arg-type]


def as_whole_vertebrae(reference: Reference) -> LabelArray:
    """VerSe's labels of the same anatomy: body and posterior elements in one, nothing else."""
    labels = reference.anatomy.labels
    out = np.zeros_like(labels)
    for level in Level:
        both = [vertebra_label(level, part) for part in VertebraPart]
        out[np.isin(labels, both)] = level.ordinal
    return out


@pytest.fixture(scope="module")
def split(reference: Reference) -> Reference:
    return build_reference(as_whole_vertebrae(reference), reference.anatomy.geometry, WHOLE, CaseInfo())


def test_axes_of_bodies_are_those_the_phantom_was_made_with(case: Case, reference: Reference) -> None:
    truth = json.loads((case.folder / "truth.json").read_text())
    made = {Level[v["level"]]: v for v in truth["vertebrae"]}
    assert set(LEVELS) <= set(made)
    for level in LEVELS:
        vertebra = reference.anatomy.vertebra(level)
        assert vertebra is not None
        angle = np.degrees(np.arccos(np.clip(np.dot(vertebra.superior, made[level]["superior"]), -1, 1)))
        assert angle < 5.0, level
        assert np.linalg.norm(np.subtract(vertebra.centroid_lps_mm, made[level]["centroid_lps_mm"])) < 3.0
        assert np.dot(vertebra.superior, vertebra.anterior) == pytest.approx(0.0, abs=1e-6)
        assert vertebra.anterior[1] < -0.8


def test_vertebrae_at_the_edge_of_the_images_are_not_complete(reference: Reference) -> None:
    complete = {v.level for v in reference.anatomy.vertebrae if v.complete}
    assert set(LEVELS) <= complete
    assert Level.L3 not in complete


def test_the_split_finds_the_bodies_of_whole_vertebrae(reference: Reference, split: Reference) -> None:
    assert set(LEVELS) <= split.split_levels
    for level in LEVELS:
        for part, least in ((VertebraPart.BODY, 0.96), (VertebraPart.POSTERIOR, 0.85)):
            label = vertebra_label(level, part)
            assert dice(split.anatomy.labels == label, reference.anatomy.labels == label) > least, (level, part)


def test_the_split_loses_no_voxel(reference: Reference, split: Reference) -> None:
    assert np.array_equal(split.anatomy.labels > BODY_LABEL_BASE, reference.anatomy.labels > BODY_LABEL_BASE)


def test_what_a_map_does_not_label_is_taken_from_the_prediction(reference: Reference, split: Reference) -> None:
    """VerSe knows vertebrae alone: organs come from the prediction, its own vertebrae beside the reference's do not."""
    predicted = reference.anatomy.labels.copy()
    stray = (predicted == Structure.LUNG) & (np.arange(predicted.shape[0]) == 50)[:, None, None]
    assert stray.any()
    predicted[stray] = vertebra_label(Level.T10, VertebraPart.BODY)
    filled = completed(split, replace(reference.anatomy, labels=predicted)).labels
    assert np.array_equal(filled == Structure.LUNG, predicted == Structure.LUNG)
    assert np.array_equal(filled == Structure.AORTA, reference.anatomy.labels == Structure.AORTA)
    assert (filled[stray] == Structure.BODY).all()
    assert np.array_equal(filled > BODY_LABEL_BASE, split.anatomy.labels > BODY_LABEL_BASE)


def test_a_reference_of_the_whole_patient_stays_as_it_is(reference: Reference) -> None:
    assert reference.covers_patient
    nothing = replace(reference.anatomy, labels=np.zeros_like(reference.anatomy.labels))
    assert completed(reference, nothing) is reference.anatomy


def test_partial_structures_are_not_known(reference: Reference) -> None:
    geometry, info = reference.anatomy.geometry, CaseInfo()
    label_map = LabelMap("mine", {n: n for n in range(1, 90)}, frozenset(), frozenset({"rib"}))
    known = build_reference(reference.anatomy.labels, geometry, label_map, info).known
    assert "rib" not in known
    assert {"aorta", "lung", "vertebra", "vertebra_body"} <= known
    assert "outside" not in known
    fewer = build_reference(reference.anatomy.labels, geometry, label_map, replace(info, structures=("aorta",))).known
    assert fewer == {"aorta", "vertebra", "vertebra_body", "vertebra_posterior"}


def test_labels_without_a_vertebra_are_a_coded_error(ct: LoadedCt) -> None:
    lungs = np.full(ct.volume.geometry.shape, int(Structure.LUNG), dtype=np.uint8)
    with pytest.raises(InvalidCase, match="no vertebra"):
        build_reference(lungs, ct.volume.geometry, load_label_map("canonical", None), CaseInfo())  # type: ignore[arg-type]


def test_ids_of_another_map_are_not_taken_for_canonical_ones(reference: Reference) -> None:
    foreign = reference.anatomy.labels.astype(np.int32)
    foreign[foreign == Structure.AORTA] = 300
    with pytest.raises(InvalidCase, match="300"):
        build_reference(foreign, reference.anatomy.geometry, load_label_map("canonical", None), CaseInfo())  # type: ignore[arg-type]
