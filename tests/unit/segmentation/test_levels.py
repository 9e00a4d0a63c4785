"""Names for the column: evidence adds up, conflicts show, and nothing is sure on thin ground."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.anatomy import Level
from trabecula.segmentation.landmarks import Landmarks
from trabecula.segmentation.level_evidence import VertebraEvidence
from trabecula.segmentation.levels import name_levels, step_probability
from trabecula.segmentation.sequence import chain_posterior
from trabecula.segmentation.settings import LevelSettings
from trabecula.segmentation.variants import Variant, VariantPriors

SETTINGS = LevelSettings()
RIB, NONE = (2000.0, 2000.0), (0.0, 0.0)


def column(first, last, *, shift=0.0, ribs_to=Level.T12, coordinate=True):
    return [
        VertebraEvidence(n + shift if coordinate else None, RIB if ribs_to and n <= ribs_to.ordinal else NONE, True)
        for n in range(first.ordinal, last.ordinal + 1)
    ]


def first_level(naming):
    return Level.from_ordinal(naming.ordinals[0])


def test_agreeing_evidence_gives_sure_names():
    naming = name_levels(column(Level.T5, Level.L3), SETTINGS)
    assert first_level(naming) is Level.T5
    assert min(naming.confidence) > 0.85
    assert naming.consistent


def test_ribs_alone_name_the_column_less_surely():
    naming = name_levels(column(Level.T5, Level.L3, coordinate=False), SETTINGS)
    assert first_level(naming) is Level.T5
    assert 0.55 < naming.confidence[0] < 0.9


def test_ribs_decide_where_the_coordinate_is_between_two_levels():
    naming = name_levels(column(Level.T5, Level.L3, shift=-0.55), SETTINGS)
    assert first_level(naming) is Level.T5
    assert naming.confidence[0] > 0.7


def test_conflict_lowers_confidence():
    agreeing = name_levels(column(Level.T5, Level.L3), SETTINGS)
    conflict = name_levels(column(Level.T5, Level.L3, shift=-1.0), SETTINGS)
    assert conflict.confidence[0] < agreeing.confidence[0] - 0.1


def test_a_view_that_ends_in_the_ribs_rests_on_the_coordinate_alone():
    naming = name_levels(column(Level.T4, Level.T11), SETTINGS)
    assert any("the last rib is not in view" in sentence for sentence in naming.sentences)
    assert naming.confidence[0] < 0.9


def test_a_coordinate_that_runs_away_from_the_rest_is_not_trusted_there():
    """Three vertebrae were missed in the upper chest: the names there are wrong, those by the ribs are right."""
    vertebrae = column(Level.T2, Level.L3)
    spoilt = [replace(v, coordinate=v.coordinate - 3.0) if n < 4 else v for n, v in enumerate(vertebrae)]
    naming = name_levels(spoilt, SETTINGS)
    assert naming.confidence[0] < SETTINGS.low_confidence - 0.3
    assert naming.confidence[naming.ordinals.index(Level.T12.ordinal)] > 0.75


def test_the_last_rib_counts_only_with_a_whole_bare_vertebra_below():
    vertebrae = column(Level.T8, Level.L1)
    vertebrae[-1] = VertebraEvidence(None, NONE, False)
    assert not any("Lowest" in s for s in name_levels(vertebrae, SETTINGS).sentences)


def test_a_stray_rib_far_below_the_others_does_not_count():
    vertebrae = column(Level.T8, Level.L4)
    vertebrae[-2] = VertebraEvidence(float(Level.L3.ordinal), RIB, True)
    assert first_level(name_levels(vertebrae, SETTINGS)) is Level.T8


def test_a_doubled_vertebra_lowers_its_neighbours_confidence():
    vertebrae = column(Level.T5, Level.L3, ribs_to=None)
    vertebrae.insert(4, VertebraEvidence(9.0, NONE, True))
    naming = name_levels(vertebrae, SETTINGS)
    sure = name_levels(column(Level.T5, Level.L3, ribs_to=None), SETTINGS)
    assert min(naming.confidence) < min(sure.confidence)


def test_coordinates_that_do_not_count_by_ones_are_inconsistent_without_ribs():
    vertebrae = [VertebraEvidence(10.0 + 2.2 * n, NONE, True) for n in range(7)]
    assert not name_levels(vertebrae, SETTINGS).consistent


def test_no_evidence_is_no_confidence():
    bare = column(Level.T8, Level.L2, coordinate=False, ribs_to=None)
    assert max(name_levels(bare, SETTINGS, Landmarks(ribs_looked_for=False)).confidence) < 0.1


@given(st.integers(1, 18), st.integers(1, 7), st.floats(-0.3, 0.3))
def test_names_always_follow_each_other_and_confidence_is_a_probability(first, count, shift):
    vertebrae = [VertebraEvidence(first + n + shift, NONE, True) for n in range(count)]
    naming = name_levels(vertebrae, SETTINGS, Landmarks(ribs_looked_for=False))
    assert list(naming.ordinals) == list(range(naming.ordinals[0], naming.ordinals[0] + count))
    assert naming.ordinals[0] == first
    assert all(0 <= c <= 1 for c in naming.confidence)


def test_a_last_rib_seen_in_part_on_both_sides_still_counts():
    """A short 12th rib of a small patient is seen as a scrap on each side."""
    whole = column(Level.T5, Level.L3, ribs_to=Level.T11)
    scrap = replace(whole[7], rib_volume_mm3=(350.0, 800.0))
    naming = name_levels([*whole[:7], scrap, *whole[8:]], SETTINGS)
    assert any("Lowest attached rib (one side) at T12" in sentence for sentence in naming.sentences)


def shifted(vertebrae, by):
    return [replace(v, coordinate=None if v.coordinate is None else v.coordinate + by) for v in vertebrae]


def seen(first, last, *, last_rib, coordinate=None):
    """A column counted from C1 whose ribs end at ``last_rib``, without any estimate of the level of the model's."""
    return [
        VertebraEvidence(coordinate, RIB if Level.T1.ordinal <= n <= last_rib else NONE, True)
        for n in range(first.ordinal, last.ordinal + 1)
    ]


def place(ordinal, first):
    return ordinal - first.ordinal


def test_lungs_tell_eleven_pairs_of_ribs_from_twelve():
    """Ribs end one vertebra too high; apices, bases and the model's estimate are where they are in everyone."""
    first = Level.C7
    vertebrae = column(first, Level.L3, ribs_to=Level.T11)
    landmarks = Landmarks(place(8.4, first), place(18.9, first))
    naming = name_levels(vertebrae, SETTINGS, landmarks)
    assert first_level(naming) is first
    assert any("eleven pairs of ribs" in sentence for sentence in naming.sentences)
    assert any("Lowest attached rib" in s and "T11" in s for s in naming.sentences)


def test_lungs_tell_thirteen_pairs_of_ribs_from_twelve():
    first = Level.C7
    vertebrae = column(first, Level.L4, ribs_to=Level.L1)
    naming = name_levels(vertebrae, SETTINGS, Landmarks(place(8.4, first), place(18.9, first)))
    assert first_level(naming) is first
    assert any("Lowest attached rib" in s and "L1" in s for s in naming.sentences)


def test_a_lumbarised_s1_does_not_move_the_names():
    """25 vertebrae above the sacrum: the last is none of L1 to L5."""
    first = Level.C7
    vertebrae = [*column(first, Level.L5), VertebraEvidence(25.0, NONE, True)]
    naming = name_levels(vertebrae, SETTINGS, Landmarks(place(8.4, first), place(18.9, first), sacrum_below=True))
    assert first_level(naming) is first
    assert naming.ordinals[-1] == 25
    assert any("lumbarised S1" in sentence for sentence in naming.sentences)


def test_a_sacralised_l5_does_not_move_the_names():
    first = Level.C7
    naming = name_levels(
        column(first, Level.L4), SETTINGS, Landmarks(place(8.4, first), place(18.9, first), sacrum_below=True)
    )
    assert first_level(naming) is first
    assert any("sacralised L5" in sentence for sentence in naming.sentences)


@pytest.mark.parametrize(
    ("shift", "instead", "reason"), [(1.2, "L1", "a rib at L1 (thirteen pairs)"), (-0.9, "T11", "eleven pairs of ribs")]
)
def test_what_the_view_cannot_tell_is_said_with_its_reason(shift, instead, reason):
    """Abdomen only: ribs end at one vertebra, the model's estimate says the next."""
    naming = name_levels(shifted(column(Level.T10, Level.L4), shift), SETTINGS)
    assert max(naming.confidence) < SETTINGS.low_confidence
    told = next(s for s in naming.sentences if s.startswith("Not sure"))
    assert f"T12 may be {instead}" in told
    assert reason in told
    assert "estimate of the level would fit that better" in told
    assert naming.alternatives[0].ordinal == Level(instead).ordinal


def test_the_sacrum_alone_names_a_lumbar_view():
    vertebrae = [VertebraEvidence(None, NONE, True) for _ in range(4)]
    naming = name_levels(vertebrae, SETTINGS, Landmarks(sacrum_below=True))
    assert first_level(naming) is Level.L2
    assert 0.6 < naming.confidence[0] < 0.95


def test_models_without_ribs_do_not_report_their_absence():
    bare = column(Level.T6, Level.T12, ribs_to=None)
    with_ribs = name_levels(bare, SETTINGS, Landmarks())
    without = name_levels(bare, SETTINGS, Landmarks(ribs_looked_for=False))
    assert any("bears ribs" in s for s in with_ribs.sentences)
    assert not any("rib" in s for s in without.sentences)
    assert without.confidence[0] > with_ribs.confidence[0]


def sizes(first, last, scale=1.0):
    levels, lengths = zip(*SETTINGS.length_by_level_mm, strict=True)
    return {n: scale * float(np.interp(n, levels, lengths)) for n in range(first.ordinal, last.ordinal + 1)}


@pytest.mark.parametrize("scale", [0.88, 1.0, 1.12])
def test_sizes_alone_come_close_whatever_the_person(scale):
    vertebrae = [VertebraEvidence(None, NONE, True, mm) for mm in sizes(Level.T6, Level.L3, scale).values()]
    naming = name_levels(vertebrae, SETTINGS, Landmarks(ribs_looked_for=False))
    assert abs(naming.ordinals[0] - Level.T6.ordinal) <= 3
    assert max(naming.confidence) < 0.6


def test_a_vertebra_as_long_as_two_is_suspected_to_be_two():
    lengths = sizes(Level.T2, Level.L3)
    vertebrae = [
        VertebraEvidence(float(n), RIB if n <= Level.T12.ordinal else NONE, True, mm) for n, mm in lengths.items()
    ]
    sure = step_probability(vertebrae, SETTINGS)
    merged = [*vertebrae[:5], replace(vertebrae[5], length_mm=2 * lengths[14]), *vertebrae[7:]]
    suspected = step_probability(merged, SETTINGS)
    assert suspected[5, 2] > 20 * sure[5, 2]
    assert sure[:, 1].min() > 0.98


def test_names_on_the_far_side_of_a_miscount_are_less_sure():
    """Apices fix T1, ribs fix T12, but one vertebra too few lies between: the long one."""
    lengths = sizes(Level.C7, Level.L3)
    every = [VertebraEvidence(None, RIB if 8 <= n <= 19 else NONE, True, mm) for n, mm in lengths.items()]
    merged = [*every[:6], replace(every[6], length_mm=lengths[13] + lengths[14]), *every[8:]]
    naming = name_levels(merged, SETTINGS, Landmarks(lung_apex=1.4, lung_base=10.9))
    t12 = naming.ordinals.index(Level.T12.ordinal)
    assert merged[t12].rib_volume_mm3 == RIB and merged[t12 + 1].rib_volume_mm3 == NONE  # noqa: PT018
    assert naming.confidence[t12] > 0.7
    assert naming.confidence[0] < 0.5


@given(
    st.lists(st.sampled_from([None, -1.5, -0.5, 0.0, 0.6, 2.0]), min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=20, max_size=20),
    st.integers(1, 12),
    st.one_of(st.none(), st.floats(-1, 19)),
    st.booleans(),
)
def test_any_evidence_gives_probabilities_and_a_sequence(errors, ribs, first, apex, sacrum):
    vertebrae = [
        VertebraEvidence(None if e is None else first + n + e, RIB if rib else NONE, n > 0, None if n % 3 else 20.0 + n)
        for n, (e, rib) in enumerate(zip(errors, ribs, strict=False))
    ]
    naming = name_levels(vertebrae, SETTINGS, Landmarks(apex, None, sacrum))
    assert list(naming.ordinals) == list(range(naming.ordinals[0], naming.ordinals[0] + len(vertebrae)))
    assert 1 <= naming.ordinals[0] <= len(Level)
    assert all(0 <= c <= 1 for c in naming.confidence)
    assert all(sentence.endswith(".") for sentence in naming.sentences)


def test_variants_are_a_distribution_and_named():
    table = VariantPriors.published().table()
    assert sum(p for _, p in table) == pytest.approx(1.0)
    assert max(table, key=lambda row: row[1])[0] == Variant()
    assert Variant().words == ""
    assert Variant(last_rib=18, first_sacral=24).words == "eleven pairs of ribs and a sacralised L5"


def test_the_chain_is_bayes_rule():
    """Against the sum over all sequences, one by one."""
    rng = np.random.default_rng(0)
    prior, emission = np.log([0.7, 0.3]), rng.normal(0, 2, (2, 4, 6))
    steps = rng.dirichlet((1, 8, 1), 3)
    weight = np.zeros((2, 4, 6))
    for h, start, *moves in product(range(2), range(6), *(range(3),) * 3):
        path = np.cumsum([start, *moves])
        if path[-1] < 6:
            p = np.exp(prior[h] + emission[h, range(4), path].sum()) * np.prod(
                [steps[n, m] for n, m in enumerate(moves)]
            )
            weight[h, range(4), path] += p
    found = chain_posterior(prior, emission, steps)
    expected = weight / weight.sum(axis=(0, 2), keepdims=True)
    np.testing.assert_allclose(found.joint, expected, atol=1e-12)
    np.testing.assert_allclose(found.marginal, expected.sum(axis=0), atol=1e-12)
