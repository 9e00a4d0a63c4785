"""Where a result comes from: the device, its models' cards, the images, the record of its making."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.profiles.base import Profile
from trabecula.outputs.r4.profiles.rule import (
    IDENTIFIER,
    IDENTITY,
    Rule,
    at,
    concept,
    has_code,
    one_of,
    patient,
    present,
    refers_to,
)

Json = dict[str, Any]

_SHA256: Final = re.compile(r".*\bsha256:[0-9a-f]{64}")


def _models_have_hashes(resource: Json) -> bool:
    versions = at(resource, "version")
    kinds = [str(each.get("type", {}).get("text", "")) for each in versions]
    models = [each["value"] for kind, each in zip(kinds, versions, strict=True) if kind.startswith("model ")]
    return "software" in kinds and all(_SHA256.fullmatch(value) for value in models)


class AiDevice(Profile):
    """One release: the software, the clinical data and every model that had a part, by version and SHA-256.

    Profile https://trabecula.example/fhir/StructureDefinition/ai-device; follows AI-Device of HL7 AI Transparency.
    """

    resource_type: ClassVar[str] = "Device"
    slug: ClassVar[str] = "ai-device"
    rules: ClassVar[tuple[Rule, ...]] = (
        IDENTITY,
        IDENTIFIER,
        one_of("status", {"active", "inactive", "entered-in-error"}),
        Rule(
            "type",
            "type is exactly Artificial-Intelligence",
            lambda resource: (
                [(each.get("system"), each.get("code")) for each in at(resource, "type.coding")]
                == [(codes.AI_DEVICE_TYPE, "Artificial-Intelligence")]
            ),
        ),
        present("deviceName.name", "device-name"),
        Rule("version", "the software's version, and the SHA-256 of every model", _models_have_hashes),
        Rule(
            "model-card",
            "model cards are references to DocumentReference",
            lambda resource: all(
                refers_to(each.get("valueReference"), "DocumentReference")
                for each in at(resource, "extension")
                if each.get("url") == codes.MODEL_CARD_EXTENSION
            ),
        ),
    )


def _markdown(resource: Json) -> bool:
    attachments = at(resource, "content.attachment")
    return bool(attachments) and all(
        str(each.get("contentType", "")).startswith("text/markdown")
        and ("data" in each or "url" in each)
        and bool(each.get("hash"))
        and isinstance(each.get("size"), int)
        for each in attachments
    )


class ModelCardDocumentReference(Profile):
    """The card of one model: what it was made from, how good it is, where it fails.

    Profile https://trabecula.example/fhir/StructureDefinition/model-card-document-reference; follows AI-ModelCard of
    HL7 AI Transparency.
    """

    resource_type: ClassVar[str] = "DocumentReference"
    slug: ClassVar[str] = "model-card-document-reference"
    rules: ClassVar[tuple[Rule, ...]] = (
        IDENTITY,
        IDENTIFIER,
        one_of("status", {"current", "superseded", "entered-in-error"}),
        concept("type", codes.AI_INPUTS, "AIModelCard"),
        concept("category", codes.AI_INPUTS, "AIModelCardMarkdownFormat"),
        Rule("content", "Markdown with size and hash, inside or by address", _markdown),
    )


class ScreenedImagingStudy(Profile):
    """The study that was read, by its UID, with the series that was used.

    Profile https://trabecula.example/fhir/StructureDefinition/screened-imaging-study.
    """

    resource_type: ClassVar[str] = "ImagingStudy"
    slug: ClassVar[str] = "screened-imaging-study"
    rules: ClassVar[tuple[Rule, ...]] = (
        IDENTITY,
        one_of("status", {"registered", "available", "cancelled", "entered-in-error", "unknown"}),
        Rule(
            "study-uid",
            "an identifier of system urn:dicom:uid holds the Study Instance UID",
            lambda resource: any(
                each.get("system") == codes.DICOM_UID and str(each.get("value", "")).startswith("urn:oid:")
                for each in at(resource, "identifier")
            ),
        ),
        patient("subject"),
        Rule(
            "modality",
            "modality is CT",
            lambda resource: [each.get("code") for each in at(resource, "modality")] == ["CT"],
        ),
    )


def _ai_wrote_it(resource: Json) -> bool:
    return any(
        has_code(agent.get("type"), codes.PARTICIPANT_TYPE, "author")
        and refers_to(agent.get("who"), "Device")
        and any(has_code(role, codes.AI_DEVICE_TYPE, "Artificial-Intelligence") for role in agent.get("role", ()))
        for agent in at(resource, "agent")
    )


def _verifiers_are_people(resource: Json) -> bool:
    return all(
        refers_to(agent.get("who"), "Practitioner", "PractitionerRole")
        for agent in at(resource, "agent")
        if has_code(agent.get("type"), codes.PARTICIPANT_TYPE, "verifier")
    )


class ResultProvenance(Profile):
    """Who made what from what: the device as author; once a person has signed, that person as verifier.

    Profile https://trabecula.example/fhir/StructureDefinition/result-provenance; follows AI-Provenance of HL7 AI
    Transparency.
    """

    resource_type: ClassVar[str] = "Provenance"
    slug: ClassVar[str] = "result-provenance"
    rules: ClassVar[tuple[Rule, ...]] = (
        IDENTITY,
        present("target"),
        present("recorded"),
        concept("reason", codes.OBSERVATION_VALUE, "AIAST"),
        present("activity"),
        Rule("author", "an agent of type author and role Artificial-Intelligence is the Device", _ai_wrote_it),
        Rule("verifier", "a verifier is a practitioner", _verifiers_are_people),
        Rule(
            "entity",
            "each entity has a role and says what it is",
            lambda resource: all(each.get("role") and each.get("what") for each in at(resource, "entity")),
        ),
    )
