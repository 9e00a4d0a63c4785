"""The decision table: density, its error, its level, attenuation, contrast and context to a category."""

from __future__ import annotations

import pytest
from findings import NO_DENSITY, acquisition, calibration, composition, density, lumbar, vertebra

from trabecula.anatomy import Level
from trabecula.assessment.assess import assess
from trabecula.assessment.assessment import Assessment, Category
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.calibration import CalibrationMethod
from trabecula.calibration.density_result import DensityScale, DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.patient import PatientContext, Sex

OP, LOW = Category.OSTEOPOROSIS_RANGE, Category.LOW_BONE_DENSITY_RANGE
CLEAR, MAYBE, NONE = Category.NO_SIGN_OF_LOW_DENSITY, Category.INDETERMINATE, Category.NOT_CLASSIFIED
WOMAN = PatientContext(age_years=70.0, sex=Sex.FEMALE, postmenopausal=True)
CONSTANTS = load_constants()


def judge(
    found: tuple[DensitySummary, tuple[VertebraResult, ...]],
    patient: PatientContext = WOMAN,
    *,
    enhanced: bool = False,
    constants: ClinicalConstants = CONSTANTS,
) -> Assessment:
    summary, vertebrae = found
    return assess(
        summary, vertebrae, (composition(),), calibration(enhanced=enhanced), acquisition(), patient, constants
    )


@pytest.mark.parametrize(
    ("value", "category", "between"),
    [
        (30.0, OP, ()),
        (74.9, OP, ()),
        (75.1, MAYBE, (OP, LOW)),
        (80.0, MAYBE, (OP, LOW)),
        (84.9, MAYBE, (OP, LOW)),
        (85.1, LOW, ()),
        (100.0, LOW, ()),
        (114.9, LOW, ()),
        (115.1, MAYBE, (LOW, CLEAR)),
        (124.9, MAYBE, (LOW, CLEAR)),
        (126.0, CLEAR, ()),
        (180.0, CLEAR, ()),
    ],
)
def test_lumbar_density_with_an_error_of_5(value: float, category: Category, between: tuple[Category, ...]) -> None:
    assessment = judge(lumbar(value, CONSTANTS))
    assert (assessment.category, assessment.between) == (category, between)


def test_a_larger_error_widens_the_band() -> None:
    assert judge(lumbar(90.0, CONSTANTS, uncertainty=5.0)).category is LOW
    assert judge(lumbar(90.0, CONSTANTS, uncertainty=11.0)).between == (OP, LOW)
    assert judge(lumbar(100.0, CONSTANTS, uncertainty=25.0)).between == (OP, LOW, CLEAR)


def test_contrast_medium_widens_the_band_to_ten() -> None:
    assert judge(lumbar(88.0, CONSTANTS)).category is LOW
    assert judge(lumbar(88.0, CONSTANTS), enhanced=True).between == (OP, LOW)
    assert judge(lumbar(69.0, CONSTANTS), enhanced=True).category is OP
    assert judge(lumbar(131.0, CONSTANTS), enhanced=True).category is CLEAR


@pytest.mark.parametrize(
    ("value", "category", "between"),
    [
        (70.0, OP, ()),
        (79.0, OP, ()),
        (81.0, MAYBE, (OP, LOW)),  # 91/128 says osteoporosis range, 80/120 low
        (90.0, MAYBE, (OP, LOW)),
        (100.0, LOW, ()),
        (118.0, LOW, ()),
        (121.0, MAYBE, (LOW, CLEAR)),  # 91/128 says low, 80/120 no sign
        (127.0, MAYBE, (LOW, CLEAR)),
        (140.0, CLEAR, ()),
    ],
)
def test_lower_thoracic_density_where_the_sources_disagree(
    value: float, category: Category, between: tuple[Category, ...]
) -> None:
    assessment = judge(density({Level.T11: value, Level.T12: value}, CONSTANTS, uncertainty=2.0))
    assert (assessment.category, assessment.between) == (category, between)


def test_mid_thoracic_density_is_read_by_its_published_line() -> None:
    assert judge(density({Level.T9: 88.0}, CONSTANTS, uncertainty=2.0)).category is OP
    assert judge(density({Level.T9: 110.0}, CONSTANTS, uncertainty=2.0)).category is LOW
    assert judge(density({Level.T9: 150.0}, CONSTANTS, uncertainty=2.0)).category is CLEAR


def test_upper_thoracic_density_can_only_raise_a_flag() -> None:
    assert judge(density({Level.T5: 95.0}, CONSTANTS, uncertainty=1.0)).between == (OP, LOW)
    assert judge(density({Level.T5: 160.0}, CONSTANTS, uncertainty=1.0)).between == (LOW, CLEAR)


def test_no_sign_needs_attenuation_over_the_screen_out_line() -> None:
    assert judge(lumbar(130.0, CONSTANTS, hu=161.0)).category is CLEAR
    assessment = judge(lumbar(130.0, CONSTANTS, hu=155.0))
    assert assessment.between == (LOW, CLEAR)
    assert "attenuation" in assessment.statement


def test_a_low_range_with_attenuation_over_the_line_is_a_contradiction() -> None:
    assert judge(lumbar(100.0, CONSTANTS, hu=150.0)).category is LOW
    assert judge(lumbar(100.0, CONSTANTS, hu=165.0)).between == (LOW, CLEAR)


def test_the_osteoporosis_range_holds_at_any_attenuation() -> None:
    assert judge(lumbar(60.0, CONSTANTS, hu=170.0)).category is OP


@pytest.mark.parametrize(("hu", "between"), [(100.0, (OP, LOW)), (130.0, (OP, LOW)), (150.0, (LOW, CLEAR))])
def test_attenuation_alone_never_decides(hu: float, between: tuple[Category, ...]) -> None:
    only_hu = DensitySummary((Level.L1,), None, None, None, None, "none", hu, DensityScale.K2HPO4)
    vertebrae = (vertebra(Level.L1, None),)
    assessment = assess(
        only_hu, vertebrae, (), calibration(method=CalibrationMethod.HU_ONLY), acquisition(), WOMAN, CONSTANTS
    )
    assert (assessment.category, assessment.between) == (MAYBE, between)
    assert "pre-screen" in assessment.decided_on


def test_no_density_is_not_classified() -> None:
    excluded = vertebra(Level.L1, 70.0, excluded=(ExclusionReason.HARDWARE,))
    assessment = judge((NO_DENSITY, (excluded,)))
    assert assessment.category is NONE
    assert "No vertebra" in assessment.statement


@pytest.mark.parametrize(
    ("patient", "classified"),
    [
        (PatientContext(age_years=35.0, sex=Sex.MALE), False),
        (PatientContext(age_years=49.9, sex=Sex.MALE), False),
        (PatientContext(age_years=50.0, sex=Sex.MALE), True),
        (PatientContext(age_years=49.0, sex=Sex.FEMALE), False),
        (PatientContext(age_years=45.0, sex=Sex.FEMALE, postmenopausal=True), True),
        (PatientContext(age_years=52.0, sex=Sex.FEMALE, postmenopausal=False), False),
        (PatientContext(age_years=52.0, sex=Sex.FEMALE), True),
        (PatientContext(age_years=30.0), False),
        (PatientContext(age_years=70.0), True),
        (PatientContext(sex=Sex.MALE), True),
        (PatientContext(sex=Sex.FEMALE), True),
        (PatientContext(sex=Sex.FEMALE, postmenopausal=False), False),
        (PatientContext(), True),
    ],
)
def test_age_sex_and_menopause_decide_whether_a_range_is_named(patient: PatientContext, classified: bool) -> None:
    assert judge(lumbar(60.0, CONSTANTS), patient).category is (OP if classified else NONE)


@pytest.mark.parametrize(
    ("patient", "assumed"),
    [
        (PatientContext(), "age, sex and menopause"),
        (PatientContext(age_years=55.0, sex=Sex.FEMALE), "menopause"),
        (PatientContext(sex=Sex.MALE), "age"),
        (PatientContext(age_years=55.0), "sex and menopause"),
        (PatientContext(age_years=75.0, sex=Sex.FEMALE), None),
        (PatientContext(age_years=75.0), None),
        (PatientContext(age_years=55.0, sex=Sex.MALE), None),
        (WOMAN, None),
    ],
)
def test_an_assumed_population_is_said(patient: PatientContext, assumed: str | None) -> None:
    statement = judge(lumbar(60.0, CONSTANTS), patient).statement
    assert ("not known here" in statement) == (assumed is not None)
    assert assumed is None or statement.endswith(f"not known here: {assumed}.")


def test_unknown_context_is_listed_and_not_guessed() -> None:
    assert judge(lumbar(60.0, CONSTANTS), PatientContext()).unknown_context == (
        "age",
        "sex",
        "menopause",
        "height",
        "weight",
        "fragility fracture history",
        "glucocorticoid use",
    )
    known = PatientContext(70.0, Sex.MALE, 1.75, 80.0, None, False, False)
    assert judge(lumbar(60.0, CONSTANTS), known).unknown_context == ()


def test_what_was_decided_on_names_number_scale_levels_rule_and_cutoffs() -> None:
    decided_on = judge(density({Level.T11: 100.0, Level.T12: 104.0}, CONSTANTS)).decided_on
    for part in ("91.9 mg/cm3", "K2HPO4", "T11 and T12", "levels.lower-thoracic", "80 and 120", "5.0 mg/cm3"):
        assert part in decided_on
