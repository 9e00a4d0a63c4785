"""Every kind of FHIR result that the program gives, made from the sample reports by the real converters."""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import report_samples as samples

from trabecula.assessment.assessment import Category
from trabecula.outputs.r4 import FhirOptions, ModelCard, Profile, to_bundle, to_resources, transaction
from trabecula.outputs.r4.access import Access, Party, audit_event
from trabecula.outputs.r4.codes import ProgrammeState
from trabecula.outputs.r4.follow_up import Step, moved, proposed_task
from trabecula.outputs.r4.profiles import DxaServiceRequest, ProgrammeTask
from trabecula.outputs.r4.review import Signature, SignedStatus, reviewed_resources
from trabecula.outputs.report_json import from_json
from trabecula.report import ScreeningReport

Json = dict[str, Any]

PHANTOM_REPORT = Path(__file__).with_name("phantom.report.json")
PAGE = b"<!DOCTYPE html><title>Report</title>"
PDF = b"%PDF-1.7\n%%EOF\n"
CARDS = tuple(
    ModelCard(model.name, model.version, model.sha256, f"# {model.name}\n".encode()) for model in samples.models()
)
OPTIONS = FhirOptions(
    patient_reference="Patient/p1",
    patient_identifier_system="https://hospital.example/mrn",
    page_html=PAGE,
    page_pdf=PDF,
    model_cards=CARDS,
    accession_system="https://hospital.example/accession",
)
AT = "2026-11-23T09:12:00Z"
SIGNATURE = Signature(
    SignedStatus.FINAL, 1, AT, "r-17", "Dr. Example", "https://hospital.example/staff", "Example Radiology"
)


def severe() -> ScreeningReport:
    """Density in the osteoporosis range with a suspected fracture."""
    base = samples.reported()
    return replace(
        base,
        screening_id="3f7a7c40-4d0e-5d64-8f1d-6a8b9c1d2e3f",
        assessment=replace(
            samples.assessment(),
            category=Category.SEVERE_RANGE_SUSPECTED,
            statement="Density in the osteoporosis range, and a vertebral fracture is suspected at L2.",
        ),
    )


@cache
def phantom() -> ScreeningReport:
    """What the program reported of a digital phantom, with the example second reader beside it."""
    return from_json(PHANTOM_REPORT.read_text(encoding="utf-8"))


def reports() -> dict[str, ScreeningReport]:
    return {**samples.all_reports(), "fracture": severe(), "phantom": phantom()}


def examples() -> dict[str, Json]:
    """The guide's examples by file name: a resource of each profile, and whole results."""
    from fhir_broken import good

    singles = {f"{resource['resourceType']}-{slug}.json": resource for slug, resource in good().items()}
    whole = {
        "phantom": phantom(),
        "refusal": samples.refused(),
        "fracture": severe(),
        "enhanced": samples.enhanced(),
        "missing-context": samples.unknown_context(),
    }
    bundles = {f"Bundle-{name}.json": {"id": name, **to_bundle(report)} for name, report in whole.items()}
    return {**singles, **{name: {"resourceType": "Bundle", **bundle} for name, bundle in bundles.items()}}


def corrected() -> ScreeningReport:
    """The result after a radiologist has left T11 out: nothing of T11 is left, and one number has changed."""
    base = samples.reported()
    assert base.density is not None
    return replace(
        base,
        vertebrae=base.vertebrae[1:],
        density=replace(base.density, vbmd_mean_mg_cm3=90.4, levels_used=base.density.levels_used[1:]),
        recommendations=(),
    )


@cache
def bundles() -> dict[str, Json]:
    """Transaction bundles by kind."""
    base = samples.reported()
    final = reviewed_resources(base, [base], SIGNATURE, OPTIONS)
    second = replace(SIGNATURE, status=SignedStatus.CORRECTED, version=2)
    wrong = replace(SIGNATURE, status=SignedStatus.ENTERED_IN_ERROR, version=2, reason="Levels are miscounted.")
    return {
        **{name: to_bundle(report) for name, report in reports().items()},
        "matched_patient": to_bundle(base, OPTIONS),
        "signed": transaction(final, OPTIONS),
        "corrected": transaction(reviewed_resources(corrected(), [base], second, OPTIONS), OPTIONS),
        "rejected": transaction(reviewed_resources(base, [base], wrong, OPTIONS), OPTIONS),
        "programme": transaction(tasks(), OPTIONS),
        "access": transaction(audit_events(), OPTIONS),
    }


def request() -> DxaServiceRequest:
    (found,) = [made for made in to_resources(samples.reported(), OPTIONS) if isinstance(made, DxaServiceRequest)]
    return found


@cache
def tasks() -> tuple[ProgrammeTask, ...]:
    """One task in every state, each under an id of its own."""
    result: Json = {"reference": "Observation/dxa-1", "type": "Observation"}
    needs: dict[ProgrammeState, dict[str, Any]] = {
        ProgrammeState.DONE: {"results": (result,)},
        ProgrammeState.DECLINED: {"reason": "Does not want it."},
        ProgrammeState.CLOSED: {"reason": "Has moved away."},
    }
    task = proposed_task(request(), "2026-11-22T16:40:12Z", OPTIONS, due="2026-12-22", owner="Fracture clinic")
    steps = [moved(task, Step(state, AT, note="By telephone.", **needs.get(state, {}))) for state in ProgrammeState]
    return (task, *(_renamed(each, state.value) for each, state in zip(steps, ProgrammeState, strict=True)))


def _renamed(task: ProgrammeTask, name: str) -> ProgrammeTask:
    identity = str(uuid.uuid5(uuid.UUID(task.id), name))
    own = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{identity}"}
    return ProgrammeTask({**task.json(), "id": identity, "identifier": [own]})


@cache
def audit_events() -> tuple[Profile, ...]:
    client, server = Party("viewer", "192.0.2.7"), Party("trabecula", "https://trabecula.example/fhir")
    patient: Json = {"reference": "Patient/p1", "type": "Patient"}
    other: Json = {"type": "Patient", "identifier": {"system": "https://hospital.example/mrn", "value": "8"}}
    report: Json = {"reference": "DiagnosticReport/r1", "type": "DiagnosticReport"}
    made = (
        Access(event_id("1"), "read", AT, "0", client, server, None, report, None, None, (patient,), None, "q-1"),
        Access(
            event_id("2"), "search-type", AT, "0", client, server, "Dr. Example", None,
            "Observation?patient=Patient/p1", None, (patient, other),
        ),
        Access(event_id("3"), "create", AT, "8", Party("batch"), server, None, report),
    )  # fmt: skip
    return tuple(audit_event(access, OPTIONS) for access in made)


def event_id(name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, name)
