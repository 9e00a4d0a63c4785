"""Rules of other people's profiles that our results keep without declaring them (docs/fhir.md names them)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import fhir_samples
import pytest

Json = dict[str, Any]

BUNDLES = fhir_samples.bundles()
RESULTS = [name for name in BUNDLES if name not in {"programme", "access"}]
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
AI = "http://hl7.org/fhir/uv/aitransparency/CodeSystem"
TO_THE_DAY = re.compile(r"\d{4}-\d{2}-\d{2}.*")


def of(name: str, kind: str) -> list[Json]:
    resources = (entry["resource"] for entry in BUNDLES[name]["entry"])
    return [resource for resource in resources if resource["resourceType"] == kind]


def codings(concept: Json) -> set[tuple[str, str]]:
    return {(coding["system"], coding["code"]) for coding in concept.get("coding", ())}


def marked_unknown(element: Json) -> bool:
    return [each["valueCode"] for each in element["extension"]] == ["unknown"]


def quantities(value: Any) -> list[Json]:
    if isinstance(value, list):
        return [found for each in value for found in quantities(each)]
    if not isinstance(value, dict):
        return []
    own = [value["valueQuantity"]] if "valueQuantity" in value else []
    return own + [found for each in value.values() for found in quantities(each)]


@pytest.mark.parametrize("name", RESULTS)
def test_us_core_observation_clinical_result(name: str) -> None:
    for observation in of(name, "Observation"):
        assert {code for each in observation["category"] for _, code in codings(each)} == {"imaging"}
        assert observation["code"]
        assert observation["subject"]
        assert all((each["system"], bool(each["code"])) == (UCUM, True) for each in quantities(observation))
        has_value = any(key.startswith("value") for key in observation)
        assert has_value or "dataAbsentReason" in observation or observation["component"]
        if "effectiveDateTime" in observation:
            assert TO_THE_DAY.fullmatch(observation["effectiveDateTime"])
        else:
            assert marked_unknown(observation["_effectiveDateTime"])


@pytest.mark.parametrize("name", RESULTS)
def test_us_core_diagnostic_report_note(name: str) -> None:
    (report,) = of(name, "DiagnosticReport")
    assert (LOINC, "LP29684-5") in set.union(*(codings(each) for each in report["category"]))
    assert {system for system, _ in codings(report["code"])} == {LOINC}
    assert report["subject"]
    assert report["issued"]
    assert "effectiveDateTime" in report or marked_unknown(report["_effectiveDateTime"])


@pytest.mark.parametrize("name", RESULTS)
def test_us_core_service_request(name: str) -> None:
    for order in of(name, "ServiceRequest"):
        assert order["status"]
        assert order["intent"] == "proposal"
        assert order["category"]
        assert codings(order["code"]) == {(LOINC, "83012-5")}
        assert order["subject"]


def test_hl7_europe_minimal_imaging_metadata() -> None:
    for name in ("matched_patient", "signed"):
        (report,) = of(name, "DiagnosticReport")
        assert report["identifier"]
        categories = set.union(*(codings(each) for each in report["category"]))
        assert (LOINC, "85430-7") in categories
        assert "Medical-Imaging" in {code for _, code in categories}
        # the study as a resource or by identifier, never both; the order by its accession number alone
        (study,) = report["imagingStudy"]
        assert ("reference" in study) != ("identifier" in study)
        (order,) = report["basedOn"]
        assert "reference" not in order
        assert codings(order["identifier"]["type"]) == {("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN")}
        assert order["identifier"]["system"]
        assert order["identifier"]["value"]
        (kept,) = of(name, "ImagingStudy")
        uid = kept["identifier"][0]
        assert uid["system"] == "urn:dicom:uid"
        assert codings(uid["type"]) == {("http://dicom.nema.org/resources/ontology/DCM", "110180")}
    (unnamed,) = of("reported", "DiagnosticReport")
    assert "basedOn" not in unnamed, "an accession number without its system names no order"


@pytest.mark.parametrize("name", RESULTS)
def test_hl7_ai_transparency(name: str) -> None:
    (device,) = of(name, "Device")
    assert codings(device["type"]) == {(f"{AI}/AIdeviceTypeCS", "Artificial-Intelligence")}
    cards = of(name, "DocumentReference")
    extensions = [each["valueReference"]["reference"] for each in device["extension"] if "valueReference" in each]
    assert extensions == [f"DocumentReference/{card['id']}" for card in cards]
    for card in cards:
        assert codings(card["type"]) == {(f"{AI}/AIinputsCS", "AIModelCard")}
        assert codings(card["category"][0]) == {(f"{AI}/AIinputsCS", "AIModelCardMarkdownFormat")}
        assert {each["attachment"]["contentType"] for each in card["content"]} == {"text/markdown"}
    (provenance,) = of(name, "Provenance")
    assert {code for each in provenance["reason"] for _, code in codings(each)} == {"AIAST"}
    agent = provenance["agent"][0]
    assert agent["role"] == [device["type"]]
    assert {code for _, code in codings(agent["type"])} == {"author"}
    assert agent["who"]["reference"] == f"Device/{device['id']}"
    roles = {entity["role"] for entity in provenance.get("entity", ()) if "Document" in entity["what"]["reference"]}
    assert roles <= {"derivation"}


def test_ihe_basic_audit() -> None:
    dcm = "http://dicom.nema.org/resources/ontology/DCM"
    source, destination = (dcm, "110153"), (dcm, "110152")
    read, search, create = of("access", "AuditEvent")
    for event, action, client, server in (
        (read, "R", destination, source),
        (search, "E", source, destination),
        (create, "C", source, destination),
    ):
        assert event["type"]["code"] == "rest"
        assert event["action"] == action
        assert [codings(agent["type"]) for agent in event["agent"][:2]] == [{client}, {server}]
        assert all(agent["who"] and agent["network"] for agent in event["agent"][:2])
        assert [each["type"]["code"] for each in event["entity"]].count("2") == 1
    (query,) = [each for each in search["entity"] if "query" in each]
    assert query["role"]["code"] == "24"
    assert "what" not in query
    people = [each for each in search["entity"] if each["type"]["code"] == "1"]
    assert {each["role"]["code"] for each in people} == {"1"}
    request = [each for each in read["entity"] if each["type"]["code"] == "XrequestId"]
    assert request[0]["type"]["system"] == "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"


@pytest.mark.parametrize("name", ["signed", "corrected"])
def test_ihe_imr_once_signed(name: str) -> None:
    (report,) = of(name, "DiagnosticReport")
    assert [each["type"] for each in report["performer"]] == ["Organization"]
    assert [each["type"] for each in report["resultsInterpreter"]] == ["Practitioner"]
    assert report["imagingStudy"]
    (page,) = [each for each in report["presentedForm"] if each["contentType"] == "text/html"]
    content = base64.b64decode(page["data"])
    assert page["size"] == len(content)
    assert base64.b64decode(page["hash"]) == hashlib.sha1(content, usedforsecurity=False).digest()
