"""Writing a set of resources to a FHIR server, one way for each rung.

Whatever an earlier attempt left behind, another one ends with exactly one copy of each resource: by our own ids where
the server takes them, else by what it acknowledged, by search on the identifier, and by conditional create.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import quote

from trabecula.delivery.answers import Answer, Setback, Verdict
from trabecula.delivery.capability import Capability, Rung
from trabecula.delivery.destinations import Limits
from trabecula.delivery.fallback import contained_report, document_reference
from trabecula.delivery.fhir_client import FhirClient, accepted, body_id, created_id, location_id
from trabecula.delivery.resource_set import (
    URN,
    Json,
    Key,
    digest,
    has_identifier,
    in_chunks,
    in_order,
    is_ours,
    key_of,
    logical_references,
    own_identifier,
    with_references,
)
from trabecula.delivery.transport import resource_in

MINIMAL: Final = {"prefer": "return=minimal"}


@dataclass(frozen=True)
class Known:
    """A resource of ours that the server has acknowledged."""

    server_id: str
    digest: str
    """Of what it holds, as we wrote it; empty where it is not ours to change."""


class Memory(Protocol):
    """What the servers that give ids of their own have acknowledged; outlives the process."""

    async def recall(self, keys: Sequence[Key]) -> Mapping[Key, Known]: ...

    async def remember(self, key: Key, known: Known) -> None: ...


@dataclass
class Ladder:
    """One attempt at one destination."""

    client: FhirClient
    capability: Capability
    limits: Limits
    memory: Memory
    places: dict[Key, str] = field(default_factory=dict)
    """``Type/id`` at the server, for what has been written."""

    async def write(self, rung: Rung, resources: Sequence[Json], pdf: bytes | None = None) -> frozenset[str]:
        """Write the set; gives the types that this rung leaves behind.

        Raises:
            Setback: as soon as one part does not get through; what was written stays and is found again.
        """
        match rung:
            case Rung.TRANSACTION_PUT:
                for chunk in in_chunks(resources, self.limits.max_transaction_entries):
                    await self._transaction([self._put_entry(each) for each in chunk])
            case Rung.SINGLE_PUT:
                for each in in_order(resources):
                    await self._put(each, each["id"])
            case Rung.TRANSACTION_CREATE:
                await self._create_all(resources, self.limits.max_conditional_entries)
            case Rung.SINGLE_CREATE:
                await self._create_all(resources, 1)
            case Rung.CONTAINED_REPORT:
                report, behind = contained_report(resources)
                await self._write_one(report)
                return behind
            case Rung.DOCUMENT:
                document = document_reference(resources, pdf)
                await self._write_one(document)
                return frozenset(each["resourceType"] for each in resources)
        return frozenset()

    async def _write_one(self, resource: Json) -> None:
        if self.capability.of(resource["resourceType"]).puts:
            await self._put(resource, resource["id"])
        else:
            await self._create_all([resource], 1)

    # our own ids

    def _put_entry(self, resource: Json) -> Json:
        path = "/".join(key_of(resource))
        # With an absolute fullUrl, "Type/id" refers to the entry of that name (R4 2.36.4.1)
        return {
            "fullUrl": f"{self.client.base}/{path}",
            "resource": resource,
            "request": {"method": "PUT", "url": path},
        }

    async def _put(self, resource: Json, identity: str) -> Answer:
        kind = resource["resourceType"]
        return await self.client.write(
            "PUT", f"{kind}/{identity}", {**resource, "id": identity}, headers=MINIMAL, resource_type=kind
        )

    async def _transaction(self, entries: Sequence[Json]) -> list[Json]:
        """The entries of the answer; each of them has to be a success, for some servers take it for a batch."""
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}
        answer = await self.client.call("POST", "", body=bundle, headers=MINIMAL)
        if answer.status == 404:
            raise Setback(Verdict.LOWER, "not-found", status=404, outcome=answer.outcome)
        found = resource_in(accepted(answer, self.client.clock()), "Bundle").get("entry", [])
        if not isinstance(found, list) or len(found) != len(entries):
            raise Setback(Verdict.RETRY, "answer-unusable", status=answer.status)
        for each in found:
            accepted(_entry_answer(each), self.client.clock())
        return found

    # ids of the server

    async def _create_all(self, resources: Sequence[Json], size: int) -> None:
        known = await self.memory.recall([key_of(each) for each in resources])
        self.places |= {key: f"{key[0]}/{each.server_id}" for key, each in known.items()}
        whole = {key_of(each): each for each in resources}
        for chunk in in_chunks(resources, size):
            # what a circle of references leaves unwritten goes by its identifier
            later = [each for key, each in whole.items() if key not in self.places and each not in chunk]
            missing = []
            for each in chunk:
                plain = logical_references(each, later)
                if not await self._is_there(plain, known.get(key_of(each))):
                    missing.append(plain)
            if missing and size > 1:
                await self._create_in_transaction(missing)
            for each in missing if size == 1 else ():
                await self._create(each)

    async def _is_there(self, resource: Json, known: Known | None) -> bool:
        """Whether the server has it; brings it up to date where it is ours and differs."""
        key, written = key_of(resource), with_references(resource, self.places)
        if known is not None:
            if known.digest and known.digest != digest(written):
                await self._update(written, known.server_id)
            return True
        found = await self._find(written)
        if found is None:
            return False
        server_id = str(found["id"])
        self.places[key] = f"{key[0]}/{server_id}"
        if not is_ours(resource) and key[0] != "Provenance":
            await self.memory.remember(key, Known(server_id, ""))
        elif digest(found) == digest(written):
            await self.memory.remember(key, Known(server_id, digest(written)))
        else:
            await self._update(written, server_id)
        return True

    async def _update(self, written: Json, server_id: str) -> None:
        kind = written["resourceType"]
        if not self.capability.of(kind).update:
            raise Setback(Verdict.PARK, "update-not-supported", resource_type=kind)
        await self._put(written, server_id)
        await self.memory.remember(key_of(written), Known(server_id, digest(written)))

    async def _find(self, written: Json) -> Json | None:
        """The server's copy of a resource, by its identifier; a Provenance by what it is about."""
        kind, identifier = written["resourceType"], own_identifier(written)
        able = self.capability.of(kind)
        if identifier is None:
            return await self._find_provenance(written)
        if not able.search:
            if able.conditional_create:
                return None
            raise Setback(Verdict.LOWER, "duplicates-unavoidable", resource_type=kind)
        answers = await self.client.search(kind, {"identifier": "|".join(identifier)})
        return _only([each for each in answers if has_identifier(each, identifier)])

    async def _find_provenance(self, written: Json) -> Json | None:
        kind = written["resourceType"]
        targets = [str(each.get("reference", "")) for each in written.get("target", ())]
        about = next((each for each in targets if each.startswith("DiagnosticReport/")), targets[0] if targets else "")
        if kind != "Provenance" or not about or not self.capability.of(kind).search:
            raise Setback(Verdict.LOWER, "duplicates-unavoidable", resource_type=kind)
        answers = await self.client.search(kind, {"target": about})
        return _only([each for each in answers if _same_act(each, written)])

    async def _create(self, resource: Json) -> None:
        kind, identifier = resource["resourceType"], own_identifier(resource)
        written = with_references(resource, self.places)
        conditional = identifier is not None and self.capability.of(kind).conditional_create
        headers = {**MINIMAL, **({"if-none-exist": _criterion(identifier)} if conditional and identifier else {})}
        answer = await self.client.write("POST", kind, _without_id(written), headers=headers, resource_type=kind)
        await self._acknowledge(written, created_id(answer, kind))

    async def _create_in_transaction(self, resources: Sequence[Json]) -> None:
        inside = {key_of(each): _entry_url(each) for each in resources}
        # A Provenance is found by its targets, which have to stand first; nothing refers to one
        late = [each for each in resources if own_identifier(each) is None]
        sent = [each for each in resources if own_identifier(each) is not None]
        if sent:
            entries = [_create_entry(each, {**self.places, **inside}) for each in sent]
            answers = await self._transaction(entries)
            for each, answer in zip(sent, answers, strict=True):
                kind = each["resourceType"]
                server_id = location_id(_response(answer).get("location"), kind) or body_id(
                    answer.get("resource"), kind
                )
                await self._acknowledge(each, server_id)
        for each in late:
            if not await self._is_there(each, None):
                await self._create(each)

    async def _acknowledge(self, resource: Json, server_id: str | None) -> None:
        key = key_of(resource)
        if server_id is None:
            found = await self._find(with_references(resource, self.places))
            if found is None:
                raise Setback(Verdict.RETRY, "answer-unusable")
            server_id = str(found["id"])
        self.places[key] = f"{key[0]}/{server_id}"
        written = with_references(resource, self.places)
        await self.memory.remember(key, Known(server_id, digest(written) if is_ours(resource) else ""))


def _same_act(one: Json, other: Json) -> bool:
    """Whether two Provenances about the same target tell of the same act."""
    try:
        moments = [datetime.fromisoformat(str(each.get("recorded"))) for each in (one, other)]
    except ValueError:
        return False
    acts = [each["activity"].get("coding") if isinstance(each.get("activity"), dict) else None for each in (one, other)]
    return moments[0] == moments[1] and acts[0] == acts[1]


def _entry_answer(entry: Any) -> Answer:
    response = _response(entry)
    status = str(response.get("status", ""))[:3]
    outcome = response.get("outcome")
    return Answer(
        int(status) if re.fullmatch("[1-5][0-9]{2}", status) else 502, outcome if isinstance(outcome, dict) else None
    )


def _response(entry: Any) -> Json:
    found = entry.get("response") if isinstance(entry, dict) else None
    return found if isinstance(found, dict) else {}


def _create_entry(resource: Json, places: Mapping[Key, str]) -> Json:
    identifier = own_identifier(resource)
    condition = {} if identifier is None else {"ifNoneExist": _criterion(identifier)}
    return {
        "fullUrl": _entry_url(resource),
        "resource": _without_id(with_references(resource, places)),
        "request": {"method": "POST", "url": resource["resourceType"], **condition},
    }


def _entry_url(resource: Json) -> str:
    """A name for the time of one transaction. Not our identifier: servers write the new id wherever the name stands."""
    return f"{URN}{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(key_of(resource)))}"


def _criterion(identifier: tuple[str, str]) -> str:
    return f"identifier={quote(identifier[0], safe=':/.')}|{quote(identifier[1], safe=':/.')}"


def _without_id(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name != "id"}


def _only(found: Sequence[Json]) -> Json | None:
    if len({str(each.get("id")) for each in found}) > 1:
        raise Setback(Verdict.PARK, "several-matches")
    return found[0] if found and body_id(found[0], str(found[0].get("resourceType"))) else None
