"""What a destination can do, by its CapabilityStatement, and the way of writing that follows from it.

The ladder, best first (docs/delivery.md): a transaction of PUTs; single PUTs; transactions of conditional creates;
single conditional creates; one DiagnosticReport with the observations inside; one DocumentReference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from trabecula.delivery.answers import Setback, Verdict

Json = dict[str, Any]


class Rung(StrEnum):
    """Ways of writing a set of resources, best first."""

    TRANSACTION_PUT = "transaction-put"
    """One transaction, every entry ``PUT Type/<our id>``: whole or not at all, and safe to repeat."""
    SINGLE_PUT = "single-put"
    """``PUT Type/<our id>`` one after another: safe to repeat, half of it may stand for a while."""
    TRANSACTION_CREATE = "transaction-create"
    """Transactions of ``POST`` with ``ifNoneExist``, a few entries each."""
    SINGLE_CREATE = "single-create"
    """``POST`` with ``If-None-Exist`` one after another."""
    CONTAINED_REPORT = "contained-report"
    """One DiagnosticReport with the observations inside."""
    DOCUMENT = "document"
    """One DocumentReference with the report page."""

    @property
    def server_ids(self) -> bool:
        """Whether the server gives the ids, so that two writers at once could make duplicates."""
        return self not in (Rung.TRANSACTION_PUT, Rung.SINGLE_PUT)


@dataclass(frozen=True)
class TypeCapability:
    """What may be done with one resource type."""

    read: bool = False
    search: bool = False
    create: bool = False
    update: bool = False
    update_create: bool = False
    conditional_create: bool = False

    @property
    def puts(self) -> bool:
        return self.update and self.update_create


@dataclass(frozen=True)
class Capability:
    """A CapabilityStatement as far as delivery cares."""

    fhir_version: str
    software: str
    transactions: bool
    types: Mapping[str, TypeCapability]

    def of(self, resource_type: str) -> TypeCapability:
        return self.types.get(resource_type, TypeCapability())

    def writable(self, resource_type: str) -> bool:
        found = self.of(resource_type)
        return found.puts or found.create


NEEDED: Final = ("DiagnosticReport", "Observation")
"""Without these two there is no result in FHIR terms; every other type may be left out where it cannot be written."""


def parse_capability(statement: Json) -> Capability:
    """Read a CapabilityStatement.

    Raises:
        Setback: PARK when it is not one of an R4 server.
    """
    version = str(statement.get("fhirVersion", ""))
    if statement.get("resourceType") != "CapabilityStatement" or not version.startswith("4.0"):
        raise Setback(Verdict.PARK, "not-r4")
    rests = [rest for rest in _objects(statement.get("rest")) if rest.get("mode", "server") == "server"]
    system = {code for rest in rests for code in _codes(rest)}
    types = {str(each.get("type")): _type(each) for rest in rests for each in _objects(rest.get("resource"))}
    software = statement.get("software")
    name = software.get("name") if isinstance(software, dict) else None
    return Capability(version, str(name or "")[:120], "transaction" in system, types)


def _type(each: Json) -> TypeCapability:
    codes = _codes(each)
    return TypeCapability(
        read="read" in codes,
        search="search-type" in codes,
        create="create" in codes,
        update="update" in codes,
        update_create=each.get("updateCreate") is True,
        conditional_create=each.get("conditionalCreate") is True,
    )


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _codes(holder: Json) -> set[str]:
    return {str(item.get("code")) for item in _objects(holder.get("interaction"))}


@dataclass(frozen=True)
class Plan:
    """How one set goes to one destination."""

    rung: Rung
    left_out: frozenset[str] = frozenset()
    """Resource types that the destination does not take."""


def plan_for(capability: Capability, types: Collection[str], refused: Collection[Rung] = ()) -> Plan:
    """The best rung for a set with these types, among those the server has not refused by deed.

    Raises:
        Setback: PARK when nothing that carries the result can be written.
    """
    unwritable = frozenset(each for each in types if not capability.writable(each))
    sent = [each for each in types if each not in unwritable]
    whole = not any(each in unwritable for each in NEEDED if each in types)
    for rung in Rung:
        if rung not in refused and _can(rung, capability, sent, whole):
            lower = rung in (Rung.CONTAINED_REPORT, Rung.DOCUMENT)
            return Plan(rung, frozenset() if lower else unwritable)
    raise Setback(Verdict.PARK, "nothing-writable")


def _can(rung: Rung, capability: Capability, sent: Collection[str], whole: bool) -> bool:
    puts = all(capability.of(each).puts for each in sent)
    creates = all(capability.of(each).create for each in sent)
    match rung:
        case Rung.TRANSACTION_PUT:
            return whole and puts and capability.transactions
        case Rung.SINGLE_PUT:
            return whole and puts
        case Rung.TRANSACTION_CREATE:
            conditional = all(capability.of(each).conditional_create for each in sent)
            return whole and creates and conditional and capability.transactions
        case Rung.SINGLE_CREATE:
            return whole and creates
        case Rung.CONTAINED_REPORT:
            return capability.writable("DiagnosticReport")
        case Rung.DOCUMENT:
            return capability.writable("DocumentReference")
    raise AssertionError(rung)


def capability_document(capability: Capability) -> Json:
    """As kept in the database."""
    kinds = ("read", "search", "create", "update", "update_create", "conditional_create")
    return {
        "fhir_version": capability.fhir_version,
        "software": capability.software,
        "transactions": capability.transactions,
        "types": {
            name: [kind for kind in kinds if getattr(found, kind)] for name, found in sorted(capability.types.items())
        },
    }


def capability_from(document: Json) -> Capability:
    """What :func:`capability_document` wrote."""
    types = {name: TypeCapability(**dict.fromkeys(kinds, True)) for name, kinds in document["types"].items()}
    return Capability(document["fhir_version"], document["software"], document["transactions"], types)
