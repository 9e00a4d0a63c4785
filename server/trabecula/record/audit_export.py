"""The audit trail as a file for the site's own archive, and its end by an operator's word."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.record.schema import audit_event

Json = dict[str, Any]

AT_ONCE: Final = 500
COLUMNS: Final = (
    "recorded", "outcome", "action", "interaction", "client", "client_address", "user", "entity", "patients",
    "request_id", "id",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


async def events(
    connection: AsyncConnection, since: datetime | None = None, until: datetime | None = None
) -> AsyncIterator[Json]:
    """AuditEvents in the order they were recorded, from ``since`` (inclusive) to ``until`` (exclusive)."""
    query = select(audit_event.c.content).order_by(audit_event.c.seq)
    if since is not None:
        query = query.where(audit_event.c.last_updated >= since)
    if until is not None:
        query = query.where(audit_event.c.last_updated < until)
    streamed = await connection.stream(query.execution_options(yield_per=AT_ONCE))
    async for row in streamed:
        yield row.content


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Delete AuditEvents recorded before a moment; how many.

    The trigger that refuses this to everybody else is off for this transaction alone, which holds the table's lock.
    """
    await connection.execute(text("ALTER TABLE audit_event DISABLE TRIGGER audit_event_append_only"))
    done = await connection.execute(delete(audit_event).where(audit_event.c.last_updated < before))
    await connection.execute(text("ALTER TABLE audit_event ENABLE TRIGGER audit_event_append_only"))
    return done.rowcount


async def count(connection: AsyncConnection, before: datetime) -> int:
    """How many :func:`forget` would delete."""
    query = select(func.count()).select_from(audit_event).where(audit_event.c.last_updated < before)
    return int((await connection.execute(query)).scalar_one())


def to_line(event: Json) -> str:
    """One line of NDJSON."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n"


def to_row(event: Json) -> str:
    """One line of CSV (RFC 4180); a text that a spreadsheet would run is quoted with an apostrophe."""
    client, user = _agents(event)
    entities = event.get("entity", [])
    values = (
        event.get("recorded"),
        event.get("outcome"),
        event.get("action"),
        next((each.get("code") for each in event.get("subtype", [])), None),
        client.get("who", {}).get("display"),
        client.get("network", {}).get("address"),
        user.get("who", {}).get("display"),
        next((found for each in entities if (found := _named(each)) is not None), None),
        " ".join(_patient(each["what"]) for each in entities if _role(each) == "1"),
        next((each["what"]["identifier"]["value"] for each in entities if _type(each) == "XrequestId"), None),
        event.get("id"),
    )
    return _csv_line(_harmless(value) for value in values)


def header_row() -> str:
    """First line of the CSV."""
    return _csv_line(COLUMNS)


def _csv_line(values: Any) -> str:
    target = io.StringIO()
    csv.writer(target).writerow(values)
    return target.getvalue()


def _agents(event: Json) -> tuple[Json, Json]:
    """The client and the user."""
    agents = event.get("agent", [])
    client = agents[0] if agents else {}
    return client, (agents[2] if len(agents) > 2 else {})


def _named(entity: Json) -> str | None:
    """What was asked for: a resource, a search, or a kind of resource."""
    if _role(entity) not in ("4", "24"):
        return None
    if "query" in entity:
        return base64.b64decode(entity["query"]).decode("utf-8", "replace")
    named = entity.get("what", {}).get("reference") or entity.get("name")
    return None if named is None else str(named)


def _patient(what: Json) -> str:
    identifier = what.get("identifier")
    if identifier is None:
        return str(what.get("reference", ""))
    return f"{identifier.get('system', '')}|{identifier.get('value', '')}"


def _role(entity: Json) -> str | None:
    found: str | None = entity.get("role", {}).get("code")
    return found


def _type(entity: Json) -> str | None:
    found: str | None = entity.get("type", {}).get("code")
    return found


def _harmless(value: object) -> str:
    shown = "" if value is None else str(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
