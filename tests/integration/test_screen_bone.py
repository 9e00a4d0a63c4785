"""``$screen-bone`` on the whole service: pulled over DICOMweb, screened, and read back over FHIR."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import report_samples as samples
from live_service import LiveServer, StartServer, wait_until
from otlp_collector import collecting
from small_archive import SmallArchive, small_archive

from trabecula.config import Settings

Json = dict[str, Any]
UID = "1.2.826.0.1.99.1"
KNOWN_UID = samples.identity().study_instance_uid
"""Of every report that the fake chain makes."""


@pytest.fixture
def archive() -> Iterator[SmallArchive]:
    with small_archive() as made:
        made.studies[UID] = b"report"
        yield made


@pytest.fixture
def serve(start_server: StartServer, archive: SmallArchive, tmp_path: Path) -> Callable[..., httpx.Client]:
    """A service with that archive, and a client of its FHIR base."""
    destinations = tmp_path / "destinations.toml"
    destinations.write_text(
        f'[[destination]]\nkind = "stow"\nname = "pacs"\nbase_url = "{archive.url}"\nsend = ["documents"]\n'
        '[destination.network]\nplain_http = true\nprivate_networks = ["127.0.0.0/8"]\n',
        encoding="utf-8",
    )

    def start(**changes: object) -> httpx.Client:
        live: LiveServer = start_server(
            http_listen="127.0.0.1:0",
            auth="off",
            destinations_file=destinations,
            dicomweb_archive="pacs",
            **changes,
        )
        return httpx.Client(base_url=f"http://127.0.0.1:{live.server.http_port}/fhir/", timeout=60.0)

    return start


def parameters(uid: str = UID, *, force: bool | None = None) -> Json:
    study = {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}}
    found: list[Json] = [{"name": "study", "valueReference": study}]
    if force is not None:
        found.append({"name": "force", "valueBoolean": force})
    return {"resourceType": "Parameters", "parameter": found}


def ask(client: httpx.Client, body: Json, path: str = "ImagingStudy/$screen-bone", **headers: str) -> httpx.Response:
    return client.post(path, json=body, headers=headers)


def kinds(response: httpx.Response) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in response.json()["entry"]]


def until_there(client: httpx.Client, address: str) -> httpx.Response:
    for _ in range(600):
        response = client.get(address)
        if response.status_code != 202:
            return response
        assert response.headers["retry-after"]
        assert response.headers["x-progress"]
        time.sleep(0.05)
    raise AssertionError("it did not end")


def test_a_study_is_pulled_and_read_and_the_second_time_only_looked_up(
    serve: Callable[..., httpx.Client], archive: SmallArchive
) -> None:
    with serve() as client:
        assert "screen-bone" in client.get("metadata").text
        first = ask(client, parameters())
        assert first.status_code == 200, first.text
        assert first.json()["type"] == "collection"
        found = kinds(first)
        assert found[0] == "DiagnosticReport"
        assert {"Observation", "Device", "ImagingStudy", "Provenance", "RiskAssessment"} <= set(found)
        assert archive.pulls == [UID]
        # The fake chain's report names a study of its own: that one is known now.
        again = ask(client, parameters(KNOWN_UID))
        assert again.status_code == 200
        assert archive.pulls == [UID]
        assert sorted(kinds(again)) == sorted(found)
        study = next(
            each["resource"] for each in first.json()["entry"] if each["resource"]["resourceType"] == "ImagingStudy"
        )
        on_instance = client.post(f"ImagingStudy/{study['id']}/$screen-bone")
        assert sorted(kinds(on_instance)) == sorted(found)
        by_reference = {
            "resourceType": "Parameters",
            "parameter": [{"name": "study", "valueReference": {"reference": f"ImagingStudy/{study['id']}"}}],
        }
        assert sorted(kinds(ask(client, by_reference))) == sorted(found)
        archive.studies[KNOWN_UID] = b"report"
        forced = ask(client, parameters(KNOWN_UID, force=True))
        assert forced.status_code == 200
        assert archive.pulls == [UID, KNOWN_UID]


def test_asked_for_later_it_tells_where_and_gives_the_result_there(
    serve: Callable[..., httpx.Client], archive: SmallArchive
) -> None:
    archive.hold.clear()
    with serve() as client:
        begun = ask(client, parameters(), prefer="respond-async")
        assert begun.status_code == 202
        address = begun.headers["content-location"]
        assert address.startswith(str(client.base_url))
        assert begun.json()["issue"][0]["severity"] == "information"
        joined = ask(client, parameters(), prefer="respond-async")
        assert joined.headers["content-location"] == address
        assert client.get(address).status_code == 202
        archive.hold.set()
        done = until_there(client, address)
        assert done.status_code == 200
        assert kinds(done)[0] == "DiagnosticReport"
        assert archive.pulls == [UID]


def test_a_result_that_takes_too_long_is_to_be_asked_for_again(
    serve: Callable[..., httpx.Client], archive: SmallArchive
) -> None:
    archive.hold.clear()
    with serve(http_screening_wait_s=0.3) as client:
        waited = ask(client, parameters())
        assert waited.status_code == 202
        archive.hold.set()
        assert until_there(client, waited.headers["content-location"]).status_code == 200


def test_a_refused_study_is_a_result(serve: Callable[..., httpx.Client], archive: SmallArchive) -> None:
    archive.studies[UID] = b"refuse"
    with serve() as client:
        response = ask(client, parameters())
        assert response.status_code == 200
        assert "level-not-in-view" in response.text


def test_what_cannot_be_had_or_read_is_said(serve: Callable[..., httpx.Client], archive: SmallArchive) -> None:
    archive.studies["1.2.3.5"] = b"text"
    archive.studies["1.2.3.6"] = b"bug"
    with serve() as client:
        missing = ask(client, parameters("1.2.3.4"))
        unreadable = ask(client, parameters("1.2.3.5"))
        fault = ask(client, parameters("1.2.3.6"))
        assert [each.status_code for each in (missing, unreadable, fault)] == [404, 422, 500]
        for each in (missing, unreadable, fault):
            assert each.json()["resourceType"] == "OperationOutcome"
            assert "CANARY" not in each.text
        for wrong in (
            {"resourceType": "Bundle"},
            {"resourceType": "Parameters"},
            parameters("not a uid"),
            parameters("1"),
            {**parameters(), "parameter": parameters()["parameter"] * 2},
            {"resourceType": "Parameters", "parameter": [{"name": "study", "valueString": "1.2.3"}]},
            {"resourceType": "Parameters", "parameter": [*parameters()["parameter"], {"name": "force"}]},
            {"resourceType": "Parameters", "parameter": [*parameters()["parameter"], {"name": "else"}]},
            {"resourceType": "Parameters", "parameter": "x"},
            {"resourceType": "Parameters", "parameter": [1]},
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "study", "valueReference": {"reference": "http://evil.test/ImagingStudy/1"}}],
            },
        ):
            assert ask(client, wrong).status_code == 400, wrong
        assert client.post("ImagingStudy/nothing/$screen-bone").status_code == 404
        assert client.post("ImagingStudy/%00/$screen-bone").status_code == 404


def test_a_request_can_be_taken_back(serve: Callable[..., httpx.Client], archive: SmallArchive) -> None:
    archive.studies["1.2.3.7"] = b"slow"
    with serve() as client:
        address = ask(client, parameters("1.2.3.7"), prefer="respond-async").headers["content-location"]
        wait_until(lambda: archive.pulls == ["1.2.3.7"])
        assert client.delete(address).status_code == 202
        assert until_there(client, address).status_code in (404, 409)
        archive.hold.clear()
        address = ask(client, parameters(), prefer="respond-async").headers["content-location"]
        assert client.delete(address).status_code == 202
        assert client.get(address).status_code == 404
        archive.hold.set()
        assert client.delete("_screening/no-such-thing").status_code == 404


def test_a_request_outlives_the_service(serve: Callable[..., httpx.Client], archive: SmallArchive) -> None:
    with serve(role="api") as client:
        begun = ask(client, parameters(), prefer="respond-async")
        assert begun.status_code == 202
        request_id = begun.headers["content-location"].rsplit("/", 1)[1]
    with serve() as client:
        assert until_there(client, f"_screening/{request_id}").status_code == 200
    assert archive.pulls == [UID]


def test_without_an_archive_results_are_still_given(start_server: StartServer) -> None:
    live = start_server(http_listen="127.0.0.1:0", auth="off")
    with httpx.Client(base_url=f"http://127.0.0.1:{live.server.http_port}/fhir/", timeout=60.0) as client:
        assert "$screen-bone" not in client.get("metadata").text
        response = ask(client, parameters())
        assert response.status_code == 501
        assert response.json()["issue"][0]["code"] == "not-supported"


def test_a_person_s_decision_stands_when_the_study_is_read_again(
    serve: Callable[..., httpx.Client], archive: SmallArchive, database_settings: Settings
) -> None:
    archive.studies[KNOWN_UID] = b"report"
    with serve() as client:
        assert ask(client, parameters(KNOWN_UID)).status_code == 200
        with psycopg.connect(str(database_settings.database_url)) as connection:
            connection.execute("UPDATE resource SET status = 'final' WHERE type = 'DiagnosticReport'")
        again = ask(client, parameters(KNOWN_UID, force=True))
        assert again.status_code == 200, again.text
        assert kinds(again)[0] == "DiagnosticReport"
        assert archive.pulls == [KNOWN_UID, KNOWN_UID]
        (report,) = client.get("DiagnosticReport").json()["entry"]
        assert report["resource"]["meta"]["versionId"] == "1"


def test_the_trace_goes_on_with_the_study_that_is_pulled(serve: Callable[..., httpx.Client]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with collecting() as collector:
        client = serve(traces_endpoint=f"http://127.0.0.1:{collector.port}")
        response = ask(client, parameters(), traceparent=f"00-{trace}-00f067aa0ba902b7-01", prefer="respond-async")
        assert until_there(client, response.headers["content-location"]).status_code == 200
        wait_until(lambda: bool(collector.named("screening")), 20.0)
        (call,) = [span for span in collector.spans if span.name.startswith("http ") and span.trace_id.hex() == trace]
        (attempt,) = collector.named("screening")
        assert attempt.trace_id.hex() == trace
        assert attempt.parent_span_id == call.span_id
        assert UID not in collector.words()
