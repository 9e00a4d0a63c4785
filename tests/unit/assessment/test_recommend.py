"""Each rule fires on its facts and not otherwise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from findings import NO_DENSITY, acquisition, calibration, composition, lumbar, vertebra

from trabecula.anatomy import Level
from trabecula.assessment.assess import assess
from trabecula.assessment.assessment import Recommendation
from trabecula.assessment.facts import Fact, as_parameters, gather
from trabecula.assessment.recommend import recommend
from trabecula.assessment.rules import load_rules
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
    "severe-suspected": (
        fired(60.0, fracture=True),
        fired(60.0),
        fired(100.0, fracture=True),
        fired(82.0, fracture=True),
        fired(60.0, YOUNG, fracture=True),
    ),
    "bone-and-muscle-low": (
        fired(100.0, at=composition(index=20.0, attenuation=60.0, imat=1.0)),
        fired(100.0),
        fired(170.0, at=composition(index=20.0, attenuation=60.0, imat=1.0)),
        fired(118.0, at=composition(index=20.0, attenuation=60.0, imat=1.0)),
        fired(100.0, YOUNG, at=composition(index=20.0, attenuation=60.0, imat=1.0)),
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
    assert recommendation.plan_definition.endswith("/PlanDefinition/confirm-osteoporosis-range|1.0.0")
    assert recommendation.activity_definition.endswith("/ActivityDefinition/dxa-confirmation|1.0.0")
    assert "name = 'category'" in recommendation.condition
    assert [(fact.name, fact.value) for fact in recommendation.facts] == [("category", "osteoporosis-range")]


def test_the_severe_category_keeps_the_steps_of_the_osteoporosis_range() -> None:
    plain, severe = fired(60.0), fired(60.0, fracture=True)
    kept = set(plain) - {"fracture-look-osteoporosis-range"}
    assert kept <= set(severe)
    assert {"severe-suspected", "fracture-suspected"} <= set(severe)


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


FOLDER = Path(__file__).parents[3] / "fhir"


def broken(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the packaged artefacts with one rule edited."""
    shutil.copytree(FOLDER, folder / "fhir")
    path = folder / "fhir" / "plandefinitions" / "osta-raised.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    edit(plan)
    path.write_text(json.dumps(plan), encoding="utf-8")
    return folder / "fhir"


def action(plan: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plan["action"][0]
    return found


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another version": lambda plan: plan.update(version="9.9.9"),
    "retired": lambda plan: plan.update(status="retired"),
    "no citation": lambda plan: plan.pop("relatedArtifact"),
    "not said whether verified": lambda plan: plan["relatedArtifact"][0].pop("extension"),
    "no condition": lambda plan: action(plan).pop("condition"),
    "another language": lambda plan: action(plan)["condition"][0]["expression"].update(language="text/cql"),
    "no FHIRPath": lambda plan: action(plan)["condition"][0]["expression"].update(
        expression="parameter.where(name = 'osta-band').value = = 'high'"
    ),
    "a fact that is not declared": lambda plan: action(plan)["input"][0]["codeFilter"][0]["code"].pop(),
    "an action that there is not": lambda plan: action(plan).update(definitionCanonical="x|1"),
    "a value that is not carried out": lambda plan: action(plan)["dynamicValue"][0].update(path="occurrence"),
}


def test_an_untouched_copy_is_read(tmp_path: Path) -> None:
    rules = load_rules(broken(tmp_path, dict))
    assert [rule.id for rule in rules] == [rule.id for rule in load_rules()]


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_rules_that_cannot_be_trusted_are_refused(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ClinicalDataError):
        load_rules(broken(tmp_path, edit))


def test_every_artefact_belongs_to_the_set() -> None:
    used = {rule.plan_definition.rsplit("/", 1)[1].split("|")[0] for rule in load_rules()}
    files = {path.stem for path in (FOLDER / "plandefinitions").glob("*.json")}
    assert files == used | {"opportunistic-ct-bone"}
    actions = {rule.activity_definition.rsplit("/", 1)[1].split("|")[0] for rule in load_rules()}
    assert {path.stem for path in (FOLDER / "activitydefinitions").glob("*.json")} == actions


def test_published_facts_are_those_that_are_gathered_and_asked_for() -> None:
    published = json.loads((FOLDER / "codesystems" / "ct-bone-fact.json").read_text(encoding="utf-8"))
    codes = {concept["code"] for concept in published["concept"]}
    summary, vertebrae = lumbar(60.0, CONSTANTS)
    everything = replace(WOMAN_60, prior_fragility_fracture=True, glucocorticoids=True, height_m=1.6)
    assessment = assess(summary, vertebrae, (composition(),), calibration(), acquisition(), everything, CONSTANTS)
    assert set(gather(assessment, summary, vertebrae, everything, CONSTANTS)) == codes
    assert {name for rule in load_rules() for name in rule.facts} <= codes


def test_a_fact_that_is_not_known_fulfils_no_condition() -> None:
    for rule in load_rules():
        assert not rule.fires({})


def test_facts_are_a_parameters_resource() -> None:
    facts = {"age": Fact(66.0, "age 66"), "sex": Fact("male", "man"), "measured": Fact(True, "measured")}
    assert as_parameters(facts) == {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "age", "valueDecimal": 66.0},
            {"name": "sex", "valueString": "male"},
            {"name": "measured", "valueBoolean": True},
        ],
    }
