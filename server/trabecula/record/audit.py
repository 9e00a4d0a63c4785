"""Who looked at or changed what: AuditEvents after IHE BALP, in a table that only grows."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from psycopg.types.json import Json as JsonText
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.outputs.r4 import FhirOptions
from trabecula.outputs.r4 import access as r4
from trabecula.record.dates import instant
from trabecula.record.parameters import FoundBy, found_by, patient_keys
from trabecula.record.schema import audit_event, result
from trabecula.work.database import Database
from trabecula.work.direct import Statement

Json = dict[str, Any]

MOST_PATIENTS: Final = 200
"""In one event; an access that shows more of them makes several events with one request id."""


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


def keep_accesses(database: Database, base_url: str = FhirOptions.base_url) -> AccessListener:
    """A listener that writes each access into the record.

    Args:
        base_url: canonical base below which the event's profile lies.
    """

    async def keep(access: Access) -> None:
        if len(access.patients) > MOST_PATIENTS:
            async with database.transaction() as connection:
                await _append_whole(connection, access, base_url)
            return
        row = _row(access, base_url)
        await database.direct.fetch(_APPEND, **row | {"content": JsonText(row["content"])})

    return keep


CallListener = Callable[[Access, Sequence[str]], Awaitable[None]]
"""Told of an access to screenings, by their ids, before its answer goes out; when it fails, so does the access."""


def keep_calls(database: Database, base_url: str = FhirOptions.base_url) -> CallListener:
    """As :func:`keep_accesses`, for accesses that know screenings: their patients are looked up in the record."""

    async def keep(access: Access, screening_ids: Sequence[str]) -> None:
        async with database.transaction() as connection:
            patients = await patients_of(connection, screening_ids)
            await _append_whole(connection, replace(access, patients=patients), base_url)

    return keep


async def patients_of(connection: AsyncConnection, screening_ids: Sequence[str]) -> tuple[str, ...]:
    """``system|value`` of the patients of screenings that have a result; before that, nobody knows them."""
    known = [each for each in screening_ids if _is_id(each)]
    if not known:
        return ()
    query = select(result.c.patient_system, result.c.patient_value).where(
        result.c.screening_id.in_(known), result.c.patient_value.is_not(None)
    )
    rows = (await connection.execute(query.distinct().limit(MOST_PATIENTS))).all()
    return tuple(f"{row.patient_system}|{row.patient_value}" for row in rows)


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


async def _append_whole(connection: AsyncConnection, access: Access, base_url: str) -> None:
    """As many events as it takes to name every patient."""
    for start in range(0, max(1, len(access.patients)), MOST_PATIENTS):
        patients = access.patients[start : start + MOST_PATIENTS]
        await append(connection, replace(access, patients=patients), base_url)


async def append(connection: AsyncConnection, access: Access, base_url: str = FhirOptions.base_url) -> str:
    """Write one AuditEvent; gives its id."""
    row = _row(access, base_url)
    await connection.execute(insert(audit_event).values(row))
    return str(row["id"])


def _row(access: Access, base_url: str) -> dict[str, Any]:
    """Of the table, by column."""
    access = _storable(access)
    event = to_audit_event(access, base_url)
    found = _found_by(event, access)
    start, end = found.period or (None, None)
    return {
        "id": event["id"],
        "last_updated": access.at,
        "content": {**event, "meta": {**event["meta"], "versionId": "1", "lastUpdated": instant(access.at)}},
        "patient_reference": found.patient_reference,
        "patient_identifier": found.patient_identifier,
        "date_from": start,
        "date_to": end,
        "search_keys": list(found.keys),
    }


_COLUMNS: Final = (
    *("id", "last_updated", "content", "patient_reference", "patient_identifier"),
    *("date_from", "date_to", "search_keys"),
)
_APPEND: Final = Statement.of(
    insert(audit_event)
    .values({name: bindparam(name) for name in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["id"])  # bears a repetition
    .inline()
)


def _storable(access: Access) -> Access:
    """The access with names that the database can hold: tokens and requests may carry anything."""

    def clean(text: str) -> str:
        return text.replace("\x00", "").encode("utf-8", "replace").decode()

    return replace(
        access,
        client_id=clean(access.client_id),
        subject=None if access.subject is None else clean(access.subject),
        patients=tuple(clean(name) for name in access.patients),
    )


def to_audit_event(access: Access, base_url: str = FhirOptions.base_url) -> Json:
    """The access as an R4 AuditEvent of our profile.

    Args:
        base_url: canonical base below which the profile lies.
    """
    named = access.resource_id is not None
    query = f"{access.resource_type}?{access.query}" if access.query is not None and not named else None
    resource: Json = {"reference": f"{access.resource_type}/{access.resource_id}", "type": access.resource_type}
    event = r4.Access(
        event_id=uuid.uuid4(),
        interaction=access.interaction,
        at=instant(access.at),
        outcome=access.outcome.value,
        client=r4.Party(access.client_id, access.client_address),
        server=r4.Party("Trabecula"),
        user=access.subject,
        resource=resource if named else None,
        query=query,
        type_name=None if named or query else access.resource_type,
        patients=tuple(_patient(patient) for patient in access.patients[:MOST_PATIENTS]),
        action=access.action,
        request_id=access.request_id,
    )
    return r4.audit_event_json(event, FhirOptions(base_url=base_url))


def _patient(name: str) -> Json:
    if "|" not in name:
        return {"reference": name, "type": "Patient"}
    system, _, value = name.partition("|")
    return {"type": "Patient", "identifier": {**({"system": system} if system else {}), "value": value}}


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
