"""Fill a database with many results quickly, each as the record would have written it (COPY, indexes built after).

A result has nine resources that are found by patient, identifier, code, date and study like real ones; their contents
are cut short so that a hundred thousand results fit on a small disk.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import report_samples as samples

from trabecula.clinical import load_constants
from trabecula.outputs.r4 import FhirOptions, to_bundle
from trabecula.record.dates import instant
from trabecula.record.keys import reference_id_key, reference_key
from trabecula.record.parameters import FoundBy, found_by, patient_keys
from trabecula.record.publish import facts_of_report, resources_of
from trabecula.record.results import summary_of
from trabecula.record.schema import resource, result
from trabecula.work.database import Database, sync_engine

Json = dict[str, Any]

SYSTEM = "urn:oid:1.2.3"
BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)
_SPACE = uuid.UUID("8d5f7d0e-4b1f-4c1d-9a65-0f5c0f8d2b11")
_LOW = 3
"""Every third result is in the low range; the others show no sign."""


def patient_of(number: int, results: int) -> tuple[str, str]:
    """System and value of the patient of a result; four of five patients have one result, the fifth has two."""
    patients = max(1, results * 5 // 6)
    return SYSTEM, f"P-{number % patients:07d}"


def study_uid(number: int) -> str:
    return f"1.2.826.0.1.99.{number + 1}"


@dataclass(frozen=True)
class Seeded:
    results: int
    resources: int


def seed_record(database: Database, results: int = 100_000) -> Seeded:
    """Write so many results into an empty record. Blocking: call it in a thread."""
    templates = _templates()
    engine = sync_engine(database.parameters)
    indexes = [*resource.indexes, *result.indexes]
    with engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
    with psycopg.connect(**database.parameters) as connection:
        with connection.cursor().copy(_COPY_RESOURCE) as copy:
            for row in _resource_rows(templates, results):
                copy.write_row(row)
        with connection.cursor().copy(_COPY_RESULT) as copy:
            for row in _result_rows(results):
                copy.write_row(row)
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
        for index in indexes:
            index.create(connection)
        connection.exec_driver_sql("ANALYZE resource")
        connection.exec_driver_sql("ANALYZE result")
    engine.dispose()
    return Seeded(results, results * len(templates))


_COPY_RESOURCE = (
    "COPY resource (type, id, version, last_updated, content_sha256, content, status, patient_identifier, "
    "date_from, date_to, search_keys) FROM STDIN"
)
_COPY_RESULT = (
    "COPY result (report_id, screening_id, study_uid, patient_system, patient_value, effective, created_at, summary, "
    "facts) FROM STDIN"
)


@dataclass(frozen=True)
class _Template:
    type: str
    content: str
    """JSON with ``{id}``, ``{patient}``, ``{date}``, ``{study}`` and ``{at}`` in marks."""
    keys: str
    """What it is found by whatever its patient and number, as an array's text without braces."""
    status: str | None
    subject: tuple[str, ...]
    """Parameters of its patient."""


def _templates() -> list[_Template]:
    """From a real bundle: the mean, the lumbar equivalent, three vertebrae, risk, report, study, provenance."""
    bundle = to_bundle(samples.reported(), FhirOptions(patient_identifier_system=SYSTEM))
    chosen: list[Json] = []
    observations = 0
    for each in resources_of(bundle):
        kind = each["resourceType"]
        observations += kind == "Observation"
        if kind in ("RiskAssessment", "DiagnosticReport", "ImagingStudy", "Provenance") or (
            kind == "Observation" and observations <= 5
        ):
            chosen.append(each)
    return [_template(each) for each in chosen]


def _template(content: Json) -> _Template:
    kind = content["resourceType"]
    kept = {
        name: value
        for name, value in content.items()
        if name
        in ("status", "code", "category", "valueQuantity", "bodySite", "conclusionCode", "prediction", "modality")
    }
    whole: Json = {"resourceType": kind, "id": "<id>", "meta": {"versionId": "1", "lastUpdated": "<at>"}, **kept}
    whole["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:<id>"}]
    if kind != "Provenance":
        whole["subject"] = {"type": "Patient", "identifier": {"system": SYSTEM, "value": "<patient>"}}
    if kind == "Observation":
        whole["partOf"] = [{"reference": "ImagingStudy/<study>"}]
    if kind == "DiagnosticReport":
        whole["imagingStudy"] = [{"reference": "ImagingStudy/<study>"}]
    if kind == "ImagingStudy":
        whole["identifier"].append({"system": "urn:dicom:uid", "value": "urn:oid:<uid>"})
        whole["started"] = "<date>"
    elif kind == "Provenance":
        whole["recorded"] = "<at>"
    else:
        whole["occurrenceDateTime" if kind == "RiskAssessment" else "effectiveDateTime"] = "<date>"
    common = found_by({**kept, "resourceType": kind})
    subject = {"Provenance": ("patient",), "DetectedIssue": ("patient",)}.get(kind, ("patient", "subject"))
    keys = ",".join(str(key) for key in common.keys)
    return _Template(kind, json.dumps(whole), keys, common.status, subject)


def _resource_rows(templates: list[_Template], results: int) -> Iterator[tuple[Any, ...]]:
    for number in range(results):
        system, value = patient_of(number, results)
        moment = BEGINNING + timedelta(minutes=number * 7)
        day = moment.date()
        study = str(uuid.uuid5(_SPACE, f"study/{number}"))
        patient = {
            parameters: ",".join(
                str(key) for name in parameters for key in patient_keys(name, None, f"{system}|{value}")
            )
            for parameters in {template.subject for template in templates}
        }
        links = {
            "Observation": ("part-of", study),
            "DiagnosticReport": ("imaging-study", study),
        }
        for place, template in enumerate(templates):
            identity = study if template.type == "ImagingStudy" else str(uuid.uuid5(_SPACE, f"{place}/{number}"))
            own = _own_keys(template.type, identity, number, links)
            content = (
                template.content.replace("<id>", identity)
                .replace("<patient>", value)
                .replace("<date>", day.isoformat())
                .replace("<study>", study)
                .replace("<uid>", study_uid(number))
                .replace("<at>", instant(moment))
            )
            yield (
                template.type,
                identity,
                1,
                moment,
                "0" * 64,
                content,
                template.status,
                f"{system}|{value}",
                day,
                day + timedelta(days=1),
                "{" + ",".join(filter(None, (template.keys, patient[template.subject], own))) + "}",
            )


def _own_keys(kind: str, identity: str, number: int, links: dict[str, tuple[str, str]]) -> str:
    named: Json = {
        "resourceType": kind,
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{identity}"}],
    }
    if kind == "ImagingStudy":
        named["identifier"].append({"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid(number)}"})
    found: FoundBy = found_by(named)
    keys = [str(key) for key in found.keys]
    if kind in links:
        parameter, study = links[kind]
        keys += [str(reference_key(parameter, f"ImagingStudy/{study}")), str(reference_id_key(parameter, study))]
    return ",".join(keys)


def _result_rows(results: int) -> Iterator[tuple[Any, ...]]:
    report = samples.reported()
    place = next(place for place, each in enumerate(_templates()) if each.type == "DiagnosticReport")
    low = summary_of(report, "2026-03-14")
    quiet = replace(low, category="no-sign-of-low-density", recommendations=(), fracture_suspected_at=())
    facts = {name: [fact.value, fact.text] for name, fact in (facts_of_report(report, load_constants()) or {}).items()}
    texts = [json.dumps(asdict(each)) for each in (low, quiet)]
    for number in range(results):
        system, value = patient_of(number, results)
        moment = BEGINNING + timedelta(minutes=number * 7)
        yield (
            str(uuid.uuid5(_SPACE, f"{place}/{number}")),
            str(uuid.uuid5(_SPACE, f"screening/{number}")),
            study_uid(number),
            system,
            value,
            moment.replace(hour=0, minute=0),
            moment,
            texts[number % _LOW != 0],
            json.dumps(facts),
        )
