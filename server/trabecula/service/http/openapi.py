"""The HTTP interface as an OpenAPI 3.1 document, made of the routes that are served and of the tables behind them.

FHIR describes itself by its CapabilityStatement and CDS Hooks by its discovery; this is for gateways, generators of
clients and fuzzers, which read OpenAPI. Pages for people are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from trabecula import __version__
from trabecula.hooks.services import SERVICES
from trabecula.programme.states import Decision, TaskState
from trabecula.record.parameters import parameters_of
from trabecula.service.http.facade.interactions import ARTEFACT_TYPES, RECORD_TYPES, RESULT_PARAMETERS, Interaction
from trabecula.service.http.programme_api import API_PATH, BY_PROGRAM, MAX_PAGE_SIZE

Json = dict[str, Any]

OPENAPI_PATH: Final = "/openapi.json"
FHIR: Final = "application/fhir+json"
JSON: Final = "application/json"
_STRING: Final[Json] = {"type": "string"}
_OBJECT: Final[Json] = {"type": "object"}
_RESOURCE: Final[Json] = {"type": "object", "properties": {"resourceType": _STRING}, "required": ["resourceType"]}
_REFUSALS: Final = (400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 429, 501, 502, 503)
"""Any operation may answer these; the body is an OperationOutcome and holds no patient data."""


@dataclass(frozen=True)
class Described:
    """One operation."""

    summary: str
    good: tuple[int, ...] = (200,)
    media_type: str = FHIR
    result: Json = field(default_factory=lambda: _RESOURCE)
    parameters: tuple[Json, ...] = ()
    body: Json | None = None
    """Media type to schema."""
    open: bool = False
    """Whether it asks for no token."""


def _query(name: str, schema: Json | None = None) -> Json:
    return {"name": name, "in": "query", "schema": schema or _STRING}


def _types(*interactions: Interaction) -> Json:
    """The parameter ``type`` of FHIR addresses."""
    kept = [name for name, offered in RECORD_TYPES.items() if all(each in offered for each in interactions)]
    also = [] if {Interaction.VREAD, Interaction.HISTORY} & set(interactions) else list(ARTEFACT_TYPES)
    return {"name": "type", "in": "path", "required": True, "schema": {"enum": [*kept, *also]}}


def _search_parameters() -> tuple[Json, ...]:
    names = sorted({name for each in RECORD_TYPES for name in parameters_of(each)} | {"_id", "_lastUpdated"})
    return tuple(_query(name) for name in (*names, *RESULT_PARAMETERS))


def _form() -> Json:
    """Of a search by POST."""
    properties = {each["name"]: each["schema"] for each in _search_parameters()}
    return {"application/x-www-form-urlencoded": {"type": "object", "properties": properties}}


def _plain(properties: Json, required: Sequence[str]) -> Json:
    return {JSON: {"type": "object", "properties": properties, "required": list(required)}}


_PARAMETERS_BODY: Final[Json] = {
    FHIR: {
        "type": "object",
        "properties": {"resourceType": {"const": "Parameters"}, "parameter": {"type": "array", "items": _OBJECT}},
        "required": ["resourceType"],
    }
}
_DXA_BODY: Final[Json] = {
    FHIR: {
        "type": "object",
        "properties": {"resourceType": {"enum": ["DiagnosticReport", "Observation", "Bundle"]}},
        "required": ["resourceType"],
    }
}
_HOOK_BODY: Final[Json] = _plain(
    {
        "hook": _STRING,
        "hookInstance": {"type": "string", "format": "uuid"},
        "context": {
            "type": "object",
            "properties": {"userId": _STRING, "patientId": _STRING, "encounterId": _STRING, "draftOrders": _OBJECT},
            "required": ["userId", "patientId"],
        },
        "prefetch": _OBJECT,
        "fhirServer": {"type": "string", "format": "uri"},
    },
    ("hook", "hookInstance", "context"),
)
_FEEDBACK_BODY: Final[Json] = _plain(
    {
        "feedback": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "card": {"type": "string", "format": "uuid"},
                    "outcome": {"enum": ["accepted", "overridden"]},
                    "outcomeTimestamp": {"type": "string", "format": "date-time"},
                    "acceptedSuggestions": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"id": _STRING}},
                    },
                },
                "required": ["card", "outcome", "outcomeTimestamp"],
            },
        }
    },
    ("feedback",),
)
_REVIEW_BODY: Final[Json] = _plain(
    {
        "decision": {"enum": [each.value for each in Decision]},
        "seen_version": {"type": "integer", "minimum": 0},
        "corrections": _OBJECT,
        "comment": _STRING,
        "reviewer_name": _STRING,
    },
    ("decision", "seen_version"),
)
_STEP_BODY: Final[Json] = _plain(
    {
        "event": {"enum": [each.value for each in BY_PROGRAM]},
        "note": _STRING,
        "due_at": {"type": "string", "format": "date-time"},
    },
    ("event",),
)
_DICOM_BODY: Final[Json] = {'multipart/related; type="application/dicom"': {"type": "string", "format": "binary"}}
_SERVICE_ID: Final[Json] = {
    "name": "id", "in": "path", "required": True, "schema": {"enum": [each.id for each in SERVICES]}
}  # fmt: skip
_PAGE: Final = (
    _query("state", {"enum": [each.value for each in TaskState]}),
    _query("overdue", {"enum": ["true", "false"]}),
    _query("count", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}),
    _query("after"),
)


def _described() -> dict[tuple[str, str], Described]:
    """Every operation by method and address."""
    plain: Json = {"media_type": JSON, "result": _OBJECT}
    bone, dxa = Described("Screen a study of the archive", (200, 202), body=_PARAMETERS_BODY), "Take in a DXA result"
    stow = Described("Store instances (STOW-RS)", (200, 202), "application/dicom+json", _OBJECT, body=_DICOM_BODY)
    apply = "What the guideline proposes for a patient"
    smart = Described("SMART configuration", open=True, **plain)
    return {
        ("GET", "/healthz"): Described("Whether the process serves", open=True, **plain),
        ("GET", "/readyz"): Described("Whether this instance should get requests", open=True, **plain),
        ("GET", "/.well-known/jwks.json"): Described(
            "Public keys", media_type="application/jwk-set+json", result=_OBJECT, open=True
        ),
        ("GET", "/.well-known/smart-configuration"): smart,
        ("GET", "/fhir/.well-known/smart-configuration"): smart,
        ("GET", OPENAPI_PATH): Described("This document", open=True, **plain),
        ("GET", "/fhir/metadata"): Described("CapabilityStatement", open=True),
        ("GET", "/fhir/{type}"): Described("Search", parameters=(_types(Interaction.SEARCH), *_search_parameters())),
        ("POST", "/fhir/{type}/_search"): Described("Search", parameters=(_types(Interaction.SEARCH),), body=_form()),
        ("GET", "/fhir/{type}/{id}"): Described("Read", (200, 304), parameters=(_types(Interaction.READ),)),
        ("GET", "/fhir/{type}/{id}/_history"): Described("History", parameters=(_types(Interaction.HISTORY),)),
        ("GET", "/fhir/{type}/{id}/_history/{version}"): Described(
            "Read a version", (200, 304), parameters=(_types(Interaction.VREAD),)
        ),
        ("POST", "/fhir/ImagingStudy/$screen-bone"): bone,
        ("POST", "/fhir/ImagingStudy/{id}/$screen-bone"): bone,
        ("GET", "/fhir/_screening/{id}"): Described("How a screening stands", (200, 202)),
        ("DELETE", "/fhir/_screening/{id}"): Described("Take a screening back", (202,)),
        ("GET", "/fhir/PlanDefinition/{id}/$apply"): Described(apply, parameters=(_query("subject"),)),
        ("POST", "/fhir/PlanDefinition/{id}/$apply"): Described(apply, body=_PARAMETERS_BODY),
        ("POST", "/fhir"): Described(dxa, body=_DXA_BODY),
        ("POST", "/fhir/DiagnosticReport"): Described(dxa, body=_DXA_BODY),
        ("POST", "/fhir/Observation"): Described(dxa, body=_DXA_BODY),
        ("GET", "/cds-services"): Described("CDS Hooks: discovery", **plain),
        ("POST", "/cds-services/{id}"): Described(
            "CDS Hooks: call", parameters=(_SERVICE_ID,), body=_HOOK_BODY, **plain
        ),
        ("POST", "/cds-services/{id}/feedback"): Described(
            "CDS Hooks: what became of the cards", parameters=(_SERVICE_ID,), body=_FEEDBACK_BODY, **plain
        ),
        ("GET", f"{API_PATH}/results/{{screening_id}}/reviews"): Described("Decisions on a result", **plain),
        ("POST", f"{API_PATH}/results/{{screening_id}}/reviews"): Described(
            "Decide on a result", (201,), body=_REVIEW_BODY, **plain
        ),
        ("GET", f"{API_PATH}/worklist"): Described("Recall list", parameters=_PAGE, **plain),
        ("GET", f"{API_PATH}/worklist/{{task_id}}"): Described("One recall", **plain),
        ("POST", f"{API_PATH}/worklist/{{task_id}}/steps"): Described("Take a step", body=_STEP_BODY, **plain),
        ("GET", f"{API_PATH}/agreement"): Described("CT against DXA", **plain),
        ("POST", "/dicom-web/studies"): stow,
        ("POST", "/dicom-web/studies/{study_uid}"): stow,
    }


def served(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    """Method and address of every route; HEAD goes with GET."""
    return {
        (method, each.path)
        for each in routes
        if isinstance(each, Route)
        for method in each.methods or ()
        if method != "HEAD"
    }


def openapi_document(routes: Iterable[BaseRoute]) -> Json:
    """The document of an installation with these routes."""
    here = served(routes) | {("GET", OPENAPI_PATH)}
    paths: dict[str, Json] = {}
    for (method, path), described in _described().items():
        if (method, path) in here:
            paths.setdefault(path, {})[method.lower()] = _operation(path, described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trabecula",
            "version": __version__,
            "description": "Results, sign-off, recall and decision support. FHIR is described in full by "
            "/fhir/metadata, CDS Hooks by /cds-services.",
        },
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}},
        "security": [{"bearer": []}],
    }


def _operation(path: str, described: Described) -> Json:
    named = {each["name"] for each in described.parameters if each["in"] == "path"}
    left = [part[1:-1] for part in path.split("/") if part.startswith("{") and part[1:-1] not in named]
    path_parameters = [{"name": name, "in": "path", "required": True, "schema": _STRING} for name in left]
    good = {"description": "Done", "content": {described.media_type: {"schema": described.result}}}
    refused = {"description": "Refused: an OperationOutcome", "content": {FHIR: {"schema": _RESOURCE}}}
    found: Json = {
        "summary": described.summary,
        "parameters": [*path_parameters, *described.parameters],
        "responses": {
            **{str(status): refused for status in _REFUSALS},
            **{str(status): {"description": "Done"} if status == 304 else good for status in described.good},
        },
    }
    if described.body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in described.body.items()}
        found["requestBody"] = {"required": True, "content": content}
    if described.open:
        found["security"] = []
    return found


def openapi_route(routes: Sequence[BaseRoute]) -> Route:
    """The route that shows the document of these routes."""
    document = openapi_document(routes)

    async def openapi(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=300"})

    return Route(OPENAPI_PATH, openapi, methods=["GET"])
