"""By what each type of resource can be searched: one table, read by writing, searching and the CapabilityStatement.

Names are those of R4 search parameters. Those that R4 does not have are marked ``own`` and are defined in ``fhir/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from trabecula.record.dates import Period, period_of
from trabecula.record.keys import (
    any_system_key,
    code_key,
    identifier_parameter,
    reference_id_key,
    reference_key,
    token_keys,
)

Json = dict[str, Any]


class Kind(StrEnum):
    """R4 types of search parameters that are used here."""

    TOKEN = "token"  # noqa: S105 - a type of search parameter  # nosec B105
    REFERENCE = "reference"
    DATE = "date"
    URI = "uri"


@dataclass(frozen=True)
class SearchParameter:
    name: str
    kind: Kind
    paths: tuple[str, ...]
    """Elements, with dots between; choice types by their JSON names."""
    targets: tuple[str, ...] = ()
    """For references: types that they may point to."""
    own: bool = False
    """Not in R4."""


def _token(name: str, *paths: str, own: bool = False) -> SearchParameter:
    return SearchParameter(name, Kind.TOKEN, paths or (name,), own=own)


def _reference(name: str, *paths: str, targets: tuple[str, ...], own: bool = False) -> SearchParameter:
    return SearchParameter(name, Kind.REFERENCE, paths or (name,), targets, own)


def _date(name: str, *paths: str) -> SearchParameter:
    return SearchParameter(name, Kind.DATE, paths or (name,))


def _patient(path: str = "subject") -> tuple[SearchParameter, ...]:
    return (
        _reference("patient", path, targets=("Patient",)),
        *((_reference("subject", path, targets=("Patient",)),) if path != "patient" else ()),
    )


COMMON: Final = (
    _token("_security", "meta.security"),
    SearchParameter("_profile", Kind.URI, ("meta.profile",)),
    _token("_tag", "meta.tag"),
)
"""For every type, beside ``_id`` and ``_lastUpdated``."""

_IDENTIFIER: Final = _token("identifier")
_STATUS: Final = _token("status")
_CODE: Final = _token("code")
_CATEGORY: Final = _token("category")

PARAMETERS: Final[Mapping[str, tuple[SearchParameter, ...]]] = {
    "Observation": (
        *_patient(),
        _IDENTIFIER,
        _CODE,
        _CATEGORY,
        _STATUS,
        _date("date", "effectiveDateTime", "effectivePeriod", "effectiveInstant"),
        _token("value-concept", "valueCodeableConcept"),
        _token("data-absent-reason", "dataAbsentReason"),
        _token("component-code", "component.code"),
        _token("component-value-concept", "component.valueCodeableConcept"),
        _reference("device", targets=("Device",)),
        _reference("part-of", "partOf", targets=("ImagingStudy",)),
        _reference("derived-from", "derivedFrom", targets=("Observation", "ImagingStudy")),
    ),
    "DiagnosticReport": (
        *_patient(),
        _IDENTIFIER,
        _CODE,
        _CATEGORY,
        _STATUS,
        _date("date", "effectiveDateTime", "effectivePeriod"),
        _token("conclusion", "conclusionCode"),
        _reference("result", targets=("Observation",)),
        _reference("imaging-study", "imagingStudy", targets=("ImagingStudy",), own=True),
    ),
    "RiskAssessment": (
        *_patient(),
        _IDENTIFIER,
        _token("method"),
        _token("risk", "prediction.qualitativeRisk"),
        _date("date", "occurrenceDateTime", "occurrencePeriod"),
        _reference("performer", targets=("Device",)),
    ),
    "ServiceRequest": (
        *_patient(),
        _IDENTIFIER,
        _CODE,
        _CATEGORY,
        _STATUS,
        _token("intent"),
        _token("priority"),
        _date("authored", "authoredOn"),
        _reference("requester", targets=("Device",)),
        SearchParameter("instantiates-canonical", Kind.URI, ("instantiatesCanonical",)),
    ),
    "ImagingStudy": (
        *_patient(),
        _IDENTIFIER,
        _STATUS,
        _token("modality", "series.modality"),
        _token("series", "series.uid"),
        _date("started"),
    ),
    "DetectedIssue": (
        *_patient("patient"),
        _IDENTIFIER,
        _CODE,
        _date("identified", "identifiedDateTime", "identifiedPeriod"),
        _reference("author", targets=("Device",)),
        _reference("implicated", targets=("Observation", "DiagnosticReport", "ImagingStudy")),
    ),
    "Task": (
        *_patient("for"),
        _IDENTIFIER,
        _CODE,
        _STATUS,
        _token("business-status", "businessStatus"),
        _token("intent"),
        _token("priority"),
        _date("authored-on", "authoredOn"),
        _reference("focus", targets=("ServiceRequest", "DiagnosticReport")),
        _reference("based-on", "basedOn", targets=("ServiceRequest",)),
        _reference("owner", targets=("Organization", "Practitioner")),
        _reference("requester", targets=("Device",)),
    ),
    "Provenance": (
        # The patient of what it is about; it has no element of its own for it (see keys_of).
        _reference("patient", "", targets=("Patient",)),
        _reference(
            "target",
            targets=("Observation", "DiagnosticReport", "RiskAssessment", "ServiceRequest", "DetectedIssue", "Task"),
        ),
        _reference("agent", "agent.who", targets=("Device", "Practitioner", "Organization")),
        _reference("entity", "entity.what", targets=("ImagingStudy", "DocumentReference", "DiagnosticReport")),
        _token("agent-type", "agent.type"),
        _date("recorded"),
    ),
    "DocumentReference": (
        *_patient(),
        _IDENTIFIER,
        _STATUS,
        _token("type"),
        _CATEGORY,
        _date("date"),
    ),
    "Device": (
        _IDENTIFIER,
        _STATUS,
        _token("type"),
    ),
    "CommunicationRequest": (
        *_patient(),
        _IDENTIFIER,
        _STATUS,
        _CATEGORY,
        _date("authored", "authoredOn"),
    ),
    "AuditEvent": (
        _reference("patient", "", targets=("Patient",)),
        _date("date", "recorded"),
        _token("type"),
        _token("subtype"),
        _token("action"),
        _token("outcome"),
        _reference("agent", "agent.who", targets=("Practitioner", "Device", "Patient")),
        _reference("entity", "entity.what", targets=("Patient",)),
    ),
}

_OFTEN: Final = frozenset({"device", "performer", "requester", "author", "owner", "agent"})


def is_selective(parameter: SearchParameter) -> bool:
    """Whether few resources have a given value of it."""
    return parameter.name in ("identifier", "series") or (
        parameter.kind is Kind.REFERENCE and parameter.name not in _OFTEN
    )


OF_NO_PATIENT: Final = frozenset({"Device"})
"""Types that say nothing of any patient."""


def parameters_of(resource_type: str) -> Mapping[str, SearchParameter]:
    """All parameters of a type by name, but ``_id`` and ``_lastUpdated``."""
    return {each.name: each for each in (*PARAMETERS.get(resource_type, ()), *COMMON)}


@dataclass(frozen=True)
class FoundBy:
    """What a resource is found by."""

    keys: tuple[UUID, ...]
    period: Period | None
    status: str | None
    patient_reference: str | None
    patient_identifier: str | None


def found_by(resource: Json, about: Sequence[FoundBy] = ()) -> FoundBy:
    """Keys, main period and patient of a resource.

    Args:
        about: of the resources that it is about, for types without a patient of their own.
    """
    keys: dict[UUID, None] = {}
    main: Period | None = None
    for parameter in parameters_of(str(resource.get("resourceType"))).values():
        values = [value for path in parameter.paths if path for value in values_at(resource, path)]
        if parameter.kind is Kind.DATE:
            main = main or next((found for value in values if (found := period_of(value))), None)
            continue
        for value in values:
            keys |= dict.fromkeys(_keys(parameter, value))
    subject = patient_of(resource)
    reference, identifier = _patient_names(subject)
    if subject is None:
        patient = PARAMETERS["Provenance"][0]
        for other in about:
            reference, identifier = reference or other.patient_reference, identifier or other.patient_identifier
            keys |= dict.fromkeys(patient_keys(patient.name, other.patient_reference, other.patient_identifier))
    status = resource.get("status")
    return FoundBy(tuple(keys), main, status if isinstance(status, str) else None, reference, identifier)


def patient_keys(parameter: str, reference: str | None, identifier: str | None) -> tuple[UUID, ...]:
    """Keys of a patient by reference and by ``system|value``."""
    found: list[UUID] = []
    if reference is not None:
        found += _reference_keys(parameter, reference)
    if identifier is not None:
        system, _, value = identifier.partition("|")
        found += token_keys(identifier_parameter(parameter), system, value)
    return tuple(found)


def patient_of(resource: Json) -> Json | None:
    """The reference to the patient, where the resource has one."""
    for name in ("subject", "patient", "for"):
        value = resource.get(name)
        if isinstance(value, dict):
            return value
    return None


def _patient_names(subject: Json | None) -> tuple[str | None, str | None]:
    if subject is None:
        return None, None
    reference = subject.get("reference")
    identifier = subject.get("identifier")
    named = identifier if isinstance(identifier, dict) else {}
    value = named.get("value")
    return (
        reference if isinstance(reference, str) else None,
        f"{named.get('system') or ''}|{value}" if isinstance(value, str) else None,
    )


def values_at(value: Any, path: str) -> Iterator[Any]:
    """Every value at a path, lists opened."""
    if isinstance(value, list):
        for each in value:
            yield from values_at(each, path)
        return
    if not path:
        if value is not None:
            yield value
        return
    name, _, rest = path.partition(".")
    if isinstance(value, dict) and name in value:
        yield from values_at(value[name], rest)


def _keys(parameter: SearchParameter, value: Any) -> Iterator[UUID]:
    name = parameter.name
    if parameter.kind is Kind.URI:
        if isinstance(value, str):
            yield code_key(name, "", value)
            yield code_key(name, "", value.partition("|")[0])
    elif parameter.kind is Kind.REFERENCE:
        if isinstance(value, dict):
            yield from _of_reference(name, value)
    else:
        yield from _of_token(name, value)


def _of_token(name: str, value: Any) -> Iterator[UUID]:
    """A code, boolean, Coding, CodeableConcept or Identifier."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str):
        yield any_system_key(name, value)
        yield code_key(name, "", value)
    elif isinstance(value, dict):
        for coding in values_at(value, "coding"):
            yield from _of_token(name, coding)
        code = value.get("code", value.get("value"))
        if isinstance(code, str):
            yield from token_keys(name, str(value.get("system") or ""), code)
            if code.startswith("urn:oid:"):
                # Clients write the UID of a study with and without the prefix that R4 asks for.
                yield from token_keys(name, str(value.get("system") or ""), code.removeprefix("urn:oid:"))


def _of_reference(name: str, value: Json) -> Iterator[UUID]:
    reference = value.get("reference")
    if isinstance(reference, str):
        yield from _reference_keys(name, reference)
    identifier = value.get("identifier")
    if isinstance(identifier, dict):
        yield from _of_token(identifier_parameter(name), identifier)


def _reference_keys(name: str, reference: str) -> tuple[UUID, ...]:
    local = reference.split("/_history/")[0]
    if ":" in local:
        return (reference_key(name, local),)
    return reference_key(name, local), reference_id_key(name, local.rsplit("/", 1)[-1])
