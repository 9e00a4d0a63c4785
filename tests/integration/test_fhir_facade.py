"""FHIR over real HTTP on a real database: what a client may rely on, and what a hostile one gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import report_samples as samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_http import LiveHttp, live_http
from record_samples import SYSTEM, publish_sample
from sqlalchemy import text

from trabecula.record.store import put, remove
from trabecula.service.http.facade.interactions import RECORD_TYPES
from trabecula.service.http.options import HttpOptions
from trabecula.service.logs import configure_logs
from trabecula.work.database import Database

Json = dict[str, Any]
PATIENT = f"{SYSTEM}|SAMPLE-0001"


@pytest_asyncio.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[LiveHttp]:
    """One published result, no authorization."""
    await publish_sample(database)
    async with live_http(database, tmp_path) as live:
        yield live


def issue(response: httpx.Response) -> Json:
    """The issue of an OperationOutcome."""
    assert response.headers["content-type"].startswith("application/fhir+json"), response.text
    body = response.json()
    assert body["resourceType"] == "OperationOutcome"
    found: Json = body["issue"][0]
    return found


async def entries(site: LiveHttp, path: str, status: int = 200) -> list[Json]:
    response = await site.get(path)
    assert response.status_code == status, response.text
    return list(response.json().get("entry", []))


async def test_a_resource_is_read_with_its_version(site: LiveHttp) -> None:
    (found,) = await entries(site, "DiagnosticReport")
    report = found["resource"]
    response = await site.get(f"DiagnosticReport/{report['id']}")
    assert response.json() == report
    assert response.headers["etag"] == 'W/"1"'
    assert response.headers["last-modified"].endswith("GMT")
    assert "server" not in response.headers
    again = await site.get(f"DiagnosticReport/{report['id']}", headers={"if-none-match": 'W/"1"'})
    assert (again.status_code, again.content) == (304, b"")
    other = await site.get(f"DiagnosticReport/{report['id']}", headers={"if-none-match": 'W/"2"'})
    assert other.status_code == 200
    since = await site.get(
        f"DiagnosticReport/{report['id']}", headers={"if-modified-since": response.headers["last-modified"]}
    )
    assert since.status_code == 304
    head = await site.client.head(f"{site.fhir}/DiagnosticReport/{report['id']}")
    assert head.status_code == 200
    assert int(head.headers["content-length"]) == len(response.content)
    assert head.content == b""


async def test_versions_and_history(site: LiveHttp, database: Database) -> None:
    ((report,),) = ([each["resource"] for each in await entries(site, "DiagnosticReport")],)
    async with database.transaction() as connection:
        await put(connection, [{**report, "status": "final"}])
    path = f"DiagnosticReport/{report['id']}"
    assert (await site.get(path)).headers["etag"] == 'W/"2"'
    assert (await site.get(f"{path}/_history/1")).json()["status"] == "preliminary"
    assert (await site.get(f"{path}/_history/2")).json()["status"] == "final"
    for wrong in ("3", "0", "x", "9" * 30):
        assert issue(await site.get(f"{path}/_history/{wrong}"))["code"] == "not-found"
    history = (await site.get(f"{path}/_history")).json()
    assert (history["type"], history["total"]) == ("history", 2)
    assert [each["request"]["method"] for each in history["entry"]] == ["PUT", "POST"]
    first = (await site.get(f"{path}/_history?_count=1")).json()
    (following,) = [each["url"] for each in first["link"] if each["relation"] == "next"]
    second = (await site.client.get(following)).json()
    assert second["entry"][0]["resource"]["meta"]["versionId"] == "1"
    async with database.transaction() as connection:
        await remove(connection, [("DiagnosticReport", report["id"])])
    gone = await site.get(path)
    assert gone.status_code == 410
    assert issue(gone)["code"] == "deleted"
    assert (await site.get(f"{path}/_history")).json()["entry"][0]["request"]["method"] == "DELETE"
    assert await entries(site, "DiagnosticReport") == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"DiagnosticReport?patient.identifier={PATIENT}", 1),
        (f"DiagnosticReport?subject:identifier={PATIENT}", 1),
        ("DiagnosticReport?patient.identifier=SAMPLE-0001", 1),
        (f"DiagnosticReport?patient.identifier={SYSTEM}|OTHER", 0),
        ("DiagnosticReport?patient=p1", 0),
        ("Observation?code=vbmd-trabecular-mean", 1),
        ("Observation?code=https://trabecula.example/fhir/CodeSystem/ct-bone-metrics|vbmd-trabecular-mean", 1),
        ("Observation?code=http://loinc.org|vbmd-trabecular-mean", 0),
        ("Observation?code=vbmd-trabecular", 4),
        ("Observation?code=vbmd-trabecular,vbmd-trabecular-mean", 5),
        ("Observation?code:not=vbmd-trabecular&code:not=vbmd-trabecular-mean&status=preliminary", 6),
        ("Observation?date=2026-03-14", 11),
        ("Observation?date=2026-03", 11),
        ("Observation?date=ge2026-03-14&date=lt2026-03-15", 11),
        ("Observation?date=gt2026-03-14", 0),
        ("Observation?date=lt2026-03-14", 0),
        ("Observation?date=ne2026-03-14", 0),
        ("Observation?date=sa2026-03-13", 11),
        ("Observation?date=eb2026-03-15", 11),
        ("Observation?date=2020,2026", 11),
        ("Observation?_lastUpdated=gt2020-01-01", 11),
        ("Observation?_lastUpdated=lt2020-01-01", 0),
        ("Observation?status=final", 0),
        ("Observation?part-of.identifier=urn:dicom:uid|urn:oid:"
         "1.2.826.0.1.3680043.8.498.11788205173652842197349876612340001", 11),
        ("Observation?part-of.identifier=urn:dicom:uid|urn:oid:1.2.3", 0),
        ("ImagingStudy?identifier=urn:dicom:uid|1.2.826.0.1.3680043.8.498.11788205173652842197349876612340001", 1),
        ("ImagingStudy?identifier=A-4711", 1),
        ("RiskAssessment?risk=moderate", 1),
        ("ServiceRequest?code=http://loinc.org|83012-5&intent=proposal", 1),
        (f"Provenance?patient.identifier={PATIENT}", 1),
        ("Device?status=active", 1),
    ],
)  # fmt: skip
async def test_searches_find_what_they_should(site: LiveHttp, query: str, count: int) -> None:
    response = await site.get(query)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["total"] == count, query
    assert len(body.get("entry", [])) == min(count, 20)
    assert all(each["search"]["mode"] == "match" for each in body.get("entry", []))


async def test_search_by_post_keeps_criteria_out_of_the_address(site: LiveHttp) -> None:
    response = await site.client.post(
        f"{site.fhir}/Observation/_search?_count=3", data={"patient.identifier": PATIENT, "code": "vbmd-trabecular"}
    )
    body = response.json()
    assert (body["total"], len(body["entry"])) == (4, 3)
    (following,) = [each["url"] for each in body["link"] if each["relation"] == "next"]
    assert "SAMPLE" not in following
    assert "vbmd" not in following
    rest = (await site.client.get(following)).json()
    assert len(rest["entry"]) == 1
    ids = {each["resource"]["id"] for each in (*body["entry"], *rest["entry"])}
    assert len(ids) == 4
    wrong = await site.client.post(f"{site.fhir}/Observation/_search", json={"code": "x"})
    assert wrong.status_code == 415
    issue(wrong)


async def test_pages_cover_everything_once_though_the_record_grows(site: LiveHttp, database: Database) -> None:
    for sort in ("_lastUpdated", "-_lastUpdated", "date", "-date"):
        url: str | None = f"{site.fhir}/Observation?_count=4&_sort={sort}"
        seen: list[str] = []
        before = {each["resource"]["id"] for each in await entries(site, "Observation?_count=200")}
        while url:
            body = (await site.client.get(url)).json()
            seen += [each["resource"]["id"] for each in body["entry"]]
            url = next((each["url"] for each in body["link"] if each["relation"] == "next"), None)
            if sort == "-_lastUpdated" and len(seen) == 4:
                async with database.transaction() as connection:
                    await put(connection, [{"resourceType": "Observation", "id": "late", "status": "final"}])
        assert before <= set(seen)
        assert len(seen) == len(set(seen))


async def test_a_page_link_is_ours_alone(site: LiveHttp) -> None:
    body = (await site.get("Observation?_count=2")).json()
    (following,) = [each["url"] for each in body["link"] if each["relation"] == "next"]
    token = following.split("_page=")[1]
    flipped = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
    for wrong in (f"Observation?_page={flipped}", "Observation?_page=x", f"Device?_page={token}",
                  f"Observation?_page={token}&code=x", "Observation?_page=" + "a" * 5000):  # fmt: skip
        response = await site.get(wrong)
        assert response.status_code == 400, wrong
        issue(response)


async def test_includes_bring_the_parts_along(site: LiveHttp) -> None:
    found = await entries(
        site,
        "DiagnosticReport?_include=DiagnosticReport:result&_include=DiagnosticReport:imaging-study"
        "&_revinclude=Provenance:target",
    )
    kinds = [(each["resource"]["resourceType"], each["search"]["mode"]) for each in found]
    assert kinds.count(("DiagnosticReport", "match")) == 1
    assert kinds.count(("Observation", "include")) == 11
    assert kinds.count(("ImagingStudy", "include")) == 1
    assert kinds.count(("Provenance", "include")) == 1
    devices = await entries(site, "Observation?code=vbmd-trabecular&_include=Observation:device")
    assert [each["resource"]["resourceType"] for each in devices].count("Device") == 1


async def test_shape_of_the_answer(site: LiveHttp) -> None:
    count = (await site.get("Observation?_summary=count")).json()
    assert (count["total"], "entry" in count) == (11, False)
    assert (await site.get("Observation?_count=0")).json()["total"] == 11
    assert "total" not in (await site.get("Observation?_total=none")).json()
    (part,) = await entries(site, "DiagnosticReport?_elements=conclusion")
    assert set(part["resource"]) == {"resourceType", "id", "meta", "status", "code", "subject", "conclusion"}
    assert part["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    lenient = await site.get("Observation?colour=red", headers={"prefer": "handling=lenient"})
    last = lenient.json()["entry"][-1]
    assert last["search"]["mode"] == "outcome"
    assert "colour" in last["resource"]["issue"][0]["details"]["text"]
    assert "colour" not in lenient.json()["link"][0]["url"]
    strict = await site.get("Observation?colour=red")
    assert strict.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "Patient/1", {}, 404),
        ("GET", "Observation/nothing", {}, 404),
        ("GET", "Observation/a%00b", {}, 404),
        ("GET", "Observation/%ff%fe", {}, 404),
        ("GET", "Observation/" + "a" * 100, {}, 404),
        ("GET", "a/b/c/d/e", {}, 404),
        ("GET", "../etc/passwd", {}, 404),
        ("GET", "", {}, 404),
        ("POST", "", {"json": {"resourceType": "Bundle"}}, 404),
        ("POST", "Observation", {"json": {}}, 405),
        ("PUT", "Observation/a", {"json": {}}, 405),
        ("PATCH", "Observation/a", {}, 405),
        ("DELETE", "Observation/a", {}, 405),
        ("TRACE", "metadata", {}, 405),
        ("GET", "Observation?_format=xml", {}, 406),
        ("GET", "Observation?_format=application/fhir%2Bxml", {}, 406),
        ("GET", "Observation", {"headers": {"accept": "application/fhir+xml"}}, 406),
        ("GET", "Observation", {"headers": {"accept": "application/fhir+json; fhirVersion=5.0"}}, 406),
        ("GET", "Observation?code=%ff", {}, 400),
        ("GET", "Observation?code=a%00", {}, 400),
        ("GET", "Observation?" + "&".join(["code=a"] * 300), {}, 400),
        ("GET", "Observation?code=" + "a" * 9000, {}, 413),
        ("POST", "Observation/_search", {"content": b"x" * 2_000_000}, 413),
        ("POST", "Observation/_search", {"content": b"\xff=1", "headers": {"content-type":
         "application/x-www-form-urlencoded"}}, 400),
        ("POST", "ImagingStudy/$screen-bone", {"content": b"{"}, 415),
        ("POST", "ImagingStudy/$screen-bone", {"content": b"{", "headers": {"content-type":
         "application/fhir+json"}}, 400),
        ("POST", "ImagingStudy/$screen-bone", {"content": b"[" * 100_000, "headers": {"content-type":
         "application/fhir+json"}}, 400),
        ("POST", "ImagingStudy/$screen-bone", {"content": b'"' + b'\\"' * 400_000, "headers": {"content-type":
         "application/fhir+json"}}, 400),
        ("POST", "ImagingStudy/$screen-bone", {"content": b'{"a": NaN}', "headers": {"content-type":
         "application/fhir+json"}}, 400),
        ("POST", "ImagingStudy/$screen-bone", {"content": b'{"resourceType": "Parameters", "resourceType": "X"}',
         "headers": {"content-type": "application/fhir+json"}}, 400),
        ("GET", "ImagingStudy/$screen-bone", {}, 404),
        ("GET", "_screening/1", {}, 404),
        ("GET", "PlanDefinition/nothing/$apply?subject=Patient/1", {}, 404),
        ("GET", "PlanDefinition/low-muscle/$apply", {}, 400),
        ("GET", "PlanDefinition/low-muscle/$apply?subject=x", {}, 400),
        ("GET", "PlanDefinition/low-muscle/$apply?subject=Patient/nobody", {}, 404),
        ("GET", "PlanDefinition/low-muscle/$apply?subject=a%7Cb%00", {}, 400),
        ("GET", "Observation/x/$everything", {}, 404),
    ],
)  # fmt: skip
async def test_every_error_is_an_operation_outcome(
    site: LiveHttp, method: str, path: str, options: Json, status: int
) -> None:
    response = await site.client.request(method, f"{site.fhir}/{path}", **options)
    assert response.status_code == status, response.text
    found = issue(response)
    assert found["severity"] == "error"
    assert found["details"]["text"]
    assert response.headers["x-content-type-options"] == "nosniff"
    if status == 405:
        assert "allow" in response.headers


@pytest.mark.parametrize(
    "accept",
    ["application/fhir+json", "application/json", "*/*", "text/html, */*;q=0.1",
     "application/fhir+json;fhirVersion=4.0", "application/fhir+xml, application/fhir+json", ""],
)  # fmt: skip
async def test_json_of_r4_is_given_to_whoever_takes_it(site: LiveHttp, accept: str) -> None:
    response = await site.get("Observation", headers={"accept": accept})
    assert response.status_code == 200
    assert (await site.get("Observation?_format=application/fhir+json")).status_code == 200
    assert (await site.get("Observation?_format=json", headers={"accept": "text/html"})).status_code == 200


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    resource_type=st.sampled_from([*sorted(RECORD_TYPES), "PlanDefinition", "Nothing"]),
    pairs=st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(["_id", "_count", "_sort", "_lastUpdated", "date", "patient", "code", "identifier",
                                 "part-of.identifier", "_page", "_include", "_format", "status"]),
                st.text(max_size=12),
            ),
            st.text(max_size=30),
        ),
        max_size=5,
    ),
)  # fmt: skip
async def test_no_search_ends_in_a_fault(site: LiveHttp, resource_type: str, pairs: list[tuple[str, str]]) -> None:
    encodable = [(name.encode("utf-8", "ignore"), value.encode("utf-8", "ignore")) for name, value in pairs]
    for response in (
        await site.client.get(f"{site.fhir}/{resource_type}", params=encodable),
        await site.client.post(f"{site.fhir}/{resource_type}/_search", data=dict(encodable)),
    ):
        assert response.status_code in (200, 400, 404, 406), (response.status_code, response.text)
        if response.status_code != 200:
            issue(response)


async def test_limits_on_time_and_connections_hold(database: Database, tmp_path: Path) -> None:
    async with live_http(database, tmp_path, options=HttpOptions(timeout_s=0.5)) as site:
        async with database.transaction() as connection:
            # Somebody holds the table: the request gives up, the service does not.
            await connection.execute(text("LOCK TABLE resource IN ACCESS EXCLUSIVE MODE"))
            slow = await site.get("Observation")
        assert slow.status_code == 503
        assert issue(slow)["code"] == "timeout"
        assert "retry-after" in slow.headers
        assert (await site.get("Observation")).status_code == 200
        port = int(site.base.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /fhir/Observation/_search HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ncode")
        answer = await asyncio.wait_for(reader.read(20), 5)
        assert answer.startswith(b"HTTP/1.1 503")
        writer.close()


async def test_the_host_header_decides_nothing(site: LiveHttp) -> None:
    response = await site.get("Observation?_count=1", headers={"host": "evil.test", "x-forwarded-host": "evil.test"})
    assert "evil.test" not in response.text


async def test_addresses_follow_the_public_base(database: Database, tmp_path: Path) -> None:
    await publish_sample(database)
    options = HttpOptions(public_base_url="https://results.hospital.test/bone")
    async with live_http(database, tmp_path, options=options) as site:
        body = (await site.get("Observation?_count=1")).json()
        assert body["entry"][0]["fullUrl"].startswith("https://results.hospital.test/bone/fhir/Observation/")
        assert all(each["url"].startswith("https://results.hospital.test/bone/fhir/") for each in body["link"])
        metadata = (await site.get("metadata")).json()
        assert metadata["implementation"]["url"] == "https://results.hospital.test/bone/fhir"


async def test_artefacts_are_readable_under_the_site_s_base(database: Database, tmp_path: Path) -> None:
    async with live_http(database, tmp_path, options=HttpOptions(canonical_base="https://hospital.test/fhir")) as site:
        plan = await site.get("PlanDefinition/low-muscle")
        assert plan.json()["url"] == "https://hospital.test/fhir/PlanDefinition/low-muscle"
        assert "trabecula.example" not in plan.text
        etag = plan.headers["etag"]
        assert (await site.get("PlanDefinition/low-muscle", headers={"if-none-match": etag})).status_code == 304
        found = await entries(site, "CodeSystem?url=https://hospital.test/fhir/CodeSystem/ct-bone-metrics")
        assert [each["resource"]["id"] for each in found] == ["ct-bone-metrics"]
        assert await entries(site, "PlanDefinition?name=Low") != []
        assert (await site.get("PlanDefinition?foo=1")).status_code == 400


async def test_rules_run_on_the_stored_result(site: LiveHttp) -> None:
    plan = (await site.get(f"PlanDefinition/opportunistic-ct-bone/$apply?subject={PATIENT}")).json()
    assert plan["resourceType"] == "CarePlan"
    group = plan["contained"][0]
    assert group["resourceType"] == "RequestGroup"
    fired = [each["title"] for each in group["action"]]
    assert "confirm-low-range" in fired
    contained = {f"#{each['id']}" for each in plan["contained"]}
    assert {each["resource"]["reference"] for each in group["action"]} <= contained
    assert {entry["reference"]["reference"] for entry in plan["activity"]} <= contained
    body = {"resourceType": "Parameters", "parameter": [{"name": "subject", "valueString": PATIENT}]}
    posted = (await site.client.post(f"{site.fhir}/PlanDefinition/opportunistic-ct-bone/$apply", json=body)).json()
    assert posted["contained"][0]["action"] == group["action"]
    twice = {**body, "parameter": body["parameter"] * 2}
    several = await site.client.post(f"{site.fhir}/PlanDefinition/opportunistic-ct-bone/$apply", json=twice)
    assert [each["name"] for each in several.json()["parameter"]] == ["return", "return"]
    quiet = (await site.get(f"PlanDefinition/uspstf-women-65/$apply?subject={PATIENT}")).json()
    assert ("action" in quiet["contained"][0]) or quiet["note"][0]["text"].startswith("No rule")


async def test_a_refused_study_is_no_ground_for_rules(database: Database, tmp_path: Path) -> None:
    await publish_sample(database, samples.refused())
    async with live_http(database, tmp_path) as site:
        response = await site.get(f"PlanDefinition/opportunistic-ct-bone/$apply?subject={PATIENT}")
        assert response.status_code == 404
        quality = await entries(site, "Observation?component-value-concept=level-not-in-view")
        assert len(quality) == 1


async def test_health_and_readiness(site: LiveHttp) -> None:
    assert (await site.client.get(f"{site.base}/healthz")).json() == {"status": "ok"}
    assert (await site.client.get(f"{site.base}/readyz")).json()["checks"] == {"database": "ok"}


async def test_an_instance_that_drains_is_not_ready(database: Database, tmp_path: Path) -> None:
    async def draining() -> bool:
        return False

    async with live_http(database, tmp_path, checks={"accepting": draining}) as site:
        response = await site.client.get(f"{site.base}/readyz")
        assert (response.status_code, response.json()["checks"]["accepting"]) == (503, "unavailable")


async def test_browsers_are_let_in_by_name_alone(database: Database, tmp_path: Path) -> None:
    origin = {"origin": "https://app.hospital.test"}
    async with live_http(database, tmp_path) as site:
        assert "access-control-allow-origin" not in (await site.get("metadata", headers=origin)).headers
    options = HttpOptions(cors_origins=("https://app.hospital.test",))
    async with live_http(database, tmp_path, options=options) as site:
        found = await site.get("Nothing/1", headers=origin)
        assert found.headers["access-control-allow-origin"] == "https://app.hospital.test"
        other = await site.get("metadata", headers={"origin": "https://evil.test"})
        assert "access-control-allow-origin" not in other.headers
        asked = {**origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
        preflight = await site.client.options(f"{site.fhir}/Observation", headers=asked)
        assert preflight.status_code == 200
        assert "Authorization" in preflight.headers["access-control-allow-headers"]


async def test_the_log_holds_no_word_of_a_patient(site: LiveHttp, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")  # anew, so that it writes to what is captured
    await site.get(f"Observation?patient.identifier={PATIENT}")
    await site.get("Observation/SAMPLE-0001")
    await site.get("Observation?SAMPLE-0001=SAMPLE-0001")
    out, err = capsys.readouterr()
    assert "SAMPLE" not in out + err
    assert "http request" in out + err


async def test_every_access_is_noted(site: LiveHttp) -> None:
    await site.get(
        f"Observation?patient.identifier={PATIENT}", headers={"x-request-id": "0f0e0d0c-0b0a-4909-8807-060504030201"}
    )
    ((report,),) = ([each["resource"] for each in await entries(site, "DiagnosticReport")],)
    await site.get(f"DiagnosticReport/{report['id']}")
    events = [each["resource"] for each in await entries(site, f"AuditEvent?patient.identifier={PATIENT}")]
    assert {each["subtype"][0]["code"] for each in events} == {"read", "search-type"}
    search = next(each for each in events if "0f0e0d0c-0b0a-4909-8807-060504030201" in json.dumps(each))
    assert search["action"] == "E"
    assert any("query" in entity for entity in search["entity"])
    (of_patient,) = [each for each in search["entity"] if each.get("role", {}).get("code") == "1"]
    assert of_patient["what"]["identifier"] == {"system": SYSTEM, "value": "SAMPLE-0001"}


async def test_an_access_that_cannot_be_noted_does_not_happen(database: Database, tmp_path: Path) -> None:
    await publish_sample(database)

    async def broken(access: object) -> None:  # noqa: ARG001
        raise OSError("the disk with SAMPLE-0001 is full")

    async with live_http(database, tmp_path, listeners=[broken]) as site:
        response = await site.get("Observation")
        assert response.status_code == 500
        assert issue(response)["code"] == "exception"
        assert "SAMPLE" not in response.text


async def test_the_trail_only_grows(database: Database, site: LiveHttp) -> None:
    await site.get("Observation")
    for statement in ("UPDATE audit_event SET last_updated = now()", "DELETE FROM audit_event", "TRUNCATE audit_event"):
        with pytest.raises(Exception, match="append-only"):
            async with database.transaction() as connection:
                await connection.execute(text(statement))
