"""The record keeps versions, finds resources, and answers for a patient in one query. Real PostgreSQL."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import report_samples as samples
from record_samples import SCREENING, SYSTEM, publish_sample
from sqlalchemy import text

from trabecula.errors import InvalidRequest, ResourceDeleted, ResourceNotFound
from trabecula.record import (
    facts_of,
    history,
    of_screening,
    put,
    read,
    results_for_patient,
    results_of_study,
    vread,
)
from trabecula.record import search as search_module
from trabecula.record.dates import instant, period
from trabecula.record.keys import reference_key
from trabecula.record.search import Criteria, DateBound, DateClause, KeyClause, Position, Prefix, Sort, SortBy, search
from trabecula.record.store import erase, remove
from trabecula.service.http.facade.query import parse_query
from trabecula.work.database import Database

Json = dict[str, Any]


def thing(identity: str = "a", **changes: Any) -> Json:
    return {"resourceType": "Observation", "id": identity, "status": "preliminary", "code": {"text": "x"}, **changes}


async def test_equal_content_makes_no_version_and_other_content_does(database: Database) -> None:
    async with database.transaction() as connection:
        (first,) = await put(connection, [thing()])
        (again,) = await put(connection, [thing()])
        (other,) = await put(connection, [thing(status="final")])
        assert (first.version, again.version, other.version) == (1, 1, 2)
        assert again.last_updated == first.last_updated < other.last_updated
        assert other.content["meta"] == {"versionId": "2", "lastUpdated": other.content["meta"]["lastUpdated"]}
        assert (await read(connection, "Observation", "a")).content["status"] == "final"
        assert (await vread(connection, "Observation", "a", 1)).content["status"] == "preliminary"
        assert [each.version for each in await history(connection, "Observation", "a")] == [2, 1]
        assert (await put(connection, [other.content]))[0].version == 2


async def test_digits_and_order_come_out_as_they_went_in(database: Database) -> None:
    given = thing(valueQuantity={"value": 112.0, "unit": "mg/cm3"}, note=[{"text": "Ä€𝄞"}])
    async with database.transaction() as connection:
        await put(connection, [given])
        stored = await read(connection, "Observation", "a")
    assert '"value": 112.0' in stored.text
    assert list(stored.content)[:3] == ["resourceType", "id", "meta"]
    assert stored.content["note"] == given["note"]


@pytest.mark.parametrize(
    "bad",
    [
        [{"resourceType": "Observation"}],
        [{"id": "a"}],
        [thing("../x")],
        [thing("a" * 65)],
        [thing(), thing()],
        [{"resourceType": "observation; drop", "id": "a"}],
    ],
)
async def test_what_has_no_identity_is_refused(database: Database, bad: list[Json]) -> None:
    with pytest.raises(InvalidRequest):
        async with database.transaction() as connection:
            await put(connection, bad)


async def test_a_deleted_resource_is_gone_but_its_versions_stay(database: Database) -> None:
    async with database.transaction() as connection:
        await put(connection, [thing()])
        assert await remove(connection, [("Observation", "a"), ("Observation", "b")]) == 1
        assert await remove(connection, [("Observation", "a")]) == 0
    async with database.transaction() as connection:
        with pytest.raises(ResourceDeleted):
            await read(connection, "Observation", "a")
        with pytest.raises(ResourceNotFound):
            await read(connection, "Observation", "b")
        with pytest.raises(ResourceNotFound):
            await vread(connection, "Observation", "a", 7)
        with pytest.raises(ResourceNotFound):
            await history(connection, "Observation", "b")
        with pytest.raises(ResourceDeleted):
            await vread(connection, "Observation", "a", 2)
        assert [each.deleted for each in await history(connection, "Observation", "a")] == [True, False]
        (back,) = await put(connection, [thing()])
        assert back.version == 3
        await erase(connection, [("Observation", "a")])
        with pytest.raises(ResourceNotFound):
            await vread(connection, "Observation", "a", 1)


async def test_writers_at_the_same_time_make_each_version_once(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.transaction() as connection:
            names = ("a", "b", "c") if number % 2 else ("c", "b", "a")
            await put(connection, [thing(name, note=[{"text": str(number)}]) for name in names])

    await asyncio.gather(*(write(number) for number in range(8)))
    async with database.transaction() as connection:
        for name in "abc":
            versions = [each.version for each in await history(connection, "Observation", name)]
            assert versions == list(range(8, 0, -1))


async def test_references_inside_one_writing_become_literal(database: Database) -> None:
    stored = await publish_sample(database)
    report = next(each for each in stored if each.type == "DiagnosticReport")
    assert "urn:uuid:" not in json.dumps([entry["reference"] for entry in report.content["result"]])
    async with database.transaction() as connection:
        for entry in report.content["result"]:
            await read(connection, *entry["reference"].split("/"))
        assert {each.type for each in await of_screening(connection, SCREENING, ("Provenance",))} == {"Provenance"}
    assert next(each for each in stored if each.type == "Provenance").patient_identifier == f"{SYSTEM}|SAMPLE-0001"


async def test_a_patient_s_results_come_newest_scan_first(database: Database) -> None:
    await publish_sample(database)
    older = replace(
        samples.reported(),
        screening_id="7f0e2c52-3c5b-5b1f-9a53-0d9c8f1c6a11",
        acquisition=replace(samples.acquisition(), acquired_at="2019-01-02T10:00:00+00:00"),
        study=replace(samples.identity(), study_instance_uid="1.2.3.4"),
    )
    await publish_sample(database, older, "22222222-2222-4222-8222-222222222222")
    await publish_sample(database, samples.refused(), "33333333-3333-4333-8333-333333333333")
    async with database.transaction() as connection:
        found = await results_for_patient(connection, [("urn:other", "X"), (SYSTEM, "SAMPLE-0001")])
        assert [each.effective.year for each in found if each.effective] == [2026, 2026, 2019]
        refused = next(each for each in found if each.refused)
        whole = next(each for each in found if not each.refused and each.study_uid != "1.2.3.4")
        assert refused.summary.refusals[0].code == "level-not-in-view"
        assert refused.category is None
        assert whole.category == "low-bone-density-range"
        assert whole.report_status == "preliminary"
        assert [each.rule_id for each in whole.summary.recommendations] == ["low-range-dxa", "fracture-grade2"]
        density = samples.density()
        assert whole.summary.vbmd_mean_mg_cm3 == density.vbmd_mean_mg_cm3
        assert whole.summary.fracture_suspected_at == ("L2",)
        for other in ([(None, "SAMPLE-0001")], [("urn:other", "SAMPLE-0001")], [(SYSTEM, "SAMPLE-000")], []):
            assert await results_for_patient(connection, other) == ()
        (of_study,) = await results_of_study(connection, "1.2.3.4")
        assert of_study.screening_id == "22222222-2222-4222-8222-222222222222"
        facts = await facts_of(connection, whole.report_id)
        assert facts is not None
        assert facts["category"].value == "low-bone-density-range"
        assert await facts_of(connection, refused.report_id) is None


async def test_a_retracted_report_is_no_result_any_more(database: Database) -> None:
    stored = await publish_sample(database)
    report = next(each for each in stored if each.type == "DiagnosticReport").content
    async with database.transaction() as connection:
        await put(connection, [{**copy.deepcopy(report), "status": "entered-in-error"}])
        assert await results_for_patient(connection, [(SYSTEM, "SAMPLE-0001")]) == ()
        (kept,) = await results_for_patient(connection, [(SYSTEM, "SAMPLE-0001")], retracted=True)
        assert (kept.report_status, kept.report_version) == ("entered-in-error", 2)
        await put(connection, [{**copy.deepcopy(report), "status": "final"}])
        (signed,) = await results_for_patient(connection, [(SYSTEM, "SAMPLE-0001")])
        assert signed.report_status == "final"


async def test_the_same_study_read_again_changes_nothing_but_the_screening(database: Database) -> None:
    first = await publish_sample(database)
    second = await publish_sample(database, screening_id="22222222-2222-4222-8222-222222222222")
    assert [(each.id, each.version) for each in first] == [(each.id, each.version) for each in second]
    async with database.transaction() as connection:
        (found,) = await results_for_patient(connection, [(SYSTEM, "SAMPLE-0001")])
    assert found.screening_id == "22222222-2222-4222-8222-222222222222"


async def test_one_look_up_is_one_query_on_an_index(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await connection.execute(
            text(
                "EXPLAIN SELECT 1 FROM result JOIN resource r ON r.type = 'DiagnosticReport' AND r.id = report_id "
                "WHERE patient_value = 'x' AND patient_system = 'y' ORDER BY effective DESC NULLS LAST, report_id DESC"
            )
        )
        lines = "\n".join(str(row[0]) for row in plan)
    assert "ix_result_patient" in lines
    assert "Sort" not in lines


async def test_the_time_of_the_last_change_never_stands_still(database: Database) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with database.transaction() as connection:
        (first,) = await put(connection, [thing()], at=at)
        (second,) = await put(connection, [thing(status="final")], at=at)
    assert second.last_updated > first.last_updated


async def test_pages_in_any_order_hold_each_once(database: Database) -> None:
    days = [None, "2026-01-01", "2026-01-02", None, "2026-01-01", "2025", None, "2026-01-02T10:00:00Z"]
    given = [thing(f"o{n}", **({"effectiveDateTime": day} if day else {})) for n, day in enumerate(days)]
    undated = {f"o{n}" for n, day in enumerate(days) if day is None}
    async with database.transaction() as connection:
        for number, each in enumerate(given):
            await put(connection, [each], at=datetime(2026, 2, 1, number // 3, tzinfo=UTC))
        for by, descending in itertools.product(SortBy, (True, False)):
            criteria = Criteria("Observation", sort=Sort(by, descending), count=len(given))
            whole = [each.id for each in (await search(connection, criteria)).matches]
            assert sorted(whole) == sorted(each["id"] for each in given)
            for count in (1, 2, 3, 7):
                assert await walked(connection, replace(criteria, count=count)) == whole
            if by is SortBy.DATE:
                assert set(whole[-3:] if descending else whole[:3]) == undated
                dated = [each for each in whole if each not in undated]
                assert (dated[0], dated[-1]) == (("o7", "o5") if descending else ("o5", "o7"))


async def walked(connection: Any, criteria: Criteria) -> list[str]:
    """Ids over all pages."""
    seen: list[str] = []
    while True:
        page = await search(connection, criteria)
        seen += [each.id for each in page.matches]
        if page.next is None:
            return seen
        criteria = replace(criteria, after=page.next)


async def test_a_walk_in_order_uses_the_index(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        since = DateClause((DateBound(Prefix.GT, period("2026-01-01")),), last_updated=True)
        for by in SortBy:
            for descending in (True, False):
                position = Position(datetime(2026, 1, 1, tzinfo=UTC), 5)
                criteria = Criteria("Observation", dates=(since,), sort=Sort(by, descending), after=position)
                statement = search_module._part(criteria, dated=True).compile(
                    dialect=connection.dialect, compile_kwargs={"literal_binds": True}
                )
                lines = [str(row[0]) for row in await connection.execute(text(f"EXPLAIN {statement}"))]
                plan = "\n".join(lines)
                assert "Sort" not in plan, plan
                condition = next(line for line in lines if "Index Cond" in line)
                assert "ROW(" in condition, plan
                if by is SortBy.LAST_UPDATED:
                    assert condition.count("last_updated") > 1, plan


DATES = {"a": "2026-03-13", "b": "2026-03-14", "c": "2026-03-15T08:00:00Z", "d": "2025"}
COMPARED = [
    ("eq", "2026-03-14", "b"), ("eq", "2026-03", "abc"), ("ne", "2026-03-14", "acd"),
    ("gt", "2026-03-14", "c"), ("ge", "2026-03-14", "bc"), ("lt", "2026-03-14", "ad"), ("le", "2026-03-14", "abd"),
    ("sa", "2026-03-13", "bc"), ("eb", "2026-03-14", "ad"), ("gt", "2026-03-14T12:00", "bc"),
    ("lt", "2026-03-14T12:00", "abd"), ("ge", "2026-03-14T00:00", "bc"), ("sa", "2026-03-14T00:00", "c"),
]  # fmt: skip
AFTER_MS = [
    ("eq", 0, True), ("eq", 1, False), ("gt", 0, False), ("gt", 1, True), ("ge", 0, True), ("ge", -1, False),
    ("lt", 0, False), ("lt", -1, True), ("le", 0, True), ("le", 1, False), ("ne", 0, False), ("ne", 1, True),
    ("sa", 0, False), ("sa", 1, True), ("eb", 0, False), ("eb", -1, True),
]  # fmt: skip


async def test_dates_compare_as_r4_says(database: Database) -> None:
    async with database.transaction() as connection:
        await put(connection, [thing(name, effectiveDateTime=day) for name, day in DATES.items()])
        for prefix, asked, found in COMPARED:
            clause = DateClause((DateBound(Prefix(prefix), period(asked)),))
            page = await search(connection, Criteria("Observation", dates=(clause,)))
            assert "".join(sorted(each.id for each in page.matches)) == found, (prefix, asked)


async def test_the_last_change_is_a_moment_of_a_millisecond(database: Database) -> None:
    asked = datetime(2026, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC)
    async with database.transaction() as connection:
        for later in (-1, 0, 1):
            await put(connection, [thing(f"at{later}")], at=asked + timedelta(milliseconds=later))
        for prefix, later, fits in AFTER_MS:
            clause = DateClause((DateBound(Prefix(prefix), period(instant(asked))),), last_updated=True)
            page = await search(connection, Criteria("Observation", dates=(clause,)))
            assert (f"at{later}" in {each.id for each in page.matches}) == fits, (prefix, later)


async def test_a_reference_by_urn_becomes_the_resource_s_own(database: Database) -> None:
    identity, other = "0f0e0d0c-0b0a-4908-8706-050403020100", "1f0e0d0c-0b0a-4908-8706-050403020100"
    given = thing(identity, derivedFrom=[{"reference": f"urn:uuid:{other}"}, {"reference": "urn:uuid:elsewhere"}])
    async with database.transaction() as connection:
        stored, _ = await put(connection, [given, thing(other)])
        found = await search(
            connection,
            Criteria("Observation", (KeyClause((reference_key("derived-from", f"Observation/{other}"),)),)),
        )
    references = [each["reference"] for each in stored.content["derivedFrom"]]
    assert references == [f"Observation/{other}", "urn:uuid:elsewhere"]
    assert [each.id for each in found.matches] == [identity]


def test_what_names_a_patient_or_study_is_looked_up_by_it_alone() -> None:
    def statement(resource_type: str, name: str, value: str) -> str:
        return str(search_module._part(parse_query(resource_type, [(name, value)]).criteria, dated=True))

    for name in ("patient", "subject", "patient.identifier", "identifier", "part-of", "derived-from"):
        assert "concat(resource.type)" in statement("Observation", name, "x"), name
    for name in ("code", "status", "device", "identifier:not", "date"):
        assert "concat" not in statement("Observation", name, "2026"), name
    held = Criteria("Observation", compartment=(reference_key("patient", "Patient/1"),))
    assert "concat(resource.type)" in str(search_module._part(held, dated=True))
