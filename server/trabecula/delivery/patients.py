"""Whose result it is at the destination: exactly one active patient with that identifier, or a person must look.

Nothing is ever matched by name, sex or date of birth.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.destinations import PatientSystem
from trabecula.delivery.resource_set import Json, has_identifier, map_references, parse_literal

Search = Callable[[str, dict[str, str]], Awaitable[list[Json]]]
"""Resources that a search for a type finds, all pages."""
Read = Callable[[str, str], Awaitable[Json | None]]
"""A resource by type and id; None when it is not there."""

MOST_MATCHES: Final = 20


def patient_identifier(resources: Sequence[Json]) -> tuple[str, str | None]:
    """The Patient ID that the study bears and its issuer, as the result's resources name it.

    Raises:
        Setback: PARK when they name none, or several.
    """
    found = {_named(reference) for resource in resources for reference in patient_references(resource)}
    named = {each for each in found if each is not None}
    if not named:
        raise Setback(Verdict.PARK, "patient-not-identified")
    if len(named) > 1:
        raise Setback(Verdict.PARK, "patient-ambiguous")
    return named.pop()


def patient_references(resource: Json) -> list[Json]:
    """References to a Patient in a resource."""
    found: list[Json] = []

    def keep(reference: Json) -> Json:
        if is_patient(reference):
            found.append(reference)
        return reference

    map_references(resource, keep)
    return found


def is_patient(reference: Json) -> bool:
    key = parse_literal(str(reference.get("reference", "")))
    return (key is not None and key[0] == "Patient") or reference.get("type") == "Patient"


def _named(reference: Json) -> tuple[str, str | None] | None:
    identifier = reference.get("identifier")
    if not isinstance(identifier, dict) or not identifier.get("value"):
        return None
    assigner = identifier.get("assigner")
    issuer = assigner.get("display") if isinstance(assigner, dict) else None
    return str(identifier["value"]), None if issuer is None else str(issuer)


def bound_to(resources: Sequence[Json], patient_id: str) -> tuple[Json, ...]:
    """The resources with every reference to the patient pointing at the one that was found."""

    def bind(reference: Json) -> Json:
        if not is_patient(reference):
            return reference
        kept = {name: value for name, value in reference.items() if name in ("identifier", "display")}
        return {"reference": f"Patient/{patient_id}", "type": "Patient", **kept}

    return tuple(map_references(resource, bind) for resource in resources)


def systems_for(issuer: str | None, systems: Sequence[PatientSystem]) -> list[str]:
    """Identifier systems to search: those of the study's issuer, else those for any study."""
    of_issuer = [each.system for each in systems if issuer is not None and each.issuer == issuer]
    return of_issuer or [each.system for each in systems if each.issuer is None]


async def find_patient(
    value: str, issuer: str | None, systems: Sequence[PatientSystem], search: Search, read: Read
) -> str:
    """Id of the patient at the destination.

    A record that was merged into another one is followed once. Every system that applies is asked: two patients found
    in two systems are as ambiguous as two in one.

    Raises:
        Setback: PARK with ``patient-issuer-unknown``, ``patient-not-found``, ``patient-inactive`` or
            ``patient-ambiguous``; whatever ``search`` and ``read`` raise.
    """
    asked = systems_for(issuer, systems)
    if not asked:
        raise Setback(Verdict.PARK, "patient-issuer-unknown")
    if any(c in value for c in "|,$\\") or not value.isprintable():
        raise Setback(Verdict.PARK, "patient-identifier-unusable")
    found: dict[str, Json] = {}
    for system in asked:
        answers = await search("Patient", {"identifier": f"{system}|{value}", "_count": str(MOST_MATCHES)})
        # A server that does not know the parameter gives everybody
        found |= {str(each["id"]): each for each in answers if has_identifier(each, (system, value)) and _has_id(each)}
    if not found:
        raise Setback(Verdict.PARK, "patient-not-found")
    return await _the_one(found, read)


async def _the_one(found: dict[str, Json], read: Read) -> str:
    current: dict[str, Json] = {}
    for each in found.values():
        survivor = _replaced_by(each)
        if survivor is None:
            current[str(each["id"])] = each
            continue
        merged = current.get(survivor) or found.get(survivor) or await read("Patient", survivor)
        if merged is None or _replaced_by(merged) is not None:
            raise Setback(Verdict.PARK, "patient-merged-unclear")
        current[survivor] = merged
    active = [identity for identity, each in current.items() if each.get("active") is not False]
    if not active:
        raise Setback(Verdict.PARK, "patient-inactive")
    if len(active) > 1:
        raise Setback(Verdict.PARK, "patient-ambiguous")
    return active[0]


def _has_id(patient: Json) -> bool:
    """Whether its id can be part of a reference."""
    return isinstance(patient.get("id"), str) and parse_literal(f"Patient/{patient['id']}") is not None


def _replaced_by(patient: Json) -> str | None:
    """Id of the record that replaces this one.

    Raises:
        Setback: PARK when it names several, or one on another server.
    """
    listed = patient.get("link")
    links = [
        link
        for link in (listed if isinstance(listed, list) else ())
        if isinstance(link, dict) and link.get("type") == "replaced-by"
    ]
    if not links:
        return None
    keys = {_target(link) for link in links}
    only: Any = keys.pop()
    if keys or only is None or only[0] != "Patient":
        raise Setback(Verdict.PARK, "patient-merged-unclear")
    return str(only[1])


def _target(link: Json) -> tuple[str, str] | None:
    other = link.get("other")
    return parse_literal(str(other.get("reference", ""))) if isinstance(other, dict) else None
