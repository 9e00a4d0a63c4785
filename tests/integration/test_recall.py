"""Wrong results: found by what made them, withdrawn in a person's name; a person erased."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import report_samples as samples
from pages_site import MRN, NOW, Site, pages_site
from sqlalchemy import func, select, update
from typer.testing import CliRunner, Result

from trabecula.cli.app import app
from trabecula.config import Settings
from trabecula.errors import InvalidRequest
from trabecula.imaging.limits import ImagingLimits
from trabecula.programme.schema import dxa_result, dxa_task
from trabecula.programme.sign_off import Reviewer, Verdict, list_reviews, sign
from trabecula.programme.states import Decision, ReviewStatus
from trabecula.programme.tasks import TaskFilter, list_tasks
from trabecula.record.schema import audit_event, resource, resource_history, result
from trabecula.report import ScreeningReport
from trabecula.service.erasure import Eraser
from trabecula.service.recall import Criteria, find, ids_in, withdraw
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.schema import screening

ADA = Reviewer("ada", "Dr. Ada Example")


@pytest.fixture
async def site(database: Database, content: FolderContent) -> AsyncIterator[Site]:
    async with pages_site(database, content) as running:
        yield running


def report_of(number: int, patient: str = "P1", **changes: object) -> ScreeningReport:
    made = samples.reported()
    assert made.study is not None
    uids = {"study_instance_uid": f"1.2.3.{number}", "series_instance_uid": f"1.2.3.{number}.1"}
    identity = str(uuid.UUID(int=number, version=4))  # that of the study's resources
    return replace(made, screening_id=identity, study=replace(made.study, patient_id=patient, **uids), **changes)


async def found_ids(site: Site, wanted: Criteria) -> list[str]:
    return [each.screening_id async for each in find(site.pages.database, site.pages.content, wanted)]


async def tell(
    site: Site, screening_id: str, reason: str = "rod in the field of view", reviewer: Reviewer = ADA
) -> str:
    pages = site.pages
    return (await withdraw(pages.database, pages.content, pages.site, screening_id, reviewer, reason)).outcome


async def test_results_are_found_by_what_made_them(site: Site) -> None:
    model = replace(samples.models()[0], name="fine-v1", version="1.0.0", sha256="ab" * 32)
    scanner = replace(samples.acquisition(), manufacturer="ACME", model="Spiral 64")
    old = await site.add_result(report_of(1, software_version="0.0.9", models=(model,)))
    new = await site.add_result(report_of(2, acquisition=scanner, models=(replace(model, version="1.1.0"),)))
    refused = await site.add_result(samples.refused())
    everything = {old, new, refused}
    assert set(await found_ids(site, Criteria())) == everything
    assert await found_ids(site, Criteria(software="0.0.9")) == [old]
    assert set(await found_ids(site, Criteria(model="fine-v1"))) == {old, new}
    assert await found_ids(site, Criteria(model="fine-v1@1.1.0")) == [new]
    assert set(await found_ids(site, Criteria(model="abababab"))) == {old, new}
    assert await found_ids(site, Criteria(model="ab")) == []
    assert await found_ids(site, Criteria(scanner="spiral 64")) == [new]
    assert set(await found_ids(site, Criteria(patient=f"{MRN}|P1"))) == {old, new}
    assert await found_ids(site, Criteria(patient="urn:oid:9|P1")) == []
    made = [each.created_at async for each in find(site.pages.database, site.pages.content, Criteria())]
    assert await found_ids(site, Criteria(since=max(made) + timedelta(seconds=1))) == []
    assert set(await found_ids(site, Criteria(until=max(made) + timedelta(seconds=1)))) == everything
    assert await found_ids(site, Criteria(until=min(made))) == []


async def test_more_than_a_page_is_found_once_each(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trabecula.service.recall.BATCH", 2)
    added = {await site.add_result(report_of(number, f"P{number}")) for number in range(1, 6)}
    seen = await found_ids(site, Criteria())
    assert (len(seen), set(seen)) == (5, added)


async def test_a_report_that_cannot_be_read_is_among_those_found(site: Site, content: FolderContent) -> None:
    lost = await site.add_result(report_of(1))
    for path in (content.folder if hasattr(content, "folder") else content._folder).rglob("*"):
        if path.is_file():
            path.unlink()
    (seen,) = [each async for each in find(site.pages.database, site.pages.content, Criteria(software="none such"))]
    assert (seen.screening_id, seen.readable, seen.software) == (lost, False, None)


async def test_withdrawn_results_are_entered_in_error_everywhere(site: Site) -> None:
    signed, untouched = await site.add_result(report_of(1)), await site.add_result(report_of(2, "P2"))
    pages = site.pages
    async with pages.database.transaction() as connection:
        await sign(connection, signed, Verdict(Decision.ACCEPT, 0), ADA, report_of(1), pages.constants, NOW)
        assert len(await list_tasks(connection, TaskFilter(), 10, None)) == 2
    assert await tell(site, signed) == "withdrawn"
    assert await tell(site, signed) == "was-withdrawn"
    async with pages.database.transaction() as connection:
        reviews = await list_reviews(connection, signed)
        query = select(resource.c.screening_id, resource.c.status).where(resource.c.type == "DiagnosticReport")
        statuses = {row.screening_id: row.status for row in await connection.execute(query)}
        tasks = await list_tasks(connection, TaskFilter(), 10, None)
    assert [each.status for each in reviews] == [ReviewStatus.FINAL, ReviewStatus.ENTERED_IN_ERROR]
    assert (reviews[-1].reviewer, reviews[-1].comment) == (ADA, "rod in the field of view")
    assert statuses == {signed: "entered-in-error", untouched: "preliminary"}
    assert {each.patient.value: each.state.open for each in tasks} == {"P1": False, "P2": True}


async def test_what_cannot_be_withdrawn_is_said_and_stops_nothing(site: Site) -> None:
    assert await tell(site, "no id") == "not-found"
    assert await tell(site, "00000000-0000-4000-8000-000000000000") == "not-found"
    some = await site.add_result(report_of(1))
    for reason, reviewer in ((" ", ADA), ("why", Reviewer("", ""))):
        with pytest.raises(InvalidRequest):
            await tell(site, some, reason, reviewer)
    async with site.pages.database.transaction() as connection:
        assert await list_reviews(connection, some) == ()


def eraser(site: Site) -> Eraser:
    return Eraser(site.pages.database, site.pages.content, ImagingLimits(), MRN)


async def everything_of(site: Site, patient: str) -> dict[str, int]:
    counts = {}
    async with site.pages.database.transaction() as connection:
        for table in (result, dxa_task, dxa_result):
            query = select(func.count()).select_from(table).where(table.c.patient_value == patient)
            counts[table.name] = (await connection.execute(query)).scalar_one()
        for versions in (resource, resource_history):
            query = (
                select(func.count()).select_from(versions).where(versions.c.patient_identifier == f"{MRN}|{patient}")
            )
            counts[versions.name] = (await connection.execute(query)).scalar_one()
    return counts


async def test_erasing_leaves_nothing_of_the_person_and_all_of_others(site: Site) -> None:
    ids = {await site.add_result(report_of(1)), await site.add_result(report_of(2))}
    await site.add_result(report_of(3, "P2"))
    await tell(site, next(iter(ids)))  # so that there are older versions too
    others = await everything_of(site, "P2")
    before = await everything_of(site, "P1")
    assert before["resource_history"] > 0
    would = await eraser(site).erase(f"{MRN}|P1", dry_run=True)
    assert set(would.screenings) == ids
    assert await everything_of(site, "P1") == before
    done = await eraser(site).erase(f"{MRN}|P1", dry_run=False)
    assert done == would
    assert set((await everything_of(site, "P1")).values()) == {0}
    assert await everything_of(site, "P2") == others
    async with site.pages.database.transaction() as connection:
        left = (await connection.execute(select(func.count()).select_from(screening))).scalar_one()
        await connection.execute(select(audit_event.c.id).limit(1))
    assert left == 1


@pytest.mark.parametrize("kept", [{"legal_hold": True}, {"state": "running", "ended_at": None}])
async def test_a_hold_or_open_work_forbids_erasing(site: Site, kept: dict[str, object]) -> None:
    held, free = await site.add_result(report_of(1)), await site.add_result(report_of(2))
    async with site.pages.database.transaction() as connection:
        await connection.execute(update(screening).where(screening.c.id == held).values(kept))
    before = await everything_of(site, "P1")
    refused = await eraser(site).erase(f"{MRN}|P1", dry_run=False)
    assert refused.held == (held,)
    assert free in refused.screenings
    assert await everything_of(site, "P1") == before


async def test_nobody_is_erased_by_an_empty_name(site: Site) -> None:
    for patient in ("", "system|"):
        with pytest.raises(InvalidRequest):
            await eraser(site).erase(patient, dry_run=True)


def test_lists_may_have_notes() -> None:
    assert ids_in(["a\n", "\n", "# all of March\n", " b # seen by Ada\n", "a\n"]) == ("a", "b")


@pytest.fixture
def command(
    database_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[Result]]:
    """``trabecula results`` on the site's own database and content (``content`` in the state folder)."""
    monkeypatch.setenv("TRABECULA_DATABASE_URL", str(database_settings.database_url))
    monkeypatch.setenv("TRABECULA_STATE_DIR", str(tmp_path))
    if database_settings.database_password_file is not None:
        monkeypatch.setenv("TRABECULA_DATABASE_PASSWORD_FILE", str(database_settings.database_password_file))

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["results", *arguments])

    return run


async def test_the_command_finds_withdraws_and_erases(
    site: Site, command: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    wrong = await site.add_result(report_of(1, software_version="0.0.9"))
    right = await site.add_result(report_of(2, "P2"))
    found = await command("find", "--software", "0.0.9", "--json")
    assert [each["screening_id"] for each in json.loads(found.stdout)] == [wrong], found.output
    assert json.loads(found.stdout)[0]["study_uid"] == "1.2.3.1"
    assert "P1" not in found.stdout, "no name and no number of the patient"

    listed = tmp_path / "wrong.txt"
    listed.write_text((await command("find", "--software", "0.0.9", "--ids")).stdout)
    who = ["--reviewer-id", "ada", "--reviewer-name", "Dr. Ada Example", "--reason", "scanner 3"]
    assert (await command("withdraw", str(listed), *who)).exit_code == 0
    assert "preliminary" in (await command("find", "--software", "0.0.9")).stdout, "nothing is done without --yes"
    assert (await command("withdraw", str(listed), *who, "--yes", "--quiet")).stdout == "withdrawn: 1\n"
    assert (await command("withdraw", str(listed), *who, "--yes", "--quiet")).stdout == "was-withdrawn: 1\n"
    listed.write_text(f"{right}\nnobody\n")
    half = await command("withdraw", str(listed), *who, "--yes", "--quiet")
    assert (half.exit_code, "withdrawn: 1" in half.stdout, "not-found: nobody" in half.stderr) == (3, True, True)

    assert "would be erased" in (await command("erase", "P1")).stdout
    assert (await everything_of(site, "P1"))["result"] == 1
    assert "1 screenings" in (await command("erase", "P1", "--yes")).stdout
    assert set((await everything_of(site, "P1")).values()) == {0}
    async with site.pages.database.transaction() as connection:
        events = (await connection.execute(select(audit_event.c.content).order_by(audit_event.c.seq))).scalars().all()
    assert [each["action"] for each in events] == ["E", "E", "E", "U", "U", "U", "U", "E", "D"], "each is recorded"
