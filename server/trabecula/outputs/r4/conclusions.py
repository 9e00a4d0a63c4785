"""What the measurements mean and what a guideline would do next: risk, report, proposed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trabecula.assessment.assessment import Assessment, Category, Recommendation
from trabecula.bone.vertebra import DeformityStatus, ExclusionReason
from trabecula.calibration.density_result import VertebraResult
from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import Metric, ProjectSystem
from trabecula.outputs.r4.filing import Filing
from trabecula.outputs.r4.profiles import (
    BoneDetectedIssue,
    BoneDiagnosticReport,
    BoneRiskAssessment,
    DxaServiceRequest,
    ScreeningObservation,
)

Json = dict[str, Any]

DXA_ACTION: Final = "dxa-confirmation"
FRACTURE_ACTION: Final = "fracture-assessment"
PRELIMINARY: Final = "Preliminary result of a machine, not reviewed by a physician."


def risk_assessment(
    filing: Filing, assessment: Assessment, basis: Sequence[ScreeningObservation]
) -> BoneRiskAssessment:
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
    return BoneRiskAssessment(
        {
            **filing.head(BoneRiskAssessment, "study"),
            "status": "preliminary",
            "method": codes.concept(text=f"Rules of clinical data {report.clinical_data_version}"),
            "subject": filing.subject,
            **_occurrence(filing),
            "performer": filing.device,
            "basis": [resource.reference() for resource in basis],
            "prediction": [_prediction(filing, assessment)],
            **({"mitigation": mitigation} if mitigation else {}),
            "note": [{"text": text} for text in notes],
        }
    )


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
    return {} if filing.acquired is None else {"occurrenceDateTime": filing.acquired}


def diagnostic_report(
    filing: Filing, results: Sequence[ScreeningObservation], risk: BoneRiskAssessment | None
) -> BoneDiagnosticReport:
    """The report that binds the results together; a refused study has one too."""
    report = filing.report
    assessment = report.assessment
    extension = [] if risk is None else [{"url": codes.REPORT_RISK_EXTENSION, "valueReference": risk.reference()}]
    conclusion_code = (
        []
        if assessment is None
        else [filing.project_concept(ProjectSystem.CATEGORY, assessment.category.value, assessment.statement)]
    )
    return BoneDiagnosticReport(
        {
            **filing.head(BoneDiagnosticReport, "study"),
            **({"extension": extension} if extension else {}),
            **_order(filing),
            "status": "preliminary",
            "category": [codes.RADIOLOGY, codes.IMAGING_REPORT, codes.EU_MEDICAL_IMAGING],
            "code": codes.REPORT_CODE,
            "subject": filing.subject,
            **filing.effective,
            "issued": report.created_at,
            "result": [resource.reference() for resource in results],
            **({} if filing.imaging_study is None else {"imagingStudy": [filing.imaging_study]}),
            "conclusion": _conclusion(filing),
            **({"conclusionCode": conclusion_code} if conclusion_code else {}),
            **_presented_form(filing),
        }
    )


def _order(filing: Filing) -> Json:
    """The order that led to the images, by its accession number where the site has named who issues them."""
    if filing.accession is None or "system" not in filing.accession:
        return {}
    return {"basedOn": [{"type": "ServiceRequest", "identifier": filing.accession}]}


def _conclusion(filing: Filing) -> str:
    report = filing.report
    if report.refusals:
        return " ".join((PRELIMINARY, "Not reported.", *(f"{r.message} {r.remedy}" for r in report.refusals)))
    if report.assessment is None:
        return f"{PRELIMINARY} Not assessed."
    decided = report.assessment.decided_on
    return " ".join((PRELIMINARY, report.assessment.statement, f"Decided on: {decided}.", *report.limits_of_use))


def _presented_form(filing: Filing) -> Json:
    """The pages: inside when small enough, else a link, else nothing."""
    attachments = [attachment for form in filing.options.forms() if (attachment := form.attachment()) is not None]
    return {"presentedForm": attachments} if attachments else {}


def detected_issue(filing: Filing, evidence: Sequence[ScreeningObservation]) -> BoneDetectedIssue | None:
    """What should not wait: the severe category, or a fracture that a rule asks somebody to look at; else None."""
    report = filing.report
    severe = report.assessment is not None and report.assessment.category is Category.SEVERE_RANGE_SUSPECTED
    rules = [each for each in report.recommendations if each.action == FRACTURE_ACTION]
    if not evidence or not (severe or rules):
        return None
    severe_code = filing.project_concept(
        ProjectSystem.CATEGORY,
        Category.SEVERE_RANGE_SUSPECTED.value,
        codes.CATEGORY_DISPLAY[Category.SEVERE_RANGE_SUSPECTED],
    )
    statement = report.assessment.statement if severe and report.assessment is not None else ""
    return BoneDetectedIssue(
        {
            **filing.head(BoneDetectedIssue, "fracture"),
            "status": "preliminary",
            "code": severe_code if severe else filing.metric(Metric.FRACTURE_SUSPECTED),
            "severity": "high" if severe else "moderate",
            "patient": filing.subject,
            "identifiedDateTime": report.created_at,
            "author": filing.device,
            "evidence": [{"detail": [each.reference() for each in evidence]}],
            "detail": " ".join(text for text in (statement, *(rule.text for rule in rules)) if text),
        }
    )


def fracture_suspected(vertebra: VertebraResult) -> bool:
    """Whether the bone stage suspects a fracture of this vertebra."""
    deformed = vertebra.deformity is not None and vertebra.deformity.status is DeformityStatus.SUSPECTED
    return deformed or ExclusionReason.FRACTURE in vertebra.excluded


def dxa_request(filing: Filing, due: Sequence[Recommendation], report: BoneDiagnosticReport) -> DxaServiceRequest:
    """One draft proposal for a person to turn into an order, with the reasons of every rule that asks for it."""
    return DxaServiceRequest(
        {
            **filing.head(DxaServiceRequest, DXA_ACTION),
            **_instantiates(filing, due),
            "status": "draft",
            "intent": "proposal",
            "category": [codes.IMAGING_ORDER],
            "code": codes.DXA_ORDER,
            "subject": filing.subject,
            "authoredOn": filing.report.created_at,
            "requester": filing.device,
            "reasonReference": [report.reference()],
            "note": [{"text": _reason(recommendation)} for recommendation in due],
        }
    )


def _instantiates(filing: Filing, due: Sequence[Recommendation]) -> Json:
    """The rules that ask for it, below the site's own base."""
    plans = [filing.canonical(item.plan_definition) for item in due if item.plan_definition]
    return {"instantiatesCanonical": list(dict.fromkeys(plans))} if plans else {}


def _reason(recommendation: Recommendation) -> str:
    because = f" Because: {'; '.join(recommendation.because)}." if recommendation.because else ""
    rule = f"rule {recommendation.rule_id}, version {recommendation.rule_version}"
    return f"{recommendation.text}{because} {recommendation.citation} ({rule})"
