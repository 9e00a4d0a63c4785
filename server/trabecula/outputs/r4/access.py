"""The record of an access, as IHE Basic Audit Log Patterns have it."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from typing import Any

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
    base = options.base_url.rstrip("/")
    return AccessAuditEvent(
        {
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
    )


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
