"""A class of a profile cannot exist invalid: each rule of each class refuses what breaks it."""

from __future__ import annotations

import copy
import dataclasses
import json

import fhir_broken
import fhir_samples
import pytest

from trabecula.errors import ConversionFault, ProfileViolation
from trabecula.outputs.r4 import PROFILES, profile_of
from trabecula.outputs.r4.profiles import TrabecularBmdObservation

GOOD = fhir_broken.good()
BROKEN = fhir_broken.broken()


def test_there_is_a_sample_of_every_profile_and_a_fault_for_every_rule() -> None:
    assert set(GOOD) == set(PROFILES)
    assert set(BROKEN) == {(slug, rule.name) for slug, profile in PROFILES.items() for rule in profile.rules}


@pytest.mark.parametrize("slug", PROFILES)
def test_what_keeps_the_profile_comes_back_unchanged(slug: str) -> None:
    made = profile_of(GOOD[slug])
    assert type(made) is PROFILES[slug]
    assert made.json() == GOOD[slug]
    assert (made.id, made.url) == (GOOD[slug]["id"], f"{made.resource_type}/{made.id}")


@pytest.mark.parametrize(("slug", "rule"), BROKEN)
def test_a_broken_rule_is_refused_by_name(slug: str, rule: str) -> None:
    with pytest.raises(ProfileViolation) as caught:
        PROFILES[slug](BROKEN[slug, rule])
    assert rule in str(caught.value.fields["rules"]).split()
    assert caught.value.fields["profile"] == slug


@pytest.mark.parametrize("slug", PROFILES)
def test_another_type_another_profile_or_none_is_refused(slug: str) -> None:
    resource = GOOD[slug]
    for wrong in (
        {**resource, "resourceType": "Patient"},
        {**resource, "meta": {**resource["meta"], "profile": []}},
        {**resource, "meta": {**resource["meta"], "profile": ["https://elsewhere.example/StructureDefinition/other"]}},
    ):
        with pytest.raises(ProfileViolation):
            PROFILES[slug](wrong)
        if wrong["resourceType"] != "Patient":
            with pytest.raises(ProfileViolation):
                profile_of(wrong)


@pytest.mark.parametrize("slug", PROFILES)
def test_what_is_not_r4_is_refused_and_not_quoted(slug: str) -> None:
    with pytest.raises(ConversionFault) as caught:
        PROFILES[slug]({**GOOD[slug], "colour": "SAMPLE-0001"})
    assert "SAMPLE-0001" not in f"{caught.value} {caught.value.fields}"


def test_nothing_changes_it_afterwards() -> None:
    resource = copy.deepcopy(GOOD["trabecular-bmd-observation"])
    made = TrabecularBmdObservation(resource)
    resource["status"] = "bogus"
    made.json()["status"] = "bogus"
    assert made.json()["status"] == "preliminary"
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.text = "{}"  # type: ignore[misc]


def test_digits_are_kept_and_a_number_that_is_none_is_refused() -> None:
    resource = copy.deepcopy(GOOD["trabecular-bmd-observation"])
    resource["valueQuantity"]["value"] = 112.0
    assert '"value": 112.0' in TrabecularBmdObservation(resource).text
    resource["valueQuantity"]["value"] = float("nan")
    with pytest.raises((ConversionFault, ValueError)):
        TrabecularBmdObservation(resource)


def test_a_resource_read_back_from_a_server_is_taken() -> None:
    resource = copy.deepcopy(GOOD["bone-diagnostic-report"])
    resource["meta"] |= {"versionId": "7", "lastUpdated": "2026-11-23T09:00:00.000Z"}
    resource["meta"]["profile"] = [f"{resource['meta']['profile'][0]}|1.0.0"]
    assert profile_of(resource).json()["meta"]["versionId"] == "7"


@pytest.mark.parametrize("name", fhir_samples.bundles())
def test_every_entry_of_every_bundle_is_of_a_profile(name: str) -> None:
    entries = fhir_samples.bundles()[name]["entry"]
    assert len(entries) <= 50
    for entry in entries:
        profile_of(entry["resource"])


def test_each_class_is_named_as_its_profile_and_links_it() -> None:
    for slug, profile in PROFILES.items():
        words = "".join(word.capitalize() for word in slug.split("-"))
        assert profile.__name__ == words
        assert f"https://trabecula.example/fhir/StructureDefinition/{slug}" in (profile.__doc__ or "")
        names = [rule.name for rule in profile.rules]
        assert len(set(names)) == len(names)
        assert json.dumps([rule.says for rule in profile.rules])
