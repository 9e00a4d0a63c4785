"""Who looked at or changed what: AuditEvents after IHE BALP, in a table that only grows."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.record.dates import instant
from trabecula.record.parameters import FoundBy, found_by, patient_keys
from trabecula.record.schema import audit_event
from trabecula.work.database import Database

Json = dict[str, Any]

_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_AUDIT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_REST: Final = "http://hl7.org/fhir/restful-interaction"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_BALP_ENTITY: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
MOST_PATIENTS: Final = 200


class Outcome(StrEnum):
    """R4 audit-event-outcome."""

    SUCCESS = "0"
    REFUSED = "4"
    FAILED = "8"


@dataclass(frozen=True)
class Access:
    """One access to what is known of patients."""

    at: datetime
    interaction: str
    """R4 restful-interaction: ``read``, ``vread``, ``history-instance``, ``search-type``, ``operation``, ..."""
    action: str
    """R4 audit-event-action: C, R, U, D or E."""
    resource_type: str
    client_id: str
    client_address: str | None
    request_id: str
    outcome: Outcome = Outcome.SUCCESS
    resource_id: str | None = None
    subject: str | None = None
    """The user, where there is one."""
    patients: tuple[str, ...] = ()
    """``Patient/<id>`` or ``system|value`` of each patient seen."""
    query: str | None = None


AccessListener = Callable[[Access], Awaitable[None]]
"""Told of each access before its answer goes out; when it fails, so does the access."""


def keep_accesses(database: Database) -> AccessListener:
    """A listener that writes each access into the record."""

    async def keep(access: Access) -> None:
        async with database.transaction() as connection:
            await append(connection, access)

    return keep


async def append(connection: AsyncConnection, access: Access) -> str:
    """Write one AuditEvent; gives its id."""
    event = to_audit_event(access)
    found = _found_by(event, access)
    start, end = found.period or (None, None)
    await connection.execute(
        insert(audit_event).values(
            id=event["id"],
            last_updated=access.at,
            content={**event, "meta": {"versionId": "1", "lastUpdated": instant(access.at)}},
            patient_reference=found.patient_reference,
            patient_identifier=found.patient_identifier,
            date_from=start,
            date_to=end,
            search_keys=list(found.keys),
        )
    )
    return str(event["id"])


def to_audit_event(access: Access) -> Json:
    """The access as an R4 AuditEvent."""
    user = [] if access.subject is None else [_agent("IRCP", "information recipient", access.subject, requestor=True)]
    client: Json = {
        "type": _concept(_DCM, "110153", "Source Role ID"),
        "who": {"display": access.client_id},
        "requestor": access.subject is None,
    }
    if access.client_address is not None:
        client["network"] = {"address": access.client_address, "type": "2"}
    return {
        "resourceType": "AuditEvent",
        "id": str(uuid.uuid4()),
        "type": {"system": _AUDIT_TYPE, "code": "rest", "display": "Restful Operation"},
        "subtype": [{"system": _REST, "code": access.interaction}],
        "action": access.action,
        "recorded": instant(access.at),
        "outcome": access.outcome.value,
        "agent": [
            client,
            {
                "type": _concept(_DCM, "110152", "Destination Role ID"),
                "who": {"display": "Trabecula"},
                "requestor": False,
            },
            *user,
        ],
        "source": {"observer": {"display": "Trabecula"}},
        "entity": _entities(access),
    }


def _entities(access: Access) -> list[Json]:
    found: list[Json] = []
    if access.resource_id is not None:
        what = {"reference": f"{access.resource_type}/{access.resource_id}"}
        found.append({"what": what, "type": _coding(_ENTITY, "2"), "role": _coding(_ROLE, "4")})
    elif access.query is not None:
        query = base64.b64encode(f"{access.resource_type}?{access.query}".encode()).decode()
        found.append({"type": _coding(_ENTITY, "2"), "role": _coding(_ROLE, "24"), "query": query})
    else:
        found.append({"type": _coding(_ENTITY, "2"), "role": _coding(_ROLE, "4"), "name": access.resource_type})
    found.extend(
        {"what": _patient(patient), "type": _coding(_ENTITY, "1"), "role": _coding(_ROLE, "1")}
        for patient in access.patients[:MOST_PATIENTS]
    )
    request = {"identifier": {"value": access.request_id}}
    found.append({"what": request, "type": _coding(_BALP_ENTITY, "XrequestId")})
    return found


def _patient(name: str) -> Json:
    if "|" not in name:
        return {"reference": name}
    system, _, value = name.partition("|")
    return {"type": "Patient", "identifier": {**({"system": system} if system else {}), "value": value}}


def _agent(code: str, display: str, who: str, *, requestor: bool) -> Json:
    system = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
    return {"type": _concept(system, code, display), "who": {"display": who}, "requestor": requestor}


def _coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _found_by(event: Json, access: Access) -> FoundBy:
    """An event is found by each of its patients."""
    found = found_by(event)
    keys = [*found.keys]
    for name in access.patients[:MOST_PATIENTS]:
        identifier = "|" in name
        keys += patient_keys("patient", None if identifier else name, name if identifier else None)
    first = access.patients[0] if len(access.patients) == 1 else None
    return replace(
        found,
        keys=tuple(dict.fromkeys(keys)),
        patient_reference=None if first is None or "|" in first else first,
        patient_identifier=first if first is not None and "|" in first else None,
    )
