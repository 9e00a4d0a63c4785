"""A corrected report follows from the corrected vertebrae, all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import report_samples as samples

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category
from trabecula.bone.vertebra import DeformityKind, ExclusionReason
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.errors import InvalidRequest
from trabecula.programme.corrections import Corrections, FractureReading, corrected_report
from trabecula.report import ScreeningReport


@pytest.fixture(scope="module")
def constants() -> ClinicalConstants:
    return load_constants()


@pytest.fixture(scope="module")
def report() -> ScreeningReport:
    return samples.reported()


@pytest.fixture(scope="module")
def computed(report: ScreeningReport, constants: ClinicalConstants) -> ScreeningReport:
    """The sample as the stages compute it, so that only the correction makes a difference."""
    shifted = corrected_report(report, Corrections(level_shift=1), constants)
    return corrected_report(shifted, Corrections(level_shift=-1), constants)


def counted(report: ScreeningReport) -> list[str]:
    assert report.density is not None
    return [level.value for level in report.density.levels_used]


def test_without_corrections_the_report_stays_the_same(report: ScreeningReport, constants: ClinicalConstants) -> None:
    assert corrected_report(report, Corrections(), constants) is report


def test_a_vertebra_left_out_leaves_the_mean_and_says_why(
    computed: ScreeningReport, constants: ClinicalConstants
) -> None:
    used = counted(computed)
    gone = Level(used[-1])
    after = corrected_report(computed, Corrections(left_out={gone: "old fracture, seen in 2019"}), constants)
    assert counted(after) == used[:-1]
    assert after.density != computed.density
    vertebra = next(v for v in after.vertebrae if v.level is gone)
    assert ExclusionReason.REVIEWER in vertebra.excluded
    assert vertebra.exclusions[-1].text == "left out by the reviewer: old fracture, seen in 2019"
    others = [v for v in after.vertebrae if v.level is not gone]
    assert others == [v for v in computed.vertebrae if v.level is not gone]


def test_renaming_moves_every_vertebra_and_reads_densities_by_the_new_level(
    computed: ScreeningReport, constants: ClinicalConstants
) -> None:
    after = corrected_report(computed, Corrections(level_shift=1), constants)
    assert [v.level.ordinal for v in after.vertebrae] == [v.level.ordinal + 1 for v in computed.vertebrae]
    assert {v.level_confidence for v in after.vertebrae} == {1.0}
    assert after.density is not None
    assert computed.density is not None
    assert after.density.lumbar_equivalent_mg_cm3 != computed.density.lumbar_equivalent_mg_cm3
    assert [level.level.ordinal for level in after.composition] == [
        level.level.ordinal + 1 for level in computed.composition
    ]
    back = corrected_report(after, Corrections(level_shift=-1), constants)
    assert back.density == computed.density


def test_a_fracture_seen_by_a_person_counts_as_one(computed: ScreeningReport, constants: ClinicalConstants) -> None:
    level = computed.vertebrae[0].level
    seen = Corrections(fractures={level: FractureReading(2, DeformityKind.WEDGE)})
    after = corrected_report(computed, seen, constants)
    vertebra = after.vertebrae[0]
    assert vertebra.deformity is not None
    assert (vertebra.deformity.grade, vertebra.deformity.kind) == (2, DeformityKind.WEDGE)
    assert ExclusionReason.FRACTURE in vertebra.excluded
    assert "fracture-assessment" in {item.action for item in after.recommendations}
    assert level.value not in counted(after)


def test_a_fracture_read_as_none_lets_the_vertebra_count_again(
    computed: ScreeningReport, constants: ClinicalConstants
) -> None:
    level = computed.vertebrae[0].level
    broken = corrected_report(computed, Corrections(fractures={level: FractureReading(3)}), constants)
    after = corrected_report(broken, Corrections(fractures={level: FractureReading(0)}), constants)
    assert counted(broken) != counted(computed)
    assert broken.recommendations != computed.recommendations
    assert counted(after) == counted(computed)
    assert after.recommendations == computed.recommendations


def test_with_nothing_left_no_category_is_named(computed: ScreeningReport, constants: ClinicalConstants) -> None:
    everything = {v.level: "metal" for v in computed.vertebrae}
    after = corrected_report(computed, Corrections(left_out=everything), constants)
    assert counted(after) == []
    assert after.assessment is not None
    assert after.assessment.category is Category.NOT_CLASSIFIED


def test_the_reviewers_words_come_first(report: ScreeningReport, constants: ClinicalConstants) -> None:
    after = corrected_report(report, Corrections(conclusion="Compare with 2019."), constants)
    assert report.assessment is not None
    assert after.assessment is not None
    assert after.assessment.statement == f"Compare with 2019. {report.assessment.statement}"
    assert replace(after, assessment=report.assessment) == report


@pytest.mark.parametrize(
    ("corrections", "field"),
    [
        (Corrections(level_shift=3), "level_shift"),
        (Corrections(left_out={Level.C1: "not there"}), "left_out"),
        (Corrections(left_out={Level.T12: " "}), "left_out"),
        (Corrections(left_out={Level.T12: "x" * 2001}), "left_out"),
        (Corrections(fractures={Level.C1: FractureReading(1)}), "fractures"),
        (Corrections(fractures={Level.T12: FractureReading(4)}), "fractures"),
        (Corrections(conclusion=" "), "conclusion"),
        (Corrections(conclusion="x" * 2001), "conclusion"),
    ],
)
def test_corrections_that_do_not_fit_are_refused(
    report: ScreeningReport, constants: ClinicalConstants, corrections: Corrections, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        corrected_report(report, corrections, constants)
    assert caught.value.fields["field"] == field


def test_a_refused_study_takes_words_alone(constants: ClinicalConstants) -> None:
    refused = samples.refused()
    assert corrected_report(refused, Corrections(conclusion="Repeat the scan."), constants).refusals
    with pytest.raises(InvalidRequest):
        corrected_report(refused, Corrections(level_shift=1), constants)


def test_a_shift_beyond_the_column_is_refused(report: ScreeningReport, constants: ClinicalConstants) -> None:
    lowest = replace(report.vertebrae[0], level=Level.L5)
    with pytest.raises(InvalidRequest):
        corrected_report(replace(report, vertebrae=(lowest,)), Corrections(level_shift=1), constants)
