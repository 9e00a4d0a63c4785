"""Each rule fires on its facts and not otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from findings import NO_DENSITY, acquisition, calibration, composition, lumbar, vertebra

from trabecula.anatomy import Level
from trabecula.assessment.assess import assess
from trabecula.assessment.assessment import Recommendation
from trabecula.assessment.recommend import recommend
from trabecula.assessment.rules import load_rules, parse_rules
from trabecula.bone.vertebra import ExclusionReason
from trabecula.clinical import load_constants
from trabecula.composition.body import CompositionAtLevel
from trabecula.errors import ClinicalDataError
from trabecula.patient import PatientContext, Sex

CONSTANTS = load_constants()
MAN = PatientContext(age_years=70.0, sex=Sex.MALE)
WOMAN_60 = PatientContext(age_years=60.0, sex=Sex.FEMALE, weight_kg=70.0, postmenopausal=True, prior_dxa=False)
YOUNG = PatientContext(age_years=30.0, sex=Sex.MALE)


def fired(
    value: float | None = 100.0,
    patient: PatientContext = MAN,
    *,
    fracture: bool = False,
    at: CompositionAtLevel | None = None,
) -> dict[str, Recommendation]:
    summary, vertebrae = (NO_DENSITY, ()) if value is None else lumbar(value, CONSTANTS)
    if fracture:
        vertebrae = (*vertebrae, vertebra(Level.T9, 90.0, excluded=(ExclusionReason.FRACTURE,)))
    composed = (at or composition(index=40.0, attenuation=60.0, imat=1.0),)
    assessment = assess(summary, vertebrae, composed, calibration(), acquisition(), patient, CONSTANTS)
    return {r.rule_id: r for r in recommend(assessment, summary, vertebrae, composed, patient, CONSTANTS)}


THIN = replace(WOMAN_60, weight_kg=42.0)
CASES = {
    "confirm-osteoporosis-range": (fired(60.0), fired(100.0), fired(170.0), fired(82.0), fired(60.0, YOUNG)),
    "secondary-causes-osteoporosis-range": (fired(60.0), fired(100.0), fired(170.0)),
    "fracture-look-osteoporosis-range": (fired(60.0), fired(60.0, fracture=True), fired(100.0)),
    "fracture-suspected": (fired(170.0, fracture=True), fired(60.0), fired(60.0, YOUNG, fracture=True)),
    "fracture-suspected-young": (fired(170.0, YOUNG, fracture=True), fired(170.0, fracture=True), fired(60.0, YOUNG)),
    "confirm-low-range": (fired(100.0), fired(60.0), fired(118.0), fired(100.0, YOUNG)),
    "risk-low-range": (fired(100.0), fired(60.0), fired(170.0)),
    "resolve-indeterminate": (fired(118.0), fired(100.0), fired(118.0, YOUNG)),
    "no-sign-does-not-exclude": (fired(170.0), fired(118.0), fired(100.0), fired(None)),
    "measure-otherwise": (fired(None), fired(60.0), fired(170.0)),
    "compare-with-age": (fired(100.0, YOUNG), fired(100.0), fired(None, YOUNG)),
    "secondary-causes-young": (fired(60.0, YOUNG), fired(100.0, YOUNG), fired(60.0)),
    "osta-raised": (
        fired(170.0, THIN),
        fired(170.0, WOMAN_60),
        fired(170.0, replace(THIN, sex=Sex.MALE)),
        fired(170.0, replace(THIN, weight_kg=None)),
        fired(170.0, replace(THIN, age_years=None)),
        fired(170.0, replace(THIN, postmenopausal=False)),
    ),
    "uspstf-women-65": (
        fired(170.0, replace(WOMAN_60, age_years=65.0)),
        fired(170.0, WOMAN_60),
        fired(170.0, MAN),
        fired(170.0, replace(WOMAN_60, age_years=65.0, prior_dxa=True)),
        fired(170.0, replace(WOMAN_60, age_years=65.0, known_osteoporosis=True)),
    ),
    "uspstf-postmenopausal-at-risk": (
        fired(170.0, replace(WOMAN_60, glucocorticoids=True)),
        fired(170.0, WOMAN_60),
        fired(170.0, replace(WOMAN_60, glucocorticoids=True, age_years=65.0)),
        fired(170.0, replace(WOMAN_60, glucocorticoids=True, postmenopausal=None)),
        fired(170.0, replace(MAN, glucocorticoids=True)),
    ),
    "prior-fracture-low-density": (
        fired(100.0, replace(MAN, prior_fragility_fracture=True)),
        fired(100.0, MAN),
        fired(100.0, replace(MAN, prior_fragility_fracture=False)),
        fired(170.0, replace(MAN, prior_fragility_fracture=True)),
    ),
    "low-muscle": (
        fired(170.0, at=composition(index=20.0, attenuation=60.0, imat=1.0)),
        fired(170.0),
        fired(170.0, replace(MAN, sex=None), at=composition(index=20.0)),
        fired(170.0, at=composition(Level.T11, index=20.0)),
    ),
    "complete-context": (fired(100.0, PatientContext()), fired(100.0, MAN), fired(100.0, YOUNG)),
}


@pytest.mark.parametrize("rule_id", CASES)
def test_a_rule_fires_on_its_facts_and_not_otherwise(rule_id: str) -> None:
    due, *not_due = CASES[rule_id]
    assert rule_id in due
    for other in not_due:
        assert rule_id not in other


def test_every_rule_of_the_file_is_tested_here() -> None:
    assert set(CASES) == {rule.id for rule in load_rules()}


@pytest.mark.parametrize("patient", [MAN, WOMAN_60, YOUNG, PatientContext()])
@pytest.mark.parametrize("value", [None, 60.0, 82.0, 100.0, 118.0, 170.0])
def test_there_is_always_a_next_step(value: float | None, patient: PatientContext) -> None:
    assert fired(value, patient)


def test_a_recommendation_carries_rule_version_facts_and_citation() -> None:
    recommendation = fired(60.0)["confirm-osteoporosis-range"]
    assert recommendation.action == "dxa-confirmation"
    assert recommendation.rule_version == "1.0.0"
    assert recommendation.because == ("density in the osteoporosis range",)
    assert "He N" in recommendation.citation
    assert recommendation.verified is True


def test_recalled_rules_say_so() -> None:
    assert fired(100.0, replace(MAN, prior_fragility_fracture=True))["prior-fracture-low-density"].verified is False


@pytest.mark.parametrize(
    ("weight", "value", "band"), [(54.9, "-1.0", "medium"), (40.0, "-4.0", "medium"), (39.0, "-4.2", "high")]
)
def test_osta_is_computed_and_told(weight: float, value: str, band: str) -> None:
    recommendation = fired(170.0, replace(WOMAN_60, weight_kg=weight))["osta-raised"]
    assert f"OSTA is {value} ({band} risk)" in recommendation.text
    assert any("age 60 years" in fact for fact in recommendation.because)


def test_texts_name_the_level_and_what_is_missing() -> None:
    assert "at T9" in fired(170.0, fracture=True)["fracture-suspected"].text
    context = fired(100.0, PatientContext(age_years=55.0, sex=Sex.FEMALE))["complete-context"]
    assert "(menopause)" in context.text
    both = fired(170.0, replace(WOMAN_60, glucocorticoids=True, prior_fragility_fracture=True))
    assert "prior fragility fracture, glucocorticoids" in both["uspstf-postmenopausal-at-risk"].text


RULE = """
[[rule]]
id = "a"
version = "1"
action = "b"
text = "c"
when = [{ fact = "d", is = true }]
citation = "e"
verified = false
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not toml [",
        RULE + RULE,
        RULE.replace('citation = "e"\n', ""),
        RULE.replace("verified = false", "verified = false\nextra = 1"),
        RULE.replace("is = true", "like = true"),
        RULE.replace("is = true", "is = true, below = 3"),
        RULE.replace('[{ fact = "d", is = true }]', "[]"),
    ],
)
def test_a_rule_file_that_cannot_be_trusted_is_refused(text: str) -> None:
    with pytest.raises(ClinicalDataError):
        parse_rules(text)


def test_a_good_rule_is_read() -> None:
    assert [rule.id for rule in parse_rules(RULE)] == ["a"]
