"""A person is erased wherever the person is named: also in studies that never gave a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dicom_headers
import pytest
import report_samples as samples
from sqlalchemy import func, insert, select

from trabecula.config import Settings
from trabecula.delivery.schema import delivery, delivery_attempt, delivery_identity
from trabecula.errors import CorruptInstance, NotFound
from trabecula.hooks.schema import hook_card, hook_feedback
from trabecula.imaging.limits import ImagingLimits
from trabecula.patient import PatientContext
from trabecula.record.schema import resource, resource_history, result, screen_request
from trabecula.service import erasure
from trabecula.service.dimse import journal
from trabecula.service.dimse.schema import received
from trabecula.service.erasure import Eraser
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.gc import RetentionPolicy, collect
from trabecula.work.records import ContentRef, Submission
from trabecula.work.schema import METADATA, instance, screening
from trabecula.work.store import ScreeningStore

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MRN = "urn:oid:1.2.3"


class House:
    """Studies of several people, in every state that is no result."""

    def __init__(self, database: Database, content: FolderContent, folder: Path) -> None:
        self.database, self.content, self.folder = database, content, folder
        self.store = ScreeningStore(database, content=content)
        self.eraser = Eraser(database, content, ImagingLimits(), MRN)

    async def files(self, patient_id: str, study_uid: str, planes: int = 2, **changes: object) -> list[ContentRef]:
        folder = self.folder / uuid.uuid4().hex
        dicom_headers.write_headers(
            folder, samples.geometry(), study_uid, f"{study_uid}.1", planes=planes, PatientID=patient_id, **changes
        )
        return [await self.content.put(path) for path in sorted(folder.iterdir())]

    async def queued(self, patient_id: str, study_uid: str = "1.2.3.4") -> str:
        return await self.accept(await self.files(patient_id, study_uid))

    async def accept(self, refs: list[ContentRef]) -> str:
        key = uuid.uuid4().hex
        submission = Submission(key, "f" * 64, len(refs), sum(ref.size_bytes for ref in refs))
        record, _ = await self.store.accept(submission, refs, PatientContext())
        return record.screening_id

    async def running(self, patient_id: str) -> str:
        screening_id = await self.queued(patient_id)
        assert await self.store.claim(screening_id) is not None
        return screening_id

    async def failed(self, patient_id: str, study_uid: str = "1.2.3.4") -> str:
        return await self.fail(await self.queued(patient_id, study_uid))

    async def fail(self, screening_id: str) -> str:
        claim = await self.store.claim(screening_id)
        assert claim is not None
        await self.store.end_with_failure(claim, CorruptInstance())
        return screening_id

    async def arrived(self, patient_id: str, study_uid: str) -> None:
        """By C-STORE, and no study yet."""
        refs = await self.files(patient_id, study_uid)
        async with self.database.transaction() as connection:
            for number, ref in enumerate(refs):
                one = journal.Received(study_uid, f"{study_uid}.{number}", "1.2.840.10008.5.1.4.1.1.2", ref)
                await journal.record(connection, one, NOW)

    async def left(self) -> set[str]:
        async with self.database.transaction() as connection:
            return set((await connection.execute(select(screening.c.id))).scalars())

    async def count(self, *names: str) -> list[int]:
        async with self.database.transaction() as connection:
            counts = [select(func.count()).select_from(METADATA.tables[name]) for name in names]
            return [(await connection.execute(each)).scalar_one() for each in counts]


@pytest.fixture
def house(database: Database, content: FolderContent, tmp_path: Path) -> House:
    return House(database, content, tmp_path / "files")


async def test_studies_without_a_result_are_erased_whatever_became_of_them(house: House) -> None:
    failed, queued, cancelled = await house.failed("P1"), await house.queued("P1"), await house.queued("P1")
    await house.store.cancel(cancelled)
    other, waiting = await house.failed("P2"), await house.queued("P2")
    would = await house.eraser.erase(f"{MRN}|P1", dry_run=True)
    assert set(would.screenings) == set(would.without_result) == {failed, queued, cancelled}
    assert await house.left() == {failed, queued, cancelled, other, waiting}
    assert await house.eraser.erase(f"{MRN}|P1", dry_run=False) == would
    assert await house.left() == {other, waiting}
    jobs = select(func.count()).select_from(erasure.screening).where(screening.c.id == queued)
    async with house.database.transaction() as connection:
        assert (await connection.execute(jobs)).scalar_one() == 0
    assert await house.store.claim(queued) is None
    assert await house.store.claim(waiting) is not None


async def test_no_job_waits_for_an_erased_study_and_its_bytes_are_collected(house: House) -> None:
    await house.queued("P1")
    await house.eraser.erase("P1", dry_run=False)
    async with house.database.engine.connect() as connection:
        found = await connection.exec_driver_sql("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")
        assert found.scalar_one() == 0
    await collect(
        house.database, house.content, RetentionPolicy(1e9, 1e9, 0.0, 1e9), now=datetime.now(UTC) + timedelta(hours=1)
    )
    assert [each async for each in house.content.objects()] == []


async def test_a_study_of_two_people_is_both_peoples(house: House) -> None:
    refs = [*await house.files("P1", "1.2.3.5"), *await house.files("P2", "1.2.3.5")]
    mixed = await house.fail(await house.accept(refs))
    assert (await house.eraser.erase("P2", dry_run=True)).screenings == (mixed,)
    assert (await house.eraser.erase("P1", dry_run=False)).screenings == (mixed,)


async def test_who_is_someone_else_stays(house: House) -> None:
    kept = {await house.failed(patient) for patient in ("P1", "P11", "p1", "1")}
    for patient in ("P", "P12", "urn:oid:9|P1", "%", "P_"):
        assert (await house.eraser.erase(patient, dry_run=False)).screenings == ()
    assert await house.left() == kept


async def test_running_work_and_a_hold_forbid_it(house: House) -> None:
    running, failed, held = await house.running("P1"), await house.failed("P1"), await house.failed("P1")
    await house.store.set_legal_hold(held, True)
    refused = await house.eraser.erase("P1", dry_run=False)
    assert set(refused.held) == {running, held}
    assert await house.left() == {running, failed, held}


async def test_what_cannot_be_read_is_said_and_can_be_named(house: House) -> None:
    unreadable = await house.fail(await house.accept([await house.content.put(b"no DICOM at all")]))
    lost = await house.fail(await house.accept(await house.files("P1", "1.2.3.6")))
    for path in house.content.folder.glob("??/*"):
        if path.read_bytes()[128:132] == b"DICM":
            path.unlink()
    found = await house.eraser.erase("P1", dry_run=False)
    assert (found.screenings, set(found.unreadable)) == ((), {unreadable, lost})
    named = await house.eraser.erase("P1", also=[unreadable], dry_run=False)
    assert (named.screenings, named.unreadable) == ((unreadable,), (lost,))
    known = await house.failed("P1")
    for nobody in ("no id", str(uuid.uuid4()), unreadable):
        with pytest.raises(NotFound):
            await house.eraser.erase("P1", also=[nobody], dry_run=False)
    assert await house.left() == {lost, known}


@pytest.mark.parametrize("read_at_first", [200, 500, 600, 700, 5000])
async def test_a_header_longer_than_the_first_reading_is_read_whole(
    read_at_first: int, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "HEAD_BYTES", read_at_first)
    monkeypatch.setattr("trabecula.work.content.CHUNK_BYTES", read_at_first)
    failed = await house.failed("P1")
    assert (await house.eraser.erase("P1", dry_run=False)).screenings == (failed,)


async def test_more_studies_than_are_looked_at_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    failed = {await house.failed("P1") for _ in range(5)}
    looked: list[int] = []
    eraser = Eraser(house.database, house.content, ImagingLimits(), MRN, looked.append)
    assert set((await eraser.erase("P1", dry_run=False)).screenings) == failed
    assert looked[-1] == 10


async def test_instances_that_are_no_study_yet_and_requests_go_too(house: House) -> None:
    await house.arrived("P1", "1.2.3.7")
    await house.arrived("P2", "1.2.3.8")
    failed = await house.failed("P1", "1.2.3.9")
    async with house.database.transaction() as connection:
        for uid, made in (("1.2.3.9", None), ("9.9", failed), ("1.2.3.8", None)):
            row = {"id": str(uuid.uuid4()), "study_uid": uid, "requested_at": NOW, "state": "failed"}
            await connection.execute(insert(screen_request).values(**row, screening_id=made))
    erased = await house.eraser.erase("P1", dry_run=False)
    assert (erased.received, erased.requests) == (2, 2)
    async with house.database.transaction() as connection:
        left = set((await connection.execute(select(received.c.study_uid))).scalars())
        asked = set((await connection.execute(select(screen_request.c.study_uid))).scalars())
    assert left == asked == {"1.2.3.8"}


async def test_parked_deliveries_cards_and_identities_elsewhere_go_too(house: House) -> None:
    ids = {patient: await house.failed(patient) for patient in ("P1", "P2")}
    async with house.database.transaction() as connection:
        for patient, screening_id in ids.items():
            sent, card, identity = str(uuid.uuid4()), str(uuid.uuid4()), f"{patient}-resource"
            parked = {"id": sent, "destination": "ehr", "chain": str(uuid.uuid4()), "screening_id": screening_id}
            await connection.execute(
                insert(delivery).values(
                    **parked,
                    topic="result",
                    state="parked",
                    payload="{}",
                    created_at=NOW,
                    waiting_since=NOW,
                    due_at=NOW,
                )
            )
            await connection.execute(
                insert(delivery_attempt).values(delivery_id=sent, attempt=1, started_at=NOW, outcome={"text": patient})
            )
            await connection.execute(
                insert(hook_card).values(
                    id=card, service="s", kind="k", indicator="i", screening_id=screening_id, client="c", shown_at=NOW
                )
            )
            await connection.execute(
                insert(hook_feedback).values(
                    card_id=card, service="s", client="c", accepted=False, suggestions=[], comment=patient,
                    outcome_at=NOW, received_at=NOW, digest=patient.lower() * 32,
                )
            )  # fmt: skip
            version = {
                "type": "Patient", "id": identity, "version": 1, "last_updated": NOW, "deleted": False,
                "content": {"id": patient}, "patient_identifier": f"{MRN}|{patient}",
            }  # fmt: skip
            # Of a screening that retention has let go: the resource alone names the person.
            await connection.execute(insert(resource).values(**version, content_sha256="0" * 64, search_keys=[]))
            await connection.execute(insert(resource_history).values(**version))
            await connection.execute(
                insert(delivery_identity).values(
                    destination="ehr", resource_type="Patient", resource_id=identity, server_id=patient, digest=""
                )
            )
    tables = (delivery, delivery_attempt, hook_card, hook_feedback, resource, resource_history, delivery_identity)
    names = [table.name for table in tables]
    assert await house.count(*names) == [2] * len(names)
    assert (await house.eraser.erase(f"{MRN}|P1", dry_run=False)).resources == 2
    assert await house.count(*names) == [1] * len(names)
    async with house.database.transaction() as connection:
        assert (await connection.execute(select(delivery_identity.c.server_id))).scalars().all() == ["P2"]
        assert (await connection.execute(select(hook_feedback.c.comment))).scalars().all() == ["P2"]


async def test_every_table_that_could_name_a_person_is_known_here(house: House) -> None:
    """A new table that holds patient data is to be erased from, or listed here with the reason why not."""
    erased = {
        "screening", "instance", "document", "transition", "result", "resource", "resource_history", "screen_request",
        "delivery", "delivery_attempt", "delivery_identity", "hook_card", "hook_feedback", "review", "dxa_task",
        "dxa_step", "dxa_result", "dimse_received",
    }  # fmt: skip
    kept = {
        "audit_event": "the proof of who saw what",
        "series_fact": "a day and figures, nobody's",
        "drift_evaluation": "sums",
        "hook_token": "digests of tokens",
        "page_key": "a key of the service",
        "delivery_destination": "what a destination can do",
    }
    assert set(METADATA.tables) == erased | set(kept)
    assert {instance.name, result.name} <= erased
    assert house


async def test_the_command_erases_a_failed_study(
    house: House, database_settings: Settings, content: FolderContent
) -> None:
    failed, other = await house.failed("P1"), await house.failed("P2")
    running = await house.running("P3")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRABECULA_")},
        "TRABECULA_DATABASE_URL": str(database_settings.database_url),
        "TRABECULA_STATE_DIR": str(content.folder.parent),
        "TRABECULA_FHIR_PATIENT_IDENTIFIER_SYSTEM": MRN,
    }
    if database_settings.database_password_file is not None:
        environment["TRABECULA_DATABASE_PASSWORD_FILE"] = str(database_settings.database_password_file)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trabecula.cli", "results", "erase", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    would = run("P1")
    assert (would.returncode, "1 screenings (1 of them without a result)" in would.stdout) == (0, True), would.stderr
    done = run(f"{MRN}|P1", "--yes", "--json")
    assert (done.returncode, json.loads(done.stdout)["screenings"]) == (0, [failed]), done.stderr
    assert "P1" not in done.stdout
    held = run("P3", "--yes")
    assert (held.returncode, running in held.stderr) == (3, True)
    assert await house.left() == {other, running}
