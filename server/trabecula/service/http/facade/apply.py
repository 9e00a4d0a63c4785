"""``PlanDefinition/$apply`` (R4): the guideline's rules on a patient's stored result, as a CarePlan.

The same FHIRPath rules run on the same facts as when the study was read; nothing is measured anew.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from trabecula.assessment.facts import Fact
from trabecula.assessment.rules import Rule, load_rules
from trabecula.errors import InvalidRequest, ResourceNotFound
from trabecula.record.dates import instant
from trabecula.record.results import StoredResult, facts_of, results_for_patient
from trabecula.service.auth.scopes import Permission, Reach
from trabecula.service.http.access import Door, Entry
from trabecula.service.http.facade.artefacts import PROJECT_BASE, Artefacts
from trabecula.service.http.facade.negotiate import check_acceptable, decoded, read_json
from trabecula.service.http.options import HttpOptions
from trabecula.service.http.outcomes import json_response
from trabecula.work.database import Database

Json = dict[str, Any]

RULE_SET: Final = "opportunistic-ct-bone"
MOST_SUBJECTS: Final = 20
MAX_SUBJECT: Final = 512
_REFERENCE: Final = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}", re.ASCII)
_OTHERS: Final = frozenset(
    {"encounter", "practitioner", "organization", "userType", "userLanguage", "userTaskContext", "setting",
     "settingContext"}
)  # fmt: skip
"""Inputs of R4's operation that change nothing here."""
EXCLUDES_NOTHING: Final = "No rule of the guideline applies to the facts that are known. That excludes nothing."


@dataclass(frozen=True)
class Subject:
    """A patient as the client named one."""

    reference: str | None
    identifier: tuple[str, str] | None
    """System and value."""

    @property
    def as_reference(self) -> Json:
        if self.identifier is None:
            return {"reference": self.reference}
        system, value = self.identifier
        return {"type": "Patient", "identifier": {**({"system": system} if system else {}), "value": value}}


@dataclass(frozen=True)
class Apply:
    """The operation."""

    options: HttpOptions
    database: Database
    door: Door
    artefacts: Artefacts

    async def apply(self, request: Request) -> Response:
        """``GET|POST PlanDefinition/[id]/$apply``; one subject gives its CarePlan, several a Parameters with each."""
        check_acceptable(request)
        plan = request.path_params["id"]
        rules = await asyncio.to_thread(_rules_of, plan)  # the first time they are read and compiled
        self.artefacts.read("PlanDefinition", plan)
        entry = await self.door.enter(request, "operation", "DiagnosticReport", Permission.READ)
        subjects = [_subject(text) for text in await _subject_texts(request)]
        if not 1 <= len(subjects) <= MOST_SUBJECTS:
            raise InvalidRequest(field="subject", at_least=1, at_most=MOST_SUBJECTS)
        plans = [await self._care_plan(entry, plan, rules, subject) for subject in subjects]
        if len(plans) == 1:
            return json_response(plans[0], headers={"Cache-Control": "no-store"})
        found = [{"name": "return", "resource": each} for each in plans]
        return json_response({"resourceType": "Parameters", "parameter": found})

    async def _care_plan(self, entry: Entry, plan: str, rules: Sequence[Rule], subject: Subject) -> Json:
        _check_compartment(entry, subject)
        identifiers = [] if subject.identifier is None else [subject.identifier]
        references = [] if subject.reference is None else [subject.reference]
        async with self.database.transaction() as connection:
            results = await results_for_patient(connection, identifiers, references=references)
            result = next((each for each in results if not each.refused), None)
            facts = None if result is None else await facts_of(connection, result.report_id)
        name = subject.reference or "|".join(subject.identifier or ())
        await entry.note(resource_id=None if result is None else result.report_id, patients=(name,))
        if result is None or facts is None:
            raise ResourceNotFound(what="no result of this subject on which rules could run")
        return care_plan(plan, rules, facts, result, subject.as_reference, self.options.canonical_base, self.artefacts)


def care_plan(
    plan: str,
    rules: Sequence[Rule],
    facts: Mapping[str, Fact],
    result: StoredResult,
    subject: Json,
    base: str,
    artefacts: Artefacts,
) -> Json:
    """A CarePlan with the RequestGroup and the proposals inside; not kept."""
    fired = [rule for rule in rules if rule.fires(facts)]
    report = {"reference": f"DiagnosticReport/{result.report_id}"}
    canonical = artefacts.read("PlanDefinition", plan).content
    plan_address = f"{canonical['url']}|{canonical['version']}"
    proposals = [_proposal(f"proposal-{rule.id}", rule, facts, subject, report, base, artefacts) for rule in fired]
    group: Json = {
        "resourceType": "RequestGroup",
        "id": "actions",
        "instantiatesCanonical": [plan_address],
        "status": "draft",
        "intent": "proposal",
        "subject": subject,
        "authoredOn": instant(datetime.now(UTC)),
        "reasonReference": [report],
    }
    if fired:
        group["action"] = [_action(rule, facts, f"#proposal-{rule.id}", base) for rule in fired]
    note = [] if fired else [{"text": EXCLUDES_NOTHING}]
    return {
        "resourceType": "CarePlan",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{plan_address}/{result.report_id}/{result.report_version}")),
        "contained": [group, *proposals],
        "instantiatesCanonical": [plan_address],
        "status": "draft",
        "intent": "proposal",
        "title": canonical.get("title", plan),
        "subject": subject,
        "created": instant(datetime.now(UTC)),
        "supportingInfo": [report],
        "activity": [{"reference": {"reference": "#actions"}}],
        "note": [*note, *({"text": text} for text in result.summary.limits_of_use)],
    }


def _action(rule: Rule, facts: Mapping[str, Fact], proposal: str, base: str) -> Json:
    because = "; ".join(dict.fromkeys(fact.text for fact in rule.seen(facts).values()))
    return {
        "title": rule.id,
        "description": because,
        "textEquivalent": rule.wording(facts),
        "documentation": [
            {"type": "citation", "citation": rule.citation},
            {"type": "derived-from", "resource": rule.plan_definition.replace(PROJECT_BASE, base, 1)},
        ],
        "condition": [
            {"kind": "applicability", "expression": {"language": "text/fhirpath", "expression": rule.condition}}
        ],
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/action-type", "code": "create"}]},
        "resource": {"reference": proposal},
    }


def _proposal(
    identity: str,
    rule: Rule,
    facts: Mapping[str, Fact],
    subject: Json,
    report: Json,
    base: str,
    artefacts: Artefacts,
) -> Json:
    """The request that the rule's ActivityDefinition describes, as a draft for a person to take up."""
    activity_id = rule.activity_definition.partition("|")[0].rsplit("/", 1)[-1]
    activity = artefacts.read("ActivityDefinition", activity_id).content
    return {
        "resourceType": "ServiceRequest",
        "id": identity,
        "instantiatesCanonical": [rule.activity_definition.replace(PROJECT_BASE, base, 1)],
        "status": "draft",
        "intent": "proposal",
        "code": activity["code"],
        "subject": subject,
        "reasonReference": [report],
        "note": [{"text": rule.wording(facts)}],
    }


def _rules_of(plan: str) -> tuple[Rule, ...]:
    """The rules that a plan stands for: the whole set, or the one of that id.

    Raises:
        ResourceNotFound: if there is none.
    """
    rules = load_rules()
    chosen = rules if plan == RULE_SET else tuple(rule for rule in rules if rule.id == plan)
    if not chosen:
        raise ResourceNotFound
    return chosen


async def _subject_texts(request: Request) -> list[str]:
    """Values of ``subject`` in the query, or in a Parameters body."""
    if request.method == "GET" or not await request.body():
        pairs = decoded(request.url.query)
        unknown = [name for name, _ in pairs if name != "subject" and name not in _OTHERS and name != "_format"]
        if unknown:
            raise InvalidRequest(why="a parameter that the operation does not know")
        return [value for name, value in pairs if name == "subject"]
    body = await read_json(request)
    parameters = body.get("parameter")
    if body.get("resourceType") != "Parameters" or not isinstance(parameters, list):
        raise InvalidRequest(why="the body is not Parameters")
    found = []
    for each in parameters:
        name = each.get("name") if isinstance(each, dict) else None
        if name == "subject":
            found.append(_text_of(each))
        elif not isinstance(name, str) or name not in _OTHERS:
            raise InvalidRequest(why="a parameter that the operation does not know")
    return found


def _text_of(parameter: Json) -> str:
    """R4 says string; a Reference or an Identifier is taken as well."""
    for name in ("valueString", "valueUri", "valueReference", "valueIdentifier"):
        value = parameter.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict):
            identifier = value if name == "valueIdentifier" else value.get("identifier")
            if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
                return f"{identifier.get('system') or ''}|{identifier['value']}"
            if isinstance(value.get("reference"), str):
                return str(value["reference"])
    raise InvalidRequest(field="subject")


def _subject(text: str) -> Subject:
    """``Patient/<id>``, or ``system|value`` of an identifier.

    Raises:
        InvalidRequest: for anything else.
    """
    if len(text) > MAX_SUBJECT or not text.isprintable():
        raise InvalidRequest(field="subject")
    if "|" in text:
        system, _, value = text.partition("|")
        if value.strip():
            return Subject(None, (system, value))
    elif _REFERENCE.fullmatch(text):
        return Subject(text, None)
    raise InvalidRequest(field="subject", why="Patient/<id>, or system|value of an identifier")


def _check_compartment(entry: Entry, subject: Subject) -> None:
    """A patient's token asks for its own patient.

    Raises:
        ResourceNotFound: if it asks for another; that there is one is not told.
    """
    if entry.reach is Reach.ALL:
        return
    name = subject.reference or "|".join(subject.identifier or ())
    if name not in entry.principal.patient_names:
        raise ResourceNotFound(what="no result of this subject on which rules could run")
