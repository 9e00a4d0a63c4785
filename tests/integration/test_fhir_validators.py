"""Independent judges of what the program writes as FHIR: R4 JSON schema, npm ``fhir``, Medplum, and a real server.

They need ``npm ci`` in ``tests/validators``; without it these tests are skipped, loudly.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from urllib.parse import quote

import fhir_broken
import fhir_samples
import pytest
import report_samples as samples
from fhir_guide import MISSING, validators_missing
from fhir_judges import Json, npm_faults, schema_faults
from fhir_server import FhirServer

from trabecula.outputs.r4 import to_bundle

pytestmark = pytest.mark.skipif(validators_missing(), reason=MISSING)

BUNDLES = fhir_samples.bundles()


def first_observation(bundle: Json) -> Json:
    found: Json = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation")
    return found


def broken(change: str) -> Json:
    """A good bundle with one thing wrong in its first Observation."""
    bundle = copy.deepcopy(BUNDLES["reported"])
    observation = first_observation(bundle)
    if change == "status":
        observation["status"] = "bogus"
    elif change == "unknown field":
        observation["colour"] = "blue"
    elif change == "missing code":
        del observation["code"]
    elif change == "value and absence":
        observation["dataAbsentReason"] = {"text": "none"}
    elif change == "performer is a device":
        observation["performer"] = [observation["device"]]
    elif change == "unit as number":
        observation["valueQuantity"]["unit"] = 5
    elif change == "other unit":
        observation["valueQuantity"]["code"] = "g/cm2"
    elif change == "unknown profile":
        observation["meta"]["profile"] = ["https://trabecula.example/fhir/StructureDefinition/unknown"]
    return bundle


# judged one by one


@pytest.mark.parametrize("name", BUNDLES)
def test_bundle_fits_the_r4_schema(name: str) -> None:
    assert schema_faults(BUNDLES[name]) == []


def test_bundles_pass_required_codes_cardinalities_invariants_and_our_profiles() -> None:
    assert npm_faults(BUNDLES) == {name: [] for name in BUNDLES}


def test_published_code_systems_are_valid(repository: Path) -> None:
    paths = sorted((repository / "fhir" / "codesystems").glob("*.json"))
    named = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    assert len(named) > 5
    assert npm_faults(named) == {name: [] for name in named}


@pytest.mark.parametrize("change", ["status", "unknown field", "missing code", "unit as number"])
def test_schema_judge_notices(change: str) -> None:
    assert schema_faults(broken(change))


def test_npm_judges_notice() -> None:
    changes = [
        "status", "missing code", "value and absence", "performer is a device", "other unit", "unknown profile",
    ]  # fmt: skip
    verdicts = npm_faults({change: broken(change) for change in changes})
    assert all(verdicts[change] for change in changes), verdicts
    without = npm_faults({"other unit": broken("other unit")}, profiles=False)
    assert without == {"other unit": []}, "R4 alone does not know our units"


def test_the_profiles_notice_every_broken_rule_that_a_profile_can_say() -> None:
    named = {"/".join(key): resource for key, resource in fhir_broken.broken().items()}
    missed = {name for name, found in npm_faults(named).items() if not found}
    assert missed == {"/".join(key) for key in fhir_broken.BLIND}


# taken by a server


@pytest.mark.parametrize("name", BUNDLES)
def test_a_server_takes_it_and_gives_it_back(fhir_server: FhirServer, name: str) -> None:
    bundle = BUNDLES[name]
    status, answer = fhir_server.call("POST", "/", bundle)
    assert status == 200, answer
    for entry in bundle["entry"]:
        status, found = fhir_server.call("GET", f"/{entry['request']['url']}")
        assert status == 200
        kept = {key: value for key, value in found.items() if key != "meta"}
        assert kept == {key: value for key, value in entry["resource"].items() if key != "meta"}
        assert found["meta"]["profile"] == entry["resource"]["meta"]["profile"]
        assert found["meta"].get("security") == entry["resource"]["meta"].get("security")


def test_sent_twice_it_keeps_one_copy(fhir_server: FhirServer) -> None:
    bundle = BUNDLES["matched_patient"]
    for _ in range(2):
        status, answer = fhir_server.call("POST", "/", bundle)
        assert status == 200
        assert {entry["response"]["status"][:3] for entry in answer["entry"]} == {"200"}
    stored = fhir_server.stored()
    assert sum(len(found) for found in stored.values()) == len(bundle["entry"])
    (report,) = stored["DiagnosticReport"]
    kept = {f"Observation/{resource['id']}" for resource in stored["Observation"]}
    assert {result["reference"] for result in report["result"]} == kept


def test_it_is_found_by_patient_identifier_code_and_date(fhir_server: FhirServer) -> None:
    fhir_server.call("PUT", "/Patient/p1", {"resourceType": "Patient", "id": "p1"})
    fhir_server.call("POST", "/", BUNDLES["matched_patient"])
    (report,) = fhir_server.stored()["DiagnosticReport"]
    identifier = report["identifier"][0]
    metrics = "https://trabecula.example/fhir/CodeSystem/ct-bone-metrics"
    searches = {
        "/DiagnosticReport?subject=Patient/p1": 1,
        "/DiagnosticReport?subject=Patient/p2": 0,
        f"/DiagnosticReport?identifier={quote(identifier['system'] + '|' + identifier['value'])}": 1,
        f"/Observation?code={quote(metrics + '|vbmd-trabecular')}": len(samples.LEVELS),
        f"/Observation?code={quote(metrics + '|vbmd-lumbar-equivalent')}&date=2026-03-14": 1,
        f"/Observation?code={quote(metrics + '|vbmd-lumbar-equivalent')}&date=lt2026-03-14": 0,
        "/ServiceRequest?code=83012-5&status=draft": 1,
    }
    found = {search: fhir_server.call("GET", search)[1].get("total") for search in searches}
    assert found == searches


def test_a_refusal_stands_beside_a_result_of_the_same_study(fhir_server: FhirServer) -> None:
    for name in ("reported", "refused"):
        assert fhir_server.call("POST", "/", BUNDLES[name])[0] == 200
    stored = fhir_server.stored()
    assert len(stored["DiagnosticReport"]) == 2
    assert len(stored["ImagingStudy"]) == 1


def test_signing_makes_versions_and_overwrites_nothing(fhir_server: FhirServer) -> None:
    for name in ("matched_patient", "signed", "corrected"):
        assert fhir_server.call("POST", "/", BUNDLES[name])[0] == 200
    (report,) = fhir_server.stored()["DiagnosticReport"]
    _, history = fhir_server.call("GET", f"/DiagnosticReport/{report['id']}/_history")
    states = [entry["resource"]["status"] for entry in history["entry"]]
    assert states == ["corrected", "final", "preliminary"]
    assert len(fhir_server.stored()["Provenance"]) == 3


@pytest.mark.parametrize(
    "change", ["status", "unknown field", "missing code", "value and absence", "other unit", "unknown profile"]
)
def test_a_server_refuses_a_broken_bundle_as_a_whole(fhir_server: FhirServer, change: str) -> None:
    status, outcome = fhir_server.call("POST", "/", broken(change))
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")
    assert not any(fhir_server.stored().values())


def test_profiles_can_stay_unsaid(fhir_server: FhirServer) -> None:
    from dataclasses import replace

    bundle = to_bundle(samples.reported(), replace(fhir_samples.OPTIONS, declare_profiles=False))
    assert "StructureDefinition/trabecular-bmd-observation" not in json.dumps(bundle)
    assert schema_faults(bundle) == []
    assert fhir_server.call("POST", "/", bundle)[0] == 200
