"""The patient file: FHIR and plain JSON in, a patient context or a coded error out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.errors import InvalidPatientContext
from trabecula.patient import PatientContext, Sex
from trabecula.patient_file import MAX_FILE_BYTES, parse_patient, read_patient_file

TODAY = date(2026, 6, 30)


def observation(loinc: str, value: Any, unit: str, when: str = "2026-01-01", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": loinc}]},
        "effectiveDateTime": when,
        "valueQuantity": {"value": value, "code": unit, "system": "http://unitsofmeasure.org"},
        **more,
    }


def condition(system: str, code: str, verification: str = "confirmed") -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "code": {"coding": [{"system": system, "code": code}]},
        "verificationStatus": {"coding": [{"code": verification}]},
    }


def bundle(*resources: dict[str, Any], **patient: Any) -> bytes:
    entries = [{"resourceType": "Patient", **patient}, *resources]
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": each} for each in entries]}).encode()


SCT = "http://snomed.info/sct"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"


def test_plain_json_has_the_fields_of_the_context() -> None:
    context = PatientContext(68.0, Sex.FEMALE, 1.62, 64.0, True, False, False, True, False)
    assert parse_patient(json.dumps(dataclasses.asdict(context)).encode()) == context


def test_what_is_left_out_is_not_known() -> None:
    assert parse_patient(b"{}") == PatientContext()
    assert parse_patient(b'{"sex": null}') == PatientContext()


def test_a_fhir_bundle_tells_age_sex_height_and_weight() -> None:
    content = bundle(
        observation("8302-2", 162, "cm"),
        observation("29463-7", 141.0, "[lb_av]"),
        birthDate="1958-07-01",
        gender="female",
    )
    context = parse_patient(content, TODAY)
    assert context.age_years == 67.0
    assert context.sex is Sex.FEMALE
    assert context.height_m == pytest.approx(1.62)
    assert context.weight_kg == pytest.approx(63.96, abs=0.01)
    assert context.known_osteoporosis is None


@pytest.mark.parametrize(
    ("birth_date", "age"),
    [("1958-06-30", 68.0), ("1958-07-01", 67.0), ("1958-06", 68.0), ("1958-07", 67.0), ("1958", 67.0)],
)
def test_age_is_in_whole_years(birth_date: str, age: float) -> None:
    assert parse_patient(bundle(birthDate=birth_date), TODAY).age_years == age


def test_the_newest_measurement_counts_and_withdrawn_ones_do_not() -> None:
    content = bundle(
        observation("29463-7", 70, "kg", "2026-03-01"),
        observation("29463-7", 60, "kg", "2020-03-01"),
        observation("29463-7", 600, "kg", "2026-04-01", status="entered-in-error"),
    )
    assert parse_patient(content, TODAY).weight_kg == 70


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (SCT, "64859006", {"known_osteoporosis": True}),
        (ICD, "M81.0", {"known_osteoporosis": True}),
        (ICD, "M80.08XA", {"known_osteoporosis": True, "prior_fragility_fracture": True}),
        (SCT, "443165006", {"prior_fragility_fracture": True}),
        (ICD, "Z87.310", {"prior_fragility_fracture": True}),
        (ICD, "Z87.311", {}),
        (SCT, "76498008", {"postmenopausal": True}),
        (SCT, "22636003", {"postmenopausal": False}),
        (ICD, "Z79.52", {"glucocorticoids": True}),
        (ICD, "Z79.51", {}),
        ("http://example.org", "64859006", {}),
    ],
)
def test_conditions_by_their_codes(system: str, code: str, expected: dict[str, bool]) -> None:
    assert parse_patient(bundle(condition(system, code)), TODAY) == PatientContext(**expected)


@pytest.mark.parametrize("verification", ["refuted", "entered-in-error"])
def test_withdrawn_conditions_say_nothing(verification: str) -> None:
    assert parse_patient(bundle(condition(SCT, "64859006", verification)), TODAY) == PatientContext()


def test_a_patient_alone_is_enough() -> None:
    content = json.dumps({"resourceType": "Patient", "gender": "male"}).encode()
    assert parse_patient(content, TODAY) == PatientContext(sex=Sex.MALE)


def test_a_gender_that_decides_nothing_is_not_guessed() -> None:
    assert parse_patient(bundle(gender="other"), TODAY).sex is None


BAD = {
    "not JSON": b"age: 70",
    "not UTF-8": b"\xff\xfe{}",
    "a list": b"[]",
    "nested too deeply": b"[" * 100_000,
    "unknown field": b'{"age": 70}',
    "number as text": b'{"age_years": "70"}',
    "truth as number": b'{"postmenopausal": 1}',
    "number as truth": b'{"age_years": true}',
    "height in cm": b'{"height_m": 162}',
    "negative age": b'{"age_years": -1}',
    "not a number": b'{"age_years": NaN}',
    "unknown sex": b'{"sex": "F"}',
    "no patient": b'{"resourceType": "Bundle", "entry": []}',
    "two patients": bundle({"resourceType": "Patient"}),
    "birth date of no calendar": bundle(birthDate="1958-13-40"),
    "birth date in words": bundle(birthDate="long ago"),
    "unknown unit": bundle(observation("8302-2", 1.6, "furlong")),
    "value in words": bundle(observation("8302-2", "tall", "m")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_an_error_that_quotes_nothing(case: str) -> None:
    with pytest.raises(InvalidPatientContext) as caught:
        parse_patient(BAD[case], TODAY)
    for secret in ("162", "long ago", "furlong", "tall", "1958"):
        assert secret not in caught.value.client_message


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "patient.json"
    path.write_bytes(b" " * MAX_FILE_BYTES + b"{}")
    with pytest.raises(InvalidPatientContext, match="larger than the limit"):
        read_patient_file(path)


def test_a_file_that_is_not_there_is_an_error_of_the_tree(tmp_path: Path) -> None:
    with pytest.raises(InvalidPatientContext):
        read_patient_file(tmp_path / "none.json")


inner_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["entry", "resource", "code", "coding", "valueQuantity", "value", "birthDate", "status"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["Patient", "Observation", "Condition"]),
    st.dictionaries(
        st.sampled_from(["code", "valueQuantity", "birthDate", "gender", "verificationStatus", "status"]), inner_json
    ),
)
def test_no_fhir_of_odd_shape_does_more_than_raise_the_coded_error(kind: str, resource: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidPatientContext):
        parse_patient(bundle({**resource, "resourceType": kind}, birthDate="1958"), TODAY)


@given(st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(PatientContext)]), inner_json))
def test_no_plain_json_of_odd_shape_does_more_than_raise_the_coded_error(document: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidPatientContext):
        parse_patient(json.dumps(document).encode(), TODAY)
