"""What the facade can do, as tables. Routing, the CapabilityStatement and the API page are made from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trabecula.record.parameters import PARAMETERS, Kind, SearchParameter, parameters_of

FHIR_VERSION: Final = "4.0.1"


class Interaction(StrEnum):
    """R4 type-restful-interaction."""

    READ = "read"
    VREAD = "vread"
    HISTORY = "history-instance"
    SEARCH = "search-type"


_ALL: Final = (Interaction.READ, Interaction.VREAD, Interaction.HISTORY, Interaction.SEARCH)

RECORD_TYPES: Final[dict[str, tuple[Interaction, ...]]] = {
    **{name: _ALL for name in PARAMETERS if name != "AuditEvent"},
    "AuditEvent": (Interaction.READ, Interaction.SEARCH),
}
"""Types that are kept in the record."""

ARTEFACT_TYPES: Final = (
    "ActivityDefinition",
    "CapabilityStatement",
    "CodeSystem",
    "ImplementationGuide",
    "OperationDefinition",
    "PlanDefinition",
    "SearchParameter",
    "StructureDefinition",
    "ValueSet",
)
"""Types of the guide that travels with the program; they hold no patient data and are open to all."""

ARTEFACT_INTERACTIONS: Final = (Interaction.READ, Interaction.SEARCH)
ARTEFACT_PARAMETERS: Final = ("url", "version", "name", "status")
"""Beside ``_id``."""

RESULT_PARAMETERS: Final = ("_count", "_sort", "_include", "_revinclude", "_total", "_summary", "_elements")
IGNORED_PARAMETERS: Final = frozenset({"_format", "_pretty"})
"""Carry no criterion: the first is negotiated, the second is of no consequence."""

SORT_FIELDS: Final = ("_lastUpdated", "and the main date of the type")
MAX_COUNT: Final = 200
DEFAULT_COUNT: Final = 20


@dataclass(frozen=True)
class Operation:
    """One named operation."""

    name: str
    resource_type: str
    on_type: bool
    on_instance: bool
    methods: tuple[str, ...]
    definition: str
    """Canonical address; one that begins with ``/`` lies below the site's own base."""


OPERATIONS: Final = (
    Operation("screen-bone", "ImagingStudy", True, True, ("POST",), "/OperationDefinition/screen-bone"),
    Operation(
        "apply",
        "PlanDefinition",
        False,
        True,
        ("GET", "POST"),
        "http://hl7.org/fhir/OperationDefinition/PlanDefinition-apply",
    ),
)


def main_date(resource_type: str) -> str | None:
    """Name of the date parameter of a type."""
    return next((each.name for each in PARAMETERS.get(resource_type, ()) if each.kind is Kind.DATE), None)


def references(resource_type: str) -> tuple[SearchParameter, ...]:
    """Parameters that ``_include`` can follow: those to types that are kept here."""
    found = parameters_of(resource_type).values()
    return tuple(
        each
        for each in found
        if each.kind is Kind.REFERENCE
        and any(target in RECORD_TYPES for target in each.targets)
        and each.paths != ("",)
    )


def includes(resource_type: str) -> tuple[str, ...]:
    """``Type:parameter`` of each include."""
    return tuple(f"{resource_type}:{each.name}" for each in references(resource_type))


def reverse_includes(resource_type: str) -> tuple[str, ...]:
    """``Type:parameter`` of each include from elsewhere to this type."""
    return tuple(
        f"{source}:{each.name}"
        for source in RECORD_TYPES
        if source != "AuditEvent"
        for each in references(source)
        if resource_type in each.targets
    )
