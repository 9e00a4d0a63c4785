"""Reading calls and feedback: the specification is held, odd input names its element and quotes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cds_ehr import call, draft, service
from hypothesis import given
from hypothesis import strategies as st

from trabecula.errors import InvalidRequest
from trabecula.hooks.services import Hook
from trabecula.hooks.wire import read_feedback, read_request

CARD = "f5a0c1c1-8b6e-4d6e-9c9f-27a2c3e8b5a1"
AUTHORIZATION = {
    "access_token": "secret-token",
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "user/*.read",
    "subject": "trabecula",
}


def read(hook: Hook, body: Any) -> Any:
    return read_request(json.dumps(body).encode(), service(hook))


@pytest.mark.parametrize("hook", list(Hook))
def test_a_call_of_every_hook_is_read(hook: Hook) -> None:
    found = read(hook, {**call(hook), "extension": {"x": 1}, "unknown": True})
    assert found.hook is hook
    assert found.context.patient_id == "p1"
    assert found.fhir is None


def test_ids_with_their_type_are_ids() -> None:
    found = read(Hook.ENCOUNTER_DISCHARGE, call(Hook.ENCOUNTER_DISCHARGE, context={"patientId": "Patient/7"}))
    assert found.context.patient_id == "7"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hook": "order-sign"}, "hook"),
        ({"hookInstance": "1"}, "hookInstance"),
        ({"context": {"userId": "u"}}, "context.patientId"),
        ({"context": {"userId": "u", "patientId": "a/../b"}}, "context.patientId"),
        ({"context": {"userId": "u", "patientId": "a" * 65}}, "context.patientId"),
        ({"context": {"userId": "u", "patientId": ""}}, "context.patientId"),
        ({"context": []}, "context"),
        ({"context": {"userId": "u\0", "patientId": "p1"}}, "context.userId"),
        ({"prefetch": []}, "prefetch"),
        ({"fhirAuthorization": AUTHORIZATION}, "fhirServer"),
        ({"fhirServer": "ftp://a/"}, "fhirServer"),
        ({"fhirServer": "https://a/?x=1"}, "fhirServer"),
        ({"fhirServer": "https://a/", "fhirAuthorization": {**AUTHORIZATION, "access_token": "a\r\nb: c"}}, "fhirAuth"),
        ({"fhirServer": "https://a/", "fhirAuthorization": {}}, "fhirAuthorization.access_token"),
    ],
)
def test_a_broken_call_is_refused_by_its_element(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        read(Hook.PATIENT_VIEW, {**call(), **changes})
    assert str(error.value.fields["field"]).startswith(field)
    assert "secret-token" not in error.value.client_message


@pytest.mark.parametrize(
    ("hook", "missing"),
    [
        (Hook.ORDER_SELECT, "selections"),
        (Hook.ORDER_SELECT, "draftOrders"),
        (Hook.ORDER_SIGN, "draftOrders"),
        (Hook.ENCOUNTER_DISCHARGE, "encounterId"),
    ],
)
def test_each_hook_has_its_context(hook: Hook, missing: str) -> None:
    body = call(hook)
    del body["context"][missing]
    with pytest.raises(InvalidRequest) as error:
        read(hook, body)
    assert error.value.fields["field"] == f"context.{missing}"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_request(body, service(Hook.PATIENT_VIEW))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_and_nothing_worse(body: bytes) -> None:
    for reader in (lambda: read_request(body, service(Hook.PATIENT_VIEW)), lambda: read_feedback(body)):
        with pytest.raises(InvalidRequest):
            reader()


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({}, True),
        ({"token_type": "bearer"}, True),
        ({"token_type": "MAC"}, False),
        ({"expires_in": 0}, False),
        ({"patient": "p1"}, True),
        ({"patient": "p2"}, False),
    ],
)
def test_a_token_is_used_only_where_it_may_be(changes: dict[str, Any], usable: bool) -> None:
    body = call(fhirServer="https://ehr.example/fhir/", fhirAuthorization={**AUTHORIZATION, **changes})
    access = read(Hook.PATIENT_VIEW, body).fhir
    assert (access is not None) is usable
    if access is not None:
        assert access.server == "https://ehr.example/fhir"
        assert "secret-token" not in repr(access)


def test_picked_drafts_are_found_by_reference() -> None:
    found = read(Hook.ORDER_SELECT, call(Hook.ORDER_SELECT))
    assert [each["id"] for each in found.context.selected] == [draft()["id"]]
    empty = read(Hook.ORDER_SELECT, call(Hook.ORDER_SELECT, context={"draftOrders": {"resourceType": "Bundle"}}))
    assert empty.context.selected == ()


def test_drafts_are_bounded() -> None:
    many = {"resourceType": "Bundle", "entry": [{"resource": draft()}] * 201}
    with pytest.raises(InvalidRequest):
        read(Hook.ORDER_SIGN, call(Hook.ORDER_SIGN, context={"draftOrders": many}))


def item(**changes: Any) -> dict[str, Any]:
    return {
        "card": CARD,
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": "s1"}],
        "outcomeTimestamp": "2026-11-22T10:00:00Z",
        **changes,
    }


def feedback(**changes: Any) -> Any:
    values = {key: value for key, value in item(**changes).items() if value is not None}
    return read_feedback(json.dumps({"feedback": [values]}).encode())


def test_feedback_is_read() -> None:
    (accepted,) = feedback()
    assert accepted.accepted
    assert accepted.suggestions == ("s1",)
    reason = {"reason": {"code": "patient-refuses", "system": "s"}, "userComment": "Mrs Li said no"}
    (overridden,) = feedback(outcome="overridden", acceptedSuggestions=None, overrideReason=reason)
    assert (overridden.accepted, overridden.reason_code) == (False, "patient-refuses")
    assert "Mrs Li" not in repr(overridden)
    (bare,) = feedback(outcome="overridden", acceptedSuggestions=None, outcomeTimestamp="2026-11-22T10:00:00")
    assert bare.at.tzinfo is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"card": "1"},
        {"outcome": "ignored"},
        {"acceptedSuggestions": None},
        {"acceptedSuggestions": []},
        {"outcomeTimestamp": None},
        {"acceptedSuggestions": [{"id": "a\0b"}]},
        {"overrideReason": {"userComment": "a\0b"}},
        {"overrideReason": {"reason": {"code": "\0"}}},
        {"overrideReason": {"userComment": "x" * 4001}},
    ],
)
def test_broken_feedback_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        feedback(**changes)


def test_feedback_is_bounded() -> None:
    for items in ([], [item()] * 101):
        with pytest.raises(InvalidRequest):
            read_feedback(json.dumps({"feedback": items}).encode())
