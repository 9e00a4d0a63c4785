"""The work that follows a proposal, and the record of who looked."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import TASK_STATUS, ProgrammeState, ProjectSystem
from trabecula.outputs.r4.profiles.base import Profile
from trabecula.outputs.r4.profiles.rule import (
    IDENTIFIER,
    IDENTITY,
    Rule,
    at,
    concept,
    first_code,
    has_code,
    one_of,
    patient,
    present,
    reference,
    refers_to,
)

Json = dict[str, Any]


def _state(resource: Json) -> ProgrammeState | None:
    code = first_code(resource.get("businessStatus"), ProjectSystem.PROGRAMME)
    return ProgrammeState(code) if code in set(ProgrammeState) else None


def _status_fits(resource: Json) -> bool:
    state = _state(resource)
    entered_in_error = resource.get("status") == "entered-in-error"
    return state is not None and (entered_in_error or resource.get("status") == TASK_STATUS[state])


class ProgrammeTask(Profile):
    """One person's way from the proposal of DXA to its result, or to the reason why there is none.

    Profile https://trabecula.example/fhir/StructureDefinition/programme-task.
    """

    resource_type: ClassVar[str] = "Task"
    slug: ClassVar[str] = "programme-task"
    rules: ClassVar[tuple[Rule, ...]] = (
        IDENTITY,
        IDENTIFIER,
        Rule("state", "businessStatus is of ct-bone-programme, and status goes with it", _status_fits),
        one_of("intent", {"proposal"}),
        concept("code", f"/CodeSystem/{ProjectSystem.ACTION}", "dxa-confirmation"),
        reference("focus", "ServiceRequest"),
        patient("for"),
        present("authoredOn"),
        present("lastModified"),
        Rule(
            "reason",
            "declined and closed say why in statusReason",
            lambda resource: (
                _state(resource) not in {ProgrammeState.DECLINED, ProgrammeState.CLOSED}
                or bool(at(resource, "statusReason.text"))
            ),
        ),
        Rule(
            "output",
            "done links the result of DXA",
            lambda resource: (
                _state(resource) is not ProgrammeState.DONE
                or any(
                    refers_to(each, "Observation", "DiagnosticReport") for each in at(resource, "output.valueReference")
                )
            ),
        ),
    )


_ACTIONS: Final = {
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "search-type": "E",
    "search-system": "E",
    "operation": "E",
    "create": "C",
    "update": "U",
    "delete": "D",
}
_MORE: Final = {"operation": ("C", "U", "R")}
_READS: Final = frozenset({"read", "vread", "history-instance"})
SOURCE, DESTINATION = "110153", "110152"


def action_of(interaction: str) -> str:
    """AuditEvent.action that goes with a RESTful interaction; an operation may do more than it says."""
    return _ACTIONS[interaction]


def roles_of(interaction: str) -> tuple[str, str]:
    """DICOM role codes of (client, server): what is read goes from the server, all else from the client (BALP)."""
    return (DESTINATION, SOURCE) if interaction in _READS else (SOURCE, DESTINATION)


def _interaction(resource: Json) -> str | None:
    found = [each["code"] for each in at(resource, "subtype") if each.get("system") == codes.INTERACTION]
    return found[0] if len(found) == 1 and found[0] in _ACTIONS else None


def _action_fits(resource: Json) -> bool:
    interaction = _interaction(resource)
    return interaction is not None and resource.get("action") in {_ACTIONS[interaction], *_MORE.get(interaction, ())}


def _both_ends_are_named(resource: Json) -> bool:
    """One client and one server, each with who it was and its network address, or that the address is not known."""
    ends = [
        [each for each in at(resource, "agent") if has_code(each.get("type"), codes.DCM, code)]
        for code in (SOURCE, DESTINATION)
    ]
    return all(len(found) == 1 and found[0].get("who") and at(found[0], "network") for found in ends)


def _data_is_named(resource: Json) -> bool:
    data = [
        each
        for each in at(resource, "entity")
        if each.get("type", {}).get("code") == "2" and (each.get("what") or each.get("query") or each.get("name"))
    ]
    return len(data) == 1


def _patient_is_named(resource: Json) -> bool:
    people = [each for each in at(resource, "entity") if each.get("type", {}).get("code") == "1"]
    return all(each.get("role", {}).get("code") == "1" and refers_to(each.get("what"), "Patient") for each in people)


class AccessAuditEvent(Profile):
    """Who read, searched, created or changed what about whom; the pattern of IHE Basic Audit Log Patterns.

    Profile https://trabecula.example/fhir/StructureDefinition/access-audit-event.
    """

    resource_type: ClassVar[str] = "AuditEvent"
    slug: ClassVar[str] = "access-audit-event"
    rules: ClassVar[tuple[Rule, ...]] = (
        IDENTITY,
        Rule(
            "type",
            "type is audit-event-type#rest",
            lambda resource: (
                (resource.get("type", {}).get("system"), resource.get("type", {}).get("code"))
                == (codes.AUDIT_TYPE, "rest")
            ),
        ),
        Rule("action", "one restful-interaction as subtype, and the action that goes with it", _action_fits),
        present("recorded"),
        one_of("outcome", {"0", "4", "8", "12"}),
        Rule("agent", "the client and the server, each with its network address", _both_ends_are_named),
        Rule(
            "requestor",
            "exactly one agent is the requestor",
            lambda resource: [each.get("requestor") for each in at(resource, "agent")].count(True) == 1,
        ),
        present("source.observer", "source"),
        Rule("data", "one entity is the resource, the query, or the type", _data_is_named),
        Rule("patient", "each person among the entities is a patient, in the role Patient", _patient_is_named),
    )
