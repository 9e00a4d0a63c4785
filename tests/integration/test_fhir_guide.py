"""The implementation guide: built offline without an error, in step with the classes, the examples and the page."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from fhir_guide import (
    EXAMPLES,
    GENERATED,
    GUIDE,
    MISSING,
    as_text,
    built_guide,
    generated_documents,
    profiles,
    run_sushi,
    validators_missing,
)
from fhir_judges import Json, npm_faults, schema_faults
from fhir_page import PAGE, tables, with_tables
from fhir_samples import examples

from trabecula.outputs.r4 import PROFILES
from trabecula.outputs.r4.codes import PROGRAMME_DISPLAY, ProgrammeState

BASE = "https://trabecula.example/fhir"
needs_node = pytest.mark.skipif(validators_missing(), reason=MISSING)


@cache
def generated() -> dict[str, Json]:
    return {path.name: json.loads(path.read_text("utf-8")) for path in sorted(GENERATED.glob("*.json"))}


def definitions() -> dict[str, Json]:
    return {each["id"]: each for each in generated().values() if each["resourceType"] == "StructureDefinition"}


# built


@needs_node
def test_sushi_builds_it_offline_without_an_error() -> None:
    output = (built_guide() / "sushi.txt").read_text("utf-8")
    assert "0 Errors" in output
    assert all("snapshot" in definition for definition in profiles().values())


@needs_node
def test_what_is_kept_is_what_sushi_makes() -> None:
    made = generated_documents(built_guide())
    assert {name: as_text(document) for name, document in made.items()} == {
        path.name: path.read_text("utf-8") for path in GENERATED.glob("*.json")
    }, "run scripts/build_fhir_guide.py"


@needs_node
def test_sushi_notices_faults(tmp_path: Path) -> None:
    source = tmp_path / "guide"
    shutil.copytree(GUIDE, source, ignore=shutil.ignore_patterns("examples", "generated"))
    odd = source / "input" / "fsh" / "odd.fsh"
    odd.write_text("Profile: Odd\nParent: Nothing\nId: odd\n\nProfile: Odder\nParent: Task\nId: odder\n* colour 1..1\n")
    with pytest.raises(AssertionError, match="2 Errors"):
        run_sushi(source, tmp_path / "out")


@needs_node
def test_the_guide_itself_is_r4() -> None:
    named = generated()
    assert {name: schema_faults(document) for name, document in named.items()} == {name: [] for name in named}
    assert npm_faults(named, profiles=False) == {name: [] for name in named}


# in step


def test_examples_are_what_the_program_writes() -> None:
    assert {name: as_text(document) for name, document in examples().items()} == {
        path.name: path.read_text("utf-8") for path in EXAMPLES.glob("*.json")
    }, "run scripts/build_fhir_guide.py"


@needs_node
def test_examples_keep_their_profiles() -> None:
    named = {path.name: json.loads(path.read_text("utf-8")) for path in EXAMPLES.glob("*.json")}
    assert npm_faults(named) == {name: [] for name in named}
    guide = generated()["ImplementationGuide-trabecula.fhir.json"]
    canonical = {each.get("exampleCanonical") for each in guide["definition"]["resource"]}
    assert {f"{BASE}/StructureDefinition/{slug}" for slug in PROFILES} <= canonical


def test_each_class_has_its_profile_and_each_profile_its_class() -> None:
    assert set(definitions()) == set(PROFILES)
    for slug, profile in PROFILES.items():
        definition = definitions()[slug]
        assert (definition["name"], definition["type"]) == (profile.__name__, profile.resource_type)
        assert definition["url"] == f"{BASE}/StructureDefinition/{slug}"
        assert definition["fhirVersion"] == "4.0.1"


def test_the_page_says_what_the_profiles_say() -> None:
    text = PAGE.read_text("utf-8")
    assert with_tables(text, tables(definitions())) == text, "run scripts/build_fhir_guide.py"


def test_every_value_set_draws_on_a_code_system_of_the_guide() -> None:
    systems = {json.loads(path.read_text("utf-8"))["url"] for path in (GUIDE / "codesystems").glob("*.json")} | {
        "http://snomed.info/sct"
    }
    for name, document in generated().items():
        if document["resourceType"] == "ValueSet":
            assert {each["system"] for each in document["compose"]["include"]} <= systems, name


def test_the_programmes_states_are_published() -> None:
    document = json.loads((GUIDE / "codesystems" / "ct-bone-programme.json").read_text("utf-8"))
    assert {each["code"]: each["display"] for each in document["concept"]} == {
        state.value: PROGRAMME_DISPLAY[state] for state in ProgrammeState
    }


def test_required_capabilities_name_every_profile_and_the_operation() -> None:
    statement = generated()["CapabilityStatement-bone-results-server.json"]
    (rest,) = statement["rest"]
    named = {url.rsplit("/", 1)[-1] for each in rest["resource"] for url in each.get("supportedProfile", ())}
    assert named == set(PROFILES)
    types = {each["type"]: each for each in rest["resource"]}
    for slug, profile in PROFILES.items():
        assert f"{BASE}/StructureDefinition/{slug}" in types[profile.resource_type]["supportedProfile"]
    (operation,) = types["ImagingStudy"]["operation"]
    assert operation["definition"] == generated()["OperationDefinition-screen-bone.json"]["url"]


def test_the_service_can_search_by_every_required_parameter() -> None:
    from trabecula.record.parameters import parameters_of

    (rest,) = generated()["CapabilityStatement-bone-results-server.json"]["rest"]
    for each in rest["resource"]:
        asked = {parameter["name"] for parameter in each.get("searchParam", ())}
        assert asked <= set(parameters_of(each["type"])), each["type"]
