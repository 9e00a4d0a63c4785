"""The FHIR bundle: whole, labelled as machine-made, the same every time, silent about nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fhir_samples
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.anatomy import SNOMED_VERTEBRA, Level
from trabecula.assessment.assessment import Category
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.calibration import CalibrationMethod, DensityScale
from trabecula.errors import ConversionFault
from trabecula.outcome import RefusalCode
from trabecula.outputs.r4 import FhirOptions, to_bundle
from trabecula.outputs.r4.codes import CATEGORY_DISPLAY, METRIC_DISPLAY, Metric, ProjectSystem
from trabecula.outputs.r4.resources import checked
from trabecula.report import ReportStatus, ScreeningReport

Json = dict[str, Any]
REPORTS = samples.all_reports()
DCM = "http://dicom.nema.org/resources/ontology/DCM"
BASE = "https://trabecula.example/fhir"
AI_LABEL = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}


def resources(report: ScreeningReport, kind: str, options: FhirOptions | None = None) -> list[Json]:
    entries = to_bundle(report, options)["entry"]
    return [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == kind]


def one(report: ScreeningReport, kind: str, options: FhirOptions | None = None) -> Json:
    (only,) = resources(report, kind, options)
    return only


def observation(report: ScreeningReport, metric: Metric, level: Level | None = None) -> Json:
    found = [
        item
        for item in resources(report, "Observation")
        if item["code"]["coding"][0]["code"] == metric.value
        and (level is None or item["bodySite"]["text"] == f"{level.value} vertebra")
    ]
    (only,) = found
    return only


def component(resource: Json, metric: Metric) -> Json:
    (only,) = [c for c in resource["component"] if c["code"]["coding"][0]["code"] == metric.value]
    return only


def url(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def walk(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(found for child in children for found in walk(child))]


@pytest.mark.parametrize("name", REPORTS)
def test_every_entry_is_an_idempotent_put_under_its_own_id(name: str) -> None:
    bundle = to_bundle(REPORTS[name])
    assert bundle["type"] == "transaction"
    urls = [entry["request"]["url"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert entry["request"] == {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
        assert entry["fullUrl"] == f"{BASE}/{entry['request']['url']}"


@pytest.mark.parametrize("name", REPORTS)
def test_every_reference_inside_the_bundle_has_its_target(name: str) -> None:
    bundle = to_bundle(REPORTS[name])
    urls = {entry["request"]["url"] for entry in bundle["entry"]}
    references = [v for v in walk(bundle) if isinstance(v, dict) and "reference" in v]
    assert references
    for found in references:
        assert found["reference"] in urls
        assert found["reference"].split("/")[0] == found["type"]


def test_the_same_report_gives_the_same_bundle_and_another_screening_other_ids() -> None:
    first, again = to_bundle(samples.reported()), to_bundle(samples.reported())
    assert first == again
    other = to_bundle(replace(samples.reported(), screening_id="00000000-0000-5000-8000-000000000001"))
    same = {entry["request"]["url"].split("/")[0] for entry in first["entry"] if entry in other["entry"]}
    assert same == {"Device", "ImagingStudy"}
    ids = {e["fullUrl"] for e in first["entry"]} & {e["fullUrl"] for e in other["entry"]}
    assert len(ids) == 2


def test_another_model_is_another_device() -> None:
    report = samples.reported()
    other = replace(report, models=(replace(report.models[0], sha256="d" * 64), *report.models[1:]))
    assert one(report, "Device")["id"] != one(other, "Device")["id"]
    assert any("sha256:" + "d" * 64 in version["value"] for version in one(other, "Device")["version"])


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_final_and_all_is_labelled_as_machine_made(name: str) -> None:
    report = REPORTS[name]
    for kind in ("Observation", "DiagnosticReport", "RiskAssessment"):
        for resource in resources(report, kind):
            assert resource["status"] == "preliminary"
            assert resource["meta"]["security"] == [AI_LABEL]
    for order in resources(report, "ServiceRequest"):
        assert (order["status"], order["intent"]) == ("draft", "proposal")
        assert order["meta"]["security"] == [AI_LABEL]
    provenance = one(report, "Provenance")
    assert provenance["reason"] == [{"coding": [AI_LABEL]}]
    made = {e["request"]["url"] for e in to_bundle(report)["entry"]}
    origin = {url(r) for kind in ("Device", "ImagingStudy", "Provenance") for r in resources(report, kind)}
    assert {target["reference"] for target in provenance["target"]} == made - origin


def test_vertebra_carries_value_site_method_and_scale() -> None:
    t12 = observation(samples.reported(), Metric.VBMD, Level.T12)
    assert t12["valueQuantity"] == {
        "value": 95.3,
        "unit": "mg/cm3",
        "system": "http://unitsofmeasure.org",
        "code": "mg/cm3",
    }
    assert t12["bodySite"]["coding"] == [
        {"system": "http://snomed.info/sct", "code": SNOMED_VERTEBRA[Level.T12], "display": "T12 vertebra"}
    ]
    assert t12["method"]["coding"][0]["code"] == "phantomless"
    assert component(t12, Metric.SCALE)["valueCodeableConcept"]["coding"][0]["code"] == "K2HPO4"
    assert component(t12, Metric.UNCERTAINTY)["valueQuantity"]["value"] == 5.5
    hu = component(t12, Metric.HU_MEAN)
    assert hu["valueQuantity"] == {
        "value": 113.9,
        "unit": "HU",
        "system": "http://unitsofmeasure.org",
        "code": "[hnsf'U]",
    }
    assert hu["code"]["coding"][1]["code"] == "112031"
    assert component(t12, Metric.ROI_VOXELS)["valueInteger"] == 2874
    assert t12["effectiveDateTime"] == "2026-03-14"
    assert "T-score" in t12["referenceRange"][0]["text"]


def test_an_excluded_vertebra_says_why_and_is_not_in_the_mean() -> None:
    report = samples.reported()
    l2 = observation(report, Metric.VBMD, Level.L2)
    assert component(l2, Metric.EXCLUSION)["valueCodeableConcept"]["coding"][0]["code"] == "fracture"
    assert component(l2, Metric.FRACTURE_SUSPECTED)["valueBoolean"] is True
    mean = observation(report, Metric.VBMD_MEAN)
    sources = {source["reference"] for source in mean["derivedFrom"]}
    used = {url(observation(report, Metric.VBMD, level)) for level in samples.LEVELS[:3]}
    assert sources == used


def test_a_vertebra_without_value_has_a_reason_instead() -> None:
    report = samples.reported()
    unmeasured = replace(report.vertebrae[3], vbmd_mg_cm3=None, hu_mean=None, excluded=(ExclusionReason.HARDWARE,))
    l2 = observation(replace(report, vertebrae=(*report.vertebrae[:3], unmeasured)), Metric.VBMD, Level.L2)
    assert "valueQuantity" not in l2
    assert l2["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert "hardware" in l2["dataAbsentReason"]["text"]
    assert "dataAbsentReason" in component(l2, Metric.HU_MEAN)


@pytest.mark.parametrize(
    ("category", "interpretation"),
    [
        (Category.OSTEOPOROSIS_RANGE, ["L"]),
        (Category.LOW_BONE_DENSITY_RANGE, ["L"]),
        (Category.INDETERMINATE, ["IND"]),
        (Category.NO_SIGN_OF_LOW_DENSITY, []),
        (Category.NOT_CLASSIFIED, []),
    ],
)
def test_interpretation_never_says_normal(category: Category, interpretation: list[str]) -> None:
    report = replace(samples.reported(), assessment=replace(samples.assessment(), category=category))
    codings = observation(report, Metric.LUMBAR_EQUIVALENT)["interpretation"][0]["coding"]
    assert [c["code"] for c in codings] == [*interpretation, category.value]
    prediction = one(report, "RiskAssessment")["prediction"][0]
    risk = [c["code"] for c in prediction.get("qualitativeRisk", {}).get("coding", [])]
    assert risk == {"osteoporosis-range": ["high"], "low-bone-density-range": ["moderate"]}.get(category.value, [])


@pytest.mark.parametrize("name", REPORTS)
def test_no_t_score_no_diagnosis(name: str) -> None:
    bundle = to_bundle(REPORTS[name])
    codes = {v["code"] for v in walk(bundle) if isinstance(v, dict) and isinstance(v.get("code"), str)}
    dxa_scores = {"38267-1", "104938-6", "85394-5", "64859006", "312894000", "N", "negligible", "final"}
    assert not codes & dxa_scores
    assert not {"Condition", "Patient"} & {entry["resource"]["resourceType"] for entry in bundle["entry"]}


def test_truncated_composition_says_so_and_leaves_no_silent_gap() -> None:
    cut = observation(samples.reported(), Metric.COMPOSITION, Level.T11)
    assert "field of view" in component(cut, Metric.MUSCLE_AREA)["dataAbsentReason"]["text"]
    assert component(cut, Metric.VAT_AREA)["valueQuantity"]["value"] == 88.7
    assert "lower bounds" in cut["note"][0]["text"]
    whole = observation(samples.reported(), Metric.COMPOSITION, Level.T12)
    assert component(whole, Metric.VAT_SAT_RATIO)["valueQuantity"] == {
        "value": 0.73,
        "unit": "ratio",
        "system": "http://unitsofmeasure.org",
        "code": "{ratio}",
    }


def test_dxa_is_proposed_only_when_a_rule_says_so() -> None:
    order = one(samples.reported(), "ServiceRequest")
    assert order["code"]["coding"][0] == {
        "system": "http://loinc.org",
        "code": "83012-5",
        "display": "DXA Skeletal system.axial Views for bone density",
    }
    assert [("2020;10:2066-2077" in note["text"]) for note in order["note"]] == [True]
    other = replace(samples.reported(), recommendations=samples.recommendations()[1:])
    assert other.recommendations
    assert resources(other, "ServiceRequest") == []
    assert resources(samples.not_classified(), "ServiceRequest") == []
    first = samples.recommendations()[0]
    both = replace(samples.reported(), recommendations=(first, replace(first, rule_id="uspstf", text="Screen.")))
    assert [note["text"][:7] for note in one(both, "ServiceRequest")["note"]] == ["Confirm", "Screen."]
    assert resources(samples.refused(), "ServiceRequest") == []


def test_report_binds_results_risk_and_study() -> None:
    report = samples.reported()
    summary = one(report, "DiagnosticReport")
    assert {r["reference"] for r in summary["result"]} == {url(r) for r in resources(report, "Observation")}
    assert summary["extension"][0]["valueReference"]["reference"] == url(one(report, "RiskAssessment"))
    assert summary["code"]["coding"][0]["code"] == "95925-4"
    assert "Preliminary result of a machine" in summary["conclusion"]
    assert one(report, "ImagingStudy")["identifier"][0] == {
        "type": {"coding": [{"system": DCM, "code": "110180", "display": "Study Instance UID"}]},
        "system": "urn:dicom:uid",
        "value": f"urn:oid:{samples.STUDY_UID}",
    }


def test_warnings_travel_as_codes() -> None:
    quality = observation(samples.reported(), Metric.QUALITY)
    assert quality["valueCodeableConcept"]["coding"][0]["code"] == "reported"
    (warning,) = quality["component"]
    assert warning["valueCodeableConcept"]["coding"][0]["code"] == "reference-rejected"


@pytest.mark.parametrize("name", ["refused", "refused_without_study"])
def test_a_refusal_is_a_result_and_not_silence(name: str) -> None:
    report = REPORTS[name]
    quality = observation(report, Metric.QUALITY)
    assert quality["valueCodeableConcept"]["coding"][0]["code"] == "refused"
    code = component(quality, Metric.REFUSAL)["valueCodeableConcept"]
    assert code["coding"][0]["code"] == report.refusals[0].code.value
    assert report.refusals[0].remedy in code["text"]
    mean = observation(report, Metric.VBMD_MEAN)
    assert mean["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert "valueQuantity" not in mean
    summary = one(report, "DiagnosticReport")
    assert "Not reported." in summary["conclusion"]
    assert report.refusals[0].message in summary["conclusion"]
    assert resources(report, "RiskAssessment") == []


def test_patient_by_identifier_reference_or_plainly_unknown() -> None:
    by_identifier = one(samples.reported(), "DiagnosticReport")["subject"]
    assert by_identifier["identifier"]["value"] == "SAMPLE-0001"
    assert by_identifier["identifier"]["assigner"] == {"display": "SAMPLE HOSPITAL"}
    assert "reference" not in by_identifier
    options = FhirOptions(patient_identifier_system="https://hospital.example/mrn")
    named = one(samples.reported(), "DiagnosticReport", options)["subject"]
    assert named["identifier"]["system"] == "https://hospital.example/mrn"
    matched = one(samples.reported(), "DiagnosticReport", FhirOptions(patient_reference="Patient/p1"))["subject"]
    assert matched == {"reference": "Patient/p1", "type": "Patient"}
    unknown = one(samples.unknown_context(), "DiagnosticReport")["subject"]
    assert unknown["extension"][0]["valueCode"] == "unknown"
    assert "identifier" not in unknown


def test_without_study_there_is_no_imaging_study() -> None:
    report = samples.refused_without_study()
    assert resources(report, "ImagingStudy") == []
    assert "imagingStudy" not in one(report, "DiagnosticReport")
    assert "entity" not in one(report, "Provenance")


@pytest.mark.parametrize(
    ("acquired", "expected"),
    [
        ("2026-03-14T10:21:07", "2026-03-14"),
        ("2026-03-14T10:21:07+01:00", "2026-03-14T10:21:07+01:00"),
        ("2026-03-14", "2026-03-14"),
        (None, None),
        ("rubbish", None),
    ],
)
def test_a_time_without_zone_goes_out_as_a_date(acquired: str | None, expected: str | None) -> None:
    report = replace(samples.reported(), acquisition=replace(samples.acquisition(), acquired_at=acquired))
    assert one(report, "DiagnosticReport").get("effectiveDateTime") == expected
    assert one(report, "RiskAssessment").get("occurrenceDateTime") == expected
    assert one(report, "ImagingStudy").get("started") == expected


def test_page_can_travel_inside_or_as_a_link() -> None:
    html = b"<!DOCTYPE html><title>x</title>"
    (inside,) = one(samples.reported(), "DiagnosticReport", FhirOptions(page_html=html))["presentedForm"]
    assert base64.b64decode(inside["data"]) == html
    assert inside["size"] == len(html)
    assert base64.b64decode(inside["hash"]) == hashlib.sha1(html, usedforsecurity=False).digest()
    url = "https://site.example/report/1"
    (link,) = one(samples.reported(), "DiagnosticReport", FhirOptions(page_url=url))["presentedForm"]
    assert link["url"] == url
    assert "presentedForm" not in one(samples.reported(), "DiagnosticReport")
    large = b"x" * 800_000
    assert "presentedForm" not in one(samples.reported(), "DiagnosticReport", FhirOptions(page_html=large))
    both = FhirOptions(page_html=large, page_url=url)
    assert [form.get("url") for form in one(samples.reported(), "DiagnosticReport", both)["presentedForm"]] == [url]


def test_numbers_go_out_at_their_reported_precision() -> None:
    report = samples.reported()
    exact = replace(report.vertebrae[0], vbmd_mg_cm3=101.84999, vbmd_standard_uncertainty_mg_cm3=5.04)
    whole = replace(report.vertebrae[1], vbmd_mg_cm3=112.0)
    bundle = to_bundle(replace(report, vertebrae=(exact, whole, *report.vertebrae[2:])))
    text = json.dumps(bundle)
    assert '"value": 101.8,' in text
    assert '"value": 112.0,' in text
    assert "101.84999" not in text


def test_a_resource_out_of_shape_is_a_fault_that_quotes_nothing() -> None:
    with pytest.raises(ConversionFault) as caught:
        checked(
            {"resourceType": "Observation", "status": "preliminary", "code": {"text": "x"}, "secret": "SAMPLE-0001"}
        )
    assert "SAMPLE-0001" not in f"{caught.value} {caught.value.fields}"
    assert caught.value.fields["places"] == "secret"


ANY_TEXT = (
    st.none() | st.text(max_size=12) | st.sampled_from(["  ", "\x00\x1c", "P\u00e9rez^Ana", "2026-02-30", "20260314"])
)


@settings(max_examples=60, deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.text(max_size=70), st.text(max_size=70), ANY_TEXT)
def test_whatever_a_header_holds_the_bundle_is_whole(
    patient_id: str | None, issuer: str | None, accession: str | None, study: str, series: str, acquired: str | None
) -> None:
    identity = replace(
        samples.identity(),
        patient_id=patient_id,
        patient_id_issuer=issuer,
        accession_number=accession,
        study_instance_uid=study,
        series_instance_uid=series,
    )
    report = replace(
        samples.refused(), study=identity, acquisition=replace(samples.acquisition(), acquired_at=acquired)
    )
    bundle = to_bundle(report)
    texts = [value for value in walk(bundle) if isinstance(value, str)]
    assert all(text.strip() and text.isprintable() for text in texts)


def test_a_vertebra_of_the_neck_goes_by_its_name() -> None:
    report = samples.reported()
    neck = replace(report.vertebrae[0], level=Level.C7)
    site = observation(replace(report, vertebrae=(neck, *report.vertebrae[1:])), Metric.VBMD, Level.C7)["bodySite"]
    assert site == {"text": "C7 vertebra"}


def published(repository: Path, system: ProjectSystem) -> dict[str, str]:
    path = repository / "fhir" / "codesystems" / f"{system.value}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["url"] == f"{BASE}/CodeSystem/{system.value}"
    assert document.get("count", 0) == len(document.get("concept", []))
    return {entry["code"]: entry["display"] for entry in document.get("concept", [])}


def test_published_code_systems_hold_exactly_the_codes_in_use(repository: Path) -> None:
    assert published(repository, ProjectSystem.METRICS) == {m.value: METRIC_DISPLAY[m] for m in Metric}
    assert published(repository, ProjectSystem.CATEGORY) == {c.value: CATEGORY_DISPLAY[c] for c in Category}
    for system, codes in (
        (ProjectSystem.SCALE, DensityScale),
        (ProjectSystem.METHOD, CalibrationMethod),
        (ProjectSystem.EXCLUSION, ExclusionReason),
        (ProjectSystem.REFUSAL, RefusalCode),
        (ProjectSystem.STATUS, ReportStatus),
    ):
        assert set(published(repository, system)) == {code.value for code in codes}
    assert published(repository, ProjectSystem.NOTICE) == {}
    files = {path.stem for path in (repository / "fhir" / "codesystems").glob("*.json")}
    assert files == {system.value for system in ProjectSystem}


# origin, cards, issues

CARD = fhir_samples.CARDS[0]


def test_the_device_names_its_kinds_and_the_cards_of_the_models_that_had_a_part() -> None:
    other = replace(CARD, name="another", model_sha256="e" * 64)
    options = FhirOptions(model_cards=(CARD, other))
    report = samples.reported()
    (card,) = resources(report, "DocumentReference", options)
    assert card["description"] == f"Model card of {CARD.name} {CARD.version}"
    assert base64.b64decode(card["content"][0]["attachment"]["data"]) == CARD.markdown
    device = one(report, "Device", options)
    kinds = [
        each["valueCodeableConcept"]["coding"][0]["code"]
        for each in device["extension"]
        if "valueCodeableConcept" in each
    ]
    assert kinds == [
        "Deep-Learning-Models",
        "Deterministic-AI",
        "Medical-Image-Analysis",
        "AI-for-Medical-Imaging-Data",
    ]
    assert [each["valueReference"]["reference"] for each in device["extension"] if "valueReference" in each] == [
        url(card)
    ]
    entities = one(report, "Provenance", options)["entity"]
    assert {"role": "derivation", "what": {"reference": url(card), "type": "DocumentReference"}} in entities


def test_a_card_too_large_to_travel_goes_by_its_address_or_not_at_all() -> None:
    large = replace(CARD, markdown=b"x" * 800_000)
    assert resources(samples.reported(), "DocumentReference", FhirOptions(model_cards=(large,))) == []
    linked = replace(large, url="https://trabecula.example/cards/coarse")
    (card,) = resources(samples.reported(), "DocumentReference", FhirOptions(model_cards=(linked,)))
    attachment = card["content"][0]["attachment"]
    assert (attachment["url"], attachment["size"], "data" in attachment) == (linked.url, 800_000, False)


def test_a_whole_column_stays_within_fifty_entries_and_cards_give_way() -> None:
    report = samples.reported()
    column = tuple(replace(report.vertebrae[0], level=level) for level in Level)
    options = FhirOptions(model_cards=fhir_samples.CARDS)
    whole = replace(report, vertebrae=column)
    assert len(to_bundle(whole, options)["entry"]) <= 50
    assert len(resources(whole, "DocumentReference", options)) == len(fhir_samples.CARDS)
    readers = tuple(replace(report.second_readings[0], model_name=f"reader-{number}") for number in range(14))
    crowded = replace(whole, second_readings=readers)
    assert len(to_bundle(crowded, options)["entry"]) <= 50
    assert resources(crowded, "DocumentReference", options) == []
    assert "valueReference" not in json.dumps(one(crowded, "Device", options))


def test_a_suspected_fracture_is_an_issue_and_a_severe_one_a_graver_one() -> None:
    issue = one(samples.reported(), "DetectedIssue")
    assert (issue["severity"], issue["code"]["coding"][0]["code"]) == ("moderate", "vcf-suspected")
    (evidence,) = issue["evidence"][0]["detail"]
    assert evidence["reference"] == url(observation(samples.reported(), Metric.VBMD, Level.L2))
    assert "fracture" in issue["detail"]
    grave = one(fhir_samples.severe(), "DetectedIssue")
    assert (grave["severity"], grave["code"]["coding"][0]["code"]) == ("high", "severe-range-suspected")
    assert resources(samples.not_classified(), "DetectedIssue") == []
    whole = replace(samples.reported(), vertebrae=samples.reported().vertebrae[:3])
    assert resources(whole, "DetectedIssue") == [], "no vertebra, no evidence, no issue"


def test_a_pdf_travels_beside_the_page() -> None:
    options = FhirOptions(page_html=b"<p>", page_pdf=b"%PDF", pdf_url="https://site.example/report.pdf")
    forms = one(samples.reported(), "DiagnosticReport", options)["presentedForm"]
    assert [form["contentType"] for form in forms] == ["text/html", "application/pdf"]
    assert base64.b64decode(forms[1]["data"]) == b"%PDF"


def test_another_base_is_the_base_of_profiles_codes_and_addresses() -> None:
    text = json.dumps(to_bundle(samples.reported(), FhirOptions(base_url="https://site.example/r4/")))
    assert BASE not in text
    assert "https://site.example/r4/StructureDefinition/bone-diagnostic-report" in text
    assert "https://site.example/r4/CodeSystem/ct-bone-metrics" in text
