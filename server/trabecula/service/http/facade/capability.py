"""The CapabilityStatement of this installation, made from the tables that the facade is made of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trabecula import __version__
from trabecula.record.dates import instant
from trabecula.record.parameters import Kind, SearchParameter, parameters_of
from trabecula.service.http.facade.artefacts import Artefacts
from trabecula.service.http.facade.interactions import (
    ARTEFACT_INTERACTIONS,
    ARTEFACT_PARAMETERS,
    FHIR_VERSION,
    OPERATIONS,
    RECORD_TYPES,
    Interaction,
    includes,
    reverse_includes,
)
from trabecula.service.http.options import HttpOptions

Json = dict[str, Any]

_ARTEFACT_KINDS = {"url": "uri", "version": "token", "name": "string", "status": "token"}


def capability_statement(
    options: HttpOptions, artefacts: Artefacts, fhir_base: str, since: datetime, *, screening: bool
) -> Json:
    """What can be asked of ``fhir_base``.

    Args:
        since: when this instance started.
        screening: whether ``$screen-bone`` has an archive to pull from.
    """
    resources = [_record_type(name, artefacts, options, screening) for name in RECORD_TYPES]
    resources += [_artefact_type(name, options, screening) for name in artefacts.types]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(since.astimezone(UTC)),
        "publisher": "The Trabecula project",
        "kind": "instance",
        "instantiates": [f"{options.canonical_base}/CapabilityStatement/bone-results-server"],
        "software": {"name": "Trabecula", "version": __version__},
        "implementation": {
            "description": "Opportunistic bone, muscle and fat assessment from existing CT: results, read only",
            "url": fhir_base,
        },
        "fhirVersion": FHIR_VERSION,
        "format": ["application/fhir+json", "json"],
        "implementationGuide": [f"{options.canonical_base}/ImplementationGuide/trabecula.fhir"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Results are written by the service itself. Unknown search parameters are an error "
                "unless Prefer: handling=lenient. Prefer POST _search: addresses are logged by what lies between.",
                "security": _security(options),
                "resource": sorted(resources, key=lambda each: str(each["type"])),
            }
        ],
    }


def _security(options: HttpOptions) -> Json:
    if options.auth_off:
        return {"cors": bool(options.cors_origins), "description": "No authorization is asked for on this instance."}
    system = "http://terminology.hl7.org/CodeSystem/restful-security-service"
    return {
        "cors": bool(options.cors_origins),
        "service": [{"coding": [{"system": system, "code": "SMART-on-FHIR"}], "text": "SMART App Launch 2"}],
        "description": "Bearer tokens with SMART scopes; see .well-known/smart-configuration.",
    }


def _record_type(name: str, artefacts: Artefacts, options: HttpOptions, screening: bool) -> Json:
    interactions = RECORD_TYPES[name]
    entry: Json = {"type": name}
    if profiles := artefacts.profiles(name):
        entry["supportedProfile"] = list(profiles)
    entry |= {
        "interaction": [{"code": each.value} for each in interactions],
        "versioning": "versioned" if Interaction.VREAD in interactions else "no-version",
        "readHistory": Interaction.VREAD in interactions,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
    }
    if found := includes(name):
        entry["searchInclude"] = list(found)
    if found := reverse_includes(name):
        entry["searchRevInclude"] = list(found)
    common = [
        {"name": "_id", "type": "token"},
        {"name": "_lastUpdated", "type": "date"},
    ]
    entry["searchParam"] = common + [_search_param(each, options) for each in parameters_of(name).values()]
    return entry | _operations(name, options, screening)


def _search_param(parameter: SearchParameter, options: HttpOptions) -> Json:
    entry: Json = {"name": parameter.name}
    if parameter.own:
        entry["definition"] = f"{options.canonical_base}/SearchParameter/{parameter.name}"
    entry["type"] = parameter.kind.value
    if parameter.kind is Kind.REFERENCE:
        entry["documentation"] = "By id, Type/id, address, or the target's identifier (:identifier or .identifier)."
    return entry


def _artefact_type(name: str, options: HttpOptions, screening: bool) -> Json:
    entry: Json = {
        "type": name,
        "interaction": [{"code": each.value} for each in ARTEFACT_INTERACTIONS],
        "versioning": "no-version",
        "searchParam": [
            {"name": "_id", "type": "token"},
            *({"name": each, "type": _ARTEFACT_KINDS[each]} for each in ARTEFACT_PARAMETERS),
        ],
    }
    return entry | _operations(name, options, screening)


def _operations(name: str, options: HttpOptions, screening: bool) -> Json:
    found: Sequence[Json] = [
        {
            "name": each.name,
            "definition": f"{options.canonical_base}{each.definition}"
            if each.definition.startswith("/")
            else each.definition,
        }
        for each in OPERATIONS
        if each.resource_type == name and (screening or each.name != "screen-bone")
    ]
    return {"operation": list(found)} if found else {}
