"""Identity, references, order and merging of what goes out."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from report_samples import all_reports, reported

from trabecula.delivery.fallback import contained_report, document_reference
from trabecula.delivery.resource_set import (
    content,
    digest,
    dump,
    from_bundle,
    in_chunks,
    in_order,
    is_ours,
    key_of,
    load,
    merged,
    own_identifier,
    references_of,
    targets_of,
    without_types,
)
from trabecula.outputs.r4 import to_bundle

Json = dict[str, Any]


def result() -> tuple[Json, ...]:
    return from_bundle(to_bundle(reported()))


def test_references_in_a_set_are_literal_whatever_the_bundle_had() -> None:
    bundle = to_bundle(reported())
    as_urns = json.loads(json.dumps(bundle))
    text = json.dumps(as_urns["entry"])
    for entry in bundle["entry"]:
        kind, identity = key_of(entry["resource"])
        text = text.replace(f'"reference": "{kind}/{identity}"', f'"reference": "urn:uuid:{identity}"')
    as_urns["entry"] = json.loads(text)
    assert as_urns != bundle
    assert from_bundle(as_urns) == from_bundle(bundle)
    identifiers = [each["identifier"] for each in from_bundle(as_urns) if "identifier" in each]
    assert identifiers == [each["identifier"] for each in result() if "identifier" in each]


def test_versions_in_references_and_audit_events_stay_here() -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": {"resourceType": "AuditEvent", "id": "a"}},
            {"resource": {"resourceType": "Provenance", "id": "p", "target": [{"reference": "Task/t/_history/3"}]}},
        ],
    }
    (kept,) = from_bundle(bundle)
    assert kept["target"] == [{"reference": "Task/t"}]


@given(st.randoms(use_true_random=False), st.integers(1, 20))
def test_what_is_referred_to_comes_first_and_chunks_keep_it(source: random.Random, size: int) -> None:
    shuffled = list(result())
    source.shuffle(shuffled)
    ordered = in_order(shuffled)
    assert sorted(map(key_of, ordered)) == sorted(map(key_of, shuffled))
    for at, each in enumerate(ordered):
        earlier = {key_of(one) for one in ordered[:at]}
        assert set(targets_of(each)) & {key_of(one) for one in ordered} <= earlier
    chunks = in_chunks(shuffled, size)
    assert [each for chunk in chunks for each in chunk] == list(ordered)
    assert max(map(len, chunks)) <= size


def test_a_circle_of_references_is_cut_not_followed_for_ever() -> None:
    circle = [
        {"resourceType": "Task", "id": name, "partOf": [{"reference": f"Task/{other}"}]}
        for name, other in (("a", "b"), ("b", "c"), ("c", "a"))
    ]
    assert len(in_order(circle)) == 3


def test_the_newer_of_two_versions_wins_and_nothing_is_lost() -> None:
    older = [{"resourceType": "Task", "id": "1", "status": "requested"}, {"resourceType": "Task", "id": "2"}]
    newer = [{"resourceType": "Task", "id": "1", "status": "completed"}]
    assert merged(older, newer) == ({"resourceType": "Task", "id": "1", "status": "completed"}, older[1])


def test_left_out_types_are_named_by_identifier() -> None:
    kept = without_types(result(), frozenset({"Device", "ImagingStudy", "RiskAssessment"}))
    left = {key_of(each) for each in result()} - {key_of(each) for each in kept}
    assert {key[0] for key in left} == {"Device", "ImagingStudy", "RiskAssessment"}
    assert not left & {target for each in kept for target in targets_of(each)}
    (report,) = [each for each in kept if each["resourceType"] == "DiagnosticReport"]
    (study,) = report["imagingStudy"]
    assert study["identifier"]["system"] == "urn:dicom:uid"
    assert "reference" not in study
    (provenance,) = [each for each in kept if each["resourceType"] == "Provenance"]
    assert all("reference" in each for each in provenance["target"])


def test_every_resource_but_provenance_can_be_found_by_an_identifier() -> None:
    for name, report in all_reports().items():
        for each in from_bundle(to_bundle(report)):
            kind = each["resourceType"]
            assert (own_identifier(each) is None) == (kind == "Provenance"), name
            assert is_ours(each) == (kind not in ("Provenance", "ImagingStudy")), name


def test_text_in_the_database_gives_the_same_digits_back() -> None:
    for report in all_reports().values():
        resources = from_bundle(to_bundle(report))
        assert dump(load(dump(resources))) == dump(resources)
        assert load(dump(resources)) == resources


def test_a_servers_own_additions_do_not_make_it_another_content() -> None:
    (ours,) = [each for each in result() if each["resourceType"] == "DiagnosticReport"]
    meta = {**ours["meta"], "versionId": "3", "lastUpdated": "2026-11-23T00:00:00Z", "source": "#x"}
    theirs = {
        **dict(reversed(ours.items())),
        "id": "77",
        "meta": meta,
        "text": {"status": "generated", "div": "<div/>"},
    }
    assert digest(theirs) == digest(ours)
    assert content(theirs) == content(ours)
    assert digest({**ours, "status": "final"}) != digest(ours)
    assert digest({**ours, "meta": {"profile": ours["meta"]["profile"]}}) != digest(ours)


def test_everything_the_report_leads_to_fits_inside_it() -> None:
    report, behind = contained_report(result())
    inside = {each["id"]: each for each in report["contained"]}
    kinds = {each["resourceType"] for each in inside.values()}
    assert {"Observation", "RiskAssessment", "Device", "ImagingStudy"} <= kinds
    assert behind == {"ServiceRequest", "Provenance", "DetectedIssue"}
    links = [each["reference"] for each in references_of(report) if each.get("reference", "").startswith("#")]
    assert {link[1:] for link in links} - {""} == inside.keys()
    assert not any("meta" in each or "contained" in each for each in inside.values())


def test_a_document_says_what_the_report_says() -> None:
    document = document_reference(result(), None)
    (report,) = [each for each in result() if each["resourceType"] == "DiagnosticReport"]
    assert (document["status"], document["docStatus"]) == ("current", "preliminary")
    assert document["subject"] == report["subject"]
    assert document == document_reference(result(), None)
    others = [each for each in result() if each is not report and each["resourceType"] != "DiagnosticReport"]
    wrong = [*others, {**report, "status": "entered-in-error"}]
    assert document_reference(wrong, None)["status"] == "entered-in-error"
    assert document_reference(wrong, None)["id"] == document["id"]
    (attached,) = document_reference(result(), b"%PDF-1.7")["content"]
    assert (attached["attachment"]["contentType"], attached["attachment"]["size"]) == ("application/pdf", 8)
    (page,) = document_reference(result(), b"%PDF-1.7" + bytes(750_000))["content"]
    assert page["attachment"]["contentType"].startswith("text/")
