"""Search parameters become criteria or a clear refusal; nothing in between."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.errors import InvalidRequest
from trabecula.record.dates import instant, period, period_of
from trabecula.record.keys import any_system_key, code_key, identifier_parameter, reference_key, system_key
from trabecula.record.parameters import PARAMETERS, Kind, found_by, parameters_of
from trabecula.record.search import Prefix, SortBy
from trabecula.service.http.facade.interactions import MAX_COUNT, RECORD_TYPES, includes, reverse_includes
from trabecula.service.http.facade.query import parse_query


def keys(name: str, value: str, resource_type: str = "Observation") -> tuple[object, ...]:
    (clause,) = parse_query(resource_type, [(name, value)]).criteria.keys
    return clause.keys


def test_the_four_forms_of_a_token() -> None:
    assert keys("code", "a") == (any_system_key("code", "a"),)
    assert keys("code", "s|a") == (code_key("code", "s", "a"),)
    assert keys("code", "|a") == (code_key("code", "", "a"),)
    assert keys("code", "s|") == (system_key("code", "s"),)
    assert keys("code", "s|a,b") == (code_key("code", "s", "a"), any_system_key("code", "b"))


def test_escapes_are_part_of_the_value() -> None:
    assert keys("identifier", r"s|a\,b") == (code_key("identifier", "s", "a,b"),)
    assert keys("identifier", r"a\|b") == (any_system_key("identifier", "a|b"),)
    assert keys("identifier", r"a\\,b") == (any_system_key("identifier", "a\\"), any_system_key("identifier", "b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("patient", "p1"), ("patient", "Patient/p1"), ("subject", "p1"), ("subject:Patient", "p1")],
)
def test_a_patient_by_reference(name: str, value: str) -> None:
    assert keys(name, value) == (reference_key(name.partition(":")[0], "Patient/p1"),)


@pytest.mark.parametrize(
    "name", ["patient:identifier", "patient.identifier", "patient:Patient.identifier", "subject.identifier"]
)
def test_a_patient_by_identifier(name: str) -> None:
    base = "subject" if name.startswith("subject") else "patient"
    assert keys(name, "s|1") == (code_key(identifier_parameter(base), "s", "1"),)


def test_a_chain_to_a_resource_here_is_looked_up() -> None:
    (chain,) = parse_query("Observation", [("part-of.identifier", "urn:dicom:uid|urn:oid:1.2")]).chains
    assert chain.targets == ("ImagingStudy",)
    assert chain.identifier_keys == (code_key("identifier", "urn:dicom:uid", "urn:oid:1.2"),)


@pytest.mark.parametrize(
    "pairs",
    [
        [("foo", "1")],
        [("patient.name", "x")],
        [("patient:identifier.foo", "x")],
        [("code:above", "x")],
        [("date:missing", "true")],
        [("_sort", "code")],
        [("_sort", "-date,_id")],
        [("_include", "Observation:subject")],
        [("_include", "*")],
        [("_revinclude", "Observation:part-of")],
        [("_summary", "text")],
        [("patient", "")],
        [("_lastUpdated:x", "2020")],
        [("_id.x", "2020")],
    ],
)
def test_what_is_not_offered_is_an_error_or_passed_over(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest):
        parse_query("Observation", pairs)
    lenient = parse_query("Observation", pairs, strict=False)
    assert len(lenient.ignored) == 1
    assert lenient.understood == ()
    assert not lenient.criteria.keys


@pytest.mark.parametrize(
    "pairs",
    [
        [("date", "yesterday")],
        [("date", "gt")],
        [("date", "2020-13-01")],
        [("date", "2020-02-30")],
        [("date", "2020-01-01T25:00")],
        [("_lastUpdated", "xx2020")],
        [("_count", "-1")],
        [("_count", "many")],
        [("_id", "a b")],
        [("_id", "a" * 65)],
        [("code", "a,,b")],
        [("code", "x" * 3000)],
        [("code", "a\x00b")],
        [("_total", "some")],
        [("_elements", "../x")],
        [("code", ",".join(["a"] * 201))],
        [("code", "a")] * 51,
    ],
)
def test_what_cannot_be_read_is_an_error_in_any_case(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest):
        parse_query("Observation", pairs, strict=False)


def test_an_error_never_repeats_a_value() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_query("Observation", [("patient<script>Meier", "Meier, Anna")])
    assert "Meier" not in caught.value.client_message


@given(
    resource_type=st.sampled_from(sorted(RECORD_TYPES)),
    pairs=st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(
                    ["_id", "_count", "_sort", "_include", "_lastUpdated", "date", "patient", "code", "identifier"]
                ),
                st.from_regex(r"[a-z_-]{1,10}([:.][A-Za-z]{0,10}){0,2}", fullmatch=True),
                st.text(max_size=20),
            ),
            st.one_of(st.text(max_size=40), st.from_regex(r"(eq|gt|le|ap)?\d{4}(-\d\d(-\d\d(T\d\d:\d\d)?)?)?")),
        ),
        max_size=6,
    ),
    strict=st.booleans(),
)
def test_no_parameters_make_it_fall_over(resource_type: str, pairs: list[tuple[str, str]], strict: bool) -> None:
    try:
        query = parse_query(resource_type, pairs, strict=strict)
    except InvalidRequest:
        return
    assert 1 <= query.criteria.count <= MAX_COUNT
    # What was understood says the same again: pages rely on it.
    again = parse_query(resource_type, query.understood)
    assert again.criteria == query.criteria
    assert again.chains == query.chains


@given(st.text(alphabet="0123456789-T:.Z+ ", max_size=35))
def test_a_date_is_a_period_or_an_error(text: str) -> None:
    try:
        start, end = period(text)
    except ValueError:
        return
    assert start < end or start.year in (1, 9999)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ("2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ("2026-02-28", "2026-02-28T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
        ("2026-02-28T10:30", "2026-02-28T10:30:00.000Z", "2026-02-28T10:31:00.000Z"),
        ("2026-02-28T10:30:05+02:00", "2026-02-28T08:30:05.000Z", "2026-02-28T08:30:06.000Z"),
        ("2026-02-28T10:30:05.5Z", "2026-02-28T10:30:05.500Z", "2026-02-28T10:30:05.600Z"),
    ],
)
def test_a_date_lasts_as_long_as_its_precision(text: str, start: str, end: str) -> None:
    assert [instant(each) for each in period(text)] == [start, end]


def test_a_period_may_be_open() -> None:
    found = period_of({"start": "2026-01-01"})
    assert found is not None
    assert found[1] > datetime(9000, 1, 1, tzinfo=UTC)
    assert period_of({"value": 1}) is None


def test_prefix_sort_count_and_includes() -> None:
    query = parse_query(
        "DiagnosticReport",
        [
            ("date", "ge2026-01-01"),
            ("date", "lt2027"),
            ("_sort", "-date"),
            ("_count", "999999"),
            ("_include", "DiagnosticReport:result"),
            ("_include", "DiagnosticReport:imaging-study:ImagingStudy"),
            ("_revinclude", "Provenance:target"),
        ],
    )
    assert [each.bounds[0].prefix for each in query.criteria.dates] == [Prefix.GE, Prefix.LT]
    assert query.criteria.sort.by is SortBy.DATE
    assert query.criteria.sort.descending
    assert query.criteria.count == MAX_COUNT
    assert len(query.includes) == 2
    assert query.reverse_includes == (("Provenance", "target"),)
    assert parse_query("Observation", [("_count", "0")]).count_only


def test_tables_hold_together() -> None:
    assert "DiagnosticReport:result" in includes("DiagnosticReport")
    assert "Observation:device" in includes("Observation")
    assert "Provenance:target" in reverse_includes("DiagnosticReport")
    for resource_type, parameters in PARAMETERS.items():
        names = [each.name for each in parameters]
        assert len(set(names)) == len(names), resource_type
        # One main date each: the index has one column for it.
        assert sum(each.kind is Kind.DATE for each in parameters) <= 1, resource_type
        assert all(each.kind is not Kind.REFERENCE or each.targets for each in parameters_of(resource_type).values())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["code", "coding", "system", "value", "reference", "identifier", "subject", "status", "start"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(sorted(PARAMETERS)),
)
def test_odd_contents_are_indexed_or_passed_over(content: object, resource_type: str) -> None:
    odd = content if isinstance(content, dict) else {"code": content, "subject": content, "identifier": content}
    found_by({**odd, "resourceType": resource_type, "id": "a"})
