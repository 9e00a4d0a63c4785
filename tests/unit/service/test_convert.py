"""The report's message against the report's dataclasses, and the way there and back."""

from __future__ import annotations

import dataclasses
import types
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import report_samples
from google.protobuf.descriptor import Descriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trabecula.report import ScreeningReport
from trabecula.service.convert import report_from_proto, report_to_proto
from trabecula.v1 import report_pb2


def parts_of(hint: Any) -> list[Any]:
    """The classes inside a type hint."""
    if get_origin(hint) in (Union, types.UnionType, tuple, dict):
        return [part for inner in get_args(hint) for part in parts_of(inner)]
    return [hint]


def pairs(kind: Any, message: Descriptor) -> dict[str, tuple[Any, Descriptor]]:
    """Every dataclass below a report beside the message that stands for it."""
    found = {kind.__name__: (kind, message)}
    for name, hint in get_type_hints(kind).items():
        for part in parts_of(hint):
            field = message.fields_by_name.get(name)
            if dataclasses.is_dataclass(part) and field is not None:
                found |= pairs(part, field.message_type)
    return found


PAIRS = pairs(ScreeningReport, report_pb2.ScreeningReport.DESCRIPTOR)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_message_has_the_fields_of_its_dataclass(name: str) -> None:
    kind, message = PAIRS[name]
    assert {field.name for field in dataclasses.fields(kind)} == set(message.fields_by_name)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_what_may_be_unknown_has_presence_on_the_wire(name: str) -> None:
    kind, message = PAIRS[name]
    for field, hint in get_type_hints(kind).items():
        if type(None) in get_args(hint):
            assert message.fields_by_name[field].has_presence, field


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_enums_have_the_members_of_their_python_enum(name: str) -> None:
    kind, message = PAIRS[name]
    for field, hint in get_type_hints(kind).items():
        enum = message.fields_by_name[field].enum_type
        for part in parts_of(hint):
            if enum is not None and isinstance(part, type) and issubclass(part, StrEnum):
                prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
                assert [value.name.removeprefix(prefix) for value in enum.values[1:]] == list(part.__members__)


@pytest.mark.parametrize("name", sorted(report_samples.all_reports()))
def test_samples_come_back_as_they_went(name: str) -> None:
    report = report_samples.all_reports()[name]
    wire = report_to_proto(report).SerializeToString()
    assert report_from_proto(report_pb2.ScreeningReport.FromString(wire)) == report


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type hint of the report, short ones."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(option) for option in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(argument) for argument in arguments))
    if origin is dict:
        return st.dictionaries(st.text(max_size=8), FINITE, max_size=3)
    if dataclasses.is_dataclass(hint):
        return st.builds(hint, **{name: values_of(inner) for name, inner in get_type_hints(hint).items()})
    if issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    return {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: FINITE,
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    }[hint]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(values_of(ScreeningReport))
def test_any_report_comes_back_as_it_went(report: ScreeningReport) -> None:
    wire = report_to_proto(report).SerializeToString()
    assert report_from_proto(report_pb2.ScreeningReport.FromString(wire)) == report


def test_an_enum_value_of_a_newer_version_is_an_error_not_a_guess() -> None:
    message = report_to_proto(report_samples.reported())
    message.vertebrae[0].level = 99
    with pytest.raises(ValueError, match="Level 99"):
        report_from_proto(message)
