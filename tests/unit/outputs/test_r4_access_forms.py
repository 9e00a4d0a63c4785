"""Audit events that are put together without a check of each: never another event than the checked one."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trabecula.errors import ConversionFault, ProfileViolation
from trabecula.outputs.r4 import FhirOptions
from trabecula.outputs.r4 import access as module
from trabecula.outputs.r4.access import Access, Party, audit_event, audit_event_json
from trabecula.outputs.r4.profiles import AccessAuditEvent

OPTIONS = FhirOptions()
AT = "2026-11-30T10:00:00.000Z"
ODD = ["", " ", "x ", "\x00", "\x01", "ä", "a\nb", "a  b", "a|b", "\ud800", "\u200b", "x" * 600]
TEXTS = st.sampled_from(["x", "test-ehr", "10.0.0.1", "Dr. A. B", *ODD]) | st.text(max_size=12)
SYSTEMS = st.sampled_from(["urn:oid:1.2.3", "https://hospital.example/mrn", "no address", "a b:c", *ODD]) | TEXTS
IDS = st.sampled_from(["1", "a/b", "p1/_history/2", "x" * 65, "../x", *ODD])
KINDS = st.sampled_from(["Patient", "Task", "DiagnosticReport", "patient", "Group"])
REFERENCES = st.builds(lambda kind, identity: {"reference": f"{kind}/{identity}", "type": kind}, KINDS, IDS)
BARE = st.builds(lambda text: {"reference": text}, TEXTS)
IDENTIFIERS = st.builds(
    lambda system, value: {"type": "Patient", "identifier": {"system": system, "value": value}}, SYSTEMS, TEXTS
) | st.builds(lambda value: {"type": "Patient", "identifier": {"value": value}}, TEXTS)
PARTIES = st.builds(Party, TEXTS, st.none() | TEXTS)
ACCESSES = st.builds(
    Access,
    event_id=st.uuids(version=4),
    interaction=st.sampled_from(["read", "search-type", "operation", "create", "dance"]),
    at=st.sampled_from([AT, "2026-11-31T10:00:00.000Z", "2026-11-30", "soon", "2026-13-01T10:00:00.000Z"]),
    outcome=st.sampled_from(["0", "4", "8", "7"]),
    client=PARTIES,
    server=PARTIES,
    user=st.none() | TEXTS,
    resource=st.none() | REFERENCES | BARE,
    query=st.none() | TEXTS,
    type_name=st.none() | KINDS,
    patients=st.lists(REFERENCES | BARE | IDENTIFIERS, max_size=3).map(tuple),
    action=st.sampled_from([None, "R", "E", "C", "Z"]),
    request_id=st.none() | TEXTS,
)
ORDINARY = Access(
    uuid.UUID("6f0c4b9e-7f1c-4d0a-9b55-0a4b7bb1a001"), "operation", AT, "0", Party("ehr", "10.0.0.1"), Party("us"),
    user="Practitioner/1", type_name="DiagnosticReport", action="E", request_id="r-1",
    patients=({"type": "Patient", "identifier": {"system": "urn:oid:1.2.3", "value": "P-1"}},),
)  # fmt: skip


def _made(access: Access, how: Any) -> Any:
    """The event, or the kind of error."""
    try:
        found = how(access, OPTIONS)
    except (ProfileViolation, ConversionFault, KeyError, UnicodeEncodeError) as error:
        return type(error)
    return found if isinstance(found, dict) else found.json()


@given(ACCESSES)
@example(ORDINARY)
def test_it_is_the_event_that_a_whole_check_lets_through(access: Access) -> None:
    assert _made(access, audit_event_json) == _made(access, audit_event)


PATIENTS: list[dict[str, Any]] = [
    *({"reference": f"{kind}/1", "type": kind} for kind in ("Patient", "Task", "patient")),
    {"reference": "Task/1", "type": "Patient"},
    {"reference": "Patient/1"},
    {},
    *(
        {"type": "Patient", "identifier": {"system": text, "value": "x"}}
        for text in (*ODD, "no address", "a b:c", None)
    ),
    *({"type": "Patient", "identifier": {"value": text}} for text in (*ODD, None, 7)),
    {"type": "Patient", "identifier": {"value": "x", "use": "none such"}},
    {"type": "Patient", "identifier": "x"},
    {"type": "Device", "identifier": {"value": "x"}},
]


@pytest.mark.parametrize(
    "changes",
    [
        *({"patients": (each,)} for each in PATIENTS),
        *({"patients": (*ORDINARY.patients, each)} for each in PATIENTS),
        *({"resource": {"reference": f"Task/{text}", "type": "Task"}} for text in (*ODD, "a/b", "1/_history/2")),
        *({name: text} for name in ("user", "request_id", "query", "at") for text in ODD),
        *({"client": Party(text, "x")} for text in ODD),
        *({"server": Party("x", text)} for text in ODD),
    ],
)
def test_one_odd_thing_changes_nothing(changes: dict[str, Any]) -> None:
    access = replace(ORDINARY, **changes)
    assert _made(access, audit_event_json) == _made(access, audit_event)


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


@given(
    st.builds(
        Access,
        event_id=st.uuids(version=4),
        interaction=st.sampled_from(["read", "search-type", "operation"]),
        at=st.just(AT),
        outcome=st.sampled_from(["0", "4", "8"]),
        client=st.builds(Party, TEXT, st.none() | TEXT),
        server=st.just(Party("us")),
        user=st.none() | TEXT,
        type_name=st.just("Task"),
        patients=st.lists(
            st.builds(lambda value: {"type": "Patient", "identifier": {"system": "urn:x:y", "value": value}}, TEXT),
            max_size=3,
        ).map(tuple),
        request_id=st.none() | TEXT,
    )
)
def test_what_is_not_checked_again_keeps_r4_and_the_profile(access: Access) -> None:
    assert module._form(access) is not None
    assert AccessAuditEvent(audit_event_json(access, OPTIONS)).json() == audit_event_json(access, OPTIONS)


def test_a_form_is_checked_whole_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[Access] = []
    real = module.audit_event
    monkeypatch.setattr(
        module, "audit_event", lambda access, options: (checks.append(access), real(access, options))[1]
    )
    module._check_form.cache_clear()
    for number in range(20):
        patient = {"type": "Patient", "identifier": {"system": "urn:oid:1.2.3", "value": f"P-{number}"}}
        audit_event_json(replace(ORDINARY, client=Party(f"c{number}"), patients=(patient,)), OPTIONS)
    assert len(checks) == 1
    assert all("P-" not in str(each.patients) for each in checks)  # nothing of a patient stays in the cache
    audit_event_json(replace(ORDINARY, client=Party("ä")), OPTIONS)  # unusual text: checked by itself
    assert len(checks) == 2


def test_it_takes_a_small_part_of_a_check() -> None:
    def best_s(how: Any) -> float:
        taken = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(40):
                how(ORDINARY, OPTIONS)
            taken.append(time.process_time() - began)
        return min(taken)

    assert best_s(audit_event_json) < best_s(audit_event) / 2
