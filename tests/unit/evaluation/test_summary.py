"""Figures over cases, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trabecula.anatomy import Level
from trabecula.evaluation.card import to_card
from trabecula.evaluation.case import ReferenceKind
from trabecula.evaluation.ranking import worst_vertebrae
from trabecula.evaluation.results import (
    RESULTS_VERSION,
    CaseResult,
    EvaluationResults,
    Machine,
    Measured,
    Outcome,
    Overlap,
    RefusalFound,
    StructureScore,
    VertebraScore,
)
from trabecula.evaluation.summary import GroupSummary, summarise


def vertebra(
    level: Level,
    *,
    off_by: int | None = 0,
    confidence: float = 0.95,
    dice: float = 0.95,
    hu: float = 1.0,
    excluded: tuple[str, ...] = (),
    whole_in_view: bool = True,
) -> VertebraScore:
    """A found vertebra, or with ``off_by`` None a missed one."""
    if off_by is None:
        measured = Measured(100.0, None, None, 80.0, None, None, (), ("not-found",), None)
        return VertebraScore(level, whole_in_view, False, None, None, None, None, None, None, None, None, measured)
    overlap = Overlap(dice, 0.5, 1.5, 30.0, 30.0)
    measured = Measured(100.0, 100.0 + hu, hu, 80.0, 80.0 + 0.8 * hu, 0.8 * hu, (), excluded, None)
    named = Level.from_ordinal(level.ordinal + off_by)
    return VertebraScore(
        level,
        whole_in_view,
        True,
        named,
        off_by,
        confidence,
        confidence < 0.8,
        overlap,
        overlap,
        overlap,
        1.0,
        measured,
    )


def case(name: str, *vertebrae: VertebraScore, reference: ReferenceKind = ReferenceKind.MANUAL) -> CaseResult:
    return CaseResult(
        name, name, "", reference, "", "", None, (), Outcome.SCORED, vertebrae=vertebrae, segmentation_s=2.0
    )


def results(*cases: CaseResult) -> EvaluationResults:
    return EvaluationResults(RESULTS_VERSION, "0", "0", "2026-01-01T00:00:00+00:00", (), Machine("x", 2, 2), 0.8, cases)


def only_group(*cases: CaseResult) -> GroupSummary:
    (group,) = summarise(results(*cases))
    return group


def test_the_dice_target_is_over_target_levels_and_counts_missed_ones_as_nothing() -> None:
    group = only_group(
        case("a", vertebra(Level.T11, dice=0.95), vertebra(Level.T12, dice=0.93), vertebra(Level.T5, dice=0.2)),
        case("b", vertebra(Level.L1, off_by=None), vertebra(Level.L2, dice=0.96, whole_in_view=False)),
    )
    target = group.targets[0]
    assert target.figure.value == pytest.approx((0.95 + 0.93 + 0.0) / 3)
    assert (target.figure.vertebrae, target.figure.scans) == (3, 2)
    assert target.reached is False
    assert target.short_by == pytest.approx(0.92 - target.figure.value)


def test_levels_are_counted_right_wrong_flagged_and_missed() -> None:
    naming = only_group(
        case("a", vertebra(Level.T11), vertebra(Level.T12), vertebra(Level.L1, off_by=None)),
        case("b", vertebra(Level.T11, off_by=1, confidence=0.6), vertebra(Level.T12, off_by=-2, confidence=0.9)),
        case("c", vertebra(Level.L1, confidence=0.5), vertebra(Level.C7, off_by=1)),
        case(
            "d", vertebra(Level.L3, off_by=1, whole_in_view=False), vertebra(Level.L4, off_by=None, whole_in_view=False)
        ),
    ).naming
    assert (naming.right, naming.wrong, naming.missed) == (3, 2, 1)
    assert naming.off_by == {-2: 1, 1: 1}
    assert (naming.wrong_flagged, naming.right_flagged) == (1, 1)
    assert (naming.scans_right, naming.scans) == (2, 3)


def test_one_wrong_name_without_a_warning_misses_the_target_however_many_are_right() -> None:
    right = [case(f"r{n}", *(vertebra(level) for level in list(Level)[8:24])) for n in range(10)]
    flagged = only_group(*right, case("w", vertebra(Level.T11, off_by=1, confidence=0.5)))
    silent = only_group(*right, case("w", vertebra(Level.T11, off_by=1, confidence=0.9)))
    assert flagged.targets[1].reached is True
    assert silent.targets[1].reached is False
    assert "flagged" in to_card(results(*right, case("w", vertebra(Level.T11, off_by=1, confidence=0.9))))


def test_too_few_right_names_miss_the_target_by_the_difference() -> None:
    target = only_group(case("a", vertebra(Level.T11), vertebra(Level.T12, off_by=1, confidence=0.1))).targets[1]
    assert target.reached is False
    assert target.short_by == pytest.approx(0.47)


def test_the_error_in_attenuation_is_over_those_that_count() -> None:
    hu = only_group(
        case("a", vertebra(Level.T11, hu=2.0), vertebra(Level.T12, hu=-4.0)),
        case("b", vertebra(Level.L1, hu=50.0, excluded=("implausible",)), vertebra(Level.T9, hu=30.0)),
        case("c", vertebra(Level.L2, off_by=None)),
    ).hu
    assert hu.mean_absolute.value == pytest.approx(3.0)
    assert hu.bias == pytest.approx(-1.0)
    assert hu.largest == pytest.approx(4.0)
    assert hu.share_within == pytest.approx(0.5)
    assert hu.lost == 2


def test_the_attenuation_target_is_under_three() -> None:
    at_limit = only_group(case("a", vertebra(Level.T11, hu=3.0))).targets[2]
    under = only_group(case("a", vertebra(Level.T11, hu=-2.9))).targets[2]
    assert (at_limit.reached, under.reached) == (False, True)


def test_a_confidence_that_is_right_has_no_calibration_error() -> None:
    four = [
        vertebra(Level.T11, confidence=0.75),
        vertebra(Level.T12, confidence=0.75),
        vertebra(Level.L1, confidence=0.75),
    ]
    naming = only_group(case("a", *four, vertebra(Level.L2, confidence=0.75, off_by=1))).naming
    assert naming.calibration_error == pytest.approx(0.0)
    assert [(b.vertebrae, b.right) for b in naming.bins] == [(4, 0.75)]
    overconfident = only_group(case("a", vertebra(Level.T11, confidence=1.0, off_by=1))).naming
    assert overconfident.calibration_error == pytest.approx(1.0)
    assert overconfident.bins[0].high == 1.0


def test_groups_are_kept_apart_and_made_ct_says_so() -> None:
    groups = summarise(
        results(
            case("a", vertebra(Level.T11)),
            case("b", vertebra(Level.T11), reference=ReferenceKind.PSEUDO),
            case("c", vertebra(Level.T11), reference=ReferenceKind.PHANTOM),
        )
    )
    assert [(group.name, group.cases) for group in groups] == [("Real CT", 2), ("Digital phantom", 1)]
    assert "1 of 2 references" in groups[0].caution
    assert "Made CT" in groups[1].caution
    assert "One scan" in groups[1].caution


def test_refusals_and_failures_are_counted_and_not_scored() -> None:
    refused = replace(
        case("r"), outcome=Outcome.REFUSED, refusals=(RefusalFound("spine-not-found", "segmentation", ""),)
    )
    broken = replace(case("f"), outcome=Outcome.FAILED, fault="invalid-case: x")
    group = only_group(case("a", vertebra(Level.T11)), refused, broken)
    assert (group.cases, group.scored, group.failed) == (3, 1, 1)
    assert group.refused == {"spine-not-found": 1}
    card = to_card(results(case("a", vertebra(Level.T11)), refused, broken))
    assert "1 refused (spine-not-found)" in card
    assert "failed: invalid-case: x" in card


def test_scraps_of_a_structure_are_left_out_of_the_means() -> None:
    scrap = StructureScore("trachea", Overlap(0.0, None, None, 0.2, 0.0))
    whole = StructureScore("trachea", Overlap(0.8, 1.0, 2.0, 20.0, 21.0))
    group = only_group(
        replace(case("a", vertebra(Level.T11)), structures=(scrap,)),
        replace(case("b", vertebra(Level.T11)), structures=(whole,)),
    )
    assert [(row.structure, row.scans, row.dice) for row in group.structures] == [("trachea", 1, 0.8)]


def test_nothing_scored_leaves_targets_open() -> None:
    group = only_group(replace(case("f"), outcome=Outcome.FAILED, fault="x"))
    assert [target.reached for target in group.targets] == [None, None, None]


def test_worst_first() -> None:
    silent = vertebra(Level.T9, off_by=1, confidence=0.95)
    missed = vertebra(Level.T10, off_by=None)
    flagged = vertebra(Level.T11, off_by=1, confidence=0.5)
    far, poor, fine = vertebra(Level.T12, hu=20.0), vertebra(Level.L1, dice=0.7), vertebra(Level.L2)
    order = worst_vertebrae(
        [fine, poor, far, flagged, missed, silent, vertebra(Level.L3, off_by=2, whole_in_view=False)]
    )
    assert [v.level for v in order] == [v.level for v in (silent, missed, flagged, far, poor, fine)]
