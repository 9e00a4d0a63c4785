"""Names for the column: evidence adds up, conflicts show, and nothing is sure on thin ground."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from trabecula.anatomy import Level
from trabecula.segmentation.levels import VertebraEvidence, name_levels
from trabecula.segmentation.settings import LevelSettings

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
    assert 0.6 < naming.confidence[0] < 0.9


def test_ribs_decide_where_the_coordinate_is_between_two_levels():
    naming = name_levels(column(Level.T5, Level.L3, shift=-0.55), SETTINGS)
    assert first_level(naming) is Level.T5
    assert naming.confidence[0] > 0.8


def test_conflict_lowers_confidence():
    agreeing = name_levels(column(Level.T5, Level.L3), SETTINGS)
    conflict = name_levels(column(Level.T5, Level.L3, shift=-1.0), SETTINGS)
    assert conflict.confidence[0] < agreeing.confidence[0] - 0.1


def test_a_view_that_ends_in_the_ribs_rests_on_the_coordinate_alone():
    naming = name_levels(column(Level.T4, Level.T11), SETTINGS)
    assert not any("rib" in sentence for sentence in naming.sentences)
    assert naming.confidence[0] < 0.9


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
    naming = name_levels(column(Level.T8, Level.L2, coordinate=False, ribs_to=None), SETTINGS)
    assert max(naming.confidence) < 0.1


@given(st.integers(1, 18), st.integers(1, 7), st.floats(-0.3, 0.3))
def test_names_always_follow_each_other_and_confidence_is_a_probability(first, count, shift):
    vertebrae = [VertebraEvidence(first + n + shift, NONE, True) for n in range(count)]
    naming = name_levels(vertebrae, SETTINGS)
    assert list(naming.ordinals) == list(range(naming.ordinals[0], naming.ordinals[0] + count))
    assert naming.ordinals[0] == first
    assert all(0 <= c <= 1 for c in naming.confidence)


def test_a_last_rib_seen_in_part_on_both_sides_still_counts():
    """A short 12th rib of a small patient is seen as a scrap on each side."""
    whole = column(Level.T5, Level.L3, ribs_to=Level.T11)
    scrap = replace(whole[7], rib_volume_mm3=(350.0, 800.0))
    naming = name_levels([*whole[:7], scrap, *whole[8:]], SETTINGS)
    assert any("Lowest attached rib (one side) (T12" in sentence for sentence in naming.sentences)
