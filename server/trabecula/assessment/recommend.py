"""The recommendation stage: which of the guidelines' next steps are due, and on which facts."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import Assessment, Recommendation
from trabecula.assessment.facts import gather
from trabecula.assessment.rules import load_rules
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.patient import PatientContext


def recommend(
    assessment: Assessment,
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    composition: Sequence[CompositionAtLevel],  # noqa: ARG001 - muscle and fat come as the assessment's drivers
    patient: PatientContext,
    constants: ClinicalConstants,
) -> tuple[Recommendation, ...]:
    """Every rule that fires, in the order of the rule file.

    Raises:
        ClinicalDataError: if the rules or a number cannot be read.
    """
    facts = gather(assessment, density, vertebrae, patient, constants)
    texts = {name: fact.value for name, fact in facts.items()}
    return tuple(
        Recommendation(
            rule_id=rule.id,
            rule_version=rule.version,
            action=rule.action,
            text=rule.text.format_map(texts),
            because=rule.because(facts),
            citation=rule.citation,
            verified=rule.verified,
        )
        for rule in load_rules()
        if rule.fires(facts)
    )
