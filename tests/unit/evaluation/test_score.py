"""A predicted anatomy against the reference, where the answer is known because one was made from the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trabecula.anatomy import Anatomy, LabelArray, Level, Structure, VertebraPart, vertebra_label
from trabecula.bone.vertebra import TrabecularRoi
from trabecula.evaluation.case import Case, ReferenceKind
from trabecula.evaluation.measurement import compare_rois
from trabecula.evaluation.models import Judged
from trabecula.evaluation.reference import Reference
from trabecula.evaluation.results import CaseResult, Outcome
from trabecula.evaluation.score import compare
from trabecula.evaluation.volumes import LoadedCt

TARGETS = (Level.T11, Level.T12, Level.L1, Level.L2)
BLANK = CaseResult("a", "a", "", ReferenceKind.PHANTOM, "", "", None, (), Outcome.FAILED)


def scored(ct: LoadedCt, predicted: Anatomy, reference: Reference, judged: Judged) -> CaseResult:
    return compare(BLANK, ct, predicted, reference, judged).result


def renamed(anatomy: Anatomy, by: int, confidence: float) -> Anatomy:
    """Every vertebra named ``by`` levels lower (towards the feet)."""
    labels = anatomy.labels.copy()
    labels[anatomy.labels > 32] += np.array(by).astype(np.uint8)
    vertebrae = tuple(
        replace(v, level=Level.from_ordinal(v.level.ordinal + by), level_confidence=confidence)
        for v in anatomy.vertebrae
    )
    return replace(anatomy, labels=labels, vertebrae=vertebrae)


def without(anatomy: Anatomy, level: Level) -> Anatomy:
    labels = anatomy.labels.copy()
    labels[np.isin(labels, [vertebra_label(level, part) for part in VertebraPart])] = Structure.BODY
    return replace(anatomy, labels=labels, vertebrae=tuple(v for v in anatomy.vertebrae if v.level is not level))


@pytest.fixture(scope="module")
def perfect(ct: LoadedCt, reference: Reference, judged: Judged) -> CaseResult:
    return scored(ct, reference.anatomy, reference, judged)


def test_the_reference_as_prediction_is_perfect(perfect: CaseResult) -> None:
    assert perfect.outcome is Outcome.SCORED
    for vertebra in perfect.vertebrae:
        assert (vertebra.named, vertebra.off_by) == (vertebra.level, 0)
        for part in (vertebra.whole, vertebra.body):
            assert part is not None
            assert part.dice == 1.0
            assert part.surface_mean_mm in (0.0, None)
        assert vertebra.centre_distance_mm == 0.0
    for structure in perfect.structures:
        assert structure.overlap.dice == 1.0, structure.structure
    assert perfect.extra == ()


def test_the_reference_as_prediction_measures_the_same(perfect: CaseResult) -> None:
    by_level = {v.level: v.measured for v in perfect.vertebrae}
    for level in TARGETS:
        measured = by_level[level]
        assert measured is not None
        assert measured.hu_difference == 0.0
        assert measured.vbmd_difference_mg_cm3 == 0.0
        assert measured.roi is not None
        assert measured.roi.dice == 1.0
    assert perfect.scan is not None
    assert perfect.scan.vbmd_mean_mg_cm3 == 0.0
    assert perfect.composition
    assert all(area.difference_cm2 in (0.0, None) for at in perfect.composition for area in at.areas)


def test_every_structure_of_phantom_and_models_is_scored(perfect: CaseResult) -> None:
    names = {each.structure for each in perfect.structures}
    assert {"vertebra", "aorta", "lung", "rib", "spinal_canal", "paraspinal_muscle", "liver"} <= names
    assert not names & {"outside", "table", "body", "vertebra_body"}


@pytest.mark.parametrize("by", [1, -1])
def test_names_off_by_one_are_reported_wrong_and_nothing_else_is(
    by: int, ct: LoadedCt, reference: Reference, judged: Judged
) -> None:
    result = scored(ct, renamed(reference.anatomy, by, 0.95), reference, judged)
    assert result.extra == ()
    for vertebra in result.vertebrae:
        assert vertebra.off_by == by
        assert vertebra.flagged is False
        assert vertebra.whole is not None
        assert vertebra.whole.dice == 1.0
    measured = {v.level: v.measured for v in result.vertebrae}
    assert measured[Level.T12] is not None
    assert measured[Level.T12].hu_difference == 0.0, "the same body is measured, whatever its name"


def test_wrong_names_with_low_confidence_are_flagged(ct: LoadedCt, reference: Reference, judged: Judged) -> None:
    result = scored(ct, renamed(reference.anatomy, 1, judged.flag_below - 0.01), reference, judged)
    assert all(v.flagged for v in result.vertebrae)


def test_a_vertebra_that_is_not_there_is_missed(ct: LoadedCt, reference: Reference, judged: Judged) -> None:
    result = scored(ct, without(reference.anatomy, Level.T12), reference, judged)
    missed = [v for v in result.vertebrae if not v.found]
    assert [v.level for v in missed] == [Level.T12]
    assert missed[0].named is None
    assert missed[0].measured is not None
    assert missed[0].measured.excluded_predicted == ("not-found",)


def test_a_vertebra_that_the_reference_lacks_is_extra(ct: LoadedCt, reference: Reference, judged: Judged) -> None:
    poorer = replace(reference, anatomy=without(reference.anatomy, Level.T12))
    result = scored(ct, reference.anatomy, poorer, judged)
    assert [each.named for each in result.extra] == [Level.T12]
    assert Level.T12 not in {v.level for v in result.vertebrae}


def test_vertebrae_beyond_the_labelled_stretch_are_not_extra(
    ct: LoadedCt, reference: Reference, judged: Judged
) -> None:
    shorter = reference.anatomy
    for level in (Level.T7, Level.T8, Level.T9, Level.T10):
        shorter = without(shorter, level)
    assert scored(ct, reference.anatomy, replace(reference, anatomy=shorter), judged).extra == ()


def test_attenuation_follows_a_region_that_is_moved(ct: LoadedCt, reference: Reference, judged: Judged) -> None:
    """In a volume that grows by 2 HU a mm towards the head, labels moved up by 2 slices of 3 mm read 12 HU more.

    Around T12 the phantom is replaced by a plain slope, so that no endplate holds the region.
    """
    geometry = ct.volume.geometry
    vertebra = reference.anatomy.vertebra(Level.T12)
    assert vertebra is not None
    centre_k = round(float(geometry.lps_to_index(vertebra.centroid_lps_mm)[0]))
    z_mm = geometry.index_to_lps(np.array([[k, 0, 0] for k in range(geometry.shape[0])]))[:, 2]
    near = np.abs(z_mm - vertebra.centroid_lps_mm[2]) < 34.0
    j, i = np.nonzero((reference.anatomy.labels[centre_k] > 32) & (reference.anatomy.labels[centre_k] < 64))
    box = (slice(j.min() - 8, j.max() + 9), slice(i.min() - 8, i.max() + 9))
    hu = ct.volume.hu.copy()
    slope = 100.0 + 2.0 * (z_mm - vertebra.centroid_lps_mm[2])
    hu[near, box[0], box[1]] = slope[near, None, None]
    body = vertebra_label(Level.T12, VertebraPart.BODY)
    labels = _moved(reference.anatomy.labels, body, 2)
    moved = tuple(
        replace(v, centroid_lps_mm=(*v.centroid_lps_mm[:2], v.centroid_lps_mm[2] + 6.0)) if v.level is Level.T12 else v
        for v in reference.anatomy.vertebrae
    )
    sloped = LoadedCt(replace(ct.volume, hu=hu), ct.acquisition)
    predicted = replace(reference.anatomy, labels=labels, vertebrae=moved)
    measured = {v.level: v.measured for v in scored(sloped, predicted, reference, judged).vertebrae}
    t12 = measured[Level.T12]
    assert t12 is not None
    assert t12.roi is not None
    assert t12.roi.superior_mm == pytest.approx(6.0, abs=0.6)
    assert t12.hu_difference == pytest.approx(2.0 * t12.roi.superior_mm, abs=1.2)
    assert t12.vbmd_difference_mg_cm3 == pytest.approx(t12.hu_difference / 1.3, rel=0.2)


def _moved(labels: LabelArray, label: int, slices: int) -> LabelArray:
    """One body moved towards the head; what it uncovers is plain body."""
    out = labels.copy()
    out[labels == label] = Structure.BODY
    out[np.roll(labels == label, slices, axis=0)] = label
    return out


def test_references_of_bodies_alone_are_compared_with_bodies_alone(
    ct: LoadedCt, reference: Reference, judged: Judged
) -> None:
    labels = reference.anatomy.labels.copy()
    labels[labels > 64] = Structure.BODY
    bodies = replace(
        reference, anatomy=replace(reference.anatomy, labels=labels), known=frozenset({"vertebra", "vertebra_body"})
    )
    result = scored(ct, reference.anatomy, bodies, judged)
    assert [(each.structure, each.overlap.dice) for each in result.structures] == [("vertebra_body", 1.0)]
    for vertebra in result.vertebrae:
        assert vertebra.posterior is None
        assert vertebra.whole == vertebra.body
        assert vertebra.whole is not None
        assert vertebra.whole.dice == 1.0


def roi(centre: tuple[float, float, float], half_height_mm: float = 5.0, half_depth_mm: float = 8.0) -> TrabecularRoi:
    return TrabecularRoi(centre, (0, 0, 1), (1, 0, 0), (0, -1, 0), 12.0, half_depth_mm, half_height_mm, 0.0)


def test_rois_moved_along_their_axis_overlap_by_what_is_left() -> None:
    found = compare_rois(roi((1.0, 2.0, 33.0)), roi((1.0, 2.0, 30.0)))
    assert found.dice == pytest.approx(0.7, abs=0.03)
    assert (found.superior_mm, found.anterior_mm, found.left_mm) == (pytest.approx(3.0), 0.0, 0.0)


def test_roi_offsets_are_in_the_reference_regions_axes() -> None:
    found = compare_rois(roi((-2.0, -4.0, 30.0)), roi((0.0, 0.0, 30.0)))
    assert (found.superior_mm, found.anterior_mm, found.left_mm) == (0.0, pytest.approx(4.0), pytest.approx(-2.0))


def test_a_deeper_roi_overlaps_by_the_ratio_of_depths() -> None:
    assert compare_rois(roi((0, 0, 0), half_depth_mm=10.0), roi((0, 0, 0), half_depth_mm=5.0)).dice == pytest.approx(
        2 / 3, abs=0.02
    )
    assert compare_rois(roi((0, 0, 0)), roi((0, 0, 40.0))).dice == 0.0


def test_the_case_fixture_is_what_its_description_says(case: Case) -> None:
    assert case.info.reference is ReferenceKind.PHANTOM
    assert case.info.label_map == "canonical"
