"""The R4 server that other tests trust: it refuses what is broken, keeps transactions whole, says what it can do."""

from __future__ import annotations

import pytest
from fhir_guide import MISSING, validators_missing
from fhir_server import FhirServer, Json

pytestmark = pytest.mark.skipif(validators_missing(), reason=MISSING)

PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "https://h.example/mrn", "value": "7"}],
}
TASK: Json = {"resourceType": "Task", "id": "t1", "status": "requested", "intent": "proposal"}


OBS_6: Json = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"text": "x"},
    "valueString": "y",
    "dataAbsentReason": {"text": "and a reason"},
}


def transaction(*resources: Json) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
            for each in resources
        ],
    }


def test_it_says_what_it_can_do(fhir_server: FhirServer) -> None:
    status, statement = fhir_server.call("GET", "/metadata")
    (rest,) = statement["rest"]
    assert status == 200
    assert statement["fhirVersion"] == "4.0.1"
    assert {"code": "transaction"} in rest["interaction"]
    assert all(each["updateCreate"] for each in rest["resource"])
    assert {"Observation", "Patient", "Task"} <= {each["type"] for each in rest["resource"]}


def test_put_creates_then_updates_and_keeps_versions(fhir_server: FhirServer) -> None:
    assert fhir_server.call("PUT", "/Patient/p1", PATIENT)[0] == 201
    assert fhir_server.call("PUT", "/Patient/p1", {**PATIENT, "active": True})[0] == 200
    _, history = fhir_server.call("GET", "/Patient/p1/_history")
    assert [entry["resource"].get("active") for entry in history["entry"]] == [True, None]
    _, again = fhir_server.call("GET", "/Patient/p1/_history")
    assert again == history
    _, found = fhir_server.call("GET", "/Patient?identifier=https://h.example/mrn%7C7")
    assert found["total"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {**TASK, "status": "bogus"},
        {key: value for key, value in TASK.items() if key != "intent"},
        {**TASK, "colour": "blue"},
        {**TASK, "meta": {"profile": ["https://elsewhere.example/StructureDefinition/unknown"]}},
        OBS_6,
    ],
    ids=["code", "missing element", "unknown element", "unknown profile", "invariant"],
)
def test_what_is_broken_is_refused_and_a_transaction_with_it_leaves_nothing(
    fhir_server: FhirServer, wrong: Json
) -> None:
    status, outcome = fhir_server.call("PUT", f"/{wrong['resourceType']}/{wrong['id']}", wrong)
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")
    assert fhir_server.call("POST", "/", transaction(PATIENT, wrong))[0] == 400
    assert not any(fhir_server.stored().values())


def test_a_server_may_lack_what_delivery_would_like() -> None:
    with FhirServer.start(update_create=False, transactions=False) as server:
        _, statement = server.call("GET", "/metadata")
        assert statement["rest"][0]["interaction"] == [{"code": "batch"}]
        assert not any(each["updateCreate"] for each in statement["rest"][0]["resource"])
        assert server.call("PUT", "/Patient/p1", PATIENT)[0] == 405
        assert server.call("POST", "/", transaction(PATIENT))[0] == 400
        assert server.call("POST", "/Patient", {"resourceType": "Patient"})[0] == 201
