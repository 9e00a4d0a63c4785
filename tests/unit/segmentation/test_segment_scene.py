"""The whole stage on made scans with a perfect or a spoilt model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trabecula.anatomy import Anatomy, Level, Structure, VertebraPart, vertebra_label
from trabecula.errors import Cancelled
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Refusal, RefusalCode, Stage
from trabecula.progress import no_progress
from trabecula.segmentation.pipeline import segment_with
from trabecula.segmentation.settings import SegmentationSettings

FINE = ("background", "vertebra_body", "vertebra_posterior", "intervertebral_disc", "spinal_canal")
SETTINGS = SegmentationSettings()


def run(scene, *, fine=True, progress=no_progress, settings=SETTINGS, **faults):
    coarse_model = scene.predictor(4.0, **faults)
    fine_model = scene.predictor(1.5, FINE, fill_discs=faults.get("fill_discs", False)) if fine else None
    return segment_with(scene.volume, coarse_model, fine_model, (), settings, progress)


def body_dice(anatomy, scene, level):
    found = anatomy.labels == vertebra_label(level, VertebraPart.BODY)
    truth = (scene.ordinals == level.ordinal) & (scene.classes == 9)
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_names_places_and_outlines_every_vertebra(scene):
    anatomy = run(scene)
    assert isinstance(anatomy, Anatomy)
    assert [v.level for v in anatomy.vertebrae] == [Level.from_ordinal(n) for n in range(14, 23)]
    assert [v.level for v in anatomy.vertebrae if not v.complete] == [Level.T7, Level.L3]
    for level, centre in scene.centres_mm.items():
        found = scene.volume.geometry.lps_to_index(anatomy.vertebra(level).centroid_lps_mm)
        assert np.linalg.norm(found * scene.volume.geometry.spacing_mm - centre) < 3.0
        assert anatomy.vertebra(level).level_confidence > 0.85
    for level in (Level.T10, Level.T11, Level.T12, Level.L1, Level.L2):
        assert body_dice(anatomy, scene, level) > 0.9


def test_labels_are_canonical_and_read_only(scene):
    labels = run(scene).labels
    assert labels.dtype == np.uint8
    assert labels.shape == scene.volume.geometry.shape
    assert not labels.flags.writeable
    known = {int(s) for s in Structure} | {base + n for base in (32, 64) for n in range(1, 25)}
    assert set(np.unique(labels).tolist()) <= known


def test_structures_keep_their_names_on_the_scan_grid(scene):
    labels = run(scene).labels
    for name in ("lung", "aorta", "paraspinal_muscle", "rib", "cavity"):
        truth = scene.classes == ("outside", "body", "cavity", "lung", "aorta", "paraspinal_muscle", "rib").index(name)
        found = labels == Structure[name.upper()]
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > (0.6 if name == "rib" else 0.85), name


def test_table_and_air_are_not_body(scene):
    labels = run(scene).labels
    outside = scene.classes == 0
    body = ~np.isin(labels, (Structure.OUTSIDE, Structure.TABLE))
    assert (body & outside).sum() < 0.02 * outside.sum()
    assert (labels == Structure.TABLE).any()


def test_discs_filled_by_the_model_do_not_merge_vertebrae(scene):
    anatomy = run(scene, fill_discs=True)
    assert [v.level for v in anatomy.vertebrae] == [Level.from_ordinal(n) for n in range(14, 23)]


def test_noisy_answers_do_not_change_the_names(scene):
    assert [v.level for v in run(scene, noise=0.35).vertebrae] == [Level.from_ordinal(n) for n in range(14, 23)]


def test_axes_point_to_head_and_front(scene):
    for v in run(scene).vertebrae:
        assert v.superior[2] > 0.85
        assert v.anterior[1] < -0.85
        assert abs(np.dot(v.superior, v.anterior)) < 1e-6
        assert np.linalg.norm(v.superior) == pytest.approx(1.0)


def test_vertebrae_move_with_the_scan_in_space(scene):
    """A scan turned in space has the same labels, and points and axes turned with it."""
    angle = np.radians(12)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = scene.volume.geometry.affine.copy()
    affine[:3] = turn @ affine[:3]
    turned = replace(scene, volume=CtVolume(scene.volume.hu, Geometry(scene.volume.geometry.shape, affine)))
    first, second = run(scene), run(turned)
    assert np.array_equal(first.labels, second.labels)
    for a, b in zip(first.vertebrae, second.vertebrae, strict=True):
        assert np.allclose(turn @ a.centroid_lps_mm, b.centroid_lps_mm)
        assert np.allclose(turn @ a.superior, b.superior)


def test_ribs_overrule_a_coordinate_between_two_levels(scene):
    anatomy = run(scene, coordinate_shift=-0.45)
    assert anatomy.vertebra(Level.L2) is not None
    assert anatomy.vertebra(Level.L3).complete is False
    assert max(v.level_confidence for v in anatomy.vertebrae) > 0.6


def test_conflict_of_ribs_and_coordinate_is_not_sure(scene):
    anatomy = run(scene, coordinate_shift=-1.0)
    assert max(v.level_confidence for v in anatomy.vertebrae) < 0.95
    agreeing = run(scene)
    assert max(v.level_confidence for v in anatomy.vertebrae) < min(v.level_confidence for v in agreeing.vertebrae)


def test_low_confidence_is_said(scene_factory):
    short = scene_factory(Level.T12, Level.L3)
    anatomy = run(short, coordinate_shift=0.5, without=("rib",))
    assert {n.code for n in anatomy.notices} >= {"level-confidence-low", "column-view-short"}


def test_works_without_a_fine_model(scene):
    assert run(scene, fine=False).vertebra(Level.T12) is not None


def test_upper_spine_alone_is_refused_by_level(scene_factory):
    refusal = run(scene_factory(Level.T1, Level.T7, last_rib=Level.T7))
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.LEVEL_NOT_IN_VIEW
    assert "T1 to T7" in refusal.message


def test_no_spine_is_refused(scene):
    refusal = run(scene, without=("vertebra_body",))
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.SPINE_NOT_FOUND


def test_air_is_refused(scene, with_hu):
    refusal = run(with_hu(scene, np.full_like(scene.volume.hu, -1000)))
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.BODY_NOT_FOUND


@pytest.mark.parametrize("slope", [0.45, 2.0])
def test_coordinate_that_does_not_count_by_ones_is_refused(scene, slope):
    refusal = run(scene, coordinate_slope=slope, without=("rib",))
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.LEVELS_INCONSISTENT


def test_ribs_carry_the_levels_where_the_coordinate_does_not_count_by_ones(scene):
    anatomy = run(scene, coordinate_slope=0.45)
    assert [v.level for v in anatomy.vertebrae] == [Level.from_ordinal(n) for n in range(14, 23)]


def test_marrow_taken_for_disc_goes_back_to_the_body(scene):
    perfect = scene.predictor(1.5, FINE)

    def predict(hu, grid, on_fraction):
        answer = perfect.predict(hu, grid, on_fraction)
        probability = answer.probability.copy()
        body, disc = FINE.index("vertebra_body"), FINE.index("intervertebral_disc")
        blob = np.abs(grid.to_mm(np.argwhere(probability[body] > 0)) - scene.centres_mm[Level.T12]).max(axis=1) < 5
        where = tuple(np.argwhere(probability[body] > 0)[blob].T)
        probability[disc][where], probability[body][where] = 0.6, 0.4
        return replace(answer, probability=probability)

    spoilt = replace(perfect, predict=predict)
    anatomy = segment_with(scene.volume, scene.predictor(4.0), spoilt, (), SETTINGS, no_progress)
    middle = tuple(int(n) for n in np.rint(scene.centres_mm[Level.T12] / scene.volume.geometry.spacing_mm))
    assert anatomy.labels[middle] == vertebra_label(Level.T12, VertebraPart.BODY)


def test_metal_is_marked_inside_the_body(scene, with_hu):
    hu = scene.volume.hu.copy()
    k, j, i = (int(n) for n in scene.centres_mm[Level.T12] / scene.volume.geometry.spacing_mm)
    hu[k : k + 3, j + 8 : j + 11, i : i + 3] = 3071
    labels = run(with_hu(scene, hu)).labels
    assert (labels[k : k + 3, j + 8 : j + 11, i : i + 3] == Structure.METAL).all()
    assert (labels == Structure.METAL).sum() == 27


def test_progress_rises_from_zero_to_one(scene):
    seen = []
    run(scene, progress=lambda stage, fraction: seen.append((stage, fraction)))
    fractions = [fraction for _, fraction in seen]
    assert {stage for stage, _ in seen} == {Stage.SEGMENTATION}
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.7])
def test_a_listener_that_raises_stops_the_work(scene, after):
    def stop(_stage: Stage, fraction: float) -> None:
        if fraction >= after:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(scene, progress=stop)
