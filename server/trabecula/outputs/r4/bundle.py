"""The whole result as one R4 transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trabecula.outputs.r4.conclusions import (
    DXA_ACTION,
    detected_issue,
    diagnostic_report,
    dxa_request,
    fracture_suspected,
    risk_assessment,
)
from trabecula.outputs.r4.filing import FhirOptions, Filing
from trabecula.outputs.r4.observations import (
    composition_observation,
    lumbar_observation,
    mean_observation,
    quality_observation,
    second_reader_observation,
    vertebra_observation,
)
from trabecula.outputs.r4.origin import device, imaging_study, model_card, provenance
from trabecula.outputs.r4.profiles import ModelCardDocumentReference, Profile, TrabecularBmdObservation
from trabecula.outputs.r4.resources import checked
from trabecula.report import ScreeningReport

Json = dict[str, Any]

ENTRY_LIMIT: Final = 50
"""Entries in a bundle before the cards of the models are left out; servers bound the updates of a transaction."""


def to_bundle(report: ScreeningReport, options: FhirOptions | None = None) -> Json:
    """FHIR R4 transaction Bundle of a report, as JSON values.

    Every entry is ``PUT Type/<id>`` with an id that follows from the screening, so that sending it twice
    changes nothing. A refused study gives the quality Observation with its coded refusals, a mean density
    with ``dataAbsentReason`` and a preliminary DiagnosticReport. Without a study identity there is no
    ImagingStudy and the subject is a patient marked ``unknown``: whole, but for a person to file.

    Raises:
        ProfileViolation: if a resource does not keep its profile.
        ConversionFault: if a resource does not fit its R4B class.
    """
    chosen = options or FhirOptions()
    return transaction(to_resources(report, chosen), chosen)


def to_resources(report: ScreeningReport, options: FhirOptions | None = None) -> tuple[Profile, ...]:
    """The resources of a report in the order of the bundle: what they rest on, the results, their provenance."""
    filing = Filing(report, options or FhirOptions())
    vertebrae = [vertebra_observation(filing, vertebra) for vertebra in report.vertebrae]
    mean = mean_observation(filing, _used(report, vertebrae))
    lumbar = [] if report.density is None else [lumbar_observation(filing, mean)]
    composition = [composition_observation(filing, level) for level in report.composition]
    second = [second_reader_observation(filing, reading) for reading in report.second_readings]
    results = [mean, *lumbar, *vertebrae, *composition, *second, quality_observation(filing)]
    risk = [] if report.assessment is None else [risk_assessment(filing, report.assessment, [*lumbar, *composition])]
    summary = diagnostic_report(filing, results, risk[0] if risk else None)
    suspects = [made for made, v in zip(vertebrae, report.vertebrae, strict=True) if fracture_suspected(v)]
    issue = detected_issue(filing, suspects)
    due = [item for item in report.recommendations if item.action == DXA_ACTION]
    orders = [dxa_request(filing, due, summary)] if due else []
    study = imaging_study(filing)
    made = [*results, *risk, summary, *([] if issue is None else [issue]), *orders]
    fixed = len(made) + (2 if study is None else 3)
    cards = _cards(filing, ENTRY_LIMIT - fixed)
    origin = [*cards, device(filing, cards), *([] if study is None else [study])]
    return (*origin, *made, provenance(filing, made, cards))


def transaction(resources: Sequence[Profile], options: FhirOptions) -> Json:
    """Resources as a transaction of ``PUT Type/<id>``; references between them are literal, below the same base."""
    entries = [_entry(resource, options) for resource in resources]
    frame = [{name: part for name, part in entry.items() if name != "resource"} for entry in entries]
    checked({"resourceType": "Bundle", "type": "transaction", "entry": frame})  # the resources have been
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _cards(filing: Filing, room: int) -> list[ModelCardDocumentReference]:
    """Cards of the models that had a part; none when they would make the transaction too long."""
    cards = [card for each in filing.model_cards if (card := model_card(filing, each)) is not None]
    return cards if len(cards) <= room else []


def _used(report: ScreeningReport, observations: list[TrabecularBmdObservation]) -> list[TrabecularBmdObservation]:
    """Observations of the vertebrae that went into the mean."""
    levels = () if report.density is None else report.density.levels_used
    pairs = zip(report.vertebrae, observations, strict=True)
    return [observation for vertebra, observation in pairs if vertebra.level in levels]


def _entry(resource: Profile, options: FhirOptions) -> Json:
    content = resource.json()
    if not options.declare_profiles:
        meta = {name: value for name, value in content["meta"].items() if name != "profile"}
        content = {**content, "meta": meta} if meta else {k: v for k, v in content.items() if k != "meta"}
    return {
        "fullUrl": f"{options.base_url.rstrip('/')}/{resource.url}",
        "resource": content,
        "request": {"method": "PUT", "url": resource.url},
    }
