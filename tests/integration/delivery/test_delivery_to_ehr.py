"""Results delivered to a real FHIR server through an EHR that behaves badly: one copy of each, equal to ours."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from delivery_case import LIMITS, PATIENT, Case, HandClock, Json, destination, differences, outlet, told_by_server
from hostile_ehr import COMMITTING, PASSING, WAITING, Fault, HostileEhr, statement_with
from report_samples import refused
from structlog.testing import capture_logs

from trabecula.delivery.destinations import PatientSystem, SmartAuth
from trabecula.delivery.listing import cancel_delivery, outbox_stands, read_delivery, retry_delivery
from trabecula.delivery.outbox import Ending, claim, finish, has_open_deliveries
from trabecula.delivery.states import DeliveryState, DeliveryStep
from trabecula.keys import SigningAlgorithm, generate_key, public_jwks
from trabecula.telemetry.dispatch import Dispatcher
from trabecula.telemetry.events import DeliveryEnded, DestinationAnswers, DestinationRests
from trabecula.telemetry.logs import log_event
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

SHORT = replace(LIMITS, timeout_s=2.0)
"""For faults that cost the sender its patience; a busy machine may then need another attempt."""
WEAK = statement_with(transactions=False, update_create=False)


@pytest.fixture
def small(case: Case) -> Case:
    """A refusal: few resources, quick to write."""
    case.report = refused()
    return case


async def test_a_result_arrives_once_and_equal(case: Case, database: Database, content: FolderContent) -> None:
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    assert await out.until_still() == 1, await told_by_server(out)
    (row,) = await out.rows()
    assert (row.state, row.way, row.left_out, row.reason) == (DeliveryState.DELIVERED, "transaction-put", (), None)
    assert differences(case.bundle, case.server) == []


@pytest.mark.parametrize("fault", PASSING)
async def test_every_passing_fault_is_outlived(
    small: Case, database: Database, content: FolderContent, fault: Fault
) -> None:
    waits = fault in WAITING
    out = outlet(database, content, destination(small.ehr.url, limits=SHORT if waits else LIMITS))
    small.ehr.strike(fault)
    await out.enqueue(small.bundle, small.chain)
    tried = await out.until_still()
    assert tried == 2 or (waits and tried > 2), await told_by_server(out)
    assert differences(small.bundle, small.server) == []
    done = 2 if fault in COMMITTING else 1
    assert small.ehr.committed == done or (waits and small.ehr.committed > done)


@pytest.mark.parametrize("fault", sorted(COMMITTING))
async def test_an_unknown_outcome_makes_no_double_where_the_server_gives_the_ids(
    small: Case, database: Database, content: FolderContent, fault: Fault
) -> None:
    """Without If-None-Exist too: then only the search before the second POST helps."""
    small.ehr.statement = statement_with(transactions=False, update_create=False, conditional_create=False)
    waits = fault in WAITING
    out = outlet(database, content, destination(small.ehr.url, limits=SHORT if waits else LIMITS))
    small.ehr.strike(fault, on=lambda seen: seen.method == "POST" and seen.path == "/Observation")
    small.ehr.strike(fault, on=lambda seen: seen.method == "POST" and seen.path == "/Provenance")
    await out.enqueue(small.bundle, small.chain)
    # An answer that is no JSON is no unknown outcome: 201 says it was made, a search finds it
    tried = await out.until_still()
    assert tried == (1 if fault is Fault.NOT_JSON else 3) or (waits and tried > 3), await told_by_server(out)
    assert not any("if-none-exist" in each.headers for each in small.ehr.seen)
    assert differences(small.bundle, small.server, profiles=False) == []


@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        (Fault.FORBIDDEN, "forbidden", 403),
        (Fault.CONFLICT, "conflict", 409),
        (Fault.UNPROCESSABLE, "content-refused", 422),
        (Fault.SEVERAL, "several-matches", 412),
        (Fault.REDIRECT, "redirected", 307),
    ],
)
async def test_what_cannot_pass_is_parked_with_the_outcome_kept_out_of_the_logs(
    small: Case,
    database: Database,
    content: FolderContent,
    fault: Fault,
    reason: str,
    status: int,
) -> None:
    out = outlet(database, content, destination(small.ehr.url))
    out.deliverer.tell = Dispatcher((out.told.append, log_event))
    small.ehr.strike(fault)
    identity = await out.enqueue(small.bundle, small.chain)
    with capture_logs() as logged:
        assert await out.until_still() == 1
    async with database.transaction() as connection:
        row, (attempt,) = await read_delivery(connection, identity)
    assert (row.state, row.reason, row.status) == (DeliveryState.PARKED, reason, status)
    assert attempt.outcome is not None
    assert "CANARY-OUTCOME" in json.dumps(attempt.outcome)
    assert [each["reason"] for each in logged if each["event"] == "delivery attempted"] == [reason]
    assert not any(secret in repr(logged) + repr(out.told) for secret in ("CANARY", "Jane", "SAMPLE-0001"))
    async with database.transaction() as connection:
        await retry_delivery(connection, identity, out.clock())
    await out.until_still()
    assert differences(small.bundle, small.server) == []


async def test_a_redirect_carries_neither_result_nor_token_elsewhere(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    auth = with_keys(small, tmp_path, clock)
    async with HostileEhr(small.server.url).serving() as thief:
        small.ehr.elsewhere = thief.url
        small.ehr.strike(Fault.REDIRECT, on=lambda seen: seen.path.startswith("/Patient"))
        small.ehr.strike(Fault.REDIRECT)
        out = outlet(database, content, destination(small.ehr.url, auth=auth), clock)
        identity = await out.enqueue(small.bundle, small.chain)
        for _ in range(2):
            await out.until_still()
            async with database.transaction() as connection:
                await retry_delivery(connection, identity, clock())
        await out.until_still()
        assert thief.seen == []
    assert differences(small.bundle, small.server) == []


async def test_a_server_down_for_an_hour_gets_everything_afterwards(
    small: Case, database: Database, content: FolderContent
) -> None:
    out = outlet(database, content, destination(small.ehr.url))
    small.ehr.clock = out.clock
    small.ehr.down_until = out.clock() + timedelta(hours=1)
    await out.enqueue(small.bundle, small.chain)
    out.clock.pass_s(3000.0)
    async with database.transaction() as connection:
        (stand,) = await outbox_stands(connection, out.clock(), ())
    assert (stand.destination, stand.counts[DeliveryState.PENDING], stand.oldest_s) == ("ehr", 1, 3000.0)
    tried = await out.until_still()
    assert differences(small.bundle, small.server) == []
    assert out.clock() < small.ehr.down_until + timedelta(hours=1)
    assert tried < 20
    assert [each for each in out.told if isinstance(each, DestinationRests)]
    assert len([each for each in out.told if isinstance(each, DestinationAnswers)]) == 1
    (row,) = await out.rows()
    assert row.state is DeliveryState.DELIVERED


async def test_a_storm_of_503_is_met_with_the_wait_asked_for(
    small: Case, database: Database, content: FolderContent
) -> None:
    out = outlet(database, content, destination(small.ehr.url))
    small.ehr.clock = out.clock
    await out.deliverer.sweep()
    for fault, least_s in ((Fault.UNAVAILABLE, 30.0), (Fault.UNAVAILABLE_DATE, 40.0)):
        small.ehr.strike(fault)
        await out.enqueue(small.bundle, small.chain)
        struck = out.clock()
        assert await out.deliverer.attempt_delivery("ehr")
        quiet_until = len(small.ehr.seen)
        out.clock.now = struck + timedelta(seconds=least_s - 0.1)
        await out.deliverer.sweep()
        assert not await out.deliverer.attempt_delivery("ehr")
        assert len(small.ehr.seen) == quiet_until
        assert await out.until_still() == 1
        assert (out.clock() - struck).total_seconds() >= least_s
    assert differences(small.bundle, small.server) == []


def looked_at_again(bundle: Json) -> Json:
    """A newer version of a result."""
    return json.loads(json.dumps(bundle).replace('"conclusion": "', '"conclusion": "Looked at again. '))  # type: ignore[no-any-return]


def by_our_ids(case: Case) -> bool:
    """Whether the server took our ids; only then do resources name our profiles."""
    ours = {entry["resource"]["id"] for entry in case.bundle["entry"]}
    return {each["id"] for each in case.server.stored()["DiagnosticReport"]} <= ours


STATEMENTS = {
    "transaction-put": statement_with(),
    "single-put": statement_with(transactions=False),
    "transaction-create": statement_with(update_create=False),
    "single-create": WEAK,
}


@pytest.mark.parametrize("rung", STATEMENTS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(1, 4))])
async def test_random_faults_on_every_request_end_with_one_copy(
    small: Case, database: Database, content: FolderContent, rung: str, seed: int
) -> None:
    small.ehr.statement, small.ehr.random, small.ehr.chance = STATEMENTS[rung], random.Random(f"{rung}{seed}"), 0.15
    if seed == 0:
        small.ehr.passing = tuple(each for each in PASSING if each not in WAITING)
    limits = replace(SHORT, timeout_s=3.0, first_delay_s=1.0, max_delay_s=60.0)
    out = outlet(database, content, destination(small.ehr.url, limits=limits))
    for bundle in (small.bundle, looked_at_again(small.bundle)):
        await out.enqueue(bundle, small.chain)
        await out.until_still()
    small.ehr.chance = 0.0
    assert [row.state for row in await out.rows()] == [DeliveryState.DELIVERED] * 2, await told_by_server(out)
    assert differences(looked_at_again(small.bundle), small.server, profiles=rung.endswith("put")) == []


async def test_the_same_study_sent_twice_at_once_is_one_result(
    small: Case, database: Database, content: FolderContent
) -> None:
    for name, statement in (("ehr", statement_with()), ("weak", WEAK)):
        small.server.reset()
        assert small.server.call("PUT", "/Patient/p1", PATIENT)[0] == 201
        small.ehr.statement = statement
        out = outlet(database, content, destination(small.ehr.url, name=name))
        for _ in range(3):
            await out.enqueue(small.bundle, small.chain)
        await out.deliverer.drain(name)
        await out.until_still()
        mine = [row for row in await out.rows() if row.destination == name]
        states = [row.state for row in mine]
        assert states == [DeliveryState.SUPERSEDED, DeliveryState.SUPERSEDED, DeliveryState.DELIVERED]
        assert mine[0].superseded_by == mine[1].delivery_id
        assert differences(small.bundle, small.server, profiles=name == "ehr") == []


@pytest.mark.parametrize("statement", [statement_with(), statement_with(update_create=False), WEAK])
async def test_versions_arrive_in_order_and_the_last_one_stands(
    small: Case, database: Database, content: FolderContent, statement: object
) -> None:
    small.ehr.statement = statement  # type: ignore[assignment]
    out = outlet(database, content, destination(small.ehr.url))
    await out.enqueue(small.bundle, small.chain)
    await out.until_still()
    again = looked_at_again(small.bundle)
    small.ehr.strike(Fault.UNAVAILABLE, Fault.COMMIT_ERROR)
    await out.enqueue(again, small.chain, "correction")
    await out.until_still()
    assert differences(again, small.server, profiles=by_our_ids(small)) == []
    wrong = json.loads(json.dumps(again).replace('"status": "preliminary"', '"status": "entered-in-error"'))
    await out.enqueue(wrong, small.chain, "rejected")
    await out.until_still()
    assert {row.state for row in await out.rows()} == {DeliveryState.DELIVERED}
    (report,) = small.server.stored()["DiagnosticReport"]
    assert report["status"] == "entered-in-error"
    assert {each["status"] for each in small.server.stored()["Observation"]} == {"entered-in-error"}
    assert differences(wrong, small.server, profiles=by_our_ids(small)) == []


async def test_a_newer_version_waits_for_the_older_and_takes_over_what_it_could_not_bring(
    small: Case, database: Database, content: FolderContent
) -> None:
    out = outlet(database, content, destination(small.ehr.url))
    older = await out.enqueue(small.bundle, small.chain)
    async with database.transaction() as connection:
        parcel = await claim(connection, "ehr", out.clock(), 10.0)
    assert parcel is not None
    half = {**small.bundle, "entry": small.bundle["entry"][-2:]}
    newer = await out.enqueue(half, small.chain, "sign-off")
    async with database.transaction() as connection:
        assert await claim(connection, "ehr", out.clock(), 10.0) is None
    async with database.transaction() as connection:
        ended = await finish(connection, parcel, Ending(DeliveryStep.PARK, "forbidden", 403), out.clock())
    assert ended is DeliveryState.PARKED
    first, second = await out.rows()
    assert (first.delivery_id, first.state, first.superseded_by) == (older, DeliveryState.SUPERSEDED, newer)
    assert await out.until_still() == 1
    assert (await out.rows())[1].state is DeliveryState.DELIVERED
    assert second.delivery_id == newer
    assert differences(small.bundle, small.server) == []


async def test_a_process_that_is_stopped_puts_back_what_it_was_sending(
    small: Case, database: Database, content: FolderContent
) -> None:
    out = outlet(database, content, destination(small.ehr.url))
    await out.enqueue(small.bundle, small.chain)
    small.ehr.strike(Fault.COMMIT_HANG)
    task = asyncio.create_task(out.deliverer.drain("ehr"))
    while not small.ehr.committed:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = await out.rows()
    assert (row.state, row.reason, row.lease_until) == (DeliveryState.PENDING, "stopped", None)
    assert await out.until_still() == 1
    assert differences(small.bundle, small.server) == []


async def test_an_overtaken_worker_changes_nothing(small: Case, database: Database, content: FolderContent) -> None:
    out = outlet(database, content, destination(small.ehr.url))
    await out.enqueue(small.bundle, small.chain)
    async with database.transaction() as connection:
        slow = await claim(connection, "ehr", out.clock(), 10.0)
    assert slow is not None
    out.clock.pass_s(3600.0)
    assert await out.until_still() == 1
    async with database.transaction() as connection:
        assert await finish(connection, slow, Ending(DeliveryStep.PARK, "late"), out.clock()) is None
    (row,) = await out.rows()
    assert (row.state, row.attempt) == (DeliveryState.DELIVERED, 2)


async def test_patients_that_are_not_one_park_until_the_chart_is_mended(
    small: Case, database: Database, content: FolderContent
) -> None:
    small.server.reset()
    out = outlet(database, content, destination(small.ehr.url))
    identity = await out.enqueue(small.bundle, small.chain)
    for mend, reason in ((None, "patient-not-found"), ({**PATIENT, "id": "p2"}, None)):
        if mend is not None:
            assert small.server.call("PUT", "/Patient/p1", PATIENT)[0] == 201
            assert small.server.call("PUT", "/Patient/p2", mend)[0] == 201
            async with database.transaction() as connection:
                await retry_delivery(connection, identity, out.clock())
        assert await out.until_still() == 1
        (row,) = await out.rows()
        assert (row.state, row.reason) == (DeliveryState.PARKED, reason or "patient-ambiguous")
        assert small.ehr.committed == 0
    link = [{"other": {"reference": "Patient/p1"}, "type": "replaced-by"}]
    assert small.server.call("PUT", "/Patient/p2", {**PATIENT, "id": "p2", "active": False, "link": link})[0] == 200
    async with database.transaction() as connection:
        await retry_delivery(connection, identity, out.clock())
    await out.until_still()
    assert {each["subject"]["reference"] for each in small.server.stored()["Observation"]} == {"Patient/p1"}


async def test_what_is_cancelled_is_forgotten(small: Case, database: Database, content: FolderContent) -> None:
    out = outlet(database, content, destination(small.ehr.url, patient=(PatientSystem("urn:oid:1"),)))
    identity = await out.enqueue(small.bundle, small.chain)
    await out.until_still()
    async with database.transaction() as connection:
        for _ in range(2):
            assert (await cancel_delivery(connection, identity, out.clock())).state is DeliveryState.CANCELLED
    assert await out.until_still() == 0


def with_keys(case: Case, folder: Path, clock: HandClock) -> SmartAuth:
    """An EHR that wants access tokens, and the credentials for it."""
    generate_key(folder / "keys", SigningAlgorithm.ES384, clock(), clock())
    case.ehr.jwks = public_jwks(folder / "keys")
    case.ehr.clock = clock
    return SmartAuth(client_id="trabecula-test", key_folder=folder / "keys")


async def test_tokens_are_fetched_once_kept_and_renewed_before_their_end(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    out = outlet(database, content, destination(small.ehr.url, auth=with_keys(small, tmp_path, clock)), clock)
    for expected, wait_s in ((1, 0.0), (1, 200.0), (2, 50.0), (2, 0.0)):
        clock.pass_s(wait_s)
        await out.enqueue(small.bundle, small.chain)
        assert await out.until_still() == 1
        assert small.ehr.token_requests == expected
    assert differences(small.bundle, small.server) == []


async def test_a_token_that_ends_in_mid_flight_and_bursts_of_401_are_outlived(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    out = outlet(database, content, destination(small.ehr.url, auth=with_keys(small, tmp_path, clock)), clock)
    await out.enqueue(small.bundle, small.chain)
    await out.until_still()
    small.ehr.tokens.clear()  # the server forgot them all
    await out.enqueue(small.bundle, small.chain)
    assert await out.until_still() == 1
    assert small.ehr.token_requests == 2
    small.ehr.strike(Fault.UNAUTHORIZED, Fault.UNAUTHORIZED, Fault.UNAUTHORIZED)
    await out.enqueue(small.bundle, small.chain)
    assert await out.until_still() == 2
    attempted = [each for each in out.told if isinstance(each, DeliveryEnded) and each.reason]
    assert [(each.reason, each.status) for each in attempted] == [("unauthorized", 401)]
    assert differences(small.bundle, small.server) == []


async def test_a_client_that_is_not_known_parks_with_that_reason(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    auth = with_keys(small, tmp_path, clock)
    small.ehr.token_error = "invalid_client"  # noqa: S105
    out = outlet(database, content, destination(small.ehr.url, auth=auth), clock)
    identity = await out.enqueue(small.bundle, small.chain)
    assert await out.until_still() == 1
    assert (await out.rows())[0].reason == "invalid-client"
    small.ehr.token_error = None
    async with database.transaction() as connection:
        await retry_delivery(connection, identity, clock())
    await out.until_still()
    assert differences(small.bundle, small.server) == []


async def test_a_token_endpoint_on_another_host_is_not_asked(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    auth = with_keys(small, tmp_path, clock)
    small.ehr.token_endpoint = f"{small.server.url}/token"
    out = outlet(database, content, destination(small.ehr.url, auth=auth), clock)
    await out.enqueue(small.bundle, small.chain)
    await out.until_still()
    assert (await out.rows())[0].reason == "token-endpoint-not-allowed"


async def test_a_rotated_key_signs_without_a_restart(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    out = outlet(database, content, destination(small.ehr.url, auth=with_keys(small, tmp_path, clock)), clock)
    for algorithm in (SigningAlgorithm.ES384, SigningAlgorithm.RS384):
        generate_key(tmp_path / "keys", algorithm, clock(), clock() + timedelta(seconds=60))
        small.ehr.jwks = public_jwks(tmp_path / "keys")
        clock.pass_s(600.0)
        await out.enqueue(small.bundle, small.chain)
        assert await out.until_still() == 1
    keys = {each.headers["authorization"] for each in small.ehr.seen if "authorization" in each.headers}
    assert len(keys) == 2
    assert differences(small.bundle, small.server) == []


async def test_many_at_once_share_one_token_and_all_arrive(
    small: Case, database: Database, content: FolderContent, tmp_path: Path
) -> None:
    clock = HandClock()
    limits = replace(LIMITS, concurrency=8)
    auth = with_keys(small, tmp_path, clock)
    out = outlet(database, content, destination(small.ehr.url, auth=auth, limits=limits), clock)
    reports = [replace(small.report, screening_id=f"6f0e2c52-3c5b-5b1f-9a53-0d9c0000{n:04d}") for n in range(8)]
    for each in reports:
        small.report = each
        await out.enqueue(small.bundle, small.chain)
    assert await out.deliverer.drain("ehr") == 8
    assert small.ehr.token_requests == 1
    assert {row.state for row in await out.rows()} == {DeliveryState.DELIVERED}
    assert len(small.server.stored()["DiagnosticReport"]) == 8


async def test_retention_keeps_what_was_not_delivered(database: Database) -> None:
    async with database.transaction() as connection:
        assert not await has_open_deliveries(connection, "6f0e2c52-3c5b-5b1f-9a53-0d9c00000001")
