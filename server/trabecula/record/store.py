"""FHIR resources in their versions. Every function takes part in the caller's transaction."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, Select, Text, cast, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as insert_or_leave
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import InvalidRequest, ResourceDeleted, ResourceNotFound
from trabecula.record.dates import instant
from trabecula.record.parameters import FoundBy, found_by, patient_of, values_at
from trabecula.record.schema import audit_event, resource, resource_history

Json = dict[str, Any]

_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_MILLISECOND: Final = timedelta(milliseconds=1)

Identity = tuple[str, str]
"""Type and id."""


@dataclass(frozen=True)
class Stored:
    """One version of a resource as it is kept."""

    type: str
    id: str
    version: int
    last_updated: datetime
    deleted: bool
    text: str
    """The JSON as it goes out; empty object for one that was deleted."""
    screening_id: str | None = None
    patient_reference: str | None = None
    patient_identifier: str | None = None
    """``system|value``; the system may be empty."""

    @property
    def content(self) -> Json:
        """The resource in JSON values."""
        value: Json = json.loads(self.text)
        return value

    @property
    def patient(self) -> str | None:
        """The patient as one name; for the audit."""
        return self.patient_reference or self.patient_identifier


async def put(
    connection: AsyncConnection,
    resources: Sequence[Json],
    *,
    screening_id: str | None = None,
    at: datetime | None = None,
) -> tuple[Stored, ...]:
    """Write resources, each under its own type and id; a new version only where the content changed.

    References ``urn:uuid:`` to another resource of the same call become ``Type/id``.

    Args:
        screening_id: the screening that they came from.
        at: time of writing; now when not given.

    Returns:
        What is kept now, in the order given.

    Raises:
        InvalidRequest: if one has no usable type or id, or the same one comes twice.
    """
    at = _to_millisecond(at or datetime.now(UTC))
    named = _named(resources)
    found = await _found_by(connection, named)
    stored: dict[Identity, Stored] = {}
    waiting = sorted(named)
    while waiting:
        known = await _lock(connection, waiting)
        fresh = [identity for identity in waiting if identity not in known]
        for identity in waiting:
            if identity in known:
                stored[identity] = await _changed(
                    connection, known[identity], named[identity], found[identity], screening_id, at
                )
        written = await _insert(connection, {each: named[each] for each in fresh}, found, screening_id, at)
        stored |= written
        # Another transaction wrote it between the look and the writing: now it is there, so look again.
        waiting = [identity for identity in fresh if identity not in written]
    return tuple(stored[identity] for identity in named)


async def read(connection: AsyncConnection, resource_type: str, identity: str) -> Stored:
    """The current version.

    Raises:
        ResourceNotFound: if there is none.
        ResourceDeleted: if it was deleted.
    """
    table = audit_event if resource_type == "AuditEvent" else resource
    found = await _first(connection, stored_columns(table).where(table.c.type == resource_type, table.c.id == identity))
    if found is None:
        raise ResourceNotFound
    if found.deleted:
        raise ResourceDeleted
    return found


async def vread(connection: AsyncConnection, resource_type: str, identity: str, version: int) -> Stored:
    """One version.

    Raises:
        ResourceNotFound: if there is none.
        ResourceDeleted: if the resource was deleted in that version.
    """
    for table in (resource, resource_history) if resource_type != "AuditEvent" else (audit_event,):
        same = (table.c.type == resource_type, table.c.id == identity, table.c.version == version)
        if (found := await _first(connection, stored_columns(table).where(*same))) is not None:
            if found.deleted:
                raise ResourceDeleted
            return found
    raise ResourceNotFound


async def history(
    connection: AsyncConnection, resource_type: str, identity: str, *, limit: int = 100, before: int | None = None
) -> tuple[Stored, ...]:
    """Versions, newest first; deletions among them.

    Args:
        before: only versions older than this one.

    Raises:
        ResourceNotFound: if there never was such a resource.
    """
    tables = (resource, resource_history) if resource_type != "AuditEvent" else (audit_event,)
    found: list[Stored] = []
    for table in tables:
        query = stored_columns(table).where(table.c.type == resource_type, table.c.id == identity)
        if before is not None:
            query = query.where(table.c.version < before)
        rows = await connection.execute(query.order_by(table.c.version.desc()).limit(limit))
        found += [stored_of(row) for row in rows]
    if not found and before is None:
        raise ResourceNotFound
    return tuple(found[:limit])


async def of_screening(
    connection: AsyncConnection, screening_id: str, types: Collection[str] = ()
) -> tuple[Stored, ...]:
    """Current resources that a screening wrote, of some types or all, in the order they were first written.

    What it shares with others (Device, ImagingStudy) stays with the screening that changed it last.
    """
    query = stored_columns(resource).where(resource.c.screening_id == screening_id, ~resource.c.deleted)
    if types:
        query = query.where(resource.c.type.in_(list(types)))
    return tuple(stored_of(row) for row in await connection.execute(query.order_by(resource.c.seq)))


async def remove(connection: AsyncConnection, identities: Collection[Identity], *, at: datetime | None = None) -> int:
    """Mark resources as deleted; their versions stay. What is unknown or already deleted is passed over.

    Returns:
        How many were marked.
    """
    at = _to_millisecond(at or datetime.now(UTC))
    known = await _lock(connection, sorted(identities))
    gone = 0
    for row in known.values():
        if not row.deleted:
            await _archive(connection, row)
            await _write(
                connection, row, {"version": row.version + 1, "deleted": True, "content": {}, "search_keys": []}, at
            )
            gone += 1
    return gone


async def erase(connection: AsyncConnection, identities: Collection[Identity]) -> None:
    """Take resources out with all their versions, as if they had never been (a patient's right, retention)."""
    for table in (resource, resource_history):
        await connection.execute(delete(table).where(tuple_(table.c.type, table.c.id).in_(list(identities))))


def is_identity(resource_type: str, identity: str) -> bool:
    """Whether both are of R4's form."""
    return _TYPE.fullmatch(resource_type) is not None and _ID.fullmatch(identity) is not None


def _named(resources: Sequence[Json]) -> dict[Identity, Json]:
    """Resources by identity, references among them resolved, and what the server sets taken out."""
    local: dict[str, str] = {}
    for each in resources:
        kind, identity = str(each.get("resourceType", "")), str(each.get("id", ""))
        if not is_identity(kind, identity):
            raise InvalidRequest(field="id")
        local[f"urn:uuid:{identity}"] = f"{kind}/{identity}"
    named = {(each["resourceType"], each["id"]): _resolved(_without_version(each), local) for each in resources}
    if len(named) < len(resources):
        raise InvalidRequest(field="id", why="a resource comes twice")
    return named


def _without_version(value: Json) -> Json:
    meta = {name: each for name, each in value.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return {name: meta if name == "meta" else each for name, each in value.items() if name != "meta" or meta}


def _resolved(value: Any, local: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: local.get(each, each) if name == "reference" and isinstance(each, str) else _resolved(each, local)
            for name, each in value.items()
        }
    return [_resolved(each, local) for each in value] if isinstance(value, list) else value


async def _found_by(connection: AsyncConnection, named: Mapping[Identity, Json]) -> dict[Identity, FoundBy]:
    """What each is found by; one without a patient takes that of its targets, here or in the record."""
    found = {identity: found_by(value) for identity, value in named.items()}
    for identity, value in named.items():
        if patient_of(value) is not None or "target" not in value:
            continue
        targets = [_identity_of(target) for target in values_at(value, "target")]
        about = [found[target] for target in targets if target in found]
        missing = [target for target in targets if target is not None and target not in found]
        if not about and missing:
            rows = await connection.execute(
                select(resource.c.patient_reference, resource.c.patient_identifier).where(
                    tuple_(resource.c.type, resource.c.id).in_(missing)
                )
            )
            about = [FoundBy((), None, None, row.patient_reference, row.patient_identifier) for row in rows]
        found[identity] = found_by(value, about)
    return found


def _identity_of(reference: Any) -> Identity | None:
    parts = str(reference.get("reference", "")).split("/") if isinstance(reference, dict) else []
    return (parts[0], parts[1]) if len(parts) == 2 else None


async def _lock(connection: AsyncConnection, identities: Sequence[Identity]) -> dict[Identity, Row[Any]]:
    """Current rows, locked in one order so that two writers never wait for each other in a ring."""
    rows = await connection.execute(
        select(resource, cast(resource.c.content, Text).label("text"))
        .where(tuple_(resource.c.type, resource.c.id).in_(list(identities)))
        .order_by(resource.c.type, resource.c.id)
        .with_for_update()
    )
    return {(row.type, row.id): row for row in rows}


async def _insert(
    connection: AsyncConnection,
    values: Mapping[Identity, Json],
    found: Mapping[Identity, FoundBy],
    screening_id: str | None,
    at: datetime,
) -> dict[Identity, Stored]:
    """Write first versions; gives those that were really written."""
    if not values:
        return {}
    rows = [
        {
            "type": kind,
            "id": identity,
            "version": 1,
            "last_updated": at,
            "deleted": False,
            "content_sha256": _sha256(value),
            "content": _versioned(value, 1, at),
            "screening_id": screening_id,
            **_columns(found[kind, identity]),
        }
        for (kind, identity), value in values.items()
    ]
    done = await connection.execute(
        insert_or_leave(resource)
        .values(rows)
        .on_conflict_do_nothing(index_elements=["type", "id"])
        .returning(resource.c.type, resource.c.id)
    )
    written = {(row.type, row.id) for row in done}
    return {(row["type"], row["id"]): _as_stored(row) for row in rows if (row["type"], row["id"]) in written}


async def _changed(
    connection: AsyncConnection,
    row: Row[Any],
    value: Json,
    found: FoundBy,
    screening_id: str | None,
    at: datetime,
) -> Stored:
    """The version that is there when the content is the same, else a new one."""
    digest = _sha256(value)
    if digest == row.content_sha256 and not row.deleted:
        return stored_of(row)
    await _archive(connection, row)
    version = row.version + 1
    # Two versions never bear the same moment, and never go back in time.
    at = max(at, row.last_updated + _MILLISECOND)
    changes = {
        "version": version,
        "deleted": False,
        "content_sha256": digest,
        "content": _versioned(value, version, at),
        "screening_id": screening_id or (None if row.screening_id is None else str(row.screening_id)),
        **_columns(found),
    }
    await _write(connection, row, changes, at)
    return _as_stored({"type": row.type, "id": row.id, "last_updated": at, **changes})


async def _archive(connection: AsyncConnection, row: Row[Any]) -> None:
    names = [column.name for column in resource_history.columns]
    old = {name: getattr(row, name) for name in names}
    await connection.execute(insert(resource_history).values(**old))


async def _write(connection: AsyncConnection, row: Row[Any], changes: Mapping[str, Any], at: datetime) -> None:
    later = max(at, row.last_updated + _MILLISECOND)
    await connection.execute(update(resource).where(resource.c.seq == row.seq).values(**changes, last_updated=later))


def _columns(found: FoundBy) -> dict[str, Any]:
    start, end = found.period or (None, None)
    return {
        "status": found.status,
        "patient_reference": found.patient_reference,
        "patient_identifier": found.patient_identifier,
        "date_from": start,
        "date_to": end,
        "search_keys": list(found.keys),
    }


def _versioned(value: Json, version: int, at: datetime) -> Json:
    """The content as it goes out: type, id and meta first."""
    meta = {"versionId": str(version), "lastUpdated": instant(at), **value.get("meta", {})}
    head = {"resourceType": value["resourceType"], "id": value["id"], "meta": meta}
    return {**head, **{name: each for name, each in value.items() if name not in head}}


def _sha256(value: Json) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _to_millisecond(at: datetime) -> datetime:
    """A FHIR instant shows milliseconds; a search for what it shows must find it."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _as_stored(row: Mapping[str, Any]) -> Stored:
    return Stored(
        row["type"],
        row["id"],
        row["version"],
        row["last_updated"],
        row["deleted"],
        json.dumps(row["content"], ensure_ascii=False),
        row["screening_id"],
        row["patient_reference"],
        row["patient_identifier"],
    )


def stored_columns(table: Any) -> Select[Any]:
    """What :func:`stored_of` needs of a table of resources."""
    return select(
        table.c.type,
        table.c.id,
        table.c.version,
        table.c.last_updated,
        table.c.deleted,
        cast(table.c.content, Text).label("text"),
        table.c.screening_id,
        table.c.patient_reference,
        table.c.patient_identifier,
    )


def stored_of(row: Row[Any]) -> Stored:
    """A row of :func:`stored_columns` as a value."""
    return Stored(
        row.type,
        row.id,
        row.version,
        row.last_updated,
        row.deleted,
        row.text,
        None if row.screening_id is None else str(row.screening_id),
        row.patient_reference,
        row.patient_identifier,
    )


async def _first(connection: AsyncConnection, query: Select[Any]) -> Stored | None:
    row = (await connection.execute(query)).first()
    return None if row is None else stored_of(row)


async def count(connection: AsyncConnection) -> dict[str, int]:
    """Resources by type, without those deleted."""
    rows = await connection.execute(
        select(resource.c.type, func.count()).where(~resource.c.deleted).group_by(resource.c.type)
    )
    return {row[0]: int(row[1]) for row in rows}
