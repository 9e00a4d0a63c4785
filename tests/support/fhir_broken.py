"""Resources with one thing wrong, for every rule of every profile."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import fhir_samples

from trabecula.outputs.r4 import PROFILES

Json = dict[str, Any]
Change = Callable[[Json], None]
DIAGNOSIS: Json = {"coding": [{"system": "http://snomed.info/sct", "code": "64859006"}]}
SOMEBODY: Json = {"reference": "Patient/p9", "type": "Patient"}


def put(path: str, value: Any) -> Change:
    """Write at a dotted path; a number is a place in a list."""

    def change(resource: Json) -> None:
        target: Any = resource
        *way, last = path.split(".")
        for name in way:
            target = target[int(name)] if name.isdecimal() else target.setdefault(name, {})
        if last.isdecimal():
            target[int(last)] = value
        else:
            target[last] = value

    return change


def drop(path: str) -> Change:
    """Take away what stands at a dotted path."""

    def change(resource: Json) -> None:
        target: Any = resource
        *way, last = path.split(".")
        for name in way:
            target = target[int(name)] if name.isdecimal() else target[name]
        del target[last]

    return change


def without_component(code: str) -> Change:
    def change(resource: Json) -> None:
        resource["component"] = [each for each in resource["component"] if each["code"]["coding"][0]["code"] != code]

    return change


def also(*changes: Change) -> Change:
    def change(resource: Json) -> None:
        for each in changes:
            each(resource)

    return change


COMMON: dict[str, Change] = {
    "id": put("id", "not-a-uuid"),
    "identifier": drop("identifier"),
    "ai-label": drop("meta.security"),
    "status": put("status", "registered"),
    "category": put("category", [{"text": "something"}]),
    "subject": put("subject", {"display": "somebody"}),
    "effectiveDateTime": drop("effectiveDateTime"),
    "issued": drop("issued"),
    "device": put("device", SOMEBODY),
    "component": drop("component.0.code.coding"),
    "interpretation": put(
        "interpretation",
        [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "code": "N"}]}],
    ),
    "code": put("code", {"text": "something else"}),
    "value": put("dataAbsentReason", {"text": "and a reason"}),
    "unit": put("valueQuantity.code", "g/cm2"),
    "calibrated": drop("method"),
    "scale": without_component("density-scale"),
    "uncertainty": without_component("vbmd-standard-uncertainty"),
    "reference-range": put("referenceRange", [{"text": "T-score -2.5"}]),
    "body-site": drop("bodySite"),
}
"""Changes that break the rule of that name wherever a profile has it."""

SPECIAL: dict[str, dict[str, Change]] = {
    "mean-trabecular-bmd-observation": {"derived-from": drop("derivedFrom")},
    "lumbar-equivalent-bmd-observation": {"derived-from": put("derivedFrom", [{"reference": "Patient/p1"}])},
    "body-composition-observation": {
        "components": drop("component"),
        "no-value": put("valueString", "much"),
    },
    "second-reader-observation": {"method": drop("method"), "agreement": without_component("second-reader-agreement")},
    "quality-observation": {
        "outcome": put("valueCodeableConcept", {"text": "well"}),
        "refusal": put("valueCodeableConcept.coding.0.code", "refused"),
    },
    "bone-risk-assessment": {
        "performer": put("performer", SOMEBODY),
        "method": drop("method"),
        "outcome": put("prediction.0.outcome", {"text": "osteoporosis"}),
        "risk": put("prediction.0.probabilityDecimal", 0.2),
    },
    "bone-diagnostic-report": {
        "code": put("code", {"coding": [{"system": "http://loinc.org", "code": "38269-7"}]}),
        "result": drop("result"),
        "conclusion": drop("conclusion"),
        "conclusion-code": put(
            "conclusionCode", [{"coding": [{"system": "http://snomed.info/sct", "code": "64859006"}]}]
        ),
        "risk": put("extension.0.valueReference", {"reference": "Patient/p1", "type": "Patient"}),
        "presented-form": put("presentedForm.0.size", 1),
        "signed": put("status", "final"),
    },
    "dxa-service-request": {
        "status": put("status", "active"),
        "intent": put("intent", "order"),
        "code": put("code", {"coding": [{"system": "http://loinc.org", "code": "24627-2"}]}),
        "authoredOn": drop("authoredOn"),
        "requester": put("requester", SOMEBODY),
        "reasonReference": put("reasonReference", [{"reference": "Patient/p1"}]),
        "reasons": drop("note"),
    },
    "bone-detected-issue": {
        "severity": put("severity", "low"),
        "patient": drop("patient"),
        "author": put("author", SOMEBODY),
        "evidence": drop("evidence"),
        "detail": drop("detail"),
    },
    "ai-device": {
        "status": put("status", "unknown"),
        "type": put("type.coding.0.code", "Large-Language-Models"),
        "device-name": drop("deviceName"),
        "version": put("version.2.value", "1.0.0"),
        "model-card": put("extension.4.valueReference", {"reference": "Patient/p1"}),
    },
    "model-card-document-reference": {
        "status": put("status", "bogus"),
        "type": put("type", {"text": "card"}),
        "content": put("content.0.attachment.contentType", "text/html"),
    },
    "screened-imaging-study": {
        "status": put("status", "bogus"),
        "study-uid": put("identifier.0.system", "urn:other"),
        "modality": put("modality.0.code", "MR"),
    },
    "result-provenance": {
        "target": drop("target"),
        "recorded": drop("recorded"),
        "reason": drop("reason"),
        "activity": drop("activity"),
        "author": drop("agent.0.role"),
        "verifier": put("agent.1.who", {"reference": "Device/d1", "type": "Device"}),
        "entity": drop("entity.0.role"),
    },
    "programme-task": {
        "state": put("status", "completed"),
        "intent": put("intent", "order"),
        "focus": put("focus", {"reference": "Patient/p1"}),
        "for": drop("for"),
        "authoredOn": drop("authoredOn"),
        "lastModified": drop("lastModified"),
        "reason": also(put("status", "rejected"), put("businessStatus.coding.0.code", "declined")),
        "output": also(put("status", "completed"), put("businessStatus.coding.0.code", "done")),
    },
    "access-audit-event": {
        "type": put("type.code", "other"),
        "action": put("action", "D"),
        "recorded": drop("recorded"),
        "outcome": put("outcome", "3"),
        "agent": drop("agent.0.network"),
        "requestor": put("agent.0.requestor", False),
        "source": drop("source.observer"),
        "data": put("entity.0.type.code", "4"),
        "patient": put("entity.1.what", {"reference": "Device/d1", "type": "Device"}),
    },
}

BLIND = {("bone-diagnostic-report", "presented-form")}
"""What a profile cannot say in FHIRPath: that a size and a hash are those of the data."""


@cache
def good() -> dict[str, Json]:
    """One resource of each profile that keeps it."""
    found: dict[str, Json] = {}
    for bundle in fhir_samples.bundles().values():
        for entry in bundle["entry"]:
            slug = entry["resource"]["meta"]["profile"][0].rsplit("/", 1)[-1]
            found.setdefault(slug, entry["resource"])
    bundles = fhir_samples.bundles()
    # those with everything that a rule can be broken on
    for name, kind in (
        ("matched_patient", "Device"),
        ("matched_patient", "DiagnosticReport"),
        ("signed", "Provenance"),
    ):
        (found[_slug(bundles[name], kind)],) = _of(bundles[name], kind)
    return found


def broken() -> dict[tuple[str, str], Json]:
    """By (profile, rule): a resource that breaks that rule, and perhaps others with it."""
    made = {}
    for slug, profile in PROFILES.items():
        for rule in profile.rules:
            change = SPECIAL.get(slug, {}).get(rule.name) or COMMON[rule.name]
            resource = copy.deepcopy(good()[slug])
            change(resource)
            made[slug, rule.name] = resource
    return made


def _of(bundle: Json, kind: str) -> list[Json]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def _slug(bundle: Json, kind: str) -> str:
    return str(_of(bundle, kind)[0]["meta"]["profile"][0]).rsplit("/", 1)[-1]
