"""CDS Hooks as an EHR meets them: over HTTP, signed, on a real PostgreSQL, with a real FHIR server to read from."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import report_samples as samples
from cds_ehr import MRN, SYSTEM, Signer, bundle, call, condition, draft, dxa_report, patient, prefetch
from cds_schema import check_answer, check_discovery
from cds_site import CdsSite, cds_site, clients_file
from database import DatabaseServer
from fhir_server import FhirServer
from psycopg import AsyncCursor
from sqlalchemy import func, select, text
from structlog.testing import capture_logs

from trabecula.assessment.assessment import Category
from trabecula.config import Settings
from trabecula.errors import ConfigurationError
from trabecula.hooks.schema import hook_card, hook_feedback
from trabecula.hooks.services import Hook
from trabecula.hooks.store import forget_cards, forget_tokens, stats
from trabecula.record.audit import Access, keep_accesses
from trabecula.record.schema import audit_event
from trabecula.report import ScreeningReport
from trabecula.work import direct
from trabecula.work.database import Database

VIEW = Hook.PATIENT_VIEW
ACCESS = Access(datetime(2026, 11, 22, tzinfo=UTC), "operation", "E", "DiagnosticReport", "test-ehr", None, "request-1")


def low(**changes: Any) -> ScreeningReport:
    """A report in the osteoporosis range, whatever the sample is."""
    report = samples.reported()
    assert report.assessment is not None
    assessment = replace(report.assessment, category=Category.OSTEOPOROSIS_RANGE)
    return replace(report, assessment=assessment, **changes)


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[CdsSite]:
    signer = Signer()
    settings = Settings(cds_clients_file=clients_file(tmp_path / "site", signer))
    async with cds_site(database, settings, signer) as running:
        yield running


async def cards(site: CdsSite, body: dict[str, Any], hook: Hook = VIEW) -> list[dict[str, Any]]:
    answer = await site.call(hook, body)
    assert answer.status_code == 200, answer.text
    check_answer(answer.json())
    found: list[dict[str, Any]] = answer.json()["cards"]
    return found


async def test_discovery(site: CdsSite) -> None:
    answer = await site.get(f"{site.url}/cds-services")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    check_discovery(answer.json())


async def test_a_stored_result_becomes_a_card(site: CdsSite) -> None:
    screening_id = await site.add_result(low())
    (card,) = await cards(site, call())
    assert card["indicator"] == "warning"
    assert card["links"][0]["url"] == f"{site.url}/results/{screening_id}"
    order = card["suggestions"][0]["actions"][0]["resource"]
    assert order["subject"] == {"reference": "Patient/p1"}
    assert order["instantiatesCanonical"]


async def test_a_patient_is_matched_by_identifier_and_never_by_name(site: CdsSite) -> None:
    await site.add_result(low())
    name = [{"family": "Sample", "given": ["Anna"]}]
    for other in (
        patient(value="SAMPLE-0002", name=name),
        patient(system="urn:oid:9.9", name=name),
        patient(identifier=[{"value": MRN}], name=name),
        patient(identifier=[]),
        patient(value=MRN.lower()),
        patient(identifier=[{"system": SYSTEM, "value": MRN, "use": "old"}]),
    ):
        assert await cards(site, call(prefetch=prefetch(patient=other))) == []


async def test_done_ordered_or_known_means_no_card(site: CdsSite) -> None:
    await site.add_result(low())
    known = condition("http://hl7.org/fhir/sid/icd-10-cm", "M81.0")
    recent = dxa_report(datetime.now(UTC).date().isoformat())
    for chart in (
        prefetch(problems=bundle(known)),
        prefetch(dxa=bundle(recent)),
        prefetch(orders=bundle(draft(status="active"))),
    ):
        assert await cards(site, call(prefetch=chart)) == []
        discharge = call(Hook.ENCOUNTER_DISCHARGE, prefetch=chart)
        assert await cards(site, discharge, Hook.ENCOUNTER_DISCHARGE) == []
    assert len(await cards(site, call())) == 1


async def test_refused_and_withdrawn_results_are_silent(site: CdsSite) -> None:
    await site.add_result(samples.refused())
    assert await cards(site, call()) == []
    await site.add_result(low())
    assert len(await cards(site, call())) == 1
    async with site.database.transaction() as connection:
        retract = "UPDATE resource SET status = 'entered-in-error' WHERE type = 'DiagnosticReport'"
        await connection.execute(text(retract))
    assert await cards(site, call()) == []


async def test_orders(site: CdsSite) -> None:
    await site.add_result(low())
    (reason,) = await cards(site, call(Hook.ORDER_SELECT), Hook.ORDER_SELECT)
    (action,) = reason["suggestions"][0]["actions"]
    assert action["type"] == "update"
    assert action["resource"]["reasonReference"]
    recent = bundle(dxa_report(datetime.now(UTC).date().isoformat()))
    sign = call(Hook.ORDER_SIGN, prefetch={"dxa": recent, "orders": None})
    (warning,) = await cards(site, sign, Hook.ORDER_SIGN)
    assert warning["suggestions"][0]["actions"][0]["type"] == "delete"
    assert await cards(site, call(Hook.ORDER_SIGN), Hook.ORDER_SIGN) == []


@pytest.mark.parametrize("missing", ["patient", "dxa", "problems", "orders"])
@pytest.mark.parametrize("sent", ["nothing", "an OperationOutcome", "a page of many", "another patient"])
async def test_what_is_neither_given_nor_readable_is_412(site: CdsSite, missing: str, sent: str) -> None:
    await site.add_result(low())
    value: Any = ...
    if sent == "an OperationOutcome":
        value = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "forbidden"}]}
    elif sent == "a page of many":
        value = bundle(following="https://ehr.hospital.example/fhir/R4?page=2")
    elif sent == "another patient":
        value = patient(id="p2") if missing == "patient" else "odd"
    answer = await site.call(VIEW, call(prefetch=prefetch(**{missing: value})))
    if sent == "a page of many" and missing == "dxa":  # sorted: the first page is enough
        assert answer.status_code == 200
        return
    assert answer.status_code == 412
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert missing in outcome["issue"][0]["details"]["text"]


async def test_nothing_is_asked_for_when_nothing_is_stored(site: CdsSite) -> None:
    only_patient = call(prefetch={"patient": patient()})
    assert await cards(site, only_patient) == []
    harmless = call(Hook.ORDER_SIGN, prefetch={}, context={"draftOrders": bundle({"resourceType": "NutritionOrder"})})
    assert await cards(site, harmless, Hook.ORDER_SIGN) == []


async def test_null_means_that_there_is_none(site: CdsSite) -> None:
    await site.add_result(low())
    assert len(await cards(site, call(prefetch=prefetch(dxa=None, problems=None, orders=None)))) == 1


async def test_every_call_needs_a_token_for_its_own_address(site: CdsSite) -> None:
    urls = [f"{site.url}/cds-services", site.address(VIEW), f"{site.address(VIEW)}/feedback"]
    for url in urls:
        others = [other for other in urls if other != url]
        for token in (*(site.signer.token(other) for other in others), Signer().token(url), "x"):
            answer = await (site.get(url, token) if url == urls[0] else site.post(url, call(), token))
            assert answer.status_code == 401, (url, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["resourceType"] == "OperationOutcome"
        bare = await (site.http.get(url) if url == urls[0] else site.http.post(url, json=call()))
        assert bare.status_code == 401


async def test_a_token_is_good_once_for_all_replicas(site: CdsSite, tmp_path: Path) -> None:
    token = site.signer.token(f"{site.url}/cds-services")
    tries = [site.get(f"{site.url}/cds-services", token) for _ in range(8)]
    assert sorted(answer.status_code for answer in await asyncio.gather(*tries)) == [200] + [401] * 7
    settings = Settings(cds_clients_file=clients_file(tmp_path, site.signer))
    async with cds_site(site.database, settings, site.signer) as replica:
        both = site.signer.token([f"{site.url}/cds-services", f"{replica.url}/cds-services"])
        assert (await site.get(f"{site.url}/cds-services", both)).status_code == 200
        assert (await replica.get(f"{replica.url}/cds-services", both)).status_code == 401


async def test_errors_are_outcomes(site: CdsSite) -> None:
    url = f"{site.url}/cds-services/unknown"
    assert (await site.post(url, call())).status_code == 404
    assert (await site.post(f"{url}/feedback", {})).status_code == 404
    broken = await site.post(site.address(VIEW), b"{")
    assert (broken.status_code, broken.json()["resourceType"]) == (400, "OperationOutcome")
    wrong_hook = await site.post(site.address(VIEW), call(Hook.ORDER_SIGN))
    assert wrong_hook.status_code == 400
    media = await site.post(site.address(VIEW), call(), **{"content-type": "text/plain"})
    assert media.status_code == 415
    assert (await site.get(site.address(VIEW))).status_code == 405


async def test_feedback_is_kept_and_counted(site: CdsSite) -> None:
    await site.add_result(low())
    (card,) = await cards(site, call())
    url = f"{site.address(VIEW)}/feedback"
    now = datetime.now(UTC)

    def said(at: datetime, **values: Any) -> dict[str, Any]:
        return {"feedback": [{"card": card["uuid"], "outcomeTimestamp": at.isoformat(), **values}]}

    reason = {"code": "patient-refuses", "system": "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"}
    overridden = said(now, outcome="overridden", overrideReason={"reason": reason, "userComment": "Anna says no"})
    accepted = said(
        now + timedelta(minutes=1), outcome="accepted", acceptedSuggestions=[{"id": card["suggestions"][0]["uuid"]}]
    )
    for body in (overridden, overridden, accepted):
        assert (await site.post(url, body)).status_code == 200
    foreign = {**overridden["feedback"][0], "card": str(uuid.uuid4())}
    assert (await site.post(url, {"feedback": [foreign]})).status_code == 200
    async with site.database.transaction() as connection:
        rows = list(await connection.execute(select(hook_feedback)))
        (found,) = await stats(connection)
    assert len(rows) == 3  # a delivery that was repeated is one row
    assert (found.shown, found.accepted, found.overridden, found.unknown) == (1, 1, 0, 1)
    assert found.acceptance == 1.0
    counted = site.registry.get_sample_value(
        "trabecula_cds_feedback_total", {"hook": "patient-view", "outcome": "overridden", "reason": "patient-refuses"}
    )
    assert counted == 2
    labels = {"hook": "patient-view", "outcome": "accepted", "reason": "none"}
    assert site.registry.get_sample_value("trabecula_cds_feedback_total", labels) == 1
    shown = {"hook": "patient-view", "kind": "confirm", "indicator": "warning"}
    assert site.registry.get_sample_value("trabecula_cds_cards_total", shown) == 1


async def test_the_last_word_on_a_card_counts(site: CdsSite) -> None:
    await site.add_result(low())
    (card,) = await cards(site, call())
    at = datetime.now(UTC)
    items = [
        {"card": card["uuid"], "outcome": "accepted", "acceptedSuggestions": [{"id": "s"}], "outcomeTimestamp": at},
        {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": at + timedelta(seconds=1)},
    ]
    body = json.dumps({"feedback": items}, default=lambda value: value.isoformat()).encode()
    assert (await site.post(f"{site.address(VIEW)}/feedback", body)).status_code == 200
    async with site.database.transaction() as connection:
        (found,) = await stats(connection)
        assert (await stats(connection, datetime.now(UTC) + timedelta(hours=1))) == ()
    assert (found.accepted, found.overridden, found.reasons) == (0, 1, {"none": 1})


async def test_a_repeated_call_of_a_hook_instance_shows_the_same_card(site: CdsSite) -> None:
    await site.add_result(low())
    body = call()
    first, second = await cards(site, body), await cards(site, body)
    assert first[0]["uuid"] == second[0]["uuid"]
    async with site.database.transaction() as connection:
        assert len(list(await connection.execute(select(hook_card)))) == 1


async def test_access_to_results_is_on_record(site: CdsSite) -> None:
    await cards(site, call())
    await site.add_result(low())
    await cards(site, call())
    async with site.database.transaction() as connection:
        (row,) = list(await connection.execute(select(audit_event.c.content)))
    assert f"{SYSTEM}|{MRN}" in json.dumps(row.content) or MRN in json.dumps(row.content)
    assert "test-ehr" in json.dumps(row.content)


@pytest.mark.parametrize(("stored", "singles"), [(False, 2), (True, 4)], ids=["nothing", "a card"])
async def test_a_call_is_a_handful_of_single_statements(
    site: CdsSite, monkeypatch: pytest.MonkeyPatch, stored: bool, singles: int
) -> None:
    if stored:
        await site.add_result(low())
    executed: list[str] = []
    real = AsyncCursor.execute

    async def counted(self: Any, query: Any, *rest: Any, **more: Any) -> Any:
        executed.append(query.decode() if isinstance(query, bytes) else str(query))
        return await real(self, query, *rest, **more)

    await cards(site, call())
    monkeypatch.setattr(AsyncCursor, "execute", counted)
    await cards(site, call())  # its token, the results, the card, the record of the access
    assert len(executed) == singles, executed


async def test_calls_go_on_when_postgres_was_started_again(site: CdsSite, database_server: DatabaseServer) -> None:
    await site.add_result(low())
    await cards(site, call())
    others = "FROM pg_stat_activity WHERE datname LIKE 'test_%' AND pid <> pg_backend_pid()"
    for number in range(1, 4):
        database_server.execute(f"SELECT pg_terminate_backend(pid) {others}")
        assert len(await cards(site, call())) == 1
        async with site.database.transaction() as connection:
            noted = (await connection.execute(select(func.count()).select_from(audit_event))).scalar_one()
        assert noted == number + 1  # each access once, though its connection was lost


async def test_a_write_whose_answer_was_lost_is_there_once(site: CdsSite, monkeypatch: pytest.MonkeyPatch) -> None:
    real = direct._execute

    async def lost_afterwards(pooled: Any, sql: bytes, parameters: Any) -> Any:
        rows = await real(pooled, sql, parameters)
        monkeypatch.setattr(direct, "_execute", real)
        raise direct._ConnectionLost(f"the answer was lost: {len(rows)} rows")

    for _ in range(2):
        monkeypatch.setattr(direct, "_execute", lost_afterwards)
        await keep_accesses(site.database)(ACCESS)
    async with site.database.transaction() as connection:
        assert (await connection.execute(select(func.count()).select_from(audit_event))).scalar_one() == 2


async def test_without_the_record_of_access_no_result_goes_out(site: CdsSite) -> None:
    await site.add_result(low())
    async with site.database.transaction() as connection:
        await connection.execute(text("ALTER TABLE audit_event ADD CHECK (false) NOT VALID"))
    answer = await site.call(VIEW, call())
    assert answer.status_code == 500
    assert "cards" not in answer.text


async def test_old_cards_and_tokens_are_forgotten(site: CdsSite) -> None:
    await site.add_result(low())
    await cards(site, call())
    async with site.database.transaction() as connection:
        assert await forget_tokens(connection, datetime.now(UTC)) == 0
        assert await forget_cards(connection, datetime.now(UTC) - timedelta(days=1)) == 0
        assert await forget_tokens(connection, datetime.now(UTC) + timedelta(days=2)) == 1
        assert await forget_cards(connection, datetime.now(UTC) + timedelta(days=1)) == 1


async def test_nothing_of_a_patient_is_logged(site: CdsSite) -> None:
    await site.add_result(low())
    canary = {"access_token": "CANARY-TOKEN", "token_type": "Bearer", "expires_in": 300, "subject": "x", "scope": ""}
    named = patient(name=[{"family": "CANARY-NAME"}])
    body = call(prefetch=prefetch(patient=named), fhirServer="https://canary.example/fhir", fhirAuthorization=canary)
    with capture_logs() as events:
        await cards(site, body)
        await site.call(VIEW, {**body, "prefetch": {"patient": named}})
        await site.call(VIEW, {**body, "hookInstance": "CANARY-BROKEN"})
    assert [each["status"] for each in events if each["event"] == "http request"] == [200, 412, 400]
    for secret in ("CANARY", MRN, SYSTEM, "Practitioner/doc"):
        assert secret not in str(events)


def chart(server: FhirServer, *resources: dict[str, Any]) -> None:
    """Put a chart into the EHR."""
    for each in resources:
        status, answer = server.call("PUT", f"/{each['resourceType']}/{each['id']}", each)
        assert status in (200, 201), answer


@pytest.fixture
async def reading(database: Database, tmp_path: Path, fhir_server: FhirServer) -> AsyncIterator[CdsSite]:
    """A site that may read from a real FHIR server."""
    signer = Signer()
    path = clients_file(tmp_path, signer, more=f'fhir_servers = ["{fhir_server.url}"]')
    host = urlsplit(fhir_server.url).netloc
    settings = Settings(
        cds_clients_file=path, outbound_hosts=host, outbound_networks="127.0.0.0/8", cds_read_budget_s=5.0
    )
    async with cds_site(database, settings, signer) as running:
        yield running


async def test_what_the_prefetch_lacks_is_read_from_the_ehr(reading: CdsSite, fhir_server: FhirServer) -> None:
    await reading.add_result(low())
    server = {"fhirServer": fhir_server.url}
    chart(fhir_server, patient(name=[{"family": "Sample"}]))
    for given in ({}, {"patient": patient()}, prefetch(orders=...), prefetch(patient=patient(id="p2"))):
        assert len(await cards(reading, call(prefetch=given, **server))) == 1
    chart(fhir_server, draft(id="o1", status="active"))
    for given in ({}, {"patient": patient()}, prefetch(orders=...)):
        assert await cards(reading, call(prefetch=given, **server)) == []
    assert len(await cards(reading, call(**server))) == 1  # what was given is taken as it is


async def test_an_accepted_order_closes_the_loop(reading: CdsSite, fhir_server: FhirServer) -> None:
    await reading.add_result(low())
    chart(fhir_server, patient(name=[{"family": "Sample"}]))
    body = call(prefetch={}, fhirServer=fhir_server.url)
    (card,) = await cards(reading, body)
    order = card["suggestions"][0]["actions"][0]["resource"]
    status, answer = fhir_server.call("POST", "/ServiceRequest", order)
    assert status == 201, answer
    assert await cards(reading, body) == []
    assert await cards(reading, call(Hook.ENCOUNTER_DISCHARGE, prefetch={}, fhirServer=fhir_server.url),
                       Hook.ENCOUNTER_DISCHARGE) == []  # fmt: skip


async def test_a_page_of_many_is_read_to_its_end(reading: CdsSite, fhir_server: FhirServer) -> None:
    await reading.add_result(low())
    chart(fhir_server, patient(name=[{"family": "Sample"}]))
    known = condition("http://snomed.info/sct", "64859006", id="c1")
    listed = {"system": "http://terminology.hl7.org/CodeSystem/condition-category", "code": "problem-list-item"}
    known["category"] = [{"coding": [listed]}]
    chart(fhir_server, known)
    first_page = bundle(following=f"{fhir_server.url}/Condition?page=2")
    body = call(prefetch=prefetch(problems=first_page), fhirServer=fhir_server.url)
    assert await cards(reading, body) == []


async def test_only_listed_servers_are_read(
    reading: CdsSite, fhir_server: FhirServer, database: Database, tmp_path: Path
) -> None:
    await reading.add_result(low())
    chart(fhir_server, patient(name=[{"family": "Sample"}]))
    for server in (fhir_server.url + "/other", "http://127.0.0.1:9/fhir", "https://evil.example/fhir"):
        answer = await reading.call(VIEW, call(prefetch={}, fhirServer=server))
        assert answer.status_code == 412
    # a host that may be called, but not what this EHR's entry lists
    host = urlsplit(fhir_server.url).netloc
    settings = Settings(
        cds_clients_file=clients_file(tmp_path / "unlisted", reading.signer),
        outbound_hosts=host,
        outbound_networks="127.0.0.0/8",
        cds_read_budget_s=5.0,
    )
    async with cds_site(database, settings, reading.signer) as unlisted:
        answer = await unlisted.call(VIEW, call(prefetch={}, fhirServer=fhir_server.url))
        assert answer.status_code == 412


async def test_browsers_are_let_in_by_origin(database: Database, tmp_path: Path) -> None:
    signer = Signer()
    settings = Settings(cds_clients_file=clients_file(tmp_path, signer))
    async with cds_site(database, settings, signer, origins=("http://sandbox.example",)) as running:
        url = running.address(VIEW)
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        good = await running.http.options(url, headers={"origin": "http://sandbox.example", **asked})
        assert good.status_code == 200
        assert good.headers["access-control-allow-origin"] == "http://sandbox.example"
        bad = await running.http.options(url, headers={"origin": "http://evil.example", **asked})
        assert "access-control-allow-origin" not in bad.headers


async def test_without_clients_nothing_is_offered_unless_switched_off_on_loopback(
    database: Database,
) -> None:
    from trabecula.clinical import load_constants
    from trabecula.outbound import OutboundPolicy, guarded_client
    from trabecula.service.http.cds import cds_hooks
    from trabecula.telemetry.dispatch import nobody

    async with guarded_client(OutboundPolicy()) as outbound:

        def made(settings: Settings) -> object:
            return cds_hooks(settings, database, load_constants(), outbound, nobody)

        assert made(Settings(http_listen="127.0.0.1:8080")) is None
        assert made(Settings(auth="off-beyond-loopback", http_listen="0.0.0.0:8080")) is None
        assert made(Settings(auth="off", http_listen="127.0.0.1:8080")) is not None
        for settings in (Settings(auth="off"), Settings(auth="off", http_listen="127.0.0.1:0")):
            with pytest.raises(ConfigurationError):
                made(settings)
    async with cds_site(database, Settings(auth="off")) as running:
        await running.add_result(low())
        assert (await running.http.get(f"{running.url}/cds-services")).status_code == 200
        assert len((await running.http.post(running.address(VIEW), json=call())).json()["cards"]) == 1


async def test_an_ehr_without_problem_lists_may_be_excused(database: Database, tmp_path: Path) -> None:
    signer = Signer()
    settings = Settings(cds_clients_file=clients_file(tmp_path, signer, more='cannot_give = ["problems"]'))
    async with cds_site(database, settings, signer) as running:
        await running.add_result(low())
        (card,) = await cards(running, call(prefetch=prefetch(problems=...)))
        assert "Not looked up" in card["detail"]
        assert (await running.call(VIEW, call(prefetch=prefetch(orders=...)))).status_code == 412
