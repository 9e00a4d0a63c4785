"""The record of an access, as IHE Basic Audit Log Patterns have it."""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.filing import FhirOptions, header_text
from trabecula.outputs.r4.profiles import AccessAuditEvent
from trabecula.outputs.r4.profiles.programme import action_of, roles_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Party:
    """One end of a connection."""

    name: str
    """Client id of the token, or the host's name."""
    address: str | None = None
    """IP address, host or base URL; None where the connection does not tell."""


@dataclass(frozen=True)
class Access:
    """One RESTful interaction with patient data. An AuditEvent is patient data too: it never goes into logs."""

    event_id: uuid.UUID
    interaction: str
    """Code of restful-interaction: ``read``, ``search-type``, ``create``, ..."""
    at: str
    """FHIR instant."""
    outcome: str
    """``0`` success, ``4`` minor failure (the client's), ``8`` serious failure, ``12`` major failure."""
    client: Party
    server: Party
    user: str | None = None
    """Who used the client, as the token names that person."""
    resource: Json | None = None
    """Reference to what was read or written."""
    query: str | None = None
    """The search instead: path and parameters."""
    type_name: str | None = None
    """The type alone, where neither a resource nor a query is named."""
    patients: tuple[Json, ...] = ()
    """References to the patients that it is about."""
    action: str | None = None
    """C, R, U, D or E, where the interaction leaves it open (an operation)."""
    request_id: str | None = None
    """X-Request-Id."""


def audit_event(access: Access, options: FhirOptions) -> AccessAuditEvent:
    """The AuditEvent of an access.

    Raises:
        ProfileViolation: if nothing is named, or a patient is not one.
        KeyError: if there is no such interaction.
    """
    return AccessAuditEvent(_content(access, options))


def audit_event_json(access: Access, options: FhirOptions) -> Json:
    """The same event as JSON, for doors that write hundreds a second.

    Whether it keeps R4 and the profile depends on its form alone as long as what stands in it is ordinary text; so a
    form is checked whole once, with stand-ins, and then only the text of each event. An event with other text (no
    ASCII, an address that is none) is checked whole.

    Raises:
        ProfileViolation: if nothing is named, or a patient is not one.
        ConversionFault: if it is not R4.
        KeyError: if there is no such interaction.
    """
    form = _form(access)
    if form is None:
        return audit_event(access, options).json()
    _check_form(form, options.base_url)
    return _content(access, options)


class _Form(NamedTuple):
    """What an access names, and of what kind."""

    interaction: str
    action: str | None
    outcome: str
    client_address: bool
    server_address: bool
    user: bool
    resource_type: str | None
    query: bool
    type_name: str | None
    patients: frozenset[str]
    """Kinds of references."""
    request_id: bool


_AT: Final = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_TEXT: Final = re.compile(r"[!-~]([ -~]{0,510}[!-~])?")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}(/_history/[0-9]{1,9})?")
_STAND_IN: Final = uuid.UUID("00000000-0000-4000-8000-000000000000")
_BY_REFERENCE, _BY_VALUE, _BY_IDENTIFIER = "reference", "value", "identifier"


def _form(access: Access) -> _Form | None:
    """The form of an access whose text is ordinary; else None."""
    texts = (access.client.name, access.server.name, access.client.address, access.server.address, access.user)
    ordinary = _is_instant(access.at) and all(_TEXT.fullmatch(text) for text in texts if text is not None)
    if (
        not ordinary
        or access.query == ""
        or not _TEXT.fullmatch("-" if access.request_id is None else access.request_id)
    ):
        return None
    resource_type = None if access.resource is None else _kind_of_resource(access.resource)
    patients = frozenset(map(_kind_of_patient, access.patients))
    if resource_type == "" or "" in patients:
        return None
    return _Form(
        access.interaction,
        access.action,
        access.outcome,
        access.client.address is not None,
        access.server.address is not None,
        access.user is not None,
        resource_type,
        access.query is not None,
        access.type_name,
        patients,
        access.request_id is not None,
    )


def _is_instant(text: str) -> bool:
    try:
        return _AT.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _kind_of_resource(reference: Json) -> str:
    """Type of a reference to a resource that is written as we write them; else an empty text."""
    kind, _, identity = str(reference.get("reference")).partition("/")
    whole = reference == {"reference": f"{kind}/{identity}", "type": kind}
    return kind if whole and _ID.fullmatch(identity) else ""


def _kind_of_patient(reference: Json) -> str:
    """How a patient is named, when it is as we name them; else an empty text."""
    if reference.keys() == {"reference", "type"}:
        return _BY_REFERENCE if _kind_of_resource(reference) == "Patient" else ""
    identifier = reference.get("identifier")
    if reference.keys() != {"type", "identifier"} or reference["type"] != "Patient" or not isinstance(identifier, dict):
        return ""
    system, value = identifier.get("system"), identifier.get("value")
    if identifier.keys() - {"system", "value"} or not isinstance(value, str) or not _TEXT.fullmatch(value):
        return ""
    if system is None:
        return _BY_VALUE if "system" not in identifier else ""
    return _BY_IDENTIFIER if isinstance(system, str) and _TEXT.fullmatch(system) else ""


@lru_cache(maxsize=1024)
def _check_form(form: _Form, base_url: str) -> None:
    """Check an event of this form whole."""
    named: dict[str, Json] = {
        _BY_REFERENCE: {"reference": "Patient/x", "type": "Patient"},
        _BY_VALUE: {"type": "Patient", "identifier": {"value": "x"}},
        _BY_IDENTIFIER: {"type": "Patient", "identifier": {"system": "urn:x:y", "value": "x"}},
    }
    resource: Json = {"reference": f"{form.resource_type}/x", "type": form.resource_type}
    stand_in = Access(
        event_id=_STAND_IN,
        interaction=form.interaction,
        at="2000-01-01T00:00:00.000Z",
        outcome=form.outcome,
        client=Party("x", "x" if form.client_address else None),
        server=Party("y", "y" if form.server_address else None),
        user="x" if form.user else None,
        resource=None if form.resource_type is None else resource,
        query="x" if form.query else None,
        type_name=form.type_name,
        patients=tuple(named[kind] for kind in sorted(form.patients)),
        action=form.action,
        request_id="x" if form.request_id else None,
    )
    audit_event(stand_in, FhirOptions(base_url=base_url))


def _content(access: Access, options: FhirOptions) -> Json:
    base = options.base_url.rstrip("/")
    return {
        "resourceType": "AuditEvent",
        "id": str(access.event_id),
        "meta": {"profile": [f"{base}/StructureDefinition/{AccessAuditEvent.slug}"]},
        "type": codes.coding(codes.AUDIT_TYPE, "rest", "Restful Operation"),
        "subtype": [codes.coding(codes.INTERACTION, access.interaction)],
        "action": access.action or action_of(access.interaction),
        "recorded": access.at,
        "outcome": access.outcome,
        "agent": _agents(access),
        "source": {
            "observer": {"display": access.server.name},
            "type": [codes.coding(codes.SOURCE_TYPE, "4", "Application Server")],
        },
        "entity": _entities(access),
    }


def _agents(access: Access) -> list[Json]:
    client_role, server_role = roles_of(access.interaction)
    agents: list[Json] = [
        {
            "type": codes.concept(codes.coding(codes.DCM, role)),
            "who": {"display": header_text(party.name) or "unknown"},
            "requestor": party is access.client and access.user is None,
            "network": _network(party),
        }
        for role, party in ((client_role, access.client), (server_role, access.server))
    ]
    if access.user is not None:
        name = header_text(access.user) or "unknown"
        role = codes.concept(codes.coding(codes.PARTICIPATION, "IRCP", "information recipient"))
        agents.append({"type": role, "who": {"display": name}, "requestor": True})
    return agents


def _network(party: Party) -> Json:
    return {"extension": [codes.UNKNOWN_EXTENSION]} if party.address is None else {"address": party.address}


def _entities(access: Access) -> list[Json]:
    entities: list[Json] = []
    system_object = codes.coding(codes.AUDIT_ENTITY_TYPE, "2", "System Object")
    if access.resource is not None:
        role = codes.coding(codes.OBJECT_ROLE, "4", "Domain Resource")
        entities.append({"what": access.resource, "type": system_object, "role": role})
    elif access.query is not None:
        role = codes.coding(codes.OBJECT_ROLE, "24", "Query")
        text = base64.b64encode(access.query.encode()).decode("ascii")
        entities.append({"type": system_object, "role": role, "query": text})
    elif access.type_name is not None:
        role = codes.coding(codes.OBJECT_ROLE, "4", "Domain Resource")
        entities.append({"type": system_object, "role": role, "name": access.type_name})
    person = codes.coding(codes.AUDIT_ENTITY_TYPE, "1", "Person")
    patient = codes.coding(codes.OBJECT_ROLE, "1", "Patient")
    entities.extend({"what": each, "type": person, "role": patient} for each in access.patients)
    request_id = header_text(access.request_id)
    if request_id is not None:
        kind = codes.coding(codes.BALP_ENTITY_TYPE, "XrequestId")
        entities.append({"what": {"identifier": {"value": request_id}}, "type": kind})
    return entities
