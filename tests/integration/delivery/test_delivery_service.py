"""Delivery as the service and its operators use it: the queue's own worker, the sink, retention, the commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from delivery_case import PATIENT, Case, destination, differences, outlet
from hostile_ehr import Fault, statement_with
from report_samples import refused, reported
from sqlalchemy import insert, select
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.config import Settings
from trabecula.delivery.destinations import FhirDestination, What
from trabecula.delivery.outbox import has_open_deliveries
from trabecula.delivery.schema import delivery
from trabecula.delivery.sink import delivery_sink
from trabecula.delivery.states import DeliveryState
from trabecula.delivery.tasks import delivery_tasks, keeps_screening
from trabecula.keys import SigningAlgorithm, generate_key, public_jwks
from trabecula.outputs.r4 import to_bundle
from trabecula.patient import PatientContext
from trabecula.report import ScreeningReport
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.queue import make_app
from trabecula.work.queue_worker import QueueWorker
from trabecula.work.records import DocumentKind, Job, ScreeningRecord, Submission
from trabecula.work.runner import Completion
from trabecula.work.schema import screening
from trabecula.work.states import State

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@asynccontextmanager
async def working(database: Database, content: FolderContent, to: FhirDestination) -> AsyncIterator[None]:
    """The queue's worker with the tasks of delivery, as the service runs them."""
    queue = make_app(database.parameters, delivery_tasks([to], database, content, None))
    async with queue.open_async():
        worker = QueueWorker(queue, ["delivery"], 4, 1.0, poll_s=0.2)
        worker.start()
        try:
            yield
        finally:
            await worker.close()


async def a_screening(database: Database, state: State = State.REPORTED) -> str:
    identity = str(uuid4())
    async with database.transaction() as connection:
        await connection.execute(
            insert(screening).values(
                id=identity,
                state=state.value,
                source="grpc",
                fingerprint="0" * 64,
                instances=1,
                total_bytes=1,
                submitted_at=NOW,
                ended_at=NOW,
            )
        )
    return identity


async def ended(
    database: Database, folder: Path, to: FhirDestination, report: ScreeningReport, fails: bool = False
) -> str:
    """A screening that ends with a result, in one transaction with its deliveries."""
    screening_id = await a_screening(database)
    (folder / DocumentKind.BUNDLE_JSON.value).write_text(json.dumps(to_bundle(report)))
    record = ScreeningRecord(screening_id, Submission(None, "0" * 64, 1, 1), NOW, State.REPORTED)
    job = Job(screening_id, (), folder, PatientContext(), False)
    sink = delivery_sink([to], lambda: datetime.now(UTC))
    async with database.transaction() as connection:
        await sink(connection, record, job, Completion(report.status, (DocumentKind.BUNDLE_JSON,), report))
        if fails:
            raise RuntimeError("the transaction that ends the screening fails")
    return screening_id


async def state_of(database: Database, screening_id: str) -> list[str]:
    async with database.transaction() as connection:
        query = select(delivery.c.state).where(delivery.c.screening_id == screening_id)
        return list((await connection.execute(query)).scalars())


async def test_a_result_leaves_with_its_commit_and_the_queue_brings_it_over(
    case: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    to = destination(case.ehr.url)
    async with working(database, content, to):
        screening_id = await ended(database, tmp_path, to, case.report)
        async with asyncio.timeout(30):
            while await state_of(database, screening_id) != [DeliveryState.DELIVERED.value]:
                await asyncio.sleep(0.1)
    assert differences(case.bundle, case.server) == []
    async with database.transaction() as connection:
        assert (await connection.execute(select(delivery.c.payload))).scalar_one() is None


async def test_a_result_that_was_not_committed_is_not_delivered(case: Case, database: Database, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        await ended(database, tmp_path, destination(case.ehr.url), case.report, fails=True)
    async with database.transaction() as connection:
        assert (await connection.execute(select(delivery.c.id))).all() == []


@pytest.mark.parametrize(
    ("send", "report", "number"),
    [
        ((What.RESULTS,), reported(), 1),
        ((What.RESULTS,), refused(), 0),
        ((What.REFUSALS,), refused(), 1),
        ((What.REFUSALS,), reported(), 0),
    ],
)
async def test_a_destination_gets_what_it_asked_for(
    database: Database, tmp_path: Path, send: tuple[What, ...], report: ScreeningReport, number: int
) -> None:
    to = destination("http://127.0.0.1:9/fhir", send=send)
    screening_id = await ended(database, tmp_path, to, report)
    assert len(await state_of(database, screening_id)) == number


async def test_retention_waits_for_deliveries_that_are_not_done(
    case: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    case.report = refused()
    to = destination(case.ehr.url)
    screening_id = await ended(database, tmp_path, to, case.report)
    out = outlet(database, content, to)
    out.clock.now = datetime.now(UTC) + timedelta(seconds=1)

    async def kept() -> bool:
        async with database.transaction() as connection:
            found = await connection.execute(select(screening.c.id).where(keeps_screening()))
            rows = set(found.scalars())
            assert (screening_id in rows) == await has_open_deliveries(connection, screening_id)
        return screening_id in rows

    assert await kept()
    case.ehr.strike(Fault.FORBIDDEN)
    await out.until_still()
    assert await state_of(database, screening_id) == ["parked"]
    assert await kept()
    await asyncio.to_thread(command, ["deliveries", "retry", "--all"])
    out.clock.now = datetime.now(UTC) + timedelta(seconds=1)
    await out.until_still()
    assert await state_of(database, screening_id) == ["delivered"]
    assert not await kept()


def command(arguments: list[str], **more: str) -> Any:
    """A command as an operator gives it; its exit code and JSON."""
    found = CliRunner().invoke(app, arguments, env={**ENVIRONMENT, **more})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


ENVIRONMENT: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _environment(database_settings: Settings) -> None:
    ENVIRONMENT["TRABECULA_DATABASE_URL"] = database_settings.database_url or ""


async def ask(*arguments: str, **more: str) -> Any:
    found = await asyncio.to_thread(command, list(arguments), **more)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


async def test_operators_see_release_and_cancel_deliveries(
    case: Case, database: Database, content: FolderContent
) -> None:
    case.report = refused()
    out = outlet(database, content, destination(case.ehr.url))
    out.clock.now = datetime.now(UTC)
    case.ehr.strike(Fault.UNPROCESSABLE, Fault.FORBIDDEN)
    first = await out.enqueue(case.bundle, case.chain)
    await out.until_still()
    second = await out.enqueue(case.bundle, str(uuid4()))
    await out.until_still()
    listed = await ask("deliveries", "list", "--state", "parked", "--json")
    assert listed["total"] == 2
    assert [each["delivery_id"] for each in listed["deliveries"]] == [second, first]
    by_reason = await ask("deliveries", "list", "--reason", "forbidden", "--json")
    assert [each["delivery_id"] for each in by_reason["deliveries"]] == [second]
    assert (await ask("deliveries", "list", "--destination", "other", "--json"))["total"] == 0
    shown = await ask("deliveries", "show", first, "--json")
    assert shown["attempts"][0]["outcome"]["issue"][0]["diagnostics"].startswith("CANARY-OUTCOME")
    assert (await ask("deliveries", "cancel", first, "--json"))["state"] == "cancelled"
    assert (await ask("deliveries", "retry", "--all", "--json")) == {"released": 1, "moved_on": 0}
    out.clock.now = datetime.now(UTC) + timedelta(seconds=1)
    await out.until_still()
    assert (await ask("deliveries", "show", second, "--json"))["state"] == "delivered"
    for arguments, code in (
        (["deliveries", "retry", first], 1),
        (["deliveries", "retry", str(uuid4())], 1),
        (["deliveries", "retry"], 2),
        (["deliveries", "retry", first, "--all"], 2),
        (["deliveries", "retry", "--all", "--state", "delivered"], 2),
        (["deliveries", "show", "not-an-id"], 2),
    ):
        assert (await asyncio.to_thread(command, arguments)).exit_code == code, arguments
    for arguments in (["deliveries", "list"], ["deliveries", "show", second]):
        text = (await asyncio.to_thread(command, arguments)).stdout
        assert second in text
        assert "SAMPLE-0001" not in text


def site_file(folder: Path, url: str, more: str = "") -> dict[str, str]:
    file = folder / "destinations.toml"
    file.write_text(
        f'[[destination]]\nkind = "fhir"\nname = "ehr"\nbase_url = "{url}"\n'
        '[[destination.patient]]\nsystem = "urn:oid:1.2.3"\n'
        f'[destination.network]\nprivate_networks = ["127.0.0.0/8"]\nplain_http = true\n{more}'
    )
    return {"TRABECULA_DESTINATIONS_FILE": str(file)}


async def test_a_destination_is_checked_without_writing_there(case: Case, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    generate_key(keys, SigningAlgorithm.ES384, datetime.now(UTC), datetime.now(UTC) - timedelta(seconds=5))
    case.ehr.jwks = public_jwks(keys)
    auth = f'[destination.auth]\ntype = "smart-backend-services"\nclient_id = "trabecula-test"\nkey_folder = "{keys}"\n'
    site = site_file(tmp_path, case.ehr.url, auth)
    case.ehr.statement = statement_with(update_create=False, read_only=("RiskAssessment",))
    (checked,) = await ask("destinations", "check", "--json", **site)
    assert [(each["step"], each["works"]) for each in checked["steps"]] == [
        ("access token", True),
        ("metadata", True),
        ("writing", True),
        ("patient search", True),
    ]
    assert (checked["way"], checked["left_out"]) == ("transaction-create", ["RiskAssessment"])
    assert case.ehr.committed == 0
    assert case.server.stored()["Patient"][0]["id"] == PATIENT["id"]
    assert (await ask("destinations", "list", "--json", **site))[0]["name"] == "ehr"
    case.ehr.token_error = "invalid_client"  # noqa: S105
    refusal = await asyncio.to_thread(command, ["destinations", "check"], **site)
    assert refusal.exit_code == 3
    assert "invalid-client" in refusal.stdout
    assert (await asyncio.to_thread(command, ["destinations", "check", "nobody"], **site)).exit_code == 4


async def test_a_pacs_is_checked_by_echo(tmp_path: Path) -> None:
    from pynetdicom import AE
    from pynetdicom.sop_class import Comprehensive3DSRStorage, Verification  # type: ignore[attr-defined]

    entity = AE("PACS")
    entity.add_supported_context(Verification)
    entity.add_supported_context(Comprehensive3DSRStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        file = tmp_path / "destinations.toml"
        port = server.socket.getsockname()[1]
        file.write_text(
            f'[[destination]]\nkind = "dimse"\nname = "pacs"\nhost = "127.0.0.1"\nport = {port}\nae_title = "PACS"\n'
        )
        (checked,) = await ask("destinations", "check", "--json", TRABECULA_DESTINATIONS_FILE=str(file))
    finally:
        server.shutdown()
    assert [each["detail"] for each in checked["steps"]] == ["answered", "Comprehensive 3D SR Storage"]
    found = await asyncio.to_thread(command, ["destinations", "check"], TRABECULA_DESTINATIONS_FILE=str(file))
    assert found.exit_code == 3
