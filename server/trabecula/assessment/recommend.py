"""The recommendation stage: which of the guidelines' next steps are due, and on which facts."""

from __future__ import annotations

from collections.abc import Sequence

from trabecula.assessment.assessment import Assessment, Recommendation, RuleFact
from trabecula.assessment.facts import Fact, gather
from trabecula.assessment.rules import load_rules
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.clinical import ClinicalConstants
from trabecula.composition.body import CompositionAtLevel
from trabecula.patient import PatientContext


def recommend(
    assessment: Assessment,
    density: DensitySummary,
    vertebrae: Sequence[VertebraResult],
    composition: Sequence[CompositionAtLevel],  # noqa: ARG001 - muscle and fat come as the assessment's contributions
    patient: PatientContext,
    constants: ClinicalConstants,
) -> tuple[Recommendation, ...]:
    """Every rule that fires, in the order of the set.

    Raises:
        ClinicalDataError: if the rules or a number cannot be read.
    """
    facts = gather(assessment, density, vertebrae, patient, constants)
    found = []
    for rule in load_rules():
        if not rule.fires(facts):
            continue
        seen = rule.seen(facts)
        found.append(
            Recommendation(
                rule_id=rule.id,
                rule_version=rule.version,
                action=rule.action,
                text=rule.wording(facts),
                because=tuple(dict.fromkeys(fact.text for fact in seen.values())),
                citation=rule.citation,
                verified=rule.verified,
                plan_definition=rule.plan_definition,
                activity_definition=rule.activity_definition,
                condition=rule.condition,
                facts=tuple(RuleFact(name, _shown(fact), fact.text) for name, fact in seen.items()),
            )
        )
    return tuple(found)


def _shown(fact: Fact) -> str:
    value = fact.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else value
