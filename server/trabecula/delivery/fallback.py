"""A result for servers that take little: one DiagnosticReport with all inside, or one DocumentReference."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.resource_set import URI_SYSTEM, Json, key_of, targets_of, with_references

DOC_STATUS: Final[Mapping[str, str]] = {
    "registered": "preliminary",
    "partial": "preliminary",
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "amended",
    "appended": "amended",
    "entered-in-error": "entered-in-error",
}
MOST_DESCRIPTION: Final = 4000
MOST_BASE64: Final = 1_000_000
"""Characters; R4 bounds a string to 1 MB and servers hold base64 to the same."""
PDF: Final = "application/pdf"


def the_report(resources: Sequence[Json]) -> Json:
    """The set's DiagnosticReport.

    Raises:
        Setback: PARK when it has none.
    """
    for resource in resources:
        if resource["resourceType"] == "DiagnosticReport":
            return resource
    raise Setback(Verdict.PARK, "nothing-writable")


def contained_report(resources: Sequence[Json]) -> tuple[Json, frozenset[str]]:
    """The report with everything it leads to inside, and the types that had to stay behind.

    Contained resources bear no label of their own (R4 invariants dom-4, dom-5): the report's holds for all of it.
    """
    report = the_report(resources)
    known = {key_of(each): each for each in resources}
    inside: dict[tuple[str, str], Json] = {}
    waiting = targets_of(report)
    while waiting:
        key = waiting.pop(0)
        if key in known and key not in inside and key != key_of(report):
            inside[key] = known[key]
            waiting += targets_of(known[key])
    places = {key: f"#{key[1]}" for key in inside}
    places_inside = {**places, key_of(report): "#"}
    contained = [_bare(with_references(each, places_inside)) for each in inside.values()]
    behind = frozenset(key[0] for key in known if key not in inside and key != key_of(report))
    return {**with_references(report, places), "contained": contained}, behind


def _bare(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name not in ("meta", "text")}


def document_reference(resources: Sequence[Json], pdf: bytes | None) -> Json:
    """The report as a document: the PDF where it fits into a resource, else the page that the report carries, else its
    conclusion as plain text."""
    report = the_report(resources)
    identity = uuid.uuid5(uuid.UUID(report["id"]), "DocumentReference/report")
    status = str(report.get("status", "preliminary"))
    wrong = status == "entered-in-error"
    conclusion = str(report.get("conclusion", ""))
    issued = {"date": report["issued"]} if "issued" in report else {}
    described = {"description": conclusion[:MOST_DESCRIPTION]} if conclusion else {}
    meta = {"meta": {"security": report["meta"]["security"]}} if report.get("meta", {}).get("security") else {}
    return {
        "resourceType": "DocumentReference",
        "id": str(identity),
        **meta,
        "identifier": [{"system": URI_SYSTEM, "value": f"urn:uuid:{identity}"}],
        "status": "entered-in-error" if wrong else "current",
        "docStatus": DOC_STATUS.get(status, "preliminary"),
        "type": report["code"],
        **({"category": report["category"]} if "category" in report else {}),
        "subject": report["subject"],
        **issued,
        **described,
        "content": [{"attachment": attachment} for attachment in _attachments(report, conclusion, pdf)],
    }


def _attachments(report: Json, conclusion: str, pdf: bytes | None) -> list[Json]:
    if pdf is not None and 4 * ((len(pdf) + 2) // 3) <= MOST_BASE64:
        return [_attachment(pdf, PDF, "Report")]
    forms: list[Json] = list(report.get("presentedForm", ()))
    return forms or [_attachment(conclusion.encode(), "text/plain; charset=utf-8", "Conclusion")]


def _attachment(content: bytes, media_type: str, title: str) -> dict[str, Any]:
    # SHA-1 is what R4 asks for in Attachment.hash; it guards against damage, not against forgery
    digest = hashlib.sha1(content, usedforsecurity=False).digest()
    return {
        "contentType": media_type,
        "language": "en",
        "data": base64.b64encode(content).decode("ascii"),
        "size": len(content),
        "hash": base64.b64encode(digest).decode("ascii"),
        "title": title,
    }
