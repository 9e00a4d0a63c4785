"""Charts as EHRs really keep them."""

from __future__ import annotations

from typing import Any

import pytest
from cds_ehr import PATIENT_ID, condition, draft, dxa_report, patient
from hypothesis import given
from hypothesis import strategies as st

from trabecula.hooks.chart import (
    dxa_done,
    dxa_orders,
    has_fracture,
    identifiers_of,
    own_copies,
    problems_of,
)
from trabecula.hooks.prefetch import Given, chart_of, read_answer
from trabecula.hooks.services import Need

SCT, ICD, CM = "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"
LOINC = "http://loinc.org"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("resourceType", "entry", "resource", "link", "relation", "url", "status", "code", "coding"),
                    *("system", "identifier", "value", "subject", "reference", "text", "effectivePeriod", "issue"),
                    *("clinicalStatus", "verificationStatus", "meta", "security", "id", "effectiveDateTime"),
                ]
            ),
            inner | st.sampled_from(["Bundle", "Condition", "DiagnosticReport", "ServiceRequest", "Observation"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_nothing_in_a_chart_can_make_reading_fail(value: Any) -> None:
    given_answer = read_answer(value)
    if given_answer is not None:
        chart_of(dict.fromkeys(Need, given_answer), PATIENT_ID)
        for each in given_answer.resources:
            identifiers_of(each)


@pytest.mark.parametrize(
    ("system", "code", "known"),
    [
        (SCT, "64859006", True),
        (SCT, "240198002", True),
        (SCT, " 64859006 ", True),
        ("urn:oid:2.16.840.1.113883.6.96", "64859006", True),
        (CM, "M81.0", True),
        (CM, "m810", True),
        (CM, "M80.08XA", True),
        (ICD, "M82.1", True),
        ("urn:oid:2.16.840.1.113883.6.90", "M81.0", True),
        (CM, "M85.80", False),
        (SCT, "312894000", False),
        (CM, "Z13.820", False),  # screening for osteoporosis
        (CM, "Z82.62", False),  # family history of osteoporosis
        (LOINC, "64859006", False),
        ("", "M81.0", False),
    ],
)
def test_osteoporosis_on_the_problem_list(system: str, code: str, known: bool) -> None:
    assert problems_of([condition(system, code)], PATIENT_ID).osteoporosis is known


def _status(kind: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/condition-{kind}", "code": code}]}


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"clinicalStatus": _status("clinical", "resolved")}, False),
        ({"clinicalStatus": _status("clinical", "inactive")}, False),
        ({"clinicalStatus": _status("clinical", "recurrence")}, True),
        ({"clinicalStatus": None}, True),
        ({"verificationStatus": _status("ver-status", "refuted")}, False),
        ({"verificationStatus": _status("ver-status", "entered-in-error")}, False),
        ({"verificationStatus": _status("ver-status", "provisional")}, True),
        ({"subject": {"reference": "Patient/another"}}, False),
        ({"subject": {"reference": f"https://ehr.example/fhir/Patient/{PATIENT_ID}/_history/3"}}, True),
        ({"subject": {"identifier": {"value": "x"}}}, True),
    ],
)
def test_a_problem_counts_when_it_is_true_present_and_the_patients(changes: dict[str, Any], known: bool) -> None:
    assert problems_of([condition(SCT, "64859006", **changes)], PATIENT_ID).osteoporosis is known


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ({"text": "Osteoporosis"}, True),
        ({"text": "postmenopausal osteoporosis with back pain"}, True),
        ({"coding": [{"system": "urn:local", "code": "9", "display": "Osteoporosis"}]}, True),
        ({"text": "No osteoporosis"}, False),
        ({"text": "Family history of osteoporosis"}, False),
        ({"coding": [{"system": SCT, "code": "1"}], "text": "Osteoporosis"}, False),
        ({"text": 7}, False),
    ],
)
def test_words_count_where_there_is_no_standard_code(code: dict[str, Any], known: bool) -> None:
    assert problems_of([{**condition("", ""), "code": code}], PATIENT_ID).osteoporosis is known


@pytest.mark.parametrize(
    ("changes", "done"),
    [
        ({}, True),
        ({"status": "preliminary"}, True),
        ({"status": "entered-in-error"}, False),
        ({"status": "cancelled"}, False),
        ({"subject": {"reference": "Patient/another"}}, False),
        ({"code": {"coding": [{"system": LOINC, "code": "24627-2"}]}}, False),
        ({"code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "77080"}]}}, True),
        ({"code": {"text": "DEXA scan spine and hip"}}, True),
        ({"code": {"coding": [{"system": "urn:local", "code": "BD", "display": "DXA axial"}]}}, True),
        ({"code": {}}, False),
        ({"resourceType": "Condition"}, False),
    ],
)
def test_which_reports_are_a_dxa(changes: dict[str, Any], done: bool) -> None:
    assert bool(dxa_done([dxa_report("2026-01-01", **changes)], [], PATIENT_ID)) is done


def test_a_single_t_score_is_a_dxa_too() -> None:
    score = dxa_report(
        "2026-01-01", resourceType="Observation", code={"coding": [{"system": LOINC, "code": "38267-1"}]}
    )
    assert dxa_done([], [score], PATIENT_ID)
    assert dxa_done([], [{**score, "status": "entered-in-error"}], PATIENT_ID) == ()


def test_dates_come_from_period_and_issue_too() -> None:
    reports = [
        dxa_report(None, effectivePeriod={"start": "2025-01-01", "end": "2025-01-02"}),
        dxa_report(None, issued="2026-05-05T10:00:00Z"),
        dxa_report("2024-02"),
        dxa_report("2023"),
        dxa_report(None),
    ]
    days = [None if each.on is None else each.on.isoformat() for each in dxa_done(reports, [], PATIENT_ID)]
    assert days == ["2026-05-05", "2025-01-02", "2024-02-29", "2023-12-31", None]


@pytest.mark.parametrize(
    ("changes", "ordered"),
    [
        ({"status": "active"}, True),
        ({"status": "draft"}, True),
        ({"status": "on-hold"}, True),
        ({"status": "completed"}, False),
        ({"status": "revoked"}, False),
        ({"status": "entered-in-error"}, False),
        ({"status": "active", "doNotPerform": True}, False),
        ({"intent": "proposal"}, True),
        ({"intent": "proposal", "meta": {"security": [{"code": "AIAST"}]}}, False),
        ({"intent": "order", "meta": {"security": [{"code": "AIAST"}]}}, True),
        ({"subject": {"reference": "Patient/another"}}, False),
    ],
)
def test_which_requests_are_an_order_for_a_dxa(changes: dict[str, Any], ordered: bool) -> None:
    assert bool(dxa_orders([draft(**changes)], PATIENT_ID)) is ordered


def test_a_patient_is_identified_by_system_and_value_in_use() -> None:
    odd = [{"system": "s", "value": "v"}, {"value": "v"}, {"system": "s"}, "x", {"system": "s", "value": 4}]
    odd.append({"system": "s", "value": "old", "use": "old"})
    odd.append({"system": "s", "value": "\0"})
    odd += [{"system": "s", "value": str(number)} for number in range(200)]
    found = identifiers_of(patient(identifier=odd))
    assert ("s", "v") in {(each.system, each.value) for each in found}
    assert not {each.value for each in found} & {"old", "\0", ""}
    assert len(found) < 100
    assert identifiers_of({"resourceType": "Patient", "name": [{"family": "Li"}]}) == frozenset()


def test_fractures_among_diagnoses() -> None:
    assert has_fracture([condition(CM, "S72.001A")], PATIENT_ID)
    assert has_fracture([condition(SCT, "311891006")], PATIENT_ID)
    assert not has_fracture([condition(CM, "S62.001A")], PATIENT_ID)


def test_copies_of_our_reports_in_the_ehr() -> None:
    mine = dxa_report(None, id="77", identifier=[{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"}])
    wrong = dxa_report(None, id="78", status="entered-in-error", identifier=[{"value": "urn:uuid:2"}])
    found = own_copies([mine, wrong], PATIENT_ID)
    assert found.references == {"urn:uuid:1": "DiagnosticReport/77"}
    assert found.withdrawn == {"urn:uuid:2"}


def test_what_a_prefetch_element_tells() -> None:
    assert read_answer(None) == Given(()) or read_answer(None).resources == ()  # type: ignore[union-attr]
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "forbidden"}]}
    assert read_answer(outcome) is None
    assert read_answer({"resourceType": "Bundle", "entry": [{"resource": outcome}]}) is None
    warned = {**outcome, "issue": [{"severity": "warning", "code": "informational"}]}
    told = read_answer({"resourceType": "Bundle", "entry": [{"resource": warned}, {"resource": patient()}]})
    assert told is not None
    assert [each["resourceType"] for each in told.resources] == ["Patient"]
    for nothing in ("x", 5, [], {}, {"resourceType": 4}, {"resourceType": "Bundle", "entry": {}}):
        assert read_answer(nothing) is None
