"""Reading DXA results as EHRs send them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.errors import InvalidRequest
from trabecula.programme.dxa import DxaValue, read_dxa
from trabecula.programme.tasks import PatientKey

MRN = "urn:oid:1.2.3"


def loinc(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


def observation(code: str = "38267-1", value: float = -2.7, unit: str = "{T-score}", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o-{code}",
        "status": "final",
        "code": loinc(code),
        "subject": {"identifier": {"system": MRN, "value": "4711"}},
        "effectiveDateTime": "2026-10-01T08:00:00+02:00",
        "valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"},
        **more,
    }


def report(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": loinc("38269-7"),
        "subject": {"identifier": {"system": MRN, "value": "4711"}},
        "effectiveDateTime": "2026-10-01",
        **more,
    }


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    entries = [{"fullUrl": f"urn:x:{r['id']}", "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def test_an_observation_alone_is_a_study() -> None:
    (study,) = read_dxa(observation())
    assert study.patients == (PatientKey(MRN, "4711"),)
    assert study.measured_on == date(2026, 10, 1)
    assert study.values == (DxaValue("lumbar spine", t_score=-2.7),)
    assert study.source == "Observation/o-38267-1"


def test_a_report_gathers_its_observations_and_the_lowest_t_score_counts() -> None:
    results = [observation(), observation("38263-0", -1.1), observation("24966-4", 0.812, "g/cm2")]
    (study,) = read_dxa(bundle(report(result=[{"reference": f"urn:x:{r['id']}"} for r in results]), *results))
    assert study.source == "DiagnosticReport/r1"
    assert study.lowest_t_score == -2.7
    assert DxaValue("lumbar spine", areal_bmd_g_cm2=0.812) in study.values


def test_contained_observations_belong_to_their_report() -> None:
    inside = {**observation(), "id": "in"}
    del inside["subject"]
    (study,) = read_dxa(report(contained=[inside], result=[{"reference": "#in"}]))
    assert study.lowest_t_score == -2.7


def test_the_patient_may_be_a_resource_in_the_bundle() -> None:
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"system": MRN, "value": " 4711 "}]}
    (study,) = read_dxa(bundle(patient, observation(subject={"reference": "Patient/p"})))
    assert study.patients == (PatientKey(MRN, "4711"),)


def test_a_report_that_only_says_that_a_dxa_was_made_is_a_result() -> None:
    (study,) = read_dxa(report(identifier=[{"system": "urn:acc", "value": "A1"}]))
    assert study.values == ()
    assert study.lowest_t_score is None
    assert study.source == "DiagnosticReport|urn:acc|A1"


def test_z_scores_and_other_observations_are_passed_over() -> None:
    (study,) = read_dxa(bundle(observation("80932-7", -3.0), observation()))
    assert [value.t_score for value in study.values] == [-2.7]


@pytest.mark.parametrize(
    "resource",
    [
        observation(status="preliminary"),
        observation(status="entered-in-error"),
        observation("2345-7"),
        report(code=loinc("24627-2")),
        {"resourceType": "Patient", "id": "p"},
        {"resourceType": "Bundle", "entry": "no"},
        {},
    ],
)
def test_what_is_no_finished_dxa_is_refused(resource: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_dxa(resource)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": {"reference": "Patient/1"}}, "subject"),
        ({"subject": {"identifier": {"value": " "}}}, "subject"),
        ({"id": None}, "identifier"),
        ({"effectiveDateTime": "2026-10"}, "effective"),
        ({"valueQuantity": {"value": -27, "code": "{T-score}"}}, "valueQuantity"),
    ],
)
def test_a_result_that_cannot_be_used_names_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_dxa(observation(**change))
    assert caught.value.fields["field"] == field


def test_too_many_resources_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        read_dxa(bundle(*(observation() for _ in range(501))))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(["id", "status", "code", "subject", "effectiveDateTime", "valueQuantity", "component"])


@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_strange_json_is_read_or_refused_never_a_fault(change: dict[str, Any]) -> None:
    try:
        read_dxa({**observation(), **change})
        read_dxa(bundle({**report(), **change, "id": "r1"}, {**observation(), **change, "id": "o"}))
    except InvalidRequest:
        pass
