"""Each rung of the ladder against a server that offers only that."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from delivery_case import LIMITS, PATIENT, Case, destination, differences, outlet, told_by_server
from hostile_ehr import Fault, by_type, refusing, statement_with
from report_samples import refused

from trabecula.delivery.destinations import What
from trabecula.delivery.states import DeliveryState
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

RUNGS: dict[str, dict[str, Any]] = {
    "transaction-put": {},
    "single-put": {"transactions": False},
    "transaction-create": {"update_create": False},
    "single-create": {"transactions": False, "update_create": False},
}
OPTIONAL = ("RiskAssessment", "Provenance", "Device", "ImagingStudy", "ServiceRequest", "DetectedIssue")


def offers(case: Case, **abilities: Any) -> None:
    """Have the EHR say that it can do this and no more, and do no more."""
    case.ehr.statement = statement_with(**abilities)
    case.ehr.refused = refusing(case.ehr.statement, case.server.call("GET", "/metadata")[1])


@pytest.mark.parametrize("rung", RUNGS)
async def test_each_rung_brings_one_equal_copy_however_often(
    case: Case, database: Database, content: FolderContent, rung: str
) -> None:
    offers(case, **RUNGS[rung])
    out = outlet(database, content, destination(case.ehr.url))
    for _ in range(2):
        await out.enqueue(case.bundle, case.chain)
        assert await out.until_still() == 1, out.told
        assert (await out.rows())[-1].reason is None, await told_by_server(out)
        assert differences(case.bundle, case.server, profiles=rung.endswith("put")) == []
    assert [(row.state, row.way, row.left_out) for row in await out.rows()] == [(DeliveryState.DELIVERED, rung, ())] * 2
    assert not any(each.method in ("PATCH", "DELETE") for each in case.ehr.seen)


@pytest.mark.parametrize("rung", ["transaction-create", "single-create"])
async def test_rungs_with_ids_of_the_server_bring_new_versions_over(
    case: Case, database: Database, content: FolderContent, rung: str
) -> None:
    case.report = refused()
    offers(case, **RUNGS[rung])
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    final = json.loads(json.dumps(case.bundle).replace('"status": "preliminary"', '"status": "final"'))
    await out.enqueue(final, case.chain, "sign-off")
    await out.until_still()
    assert differences(final, case.server, profiles=False) == []
    assert {each["status"] for each in case.server.stored()["Observation"]} == {"final"}


async def test_a_new_version_parks_where_nothing_can_be_updated(
    case: Case, database: Database, content: FolderContent
) -> None:
    case.report = refused()
    offers(case, transactions=False, update_create=False, update=False)
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    assert differences(case.bundle, case.server, profiles=False) == []
    wrong = json.loads(json.dumps(case.bundle).replace('"status": "preliminary"', '"status": "entered-in-error"'))
    await out.enqueue(wrong, case.chain, "rejected")
    await out.until_still()
    assert (await out.rows())[-1].reason == "update-not-supported"


async def test_types_that_cannot_be_written_are_left_out_and_named_by_identifier(
    case: Case, database: Database, content: FolderContent
) -> None:
    offers(case, read_only=OPTIONAL)
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    (row,) = await out.rows()
    assert (row.state, row.way, set(row.left_out)) == (DeliveryState.DELIVERED, "transaction-put", set(OPTIONAL))
    assert differences(case.bundle, case.server, OPTIONAL, profiles=False) == []


@pytest.mark.parametrize("update_create", [True, False])
async def test_a_server_that_takes_reports_alone_gets_one_with_all_inside(
    case: Case, database: Database, content: FolderContent, update_create: bool
) -> None:
    offers(case, only=("DiagnosticReport",), update_create=update_create, transactions=False)
    out = outlet(database, content, destination(case.ehr.url))
    for _ in range(2):
        await out.enqueue(case.bundle, case.chain)
        await out.until_still()
    rows = await out.rows()
    assert [row.way for row in rows] == ["contained-report"] * 2, await told_by_server(out)
    assert rows[0].left_out == ("DetectedIssue", "Provenance", "ServiceRequest")
    (report,) = case.server.stored()["DiagnosticReport"]
    assert report["subject"]["reference"] == "Patient/p1"
    ours = [entry["resource"] for entry in case.bundle["entry"]]
    values = {each["valueQuantity"]["value"] for each in ours if "valueQuantity" in each}
    assert values
    assert values == {each["valueQuantity"]["value"] for each in report["contained"] if "valueQuantity" in each}
    assert by_type(case.server.stored(), ["Observation", "Device"]) == {"Observation": 0, "Device": 0}


async def test_a_server_that_takes_documents_alone_gets_one_document(
    case: Case, database: Database, content: FolderContent
) -> None:
    offers(case, only=("DocumentReference",), update_create=False, transactions=False)
    out = outlet(database, content, destination(case.ehr.url))
    for _ in range(2):
        await out.enqueue(case.bundle, case.chain)
        await out.until_still()
    assert [row.way for row in await out.rows()] == ["document"] * 2, await told_by_server(out)
    (document,) = case.server.stored()["DocumentReference"]
    assert (document["docStatus"], document["subject"]["reference"]) == ("preliminary", "Patient/p1")
    assert document["content"][0]["attachment"]["data"]


async def test_a_server_that_takes_nothing_parks_the_result(
    case: Case, database: Database, content: FolderContent
) -> None:
    offers(case, only=("Observation",))
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    assert [(row.state, row.reason) for row in await out.rows()] == [(DeliveryState.PARKED, "nothing-writable")]


@pytest.mark.parametrize(
    ("does", "way", "left_out"),
    [
        ({"transactions": False}, "single-put", ()),
        ({"transactions": False, "read_only": ("RiskAssessment",)}, "single-put", ("RiskAssessment",)),
        ({"transactions": False, "read_only": ("Observation",)}, "contained-report", ()),
    ],
)
async def test_what_a_server_refuses_by_deed_counts_more_than_what_it_says(
    case: Case,
    database: Database,
    content: FolderContent,
    does: dict[str, Any],
    way: str,
    left_out: tuple[str, ...],
) -> None:
    case.ehr.refused = refusing(statement_with(**does), case.server.call("GET", "/metadata")[1])
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    assert await out.until_still() == 1
    (row,) = await out.rows()
    assert (row.state, row.way) == (DeliveryState.DELIVERED, way), await told_by_server(out)
    assert set(left_out) <= set(row.left_out)
    learnt = len(case.ehr.seen)
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    assert not any(each.method == "POST" and each.path == "/" for each in case.ehr.seen[learnt:])


async def test_what_was_refused_is_tried_again_a_day_later(
    case: Case, database: Database, content: FolderContent
) -> None:
    case.report = refused()
    case.ehr.refused = refusing(statement_with(transactions=False), case.server.call("GET", "/metadata")[1])
    out = outlet(database, content, destination(case.ehr.url))
    ways = []
    for wait_s in (0.0, 60.0, 90_000.0):
        out.clock.pass_s(wait_s)
        await out.enqueue(case.bundle, case.chain)
        await out.until_still()
        ways.append((await out.rows())[-1].way)
        case.ehr.refused = lambda _: None
    assert ways == ["single-put", "single-put", "transaction-put"]


async def test_a_server_that_is_changed_is_asked_anew(case: Case, database: Database, content: FolderContent) -> None:
    case.report = refused()
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    offers(case, transactions=False, update_create=False)
    await out.enqueue(case.bundle, case.chain)
    assert await out.until_still() == 1
    assert [row.way for row in await out.rows()] == ["transaction-put", "single-create"]
    assert differences(case.bundle, case.server, profiles=False) == []


async def test_a_report_as_a_document_beside_the_resources(
    case: Case, database: Database, content: FolderContent
) -> None:
    out = outlet(database, content, destination(case.ehr.url, send=(What.RESULTS, What.DOCUMENTS)))
    await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    (document,) = case.server.stored()["DocumentReference"]
    assert document["content"][0]["attachment"]["contentType"].startswith("text/")
    assert differences(case.bundle, case.server) == []


async def test_large_sets_go_in_several_transactions(case: Case, database: Database, content: FolderContent) -> None:
    for name, size in (("put", {"max_transaction_entries": 5}), ("create", {"max_conditional_entries": 3})):
        if name == "create":
            case.server.reset()
            assert case.server.call("PUT", "/Patient/p1", PATIENT)[0] == 201
            offers(case, update_create=False)
        limits = replace(LIMITS, **size)  # type: ignore[arg-type]
        out = outlet(database, content, destination(case.ehr.url, name=name, limits=limits))
        await out.enqueue(case.bundle, case.chain)
        case.ehr.strike(Fault.COMMIT_ERROR)
        await out.until_still()
        sizes = [len(each.json["entry"]) for each in case.ehr.seen if each.method == "POST" and each.path == "/"]
        assert max(sizes) == next(iter(size.values()))
        assert differences(case.bundle, case.server, profiles=name == "put") == []
        case.ehr.seen.clear()
