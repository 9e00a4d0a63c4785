"""Rules of profiles: what a resource must keep beyond R4 itself, as named predicates over its JSON."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from trabecula.outputs.r4 import codes

Json = dict[str, Any]

_SYSTEM_NAMES: Final = {codes.LOINC: "LOINC", codes.SCT: "SNOMED CT"}
_UUID_URN: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Rule:
    """One rule, by the name that docs/fhir.md and error fields give it."""

    name: str
    says: str
    holds: Callable[[Json], bool]


def at(value: Any, path: str) -> list[Any]:
    """Every value at a dotted path; lists on the way are walked through."""
    found = [value]
    for name in path.split("."):
        found = [each[name] for each in found if isinstance(each, dict) and name in each]
        found = [item for each in found for item in (each if isinstance(each, list) else [each])]
    return found


def refers_to(reference: Any, *kinds: str) -> bool:
    """Whether a Reference names a resource of one of the types, by ``type`` or by its literal address."""
    if not isinstance(reference, dict):
        return False
    parts = str(reference.get("reference", "")).split("/_history/")[0].split("/")
    literal = parts[-2] if len(parts) > 1 else None
    kind = literal or reference.get("type")
    return kind in kinds


def is_patient(reference: Any) -> bool:
    """A patient by literal reference, by identifier, or marked as unknown; never an empty reference."""
    if not isinstance(reference, dict):
        return False
    unknown = any(
        extension.get("url") == codes.DATA_ABSENT_EXTENSION and extension.get("valueCode")
        for extension in reference.get("extension", ())
    )
    named = bool(reference.get("reference")) or bool(reference.get("identifier", {}).get("value")) or unknown
    return named and refers_to(reference, "Patient")


def has_code(concept: Any, system: str, code: str | None = None) -> bool:
    """Whether a CodeableConcept has a coding of the system (its address, or the tail of it), of that code if given."""
    return any(
        str(coding.get("system", "")).endswith(system) and (code is None or coding.get("code") == code)
        for coding in at(concept, "coding")
    )


def first_code(concept: Any, system: str) -> str | None:
    """Code of the first coding when it is of the project's system."""
    codings = at(concept, "coding")
    first = codings[0] if codings else {}
    return first.get("code") if str(first.get("system", "")).endswith(f"/CodeSystem/{system}") else None


def present(path: str, name: str | None = None) -> Rule:
    """Something stands at the path."""
    return Rule(name or path, f"{path} is given", lambda resource: bool(at(resource, path)))


def one_of(path: str, allowed: Collection[str], name: str | None = None) -> Rule:
    """The path holds one of these codes, once."""
    says = f"{path} is one of {', '.join(sorted(allowed))}"

    def holds(resource: Json) -> bool:
        found = at(resource, path)
        return len(found) == 1 and found[0] in allowed

    return Rule(name or path, says, holds)


def concept(path: str, system: str, code: str) -> Rule:
    """A CodeableConcept at the path has this code."""
    return Rule(
        path,
        f"{path} has {_SYSTEM_NAMES.get(system, system.rsplit('/', 1)[-1])}#{code}",
        lambda resource: any(has_code(each, system, code) for each in at(resource, path)),
    )


def reference(path: str, *kinds: str, name: str | None = None) -> Rule:
    """There is a reference at the path, and every one there is to one of these types."""
    return Rule(
        name or path,
        f"{path} refers to {' or '.join(kinds)}",
        lambda resource: bool(at(resource, path)) and all(refers_to(each, *kinds) for each in at(resource, path)),
    )


def patient(path: str) -> Rule:
    """The patient, exactly once."""
    return Rule(
        path,
        f"{path} is one patient: by reference, by identifier, or marked unknown",
        lambda resource: len(at(resource, path)) == 1 and is_patient(at(resource, path)[0]),
    )


def moment(name: str) -> Rule:
    """``name`` as a date or time, or marked as unknown (US Core asks for it on what is preliminary or final)."""
    return Rule(
        name,
        f"{name} is given or marked unknown",
        lambda resource: bool(resource.get(name)) or bool(at(resource, f"_{name}.extension.valueCode")),
    )


def _identity(resource: Json) -> bool:
    try:
        identity = uuid.UUID(str(resource.get("id")))
    except ValueError:
        return False
    return str(identity) == str(resource["id"])


def _identified(resource: Json) -> bool:
    own = f"urn:uuid:{resource.get('id')}"
    return bool(_UUID_URN.fullmatch(own)) and any(
        identifier.get("system") == codes.URI and identifier.get("value") == own
        for identifier in at(resource, "identifier")
    )


IDENTITY: Final = Rule("id", "id is a UUID in lower case", _identity)
IDENTIFIER: Final = Rule("identifier", "an identifier of system urn:ietf:rfc:3986 repeats the id", _identified)
AI_LABEL: Final = Rule(
    "ai-label",
    "meta.security has AIAST",
    lambda resource: any(
        label.get("system") == codes.OBSERVATION_VALUE and label.get("code") == "AIAST"
        for label in at(resource, "meta.security")
    ),
)
