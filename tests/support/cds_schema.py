"""CDS Hooks 2.0 answers as JSON Schema, drawn from the specification's tables and HL7's logical models."""

from __future__ import annotations

from typing import Any

import jsonschema

Json = dict[str, Any]

_TEXT: Json = {"type": "string", "minLength": 1}
_URL: Json = {"type": "string", "pattern": r"^https?://[^\s]+$"}
_UUID: Json = {"type": "string", "pattern": r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_CODING: Json = {
    "type": "object",
    "required": ["code"],
    "properties": {"code": _TEXT, "system": _URL, "display": _TEXT},
}

_ACTION: Json = {
    "type": "object",
    "required": ["type", "description"],
    "properties": {
        "type": {"enum": ["create", "update", "delete"]},
        "description": _TEXT,
        "resource": {"type": "object", "required": ["resourceType"]},
        "resourceId": {"type": "string", "pattern": r"^[A-Za-z]+/[A-Za-z0-9\-.]{1,64}$"},
    },
    "additionalProperties": False,
    "if": {"properties": {"type": {"const": "delete"}}},
    "then": {"required": ["resourceId"], "not": {"required": ["resource"]}},
    "else": {"required": ["resource"]},
}

_SUGGESTION: Json = {
    "type": "object",
    "required": ["label", "uuid", "actions"],
    "properties": {
        "label": _TEXT,
        "uuid": _UUID,
        "isRecommended": {"type": "boolean"},
        "actions": {"type": "array", "minItems": 1, "items": _ACTION},
    },
    "additionalProperties": False,
}

_LINK: Json = {
    "type": "object",
    "required": ["label", "url", "type"],
    "properties": {
        "label": _TEXT,
        "url": _URL,
        "type": {"enum": ["absolute", "smart"]},
        "appContext": _TEXT,
        "autoLaunchable": {"type": "boolean"},
    },
    "additionalProperties": False,
    "if": {"required": ["appContext"]},
    "then": {"properties": {"type": {"const": "smart"}}},
}

_RECOMMENDED: Json = {"required": ["isRecommended"], "properties": {"isRecommended": {"const": True}}}

_CARD: Json = {
    "type": "object",
    "required": ["uuid", "summary", "indicator", "source"],
    "properties": {
        "uuid": _UUID,
        "summary": {"type": "string", "minLength": 1, "maxLength": 139},
        "detail": _TEXT,
        "indicator": {"enum": ["info", "warning", "critical"]},
        "source": {
            "type": "object",
            "required": ["label", "topic"],
            "properties": {
                "label": _TEXT,
                "url": _URL,
                "topic": {**_CODING, "required": ["code", "system", "display"]},
            },
            "additionalProperties": False,
        },
        "suggestions": {"type": "array", "minItems": 1, "items": _SUGGESTION},
        "selectionBehavior": {"enum": ["at-most-one", "any"]},
        "overrideReasons": {
            "type": "array",
            "minItems": 1,
            "items": {**_CODING, "required": ["code", "system", "display"]},
        },
        "links": {"type": "array", "minItems": 1, "items": _LINK},
    },
    "additionalProperties": False,
    "dependentRequired": {"suggestions": ["selectionBehavior"], "selectionBehavior": ["suggestions"]},
    "if": {"properties": {"selectionBehavior": {"const": "at-most-one"}}, "required": ["selectionBehavior"]},
    "then": {"properties": {"suggestions": {"contains": _RECOMMENDED, "minContains": 0, "maxContains": 1}}},
}

ANSWER: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["cards"],
    "properties": {"cards": {"type": "array", "items": _CARD}},
    "additionalProperties": False,
}

_SERVICE: Json = {
    "type": "object",
    "required": ["hook", "id", "description", "title", "version"],
    "properties": {
        "hook": {"enum": ["patient-view", "order-select", "order-sign", "encounter-discharge"]},
        "id": {"type": "string", "pattern": r"^[a-z0-9-]+$"},
        "title": _TEXT,
        "description": _TEXT,
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "usageRequirements": _TEXT,
        "prefetch": {
            "type": "object",
            "additionalProperties": {
                "type": "string",
                "pattern": r"^[A-Z][A-Za-z]+(/\{\{context\.patientId\}\}|\?.+)$",
            },
        },
    },
    "additionalProperties": False,
}

DISCOVERY: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["services"],
    "properties": {"services": {"type": "array", "items": _SERVICE}},
    "additionalProperties": False,
}


def check_answer(answer: Json) -> None:
    """Raises jsonschema.ValidationError on a broken rule."""
    jsonschema.Draft202012Validator(ANSWER).validate(answer)


def check_discovery(answer: Json) -> None:
    """Raises jsonschema.ValidationError on a broken rule."""
    jsonschema.Draft202012Validator(DISCOVERY).validate(answer)
