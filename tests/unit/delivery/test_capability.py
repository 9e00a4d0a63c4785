"""From a CapabilityStatement to the best way of writing."""

from __future__ import annotations

from typing import Any

import pytest

from trabecula.delivery.answers import Setback
from trabecula.delivery.capability import (
    Rung,
    capability_document,
    capability_from,
    parse_capability,
    plan_for,
)

TYPES = ("DiagnosticReport", "Observation", "Device", "RiskAssessment", "Provenance")


def statement(transactions: bool = True, **types: str) -> dict[str, Any]:
    """Types by what may be done: c create, u update, U update as create, C conditional create, s search."""
    words = {"c": "create", "u": "update", "s": "search-type"}
    resources = [
        {
            "type": name,
            "interaction": [{"code": words[each]} for each in able if each in words],
            "updateCreate": "U" in able,
            "conditionalCreate": "C" in able,
        }
        for name, able in types.items()
    ]
    system = [{"code": "transaction"}] if transactions else [{"code": "batch"}]
    rest = [{"mode": "server", "interaction": system, "resource": resources}]
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest}


ALL = dict.fromkeys(TYPES, "cuUCs")


@pytest.mark.parametrize(
    ("stated", "rung", "left_out"),
    [
        (statement(**ALL), Rung.TRANSACTION_PUT, ()),
        (statement(False, **ALL), Rung.SINGLE_PUT, ()),
        (statement(**dict.fromkeys(TYPES, "cuCs")), Rung.TRANSACTION_CREATE, ()),
        (statement(**dict.fromkeys(TYPES, "cus")), Rung.SINGLE_CREATE, ()),
        (statement(False, **dict.fromkeys(TYPES, "cCs")), Rung.SINGLE_CREATE, ()),
        (statement(**{**ALL, "RiskAssessment": "s"}), Rung.TRANSACTION_PUT, ("RiskAssessment",)),
        (statement(**{k: v for k, v in ALL.items() if k != "Device"}), Rung.TRANSACTION_PUT, ("Device",)),
        (statement(**{**ALL, "Device": "cs"}), Rung.SINGLE_CREATE, ()),
        (statement(**{**ALL, "Observation": "s"}), Rung.CONTAINED_REPORT, ()),
        (statement(DiagnosticReport="c"), Rung.CONTAINED_REPORT, ()),
        (statement(DocumentReference="c"), Rung.DOCUMENT, ()),
        (statement(Observation="cuU", DocumentReference="c"), Rung.DOCUMENT, ()),
    ],
)
def test_the_best_rung_that_is_offered(stated: dict[str, Any], rung: Rung, left_out: tuple[str, ...]) -> None:
    capability = parse_capability(stated)
    plan = plan_for(capability, TYPES)
    assert (plan.rung, plan.left_out) == (rung, frozenset(left_out))
    assert capability_from(capability_document(capability)) == capability


def test_each_refusal_by_deed_leads_one_rung_down_and_then_to_the_park() -> None:
    capability = parse_capability(statement(**ALL, DocumentReference="cuU"))
    refused: set[Rung] = set()
    for expected in Rung:
        assert plan_for(capability, TYPES, refused).rung is expected
        refused.add(expected)
    with pytest.raises(Setback) as caught:
        plan_for(capability, TYPES, refused)
    assert caught.value.reason == "nothing-writable"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"resourceType": "Bundle", "fhirVersion": "4.0.1"},
        {"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"},
        {"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2"},
    ],
)
def test_what_is_no_r4_server_is_parked(odd: dict[str, Any]) -> None:
    with pytest.raises(Setback) as caught:
        parse_capability(odd)
    assert caught.value.reason == "not-r4"


@pytest.mark.parametrize("rest", [None, {}, "x", [None], [{"resource": [None, {"type": 3}], "interaction": "x"}]])
def test_a_damaged_statement_offers_nothing(rest: object) -> None:
    stated = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest}
    assert not parse_capability(stated).writable("Observation")
