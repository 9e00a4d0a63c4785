"""The CapabilityStatement of an instance keeps what the guide asks of a server of bone results."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trabecula.service.http.facade.artefacts import Artefacts
from trabecula.service.http.facade.capability import capability_statement
from trabecula.service.http.options import HttpOptions

Json = dict[str, Any]
BASE = "https://hospital.test/canonical"


def statement(*, screening: bool = True) -> tuple[Json, Artefacts]:
    options = HttpOptions(canonical_base=BASE)
    artefacts = Artefacts(BASE)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return capability_statement(options, artefacts, "https://x.test/fhir", at, screening=screening), artefacts


def by_type(found: Json) -> dict[str, Json]:
    return {each["type"]: each for each in found["rest"][0]["resource"]}


def names(entry: Json, part: str, key: str = "name") -> set[str]:
    return {each[key] for each in entry.get(part, ())}


def test_it_offers_all_that_the_guide_requires() -> None:
    found, artefacts = statement()
    required = artefacts.read("CapabilityStatement", "bone-results-server").content
    assert found["instantiates"] == [required["url"]]
    offered = by_type(found)
    assert len(by_type(required)) > 10
    for name, asked in by_type(required).items():
        ours = offered[name]
        assert names(asked, "interaction", "code") <= names(ours, "interaction", "code"), name
        kinds = {each["name"]: each["type"] for each in ours["searchParam"]}
        assert {each["name"]: each["type"] for each in asked.get("searchParam", ())}.items() <= kinds.items(), name
        assert set(asked.get("searchInclude", ())) <= set(ours.get("searchInclude", ())), name
        assert names(asked, "operation", "definition") <= names(ours, "operation", "definition"), name
        assert set(asked.get("supportedProfile", ())) <= set(ours.get("supportedProfile", ())), name


def test_what_it_names_of_ours_can_be_read_here() -> None:
    found, artefacts = statement()
    addresses = [*found["instantiates"], *found["implementationGuide"]]
    for entry in found["rest"][0]["resource"]:
        addresses += entry.get("supportedProfile", [])
        parts = [*entry.get("searchParam", ()), *entry.get("operation", ())]
        addresses += [each["definition"] for each in parts if "definition" in each]
    ours = [address for address in addresses if address.startswith(BASE)]
    assert len(ours) > 15
    for address in ours:
        kind, identity = address.removeprefix(f"{BASE}/").split("/")
        assert artefacts.read(kind, identity).content["url"] == address


def test_an_operation_that_is_not_set_up_is_not_offered() -> None:
    without = by_type(statement(screening=False)[0])
    assert "operation" not in without["ImagingStudy"]
    assert names(without["PlanDefinition"], "operation") == {"apply"}
