"""A set of FHIR resources on its way out, and what is done to it: identity, references, order, merging.

Inside a set every reference between its resources reads ``Type/id`` with our own ids; how they are written to a
server is the ladder's affair (:mod:`trabecula.delivery.ladder`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]
Key = tuple[str, str]
"""Resource type and our id."""

URN: Final = "urn:uuid:"
URI_SYSTEM: Final = "urn:ietf:rfc:3986"
_LITERAL: Final = re.compile(
    r"(?P<type>[A-Z][A-Za-z]{2,39})/(?P<id>[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?"
)


def key_of(resource: Json) -> Key:
    return (str(resource["resourceType"]), str(resource["id"]))


def parse_literal(reference: str) -> Key | None:
    """Type and id of a relative reference, its version left out; None for any other."""
    found = _LITERAL.fullmatch(reference)
    return None if found is None else (found["type"], found["id"])


def from_bundle(bundle: Json) -> tuple[Json, ...]:
    """The resources of a bundle, references between them as ``Type/id``.

    AuditEvents stay here: they are this service's own account of itself.
    """
    resources = [e["resource"] for e in bundle.get("entry", ()) if e["resource"]["resourceType"] != "AuditEvent"]
    types = {f"{URN}{resource['id']}": str(resource["resourceType"]) for resource in resources}

    def literal(reference: Json) -> Json:
        target = str(reference.get("reference", ""))
        if target in types:
            return {**reference, "reference": f"{types[target]}/{target.removeprefix(URN)}"}
        found = parse_literal(target)
        return reference if found is None else {**reference, "reference": "/".join(found)}

    return tuple(map_references(resource, literal) for resource in resources)


def map_references(value: Any, change: Callable[[Json], Json]) -> Any:
    """A copy in which every Reference went through ``change``.

    A Reference is an object with a text ``reference``, or with ``identifier`` or ``display`` and a ``type`` beside it.
    """
    if isinstance(value, list):
        return [map_references(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    if _is_reference(value):
        return change(value)
    return {name: map_references(item, change) for name, item in value.items()}


def _is_reference(value: Json) -> bool:
    if "resourceType" in value:
        return False
    if isinstance(value.get("reference"), str):
        return True
    return isinstance(value.get("type"), str) and ("identifier" in value or "display" in value)


def references_of(resource: Json) -> list[Json]:
    """Every Reference in a resource, in order."""
    found: list[Json] = []

    def keep(reference: Json) -> Json:
        found.append(reference)
        return reference

    map_references(resource, keep)
    return found


def targets_of(resource: Json) -> list[Key]:
    """What a resource points at with a literal reference."""
    keys = (parse_literal(str(reference.get("reference", ""))) for reference in references_of(resource))
    return [key for key in keys if key is not None]


def in_order(resources: Sequence[Json]) -> tuple[Json, ...]:
    """What is referred to first; in a circle the set's own order decides."""
    known = {key_of(resource): resource for resource in resources}
    done: dict[Key, Json] = {}

    def place(key: Key, above: frozenset[Key]) -> None:
        if key in done or key in above or key not in known:
            return
        for target in targets_of(known[key]):
            place(target, above | {key})
        done[key] = known[key]

    for resource in resources:
        place(key_of(resource), frozenset())
    return tuple(done.values())


def in_chunks(resources: Sequence[Json], size: int) -> list[tuple[Json, ...]]:
    """Pieces of at most ``size``, what is referred to in the same piece or an earlier one."""
    ordered = in_order(resources)
    return [tuple(ordered[at : at + size]) for at in range(0, len(ordered), size)]


def merged(older: Sequence[Json], newer: Sequence[Json]) -> tuple[Json, ...]:
    """All of both; where both have a resource, the newer one."""
    return tuple({key_of(resource): resource for resource in (*older, *newer)}.values())


def without_types(resources: Sequence[Json], types: frozenset[str]) -> tuple[Json, ...]:
    """The set without some types; what pointed at them names their identifier, or drops out where they have none."""
    away = [each for each in resources if each["resourceType"] in types]
    kept = [each for each in resources if each["resourceType"] not in types]
    return tuple(_without_targets(logical_references(each, away), away) for each in kept)


def logical_references(resource: Json, away: Sequence[Json]) -> Json:
    """The resource with references to ``away`` by their identifier."""
    names = {key_of(each): _logical(each) for each in away}

    def name(reference: Json) -> Json:
        key = parse_literal(str(reference.get("reference", "")))
        return names.get(key, reference) if key else reference

    named: Json = map_references(resource, name) if names else resource
    return named


def _without_targets(resource: Json, away: Sequence[Json]) -> Json:
    """A Provenance does not speak of what is not there."""
    if resource["resourceType"] != "Provenance" or not away:
        return resource
    targets = [each for each in resource.get("target", ()) if "reference" in each]
    return {**resource, "target": targets or resource["target"]}


def without_profiles(resource: Json) -> Json:
    """The resource without the profiles it claims."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name != "profile"}
    kept = {name: value for name, value in resource.items() if name != "meta"}
    return {**kept, "meta": meta} if meta else kept


def _logical(resource: Json) -> Json:
    """Reference by identifier to a resource that is not sent."""
    first = next(iter(_identifiers(resource)), None)
    named = {} if first is None else {"identifier": first}
    return {"type": resource["resourceType"], **named, "display": f"{resource['resourceType']}, not sent"}


def _identifiers(resource: Mapping[str, Any]) -> list[Json]:
    value = resource.get("identifier", ())
    return [value] if isinstance(value, dict) else list(value)


def own_identifier(resource: Json) -> tuple[str, str] | None:
    """System and value by which a server can find this resource; None where its type has no identifier.

    Our own ``urn:uuid:`` when it is there, else the first with a system (an ImagingStudy goes by its UID).
    """
    pairs = [(str(i.get("system", "")), str(i.get("value", ""))) for i in _identifiers(resource)]
    pairs = [pair for pair in pairs if all(pair)]
    own = (URI_SYSTEM, f"{URN}{resource['id']}")
    return own if own in pairs else (pairs[0] if pairs else None)


def has_identifier(resource: Mapping[str, Any], identifier: tuple[str, str]) -> bool:
    return any((i.get("system"), i.get("value")) == identifier for i in _identifiers(resource) if isinstance(i, dict))


def is_ours(resource: Json) -> bool:
    """Whether the identifier it is found by is one that nobody else gives out."""
    return own_identifier(resource) == (URI_SYSTEM, f"{URN}{resource['id']}")


def with_references(resource: Json, places: Mapping[Key, str]) -> Json:
    """The resource with references to the keys written as ``places`` says."""

    def write(reference: Json) -> Json:
        key = parse_literal(str(reference.get("reference", "")))
        return reference if key is None or key not in places else {**reference, "reference": places[key]}

    written: Json = map_references(resource, write)
    return written


def content(resource: Json) -> Json:
    """What must be equal on the server: all but the id and what a server writes into ``meta``."""
    kept = {name: value for name, value in resource.items() if name not in ("id", "meta", "text")}
    ours = ("profile", "security", "tag")
    meta = {name: value for name, value in resource.get("meta", {}).items() if name in ours and value}
    return {**kept, "meta": meta} if meta else kept


def digest(resource: Json) -> str:
    """SHA-256 over the content, whatever the order of its members."""
    return hashlib.sha256(json.dumps(content(resource), sort_keys=True).encode()).hexdigest()


def dump(resources: Sequence[Json]) -> str:
    """As kept in the database. Python's digits go in and come out alike, so a decimal keeps its own."""
    return json.dumps({"resources": list(resources)}, ensure_ascii=False, separators=(",", ":"))


def load(text: str) -> tuple[Json, ...]:
    return tuple(json.loads(text)["resources"])
