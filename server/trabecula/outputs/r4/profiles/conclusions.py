"""What the measurements mean and what a guideline would do next: risk, report, issue, proposed order."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, ClassVar, Final

from trabecula.assessment.assessment import Category
from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import ProjectSystem
from trabecula.outputs.r4.profiles.base import MADE_BY_AI, Profile
from trabecula.outputs.r4.profiles.observations import RESULT_STATUS
from trabecula.outputs.r4.profiles.rule import (
    Rule,
    at,
    concept,
    first_code,
    moment,
    one_of,
    patient,
    present,
    reference,
    refers_to,
)

Json = dict[str, Any]

_PAGE_TYPES: Final = ("text/html", "application/pdf")
SIGNED_STATUS: Final = frozenset({"final", "amended", "corrected"})


def _category_code(element: Any) -> bool:
    return first_code(element, ProjectSystem.CATEGORY) in set(Category)


def _risk_is_modest(resource: Json) -> bool:
    """Never a number that nobody measured, and never a word that reassures."""
    codes_given = at(resource, "prediction.qualitativeRisk.coding.code")
    numbers = at(resource, "prediction.probabilityDecimal") + at(resource, "prediction.probabilityRange")
    return not numbers and set(codes_given) <= {"low", "moderate", "high"}


class BoneRiskAssessment(Profile):
    """The range as a prediction by the device: never a diagnosis, never ``negligible``.

    Profile https://trabecula.example/fhir/StructureDefinition/bone-risk-assessment.
    """

    resource_type: ClassVar[str] = "RiskAssessment"
    slug: ClassVar[str] = "bone-risk-assessment"
    rules: ClassVar[tuple[Rule, ...]] = (
        *MADE_BY_AI,
        one_of("status", RESULT_STATUS),
        patient("subject"),
        reference("performer", "Device"),
        present("method.text", "method"),
        Rule(
            "outcome",
            "one prediction, whose outcome is a range of ct-bone-category",
            lambda resource: (
                len(at(resource, "prediction")) == 1
                and all(_category_code(each) for each in at(resource, "prediction.outcome"))
                and bool(at(resource, "prediction.outcome"))
            ),
        ),
        Rule("risk", "no probability; qualitativeRisk is low, moderate or high", _risk_is_modest),
    )


def _forms_are_whole(resource: Json) -> bool:
    """A page that travels inside carries its size and its SHA-1 (Attachment.hash), and both are right."""
    for form in at(resource, "presentedForm"):
        if not str(form.get("contentType", "")).startswith(_PAGE_TYPES) or not (form.get("data") or form.get("url")):
            return False
        if "data" in form:
            try:
                content = base64.b64decode(form["data"], validate=True)
            except ValueError:
                return False
            digest = base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode("ascii")
            if (form.get("size"), form.get("hash")) != (len(content), digest):
                return False
    return True


def _signed_by_a_person(resource: Json) -> bool:
    people = at(resource, "resultsInterpreter")
    return resource.get("status") not in SIGNED_STATUS or (
        bool(people) and all(refers_to(each, "Practitioner", "PractitionerRole") for each in people)
    )


class BoneDiagnosticReport(Profile):
    """The report that binds the results; ``preliminary`` until a radiologist is its interpreter.

    Profile https://trabecula.example/fhir/StructureDefinition/bone-diagnostic-report; keeps the rules of US Core
    DiagnosticReport Note, and of HL7 Europe's minimal imaging metadata as to category, study and order.
    """

    resource_type: ClassVar[str] = "DiagnosticReport"
    slug: ClassVar[str] = "bone-diagnostic-report"
    rules: ClassVar[tuple[Rule, ...]] = (
        *MADE_BY_AI,
        one_of("status", RESULT_STATUS),
        concept("category", codes.LOINC, "LP29684-5"),
        concept("code", codes.LOINC, "95925-4"),
        patient("subject"),
        moment("effectiveDateTime"),
        present("issued"),
        reference("result", "Observation"),
        present("conclusion"),
        Rule(
            "conclusion-code",
            "conclusionCode is a range of ct-bone-category",
            lambda resource: all(_category_code(each) for each in at(resource, "conclusionCode")),
        ),
        Rule(
            "risk",
            "extension diagnosticReport-risk refers to a RiskAssessment",
            lambda resource: all(
                refers_to(each.get("valueReference"), "RiskAssessment")
                for each in at(resource, "extension")
                if each.get("url") == codes.REPORT_RISK_EXTENSION
            ),
        ),
        Rule("presented-form", "pages are HTML or PDF; inside, with size and hash", _forms_are_whole),
        Rule("signed", "final, amended and corrected have a practitioner as resultsInterpreter", _signed_by_a_person),
    )


class DxaServiceRequest(Profile):
    """A proposal of DXA for a person to turn into an order; never an order itself.

    Profile https://trabecula.example/fhir/StructureDefinition/dxa-service-request; keeps the rules of US Core
    ServiceRequest.
    """

    resource_type: ClassVar[str] = "ServiceRequest"
    slug: ClassVar[str] = "dxa-service-request"
    rules: ClassVar[tuple[Rule, ...]] = (
        *MADE_BY_AI,
        one_of("status", {"draft", "revoked", "completed", "entered-in-error"}),
        one_of("intent", {"proposal"}),
        concept("category", codes.SCT, "363679005"),
        concept("code", codes.LOINC, "83012-5"),
        patient("subject"),
        present("authoredOn"),
        reference("requester", "Device"),
        reference("reasonReference", "DiagnosticReport"),
        Rule(
            "reasons",
            "each rule that asks for it gives its reason as a note",
            lambda resource: bool(at(resource, "note.text")),
        ),
    )


class BoneDetectedIssue(Profile):
    """Something that should not wait for the next visit: a fracture suspected, with or without low density.

    Profile https://trabecula.example/fhir/StructureDefinition/bone-detected-issue.
    """

    resource_type: ClassVar[str] = "DetectedIssue"
    slug: ClassVar[str] = "bone-detected-issue"
    rules: ClassVar[tuple[Rule, ...]] = (
        *MADE_BY_AI,
        one_of("status", {"preliminary", "final", "entered-in-error", "mitigated"}),
        one_of("severity", {"high", "moderate"}),
        Rule(
            "code",
            "code is severe-range-suspected or vcf-suspected",
            lambda resource: (
                first_code(resource.get("code"), ProjectSystem.CATEGORY) == Category.SEVERE_RANGE_SUSPECTED
                or first_code(resource.get("code"), ProjectSystem.METRICS) == codes.Metric.FRACTURE_SUSPECTED
            ),
        ),
        patient("patient"),
        reference("author", "Device"),
        reference("evidence.detail", "Observation", name="evidence"),
        present("detail"),
    )
