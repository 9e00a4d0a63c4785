"""After sign-off: the same resources as new versions, with a person's name to them, and a record of who decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fhir_samples
import pytest
import report_samples as samples

from trabecula.outputs.r4 import Profile, to_resources
from trabecula.outputs.r4.review import Signature, SignedStatus, reviewed_resources

Json = dict[str, Any]
OPTIONS = fhir_samples.OPTIONS
BASE = samples.reported()
SIGNED = fhir_samples.SIGNATURE
CORRECTED = replace(SIGNED, status=SignedStatus.CORRECTED, version=2)
REJECTED = replace(SIGNED, status=SignedStatus.ENTERED_IN_ERROR, version=2, reason="Levels are miscounted.")


def of(made: tuple[Profile, ...], kind: str) -> list[Json]:
    return [each.json() for each in made if each.resource_type == kind]


def by_url(made: tuple[Profile, ...]) -> dict[str, Json]:
    return {each.url: each.json() for each in made}


def test_accepting_makes_every_result_final_under_its_own_id() -> None:
    before, after = to_resources(BASE, OPTIONS), reviewed_resources(BASE, [BASE], SIGNED, OPTIONS)
    assert {each.url for each in before if each.resource_type != "Provenance"} == {
        each.url for each in after if each.resource_type != "Provenance"
    }
    for kind in ("Observation", "DiagnosticReport", "RiskAssessment", "DetectedIssue"):
        assert {each["status"] for each in of(after, kind)} == {"final"}
    assert [each["status"] for each in of(after, "ServiceRequest")] == ["draft"]


def test_the_signed_report_names_its_reader_as_imr_asks() -> None:
    (report,) = of(reviewed_resources(BASE, [BASE], SIGNED, OPTIONS), "DiagnosticReport")
    (reader,) = report["resultsInterpreter"]
    assert (reader["type"], reader["identifier"]["value"], reader["display"]) == ("Practitioner", "r-17", "Dr. Example")
    assert report["performer"] == [{"type": "Organization", "display": "Example Radiology"}]
    assert report["issued"] == fhir_samples.AT
    assert report["conclusion"].startswith("Made by a machine, reviewed by a physician.")
    assert "not reviewed" not in report["conclusion"]
    html = next(form for form in report["presentedForm"] if form["contentType"] == "text/html")
    assert html["size"] == len(fhir_samples.PAGE)
    assert html["hash"]
    assert report["imagingStudy"]


def test_a_correction_marks_what_changed_and_withdraws_what_is_gone() -> None:
    now = fhir_samples.corrected()
    after = by_url(reviewed_resources(now, [BASE], CORRECTED, OPTIONS))
    old = {each.url: each.json() for each in to_resources(BASE, OPTIONS)}
    gone = set(old) - {each.url for each in to_resources(now, OPTIONS)}
    t11 = {url for url in gone if old[url].get("bodySite", {}).get("text") == "T11 vertebra"}
    assert {after[url]["status"] for url in t11} == {"entered-in-error"}
    assert t11
    orders = {url for url in gone if url.startswith("ServiceRequest/")}
    assert {after[url]["status"] for url in orders} == {"revoked"}
    states = {
        resource["code"]["coding"][0]["code"]: resource["status"]
        for url, resource in after.items()
        if url.startswith("Observation/") and url not in gone
    }
    assert states["vbmd-trabecular-mean"] == "corrected"
    assert states["screening-quality"] == "final"
    (report,) = [resource for url, resource in after.items() if url.startswith("DiagnosticReport/")]
    assert report["status"] == "corrected"


def test_a_rejected_result_is_entered_in_error_as_a_whole() -> None:
    after = reviewed_resources(BASE, [BASE], REJECTED, OPTIONS)
    for kind in ("Observation", "DiagnosticReport", "RiskAssessment", "DetectedIssue", "ServiceRequest"):
        assert {each["status"] for each in of(after, kind)} == {"entered-in-error"}
    (report,) = of(after, "DiagnosticReport")
    assert report["conclusion"].startswith("Withdrawn by a physician. Levels are miscounted.")


@pytest.mark.parametrize(("signature", "activity"), [(SIGNED, "UPDATE"), (CORRECTED, "UPDATE"), (REJECTED, "NULLIFY")])
def test_a_provenance_names_device_person_targets_and_the_versions_before(signature: Signature, activity: str) -> None:
    report_url = next(each.url for each in to_resources(BASE, OPTIONS) if each.resource_type == "DiagnosticReport")
    made = reviewed_resources(BASE, [BASE], signature, OPTIONS, {report_url: "3"})
    (provenance,) = of(made, "Provenance")
    assert provenance["activity"]["coding"][0]["code"] == activity
    roles = {agent["type"]["coding"][0]["code"]: agent["who"]["type"] for agent in provenance["agent"]}
    assert roles == {"author": "Device", "verifier": "Practitioner"}
    assert provenance["entity"] == [
        {"role": "revision", "what": {"reference": f"{report_url}/_history/3", "type": "DiagnosticReport"}}
    ]
    results = {each.url for each in made} - {
        each.url for each in made if each.resource_type in {"Device", "ImagingStudy", "DocumentReference", "Provenance"}
    }
    assert {target["reference"] for target in provenance["target"]} == results


def test_each_decision_has_a_provenance_of_its_own_and_the_machines_stays() -> None:
    ids = {
        each.id
        for signature in (SIGNED, CORRECTED, REJECTED, replace(CORRECTED, version=3))
        for each in reviewed_resources(BASE, [BASE], signature, OPTIONS)
        if each.resource_type == "Provenance"
    }
    machine = {each.id for each in to_resources(BASE, OPTIONS) if each.resource_type == "Provenance"}
    assert len(ids) == 3
    assert not ids & machine


def test_a_refused_study_can_be_signed_too() -> None:
    refused = samples.refused()
    after = reviewed_resources(refused, [refused], SIGNED, OPTIONS)
    assert {each["status"] for each in of(after, "Observation")} == {"final"}
    (report,) = of(after, "DiagnosticReport")
    assert "Not reported." in report["conclusion"]


def test_a_hostile_name_or_reason_spoils_nothing() -> None:
    odd = replace(REJECTED, person_name="\x00Dr.\x07 X ", person_id="\x1b", reason="Wrong\x00\nlevel.\x0c")
    (report,) = of(reviewed_resources(BASE, [BASE], odd, OPTIONS), "DiagnosticReport")
    assert report["resultsInterpreter"][0]["display"] == "\ufffdDr.\ufffd X"
    assert report["resultsInterpreter"][0]["identifier"]["value"] == "unknown"
    assert report["conclusion"].startswith("Withdrawn by a physician. Wrong\ufffd level.")
