"""Bundles as text: contents go out as they are kept, without being read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from trabecula.record.dates import instant
from trabecula.record.store import Stored

Json = dict[str, Any]

SUBSETTED: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS: Final = frozenset({"resourceType", "id", "meta", "status", "code", "subject", "intent"})


def link(relation: str, url: str) -> Json:
    return {"relation": relation, "url": url}


def address(base: str, path: str, parameters: Sequence[tuple[str, str]] = ()) -> str:
    """An address below the base."""
    return f"{base}/{path}" + (f"?{urlencode(parameters)}" if parameters else "")


def searchset(
    base: str,
    links: Sequence[Json],
    matches: Iterable[Stored],
    included: Iterable[Stored] = (),
    *,
    total: int | None = None,
    issues: Sequence[Json] = (),
    elements: Sequence[str] = (),
) -> str:
    """A searchset: matches, then what they drag in, then a word on what was passed over."""
    entries = [_entry(base, each, "match", elements) for each in matches]
    entries += [_entry(base, each, "include", ()) for each in included]
    if issues:
        outcome = {"resourceType": "OperationOutcome", "issue": list(issues)}
        entries.append(json.dumps({"resource": outcome, "search": {"mode": "outcome"}}))
    head: Json = {"resourceType": "Bundle", "type": "searchset", "timestamp": instant(datetime.now(UTC))}
    if total is not None:
        head["total"] = total
    return _whole({**head, "link": list(links)}, entries)


def history_bundle(base: str, links: Sequence[Json], versions: Sequence[Stored], total: int | None) -> str:
    """Versions of one resource, newest first (R4 3.1.0.10)."""
    entries = []
    for each in versions:
        kind = "DELETE" if each.deleted else "POST" if each.version == 1 else "PUT"
        url = each.type if kind == "POST" else f"{each.type}/{each.id}"
        status = "204 No Content" if each.deleted else "201 Created" if each.version == 1 else "200 OK"
        answer = {"status": status, "etag": f'W/"{each.version}"', "lastModified": instant(each.last_updated)}
        rest = json.dumps({"request": {"method": kind, "url": url}, "response": answer})[1:-1]
        content = "" if each.deleted else f'"resource": {each.text}, '
        entries.append(f'{{"fullUrl": {json.dumps(f"{base}/{each.type}/{each.id}")}, {content}{rest}}}')
    head: Json = {"resourceType": "Bundle", "type": "history", "timestamp": instant(datetime.now(UTC))}
    if total is not None:
        head["total"] = total
    return _whole({**head, "link": list(links)}, entries)


def collection(base: str, resources: Sequence[Stored]) -> str:
    """What belongs to one result."""
    entries = [
        f'{{"fullUrl": {json.dumps(f"{base}/{each.type}/{each.id}")}, "resource": {each.text}}}' for each in resources
    ]
    return _whole({"resourceType": "Bundle", "type": "collection", "timestamp": instant(datetime.now(UTC))}, entries)


def _entry(base: str, stored: Stored, mode: str, elements: Sequence[str]) -> str:
    url = json.dumps(f"{base}/{stored.type}/{stored.id}")
    text = _subset(stored, elements) if elements else stored.text
    return f'{{"fullUrl": {url}, "resource": {text}, "search": {{"mode": "{mode}"}}}}'


def _subset(stored: Stored, elements: Sequence[str]) -> str:
    """The elements asked for, and those that a resource cannot be without; marked as a part (R4 3.1.1.5.9)."""
    content = stored.content
    part = {name: value for name, value in content.items() if name in _ALWAYS or name in elements}
    meta = dict(content.get("meta", {}))
    part["meta"] = {**meta, "tag": [*meta.get("tag", ()), SUBSETTED]}
    return json.dumps(part, ensure_ascii=False)


def _whole(head: Json, entries: Sequence[str]) -> str:
    text = json.dumps(head)
    # R4 knows no empty lists.
    return f'{text[:-1]}, "entry": [{", ".join(entries)}]}}' if entries else text
