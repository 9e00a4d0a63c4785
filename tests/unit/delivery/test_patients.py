"""Exactly one active patient, or a person must look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from report_samples import refused_without_study, reported

from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.destinations import PatientSystem
from trabecula.delivery.patients import bound_to, find_patient, patient_identifier, patient_references
from trabecula.delivery.resource_set import from_bundle
from trabecula.outputs.r4 import to_bundle

Json = dict[str, Any]
MRN, OTHER = "urn:oid:1.2.3", "urn:oid:9.9.9"
SYSTEMS = (PatientSystem(MRN),)


def patient(identity: str, system: str = MRN, value: str = "7", **more: Any) -> Json:
    return {"resourceType": "Patient", "id": identity, "identifier": [{"system": system, "value": value}], **more}


def merged_into(identity: str, survivor: str) -> Json:
    link = {"other": {"reference": f"Patient/{survivor}"}, "type": "replaced-by"}
    return patient(identity, active=False, link=[link])


async def find(
    *there: Json,
    systems: Sequence[PatientSystem] = SYSTEMS,
    issuer: str | None = None,
    value: str = "7",
    ignores_search: bool = False,
) -> str:
    async def search(_: str, parameters: dict[str, str]) -> list[Json]:
        system, _, wanted = parameters["identifier"].rpartition("|")
        return [
            each
            for each in there
            if ignores_search or {"system": system, "value": wanted} in each.get("identifier", [])
        ]

    async def read(_: str, identity: str) -> Json | None:
        return next((each for each in there if each["id"] == identity), None)

    return await find_patient(value, issuer, systems, search, read)


async def reason(*there: Json, **options: Any) -> str:
    with pytest.raises(Setback) as caught:
        await find(*there, **options)
    assert caught.value.verdict is Verdict.PARK
    return caught.value.reason


async def test_the_one_patient_with_the_identifier() -> None:
    assert await find(patient("a"), patient("b", value="8"), patient("c", system=OTHER)) == "a"
    assert await find(patient("a", active=True), patient("b", active=False)) == "a"


async def test_none_or_several_park() -> None:
    assert await reason() == "patient-not-found"
    assert await reason(patient("b", value="77")) == "patient-not-found"
    assert await reason(patient("a"), patient("b")) == "patient-ambiguous"
    assert await reason(patient("a", active=False)) == "patient-inactive"


async def test_a_server_that_ignores_the_search_parameter_gives_nobody_elses_chart() -> None:
    assert await reason(patient("x", value="1"), ignores_search=True) == "patient-not-found"
    assert await find(patient("x", value="1"), patient("a"), ignores_search=True) == "a"


async def test_a_merged_record_is_followed_once() -> None:
    assert await find(merged_into("old", "new"), patient("new", value="9")) == "new"
    assert await find(merged_into("old", "new"), patient("new")) == "new"
    assert await find(merged_into("o1", "new"), merged_into("o2", "new"), patient("new", value="9")) == "new"


async def test_unclear_merges_park() -> None:
    assert await reason(merged_into("old", "gone")) == "patient-merged-unclear"
    assert await reason(merged_into("a", "b"), merged_into("b", "c"), patient("c")) == "patient-merged-unclear"
    twice = merged_into("old", "n1")
    twice["link"].append({"other": {"reference": "Patient/n2"}, "type": "replaced-by"})
    assert await reason(twice, patient("n1", value="1"), patient("n2", value="2")) == "patient-merged-unclear"
    far = patient("old", link=[{"other": {"reference": "https://x.example/Patient/1"}, "type": "replaced-by"}])
    assert await reason(far) == "patient-merged-unclear"
    assert await reason(merged_into("old", "new"), patient("new", value="9"), patient("third")) == "patient-ambiguous"
    inactive = patient("new", value="9", active=False)
    assert await reason(merged_into("old", "new"), inactive) == "patient-inactive"


async def test_issuers_choose_the_system() -> None:
    systems = (PatientSystem(MRN), PatientSystem(OTHER, issuer="NORTH"))
    both = (patient("south"), patient("north", system=OTHER))
    assert await find(*both, systems=systems) == "south"
    assert await find(*both, systems=systems, issuer="NORTH") == "north"
    assert await find(*both, systems=systems, issuer="ELSEWHERE") == "south"
    assert await reason(*both, systems=systems[1:], issuer="ELSEWHERE") == "patient-issuer-unknown"
    assert await reason(*both, systems=(PatientSystem(MRN), PatientSystem(OTHER))) == "patient-ambiguous"


@pytest.mark.parametrize("value", ["7|8", "7,8", "7$8", "7\\8", "7\n8"])
async def test_an_identifier_with_search_syntax_in_it_is_not_searched(value: str) -> None:
    assert await reason(patient("a", value=value), value=value) == "patient-identifier-unusable"


def test_the_result_names_its_patient_and_is_bound_to_the_one_found() -> None:
    resources = from_bundle(to_bundle(reported()))
    assert patient_identifier(resources) == ("SAMPLE-0001", "SAMPLE HOSPITAL")
    bound = bound_to(resources, "p1")
    references = [each for resource in bound for each in patient_references(resource)]
    assert len(references) > 10
    assert {each["reference"] for each in references} == {"Patient/p1"}
    assert {each["identifier"]["value"] for each in references} == {"SAMPLE-0001"}


def test_a_study_without_a_patient_parks() -> None:
    with pytest.raises(Setback) as caught:
        patient_identifier(from_bundle(to_bundle(refused_without_study())))
    assert caught.value.reason == "patient-not-identified"
