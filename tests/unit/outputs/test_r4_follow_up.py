"""The programme's task from state to state, and the record of an access."""

from __future__ import annotations

import base64
from dataclasses import replace

import fhir_samples
import pytest

from trabecula.errors import ProfileViolation
from trabecula.outputs.r4.access import Access, Party, audit_event
from trabecula.outputs.r4.codes import PROGRAMME_DISPLAY, TASK_STATUS, ProgrammeState
from trabecula.outputs.r4.follow_up import Step, moved, proposed_task, withdrawn

OPTIONS = fhir_samples.OPTIONS
AT = fhir_samples.AT
TASK = proposed_task(fhir_samples.request(), AT, OPTIONS, due="2026-12-22")


def test_a_proposal_has_one_task_about_the_same_patient() -> None:
    again = proposed_task(fhir_samples.request(), "2026-12-01T08:00:00Z", OPTIONS)
    assert TASK.id == again.id
    task = TASK.json()
    assert task["focus"]["reference"] == fhir_samples.request().url
    assert task["for"] == fhir_samples.request().json()["subject"]
    assert task["restriction"]["period"]["end"] == "2026-12-22"


def test_every_state_has_a_status_a_name_and_a_task() -> None:
    assert set(TASK_STATUS) == set(PROGRAMME_DISPLAY) == set(ProgrammeState)
    states = [task.json()["businessStatus"]["coding"][0]["code"] for task in fhir_samples.tasks()[1:]]
    assert states == [state.value for state in ProgrammeState]
    assert len({task.json()["status"] for task in fhir_samples.tasks()[1:]}) == len(ProgrammeState)


def test_a_step_keeps_the_notes_and_forgets_the_reason_before() -> None:
    declined = moved(TASK, Step(ProgrammeState.DECLINED, AT, reason="Not now.", note="First call."))
    booked = moved(declined, Step(ProgrammeState.BOOKED, AT, note="Second call.", due="2027-01-10"))
    assert [note["text"] for note in booked.json()["note"]] == ["First call.", "Second call."]
    assert "statusReason" not in booked.json()
    assert booked.json()["restriction"]["period"]["end"] == "2027-01-10"
    assert booked.json()["authoredOn"] == TASK.json()["authoredOn"]


@pytest.mark.parametrize("state", [ProgrammeState.DECLINED, ProgrammeState.CLOSED, ProgrammeState.DONE])
def test_an_end_needs_its_reason_or_its_result(state: ProgrammeState) -> None:
    with pytest.raises(ProfileViolation):
        moved(TASK, Step(state, AT))


def test_a_task_that_should_not_have_been_is_marked_so() -> None:
    assert withdrawn(TASK, AT).json()["status"] == "entered-in-error"


def test_reading_goes_from_server_to_client_and_searching_the_other_way() -> None:
    read, search, create = (event.json() for event in fhir_samples.audit_events())
    roles = [[agent["type"]["coding"][0]["code"] for agent in event["agent"][:2]] for event in (read, search, create)]
    assert roles == [["110152", "110153"], ["110153", "110152"], ["110153", "110152"]]
    assert [event["action"] for event in (read, search, create)] == ["R", "E", "C"]
    query = next(each["query"] for each in search["entity"] if "query" in each)
    assert base64.b64decode(query) == b"Observation?patient=Patient/p1"
    assert [agent["requestor"] for agent in search["agent"]] == [False, False, True]
    assert read["entity"][-1]["what"]["identifier"]["value"] == "q-1"


def test_an_access_to_nothing_is_no_audit_event() -> None:
    party = Party("x", "192.0.2.1")
    event = Access(fhir_samples.event_id("9"), "read", AT, "0", party, replace(party, name="y"))
    with pytest.raises(ProfileViolation):
        audit_event(event, OPTIONS)


def test_what_a_client_calls_itself_spoils_nothing() -> None:
    party = Party("\x00", "192.0.2.1")
    task: dict[str, str] = {"reference": "Task/t1", "type": "Task"}
    event = Access(
        fhir_samples.event_id("9"), "read", AT, "0", party, Party("us"), user="a\x07b", resource=task, request_id="\x01"
    )
    made = audit_event(event, OPTIONS).json()
    assert [agent["who"]["display"] for agent in made["agent"]] == ["unknown", "us", "a\ufffdb"]
    assert len(made["entity"]) == 1
