"""The whole result as one R4 transaction."""

from __future__ import annotations

from typing import Any

from trabecula.outputs.r4.conclusions import DXA_ACTION, diagnostic_report, dxa_request, risk_assessment
from trabecula.outputs.r4.filing import FhirOptions, Filing
from trabecula.outputs.r4.observations import (
    composition_observation,
    lumbar_observation,
    mean_observation,
    quality_observation,
    second_reader_observation,
    vertebra_observation,
)
from trabecula.outputs.r4.origin import device, imaging_study, provenance
from trabecula.outputs.r4.resources import checked
from trabecula.report import ScreeningReport

Json = dict[str, Any]


def to_bundle(report: ScreeningReport, options: FhirOptions | None = None) -> Json:
    """FHIR R4 transaction Bundle of a report, as JSON values.

    Every entry is ``PUT Type/<id>`` with an id that follows from the screening, so that sending it twice
    changes nothing. A refused study gives the quality Observation with its coded refusals, a mean density
    with ``dataAbsentReason`` and a preliminary DiagnosticReport. Without a study identity there is no
    ImagingStudy and the subject is a patient marked ``unknown``: whole, but for a person to file.

    Raises:
        ConversionFault: if a resource does not fit its R4B class.
    """
    filing = Filing(report, options or FhirOptions())
    vertebrae = [vertebra_observation(filing, vertebra) for vertebra in report.vertebrae]
    mean = mean_observation(filing, _used(report, vertebrae))
    lumbar = [] if report.density is None else [lumbar_observation(filing, mean)]
    composition = [composition_observation(filing, level) for level in report.composition]
    second = [second_reader_observation(filing, reading) for reading in report.second_readings]
    results = [mean, *lumbar, *vertebrae, *composition, *second, quality_observation(filing)]
    risk = [] if report.assessment is None else [risk_assessment(filing, report.assessment, [*lumbar, *composition])]
    summary = diagnostic_report(filing, results, risk[0] if risk else None)
    due = [item for item in report.recommendations if item.action == DXA_ACTION]
    orders = [dxa_request(filing, due, summary)] if due else []
    study = imaging_study(filing)
    made = [*results, *risk, summary, *orders]
    resources = [device(filing), *([] if study is None else [study]), *made, provenance(filing, made)]
    return checked({"resourceType": "Bundle", "type": "transaction", "entry": [_entry(item) for item in resources]})


def _used(report: ScreeningReport, observations: list[Json]) -> list[Json]:
    """Observations of the vertebrae that went into the mean."""
    levels = () if report.density is None else report.density.levels_used
    pairs = zip(report.vertebrae, observations, strict=True)
    return [observation for vertebra, observation in pairs if vertebra.level in levels]


def _entry(resource: Json) -> Json:
    return {
        "fullUrl": f"urn:uuid:{resource['id']}",
        "resource": checked(resource),
        "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
    }
