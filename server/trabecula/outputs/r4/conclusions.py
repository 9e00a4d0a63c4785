"""What the measurements mean and what a guideline would do next: risk, report, proposed order."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from trabecula.assessment.assessment import Assessment, Recommendation
from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import ProjectSystem
from trabecula.outputs.r4.filing import Filing, resource_reference

Json = dict[str, Any]

DXA_ACTION: Final = "dxa-confirmation"
PRESENTED_FORM_LIMIT: Final = 1_000_000
"""Characters of base64; R4 bounds a string to 1 MB and servers hold base64 to the same."""
PRELIMINARY: Final = "Preliminary result of a machine, not reviewed by a physician."


def risk_assessment(filing: Filing, assessment: Assessment, basis: Sequence[Json]) -> Json:
    """The category as a prediction by the device; never a Condition, never ``negligible``."""
    report = filing.report
    mitigation = " ".join(recommendation.text for recommendation in report.recommendations)
    unknown = ", ".join(assessment.unknown_context)
    notes = [f"Confidence {assessment.confidence.value}.", *assessment.confidence_reasons]
    if unknown:
        notes.append(f"Not known: {unknown}.")
    notes.extend(f"{step.tier.value}: {step.statement}" for step in assessment.tiers)
    if assessment.joint is not None:
        notes.append(assessment.joint.statement)
    if assessment.profile:
        notes.append(f"Level profile {assessment.profile}.")
    return {
        **filing.head("RiskAssessment", "study"),
        "status": "preliminary",
        "method": codes.concept(text=f"Rules of clinical data {report.clinical_data_version}"),
        "subject": filing.subject,
        **_occurrence(filing),
        "performer": filing.device,
        "basis": [resource_reference(resource) for resource in basis],
        "prediction": [_prediction(filing, assessment)],
        **({"mitigation": mitigation} if mitigation else {}),
        "note": [{"text": text} for text in notes],
    }


def _prediction(filing: Filing, assessment: Assessment) -> Json:
    risk = codes.QUALITATIVE_RISK.get(assessment.category)
    rationale = "; ".join(driver.statement for driver in assessment.drivers)
    return {
        "outcome": filing.project_concept(ProjectSystem.CATEGORY, assessment.category.value, assessment.statement),
        **({} if risk is None else {"qualitativeRisk": codes.concept(codes.coding(codes.RISK_PROBABILITY, *risk))}),
        **({"rationale": rationale} if rationale else {}),
    }


def _occurrence(filing: Filing) -> Json:
    """RiskAssessment names the same moment differently."""
    effective = filing.effective.get("effectiveDateTime")
    return {} if effective is None else {"occurrenceDateTime": effective}


def diagnostic_report(filing: Filing, results: Sequence[Json], risk: Json | None) -> Json:
    """The report that binds the results together; a refused study has one too."""
    report = filing.report
    assessment = report.assessment
    extension = (
        [] if risk is None else [{"url": codes.REPORT_RISK_EXTENSION, "valueReference": resource_reference(risk)}]
    )
    conclusion_code = (
        []
        if assessment is None
        else [filing.project_concept(ProjectSystem.CATEGORY, assessment.category.value, assessment.statement)]
    )
    return {
        **filing.head("DiagnosticReport", "study"),
        **({"extension": extension} if extension else {}),
        "status": "preliminary",
        "category": [codes.RADIOLOGY],
        "code": codes.REPORT_CODE,
        "subject": filing.subject,
        **filing.effective,
        "issued": report.created_at,
        "result": [resource_reference(resource) for resource in results],
        **({} if filing.imaging_study is None else {"imagingStudy": [filing.imaging_study]}),
        "conclusion": _conclusion(filing),
        **({"conclusionCode": conclusion_code} if conclusion_code else {}),
        **_presented_form(filing),
    }


def _conclusion(filing: Filing) -> str:
    report = filing.report
    if report.refusals:
        return " ".join((PRELIMINARY, "Not reported.", *(f"{r.message} {r.remedy}" for r in report.refusals)))
    if report.assessment is None:
        return f"{PRELIMINARY} Not assessed."
    decided = report.assessment.decided_on
    return " ".join((PRELIMINARY, report.assessment.statement, f"Decided on: {decided}.", *report.limits_of_use))


def _presented_form(filing: Filing) -> Json:
    """The page inside when it is small enough, else a link to it, else nothing."""
    html, url = filing.options.page_html, filing.options.page_url
    attachment: Json = {"contentType": "text/html", "language": "en", "title": "Report page"}
    data = "" if html is None else base64.b64encode(html).decode("ascii")
    if html is not None and len(data) <= PRESENTED_FORM_LIMIT:
        # SHA-1 is what R4 asks for in Attachment.hash; it guards against damage, not against forgery
        digest = base64.b64encode(hashlib.sha1(html, usedforsecurity=False).digest()).decode("ascii")
        return {"presentedForm": [{**attachment, "data": data, "size": len(html), "hash": digest}]}
    return {} if url is None else {"presentedForm": [{**attachment, "url": url}]}


def dxa_request(filing: Filing, due: Sequence[Recommendation], report: Json) -> Json:
    """One draft proposal for a person to turn into an order, with the reasons of every rule that asks for it."""
    return {
        **filing.head("ServiceRequest", DXA_ACTION),
        **_instantiates(filing, due),
        "status": "draft",
        "intent": "proposal",
        "category": [codes.IMAGING_ORDER],
        "code": codes.DXA_ORDER,
        "subject": filing.subject,
        "authoredOn": filing.report.created_at,
        "requester": filing.device,
        "reasonReference": [resource_reference(report)],
        "note": [{"text": _reason(recommendation)} for recommendation in due],
    }


def _instantiates(filing: Filing, due: Sequence[Recommendation]) -> Json:
    """The rules that ask for it, below the site's own base."""
    plans = [filing.canonical(item.plan_definition) for item in due if item.plan_definition]
    return {"instantiatesCanonical": list(dict.fromkeys(plans))} if plans else {}


def _reason(recommendation: Recommendation) -> str:
    because = f" Because: {'; '.join(recommendation.because)}." if recommendation.because else ""
    rule = f"rule {recommendation.rule_id}, version {recommendation.rule_version}"
    return f"{recommendation.text}{because} {recommendation.citation} ({rule})"
