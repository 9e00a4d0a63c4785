"""Readings by level, doubtful names, the severe category, the three steps and the joint view."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from findings import NO_DENSITY, acquisition, calibration, composition, density, lumbar, vertebra

from trabecula.anatomy import Level
from trabecula.assessment.assess import assess
from trabecula.assessment.assessment import Assessment, Category, Finding, JointPattern, ReadingKind, Tier
from trabecula.bone.vertebra import Deformity, DeformityKind, DeformityStatus, ExclusionReason
from trabecula.calibration.calibration import CalibrationMethod, DensityScale
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.composition.body import CompositionAtLevel
from trabecula.patient import PatientContext, Sex

OP, LOW = Category.OSTEOPOROSIS_RANGE, Category.LOW_BONE_DENSITY_RANGE
CLEAR, MAYBE = Category.NO_SIGN_OF_LOW_DENSITY, Category.INDETERMINATE
SEVERE = Category.SEVERE_RANGE_SUSPECTED
WOMAN = PatientContext(age_years=70.0, sex=Sex.FEMALE, height_m=1.6, postmenopausal=True)
YOUNG = PatientContext(age_years=30.0, sex=Sex.MALE)
CONSTANTS = load_constants()
Found = tuple[DensitySummary, tuple[VertebraResult, ...]]


def judge(
    found: Found,
    patient: PatientContext = WOMAN,
    *,
    constants: ClinicalConstants = CONSTANTS,
    at: CompositionAtLevel | None = None,
) -> Assessment:
    composed = (at or composition(),)
    return assess(found[0], found[1], composed, calibration(), acquisition(), patient, constants)


def unsure(found: Found, confidence: float) -> Found:
    return found[0], tuple(replace(v, level_confidence=confidence) for v in found[1])


def grade(vertebrae: tuple[VertebraResult, ...], level: Level, genant: int, status: DeformityStatus) -> VertebraResult:
    shape = Deformity(
        status, DeformityKind.WEDGE if genant else None, genant, 0.97, 0.3, 0.7, 0.9, 1.0, None, None, (), ()
    )
    base = vertebra(level, 90.0, excluded=(ExclusionReason.FRACTURE,) if genant >= 2 else ())
    assert level not in {v.level for v in vertebrae}
    return replace(base, deformity=shape)


def test_both_readings_are_given_for_each_vertebra_and_for_the_mean_that_decides() -> None:
    found = judge(density({Level.T11: 84.0, Level.T12: 88.0}, CONSTANTS))
    kinds = {(reading.levels, reading.kind): reading for reading in found.readings}
    for level in (Level.T11, Level.T12):
        assert kinds[(level,), ReadingKind.DIRECT].osteoporosis_below_mg_cm3 == 91.0
        assert kinds[(level,), ReadingKind.LUMBAR_EQUIVALENT].osteoporosis_below_mg_cm3 == 80.0
    both = (Level.T11, Level.T12)
    assert kinds[both, ReadingKind.DIRECT].value_mg_cm3 == pytest.approx(86.0)
    assert kinds[both, ReadingKind.UNCORRECTED].low_below_mg_cm3 == 120.0
    assert kinds[both, ReadingKind.LUMBAR_EQUIVALENT].value_mg_cm3 == pytest.approx(86.0 * 1.0810810811 - 18.3783783784)
    assert [reading.decides for reading in found.readings].count(True) == 1
    assert kinds[both, ReadingKind.LUMBAR_EQUIVALENT].decides


def test_levels_that_can_only_raise_a_flag_name_no_single_range() -> None:
    for value, ranges in ((90.0, (OP, LOW)), (150.0, (LOW, CLEAR))):
        found = judge(density({Level.T5: value}, CONSTANTS, uncertainty=1.0))
        direct = [reading for reading in found.readings if reading.kind is ReadingKind.DIRECT]
        assert [reading.ranges for reading in direct] == [ranges, ranges]


def test_excluded_vertebrae_are_not_read() -> None:
    summary, vertebrae = lumbar(100.0, CONSTANTS)
    found = judge((summary, (*vertebrae, vertebra(Level.T12, 40.0, excluded=(ExclusionReason.CEMENT,)))))
    assert Level.T12 not in {level for reading in found.readings for level in reading.levels}


def test_readings_of_a_young_person_name_no_range_and_no_cutoff() -> None:
    for reading in judge(lumbar(60.0, CONSTANTS), YOUNG).readings:
        assert reading.ranges == ()
        assert reading.osteoporosis_below_mg_cm3 is None
        assert reading.low_below_mg_cm3 is None


def direct_profile(folder: Path) -> ClinicalConstants:
    text = (resources.files("trabecula.clinical") / "profiles" / "cn-2024.toml").read_text(encoding="utf-8")
    text = text.replace('name = "cn-2024"', 'name = "direct"').replace(
        'value = "lumbar-equivalent"', 'value = "direct"'
    )
    text = text.replace('value = ["levels.lower-thoracic"]', "value = []")
    (folder / "direct.toml").write_text(text, encoding="utf-8")
    return load_constants(profile=folder / "direct.toml")


def test_the_profile_decides_which_reading_decides(tmp_path: Path) -> None:
    constants = direct_profile(tmp_path)
    summary, vertebrae = density({Level.T12: 110.0}, constants, uncertainty=2.0)
    summary = replace(summary, lumbar_equivalent_mg_cm3=60.0)  # so that the two readings part
    direct = judge((summary, vertebrae), constants=constants)
    assert direct.category is LOW
    assert direct.density_cutoffs_mg_cm3 == (91.0, 128.0)
    assert "directly read" in direct.decided_on
    assert judge((summary, vertebrae)).category is OP
    assert next(r for r in direct.readings if r.decides).kind is ReadingKind.DIRECT


def test_the_direct_reading_has_its_own_cutoffs(tmp_path: Path) -> None:
    constants = direct_profile(tmp_path)
    for value, category in ((88.0, OP), (94.0, LOW), (125.0, LOW), (132.0, CLEAR)):
        assert judge(density({Level.T12: value}, constants, uncertainty=1.0), constants=constants).category is category


def test_profile_acr_takes_a_lower_thoracic_density_as_lumbar() -> None:
    acr = load_constants(profile="acr")
    assert judge(density({Level.T12: 78.0}, acr, uncertainty=1.0), constants=acr).category is OP
    assert judge(density({Level.T12: 85.0}, acr, uncertainty=1.0), constants=acr).between == (OP, LOW)
    assert judge(density({Level.T12: 105.0}, acr, uncertainty=1.0), constants=acr).category is LOW
    assert "acr-1.0.0" in judge(density({Level.T12: 105.0}, acr), constants=acr).decided_on


def test_an_unsure_name_gives_no_silent_class() -> None:
    thoracic = density({Level.T12: 96.0}, CONSTANTS, uncertainty=2.0)  # 85 as T12, 96 as L1, 84 as T11
    assert judge(thoracic).category is LOW
    found = judge(unsure(thoracic, 0.55))
    assert found.category is LOW
    assert "naming of vertebral levels is not sure (55%)" in found.statement
    edge = density({Level.T12: 138.0}, CONSTANTS, uncertainty=2.0)  # no sign as T12 and L1 and T11
    assert judge(unsure(edge, 0.55)).category is CLEAR


def test_an_unsure_name_opens_the_ranges_that_its_neighbours_give() -> None:
    found = density({Level.T12: 93.0}, CONSTANTS, uncertainty=0.5)  # 82.2 as T11 or T12, 93 as L1
    assert judge(found).category is LOW
    found = density({Level.L1: 89.0}, CONSTANTS, uncertainty=1.0)  # 89 as L1 or L2, 77.8 as T12
    assert judge(found).category is LOW
    doubtful = judge(unsure(found, 0.5))
    assert (doubtful.category, doubtful.between) == (MAYBE, (OP, LOW))
    assert "a neighbouring name reads otherwise" in doubtful.statement
    assert judge(unsure(found, 0.81)).category is LOW


@pytest.mark.parametrize(
    ("value", "genant", "status", "category"),
    [
        (60.0, 2, DeformityStatus.SUSPECTED, SEVERE),
        (60.0, 3, DeformityStatus.SUSPECTED, SEVERE),
        (60.0, 1, DeformityStatus.SUSPECTED, OP),
        (60.0, 2, DeformityStatus.POSSIBLE, OP),
        (60.0, 2, DeformityStatus.VARIANT, OP),
        (100.0, 3, DeformityStatus.SUSPECTED, LOW),
        (170.0, 3, DeformityStatus.SUSPECTED, CLEAR),
        (82.0, 3, DeformityStatus.SUSPECTED, MAYBE),
    ],
)
def test_the_severe_category_needs_the_range_and_a_graded_fracture(
    value: float, genant: int, status: DeformityStatus, category: Category
) -> None:
    summary, vertebrae = lumbar(value, CONSTANTS)
    found = judge((summary, (*vertebrae, grade(vertebrae, Level.T9, genant, status))))
    assert found.category is category
    assert ("severe" in found.statement) == (category is SEVERE or value == 82.0)


def test_the_severe_category_is_suspected_and_for_confirmation() -> None:
    summary, vertebrae = lumbar(60.0, CONSTANTS)
    found = judge((summary, (*vertebrae, grade(vertebrae, Level.T9, 2, DeformityStatus.SUSPECTED))))
    for part in ("T9", "suspected", "no diagnosis", "radiologist", "QCT or DXA"):
        assert part in found.statement
    assert any("T9 (grade 2)" in driver.statement for driver in found.drivers)


def test_a_fracture_in_a_lesion_is_no_fragility_fracture() -> None:
    summary, vertebrae = lumbar(60.0, CONSTANTS)
    broken = grade(vertebrae, Level.T9, 3, DeformityStatus.SUSPECTED)
    lesion = replace(broken, excluded=(ExclusionReason.FRACTURE, ExclusionReason.LESION))
    assert judge((summary, (*vertebrae, lesion))).category is OP


def test_a_young_person_gets_no_severe_category() -> None:
    summary, vertebrae = lumbar(60.0, CONSTANTS)
    broken = grade(vertebrae, Level.T9, 3, DeformityStatus.SUSPECTED)
    assert judge((summary, (*vertebrae, broken)), YOUNG).category is Category.NOT_CLASSIFIED


def test_cutoffs_of_another_scale_are_not_compared() -> None:
    summary, vertebrae = lumbar(60.0, CONSTANTS)
    found = judge((replace(summary, scale=DensityScale.HA), vertebrae))
    assert found.category is Category.NOT_CLASSIFIED
    assert "another density scale" in found.statement
    assert all(reading.ranges == () for reading in found.readings)


@pytest.mark.parametrize(
    ("hu", "outcome"),
    [
        (109.9, "below-risk-line"),
        (110.0, "below-balanced-line"),
        (134.9, "below-balanced-line"),
        (135.0, "between-lines"),
        (159.9, "between-lines"),
        (160.0, "above-screen-out-line"),
    ],
)
def test_the_pre_screen_names_its_line(hu: float, outcome: str) -> None:
    steps = {step.tier: step for step in judge(lumbar(100.0, CONSTANTS, hu=hu)).tiers}
    assert steps[Tier.HU_PRE_SCREEN].outcome == outcome
    assert steps[Tier.HU_PRE_SCREEN].value == hu


@pytest.mark.parametrize(
    ("value", "patient", "outcomes"),
    [
        (60.0, WOMAN, ("osteoporosis-range", "needed")),
        (100.0, WOMAN, ("low-bone-density-range", "advised")),
        (118.0, WOMAN, ("indeterminate", "advised")),
        (170.0, WOMAN, ("no-sign-of-low-density", "by-risk")),
        (60.0, YOUNG, ("not-classified", "age-matched")),
    ],
)
def test_three_steps_in_their_order(value: float, patient: PatientContext, outcomes: tuple[str, str]) -> None:
    steps = judge(lumbar(value, CONSTANTS), patient).tiers
    assert [step.tier for step in steps] == list(Tier)
    assert tuple(step.outcome for step in steps[1:]) == outcomes
    assert (steps[0].outcome == "not-named") == (patient is YOUNG)


def test_attenuation_alone_leaves_the_second_step_open() -> None:
    only_hu = DensitySummary((Level.L1,), None, None, None, None, "none", 100.0, DensityScale.K2HPO4)
    found = assess(
        only_hu, (vertebra(Level.L1, None),), (), calibration(method=CalibrationMethod.HU_ONLY), acquisition(), WOMAN,
        CONSTANTS,
    )  # fmt: skip
    assert [step.outcome for step in found.tiers] == ["below-risk-line", "not-available", "advised"]


def test_no_density_at_all_asks_for_another_way() -> None:
    assert [step.outcome for step in judge((NO_DENSITY, ())).tiers] == ["not-available", "not-available", "instead"]


WEAK, STRONG = composition(index=15.0, attenuation=50.0, imat=1.0), composition(index=30.0, attenuation=50.0, imat=1.0)


@pytest.mark.parametrize(
    ("value", "at", "pattern"),
    [
        (60.0, WEAK, JointPattern.BONE_AND_MUSCLE),
        (100.0, WEAK, JointPattern.BONE_AND_MUSCLE),
        (100.0, STRONG, JointPattern.BONE_ALONE),
        (170.0, WEAK, JointPattern.MUSCLE_ALONE),
        (170.0, STRONG, JointPattern.NEITHER),
        (118.0, WEAK, JointPattern.UNDECIDED),
        (100.0, composition(Level.T11, index=15.0), JointPattern.UNDECIDED),
    ],
)
def test_the_joint_pattern_counts_what_lies_beyond(value: float, at: CompositionAtLevel, pattern: JointPattern) -> None:
    joint = judge(lumbar(value, CONSTANTS), at=at).joint
    assert joint is not None
    assert joint.pattern is pattern


def test_every_contribution_shows_value_cutoff_and_source() -> None:
    rich = replace(WEAK, paraspinal_muscle_index_cm2_m2=6.0, muscle_fat_by_share_cm2=9.0)
    patient = replace(WOMAN, weight_kg=45.0)
    joint = judge(lumbar(100.0, CONSTANTS), patient, at=rich).joint
    assert joint is not None
    found = {(each.domain, each.criterion): each for each in joint.contributions}
    assert found["bone", "density-range"].cutoff == 120.0
    assert (found["muscle", "muscle-index"].finding, found["muscle", "muscle-index"].cutoff) == (
        Finding.BEYOND_CUTOFF,
        20.16,
    )
    assert found["muscle", "paraspinal-index"].cutoff == 6.87
    assert found["muscle", "fat-by-share"].finding is Finding.NO_CUTOFF
    assert found["fat", "visceral-fat"].finding is Finding.NO_CUTOFF
    assert found["risk", "osta"].value == pytest.approx(-5.0)
    assert not any(each.counts for each in joint.contributions if each.domain in ("fat", "risk"))
    assert all(each.source in CONSTANTS for each in joint.contributions)


def test_values_that_must_not_be_compared_do_not_count() -> None:
    cut = replace(WEAK, truncated=True)
    joint = judge(lumbar(100.0, CONSTANTS), at=cut).joint
    assert joint is not None
    index = next(each for each in joint.contributions if each.criterion == "muscle-index")
    assert (index.finding, index.counts) == (Finding.NOT_COMPARED, False)
    assert "field of view" in index.statement
