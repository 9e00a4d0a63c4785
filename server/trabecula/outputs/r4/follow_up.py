"""The Task that follows a proposal of DXA, from state to state."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import PROGRAMME_DISPLAY, TASK_STATUS, ProgrammeState, ProjectSystem
from trabecula.outputs.r4.filing import FhirOptions, own_identifier
from trabecula.outputs.r4.profiles import DxaServiceRequest, ProgrammeTask

Json = dict[str, Any]

TASK_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:trabecula:programme-task")


@dataclass(frozen=True)
class Step:
    """One move of a task."""

    state: ProgrammeState
    at: str
    """FHIR dateTime."""
    reason: str | None = None
    """Why declined or closed; needed there."""
    results: Sequence[Json] = ()
    """References to the DXA's Observation or DiagnosticReport; needed when done."""
    due: str | None = None
    """Date by which somebody should act again."""
    note: str | None = None


def proposed_task(
    request: DxaServiceRequest, at: str, options: FhirOptions, *, due: str | None = None, owner: str | None = None
) -> ProgrammeTask:
    """The task of a proposal; its id follows from the proposal's, so that there is one for each."""
    base = options.base_url.rstrip("/")
    identity = uuid.uuid5(TASK_NAMESPACE, request.id)
    action = codes.coding(f"{base}/CodeSystem/{ProjectSystem.ACTION}", "dxa-confirmation")
    return ProgrammeTask(
        {
            "resourceType": "Task",
            "id": str(identity),
            "meta": {"profile": [f"{base}/StructureDefinition/{ProgrammeTask.slug}"]},
            "identifier": [own_identifier(identity)],
            **_state(ProgrammeState.PROPOSED, base),
            "intent": "proposal",
            "code": codes.concept(action, text="DXA to confirm what an opportunistic CT suggests"),
            "focus": request.reference(),
            "for": request.json()["subject"],
            "authoredOn": at,
            "lastModified": at,
            **({} if owner is None else {"owner": {"type": "Organization", "display": owner}}),
            **_due(due),
        }
    )


def moved(task: ProgrammeTask, step: Step) -> ProgrammeTask:
    """The task after a step; which steps are legal is the programme's affair.

    Raises:
        ProfileViolation: if a state lacks what it needs (a reason, a result).
    """
    content = task.json()
    url = content["businessStatus"]["coding"][0]["system"]
    base = url.removesuffix(f"/CodeSystem/{ProjectSystem.PROGRAMME}")
    kept = {name: value for name, value in content.items() if name not in {"statusReason", "restriction", "output"}}
    notes = [*kept.pop("note", []), *([] if step.note is None else [{"text": step.note, "time": step.at}])]
    return ProgrammeTask(
        {
            **kept,
            **_state(step.state, base),
            "lastModified": step.at,
            **({} if step.reason is None else {"statusReason": {"text": step.reason}}),
            **_due(step.due),
            **({"note": notes} if notes else {}),
            **({"output": [_output(each) for each in step.results]} if step.results else {}),
        }
    )


def withdrawn(task: ProgrammeTask, at: str) -> ProgrammeTask:
    """The task of a proposal that should never have been made."""
    return ProgrammeTask({**task.json(), "status": "entered-in-error", "lastModified": at})


def _state(state: ProgrammeState, base: str) -> Json:
    coding = codes.coding(f"{base}/CodeSystem/{ProjectSystem.PROGRAMME}", state.value, PROGRAMME_DISPLAY[state])
    return {"status": TASK_STATUS[state], "businessStatus": codes.concept(coding)}


def _due(date: str | None) -> Json:
    return {} if date is None else {"restriction": {"period": {"end": date}}}


def _output(reference: Json) -> Json:
    return {"type": codes.concept(text="Result of DXA"), "valueReference": reference}
