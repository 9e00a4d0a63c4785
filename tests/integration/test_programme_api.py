"""Sign-off and recall over HTTP, with tokens, on a real server and database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import report_samples as samples
from pages_site import MRN, Site, pages_site

from trabecula.record import of_screening
from trabecula.service.auth.scopes import parse_scopes
from trabecula.service.auth.tokens import Principal
from trabecula.service.http.access import Door
from trabecula.service.http.options import HttpOptions
from trabecula.service.http.programme_api import ProgrammeApi
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

EVERYTHING = "user/DiagnosticReport.ru user/Task.rus system/DiagnosticReport.c system/Observation.c"
PATIENT = {"identifier": {"system": MRN, "value": samples.identity().patient_id}}


class _Verifier:
    """Reads the scopes out of the token itself; what a real token must hold is tested with the verifier."""

    async def verify(self, token: str, audiences: object) -> Principal:  # noqa: ARG002
        user, _, scopes = token.partition(":")
        return Principal("client-1", user or None, "https://issuer", parse_scopes(scopes.split()))


@pytest.fixture
async def site(database: Database, content: FolderContent) -> AsyncIterator[Site]:
    def api(site: Site) -> list[Any]:
        door = Door(HttpOptions(), _Verifier(), site.pages.listeners)  # type: ignore[arg-type]
        return ProgrammeApi(site.pages, door).routes()

    async with pages_site(database, content, more=api) as running:
        yield running


def client(site: Site, scopes: str = EVERYTHING, user: str = "dr-7") -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=site.url, headers={"Authorization": f"Bearer {user}:{scopes}"})


def dxa(value: float = -2.7, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "dxa-1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "38267-1"}]},
        "subject": PATIENT,
        "effectiveDateTime": "2026-10-20",
        "valueQuantity": {"value": value, "code": "{T-score}", "system": "http://unitsofmeasure.org"},
        **more,
    }


async def test_a_program_signs_for_its_user(site: Site) -> None:
    screening_id = await site.add_result()
    path = f"/api/v1/results/{screening_id}/reviews"
    async with client(site) as program:
        before = (await program.get(path)).json()
        assert (before["status"], before["version"], before["decisions_allowed"]) == (
            "preliminary", 0, ["accept", "correct", "reject"],
        )  # fmt: skip
        body = {
            "decision": "correct",
            "seen_version": 0,
            "reviewer_name": "Dr. Seven",
            "corrections": {"left_out": {"T12": "metal"}, "fractures": {"T11": {"grade": 1, "kind": "wedge"}}},
        }
        answer = await program.post(path, json=body)
        assert answer.status_code == 201, answer.text
        (review,) = answer.json()["reviews"]
        assert review["reviewer"] == {"id": "dr-7", "name": "Dr. Seven"}
        assert review["corrections"]["left_out"] == {"T12": "metal"}
        assert (await program.post(path, json=body)).status_code == 409


@pytest.mark.parametrize(
    ("scopes", "user", "status"),
    [
        ("user/DiagnosticReport.r", "dr-7", 403),
        ("patient/DiagnosticReport.u", "dr-7", 403),
        (EVERYTHING, "", 403),
        (EVERYTHING, "dr-7", 201),
    ],
)
async def test_deciding_needs_the_scope_and_a_user(site: Site, scopes: str, user: str, status: int) -> None:
    screening_id = await site.add_result()
    body = {"decision": "accept", "seen_version": 0, "reviewer_name": "Dr. Seven"}
    async with client(site, scopes, user) as program:
        answer = await program.post(f"/api/v1/results/{screening_id}/reviews", json=body)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "accept"},
        {"decision": "accept", "seen_version": True, "reviewer_name": "x"},
        {"decision": "accept", "seen_version": 0},
        {"decision": "correct", "seen_version": 0, "reviewer_name": "x", "corrections": {"sink": 1}},
        {"decision": "correct", "seen_version": 0, "reviewer_name": "x", "corrections": {"left_out": {"T99": "x"}}},
        {"decision": "correct", "seen_version": 0, "reviewer_name": "x", "corrections": [1]},
    ],
)
async def test_a_decision_that_does_not_fit_is_refused(site: Site, body: dict[str, Any]) -> None:
    screening_id = await site.add_result()
    async with client(site) as program:
        answer = await program.post(f"/api/v1/results/{screening_id}/reviews", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_the_recall_list_pages_and_steps(site: Site) -> None:
    await site.add_result()
    async with client(site) as program:
        listed = await program.get("/api/v1/worklist", params={"state": ["proposed", "booked"], "count": 1})
        assert listed.status_code == 200, listed.text
        (task,) = listed.json()["tasks"]
        path = f"/api/v1/worklist/{task['task_id']}"
        body = {"event": "book", "note": "with the bus", "due_at": "2027-02-01T10:00:00+01:00"}
        booked = (await program.post(f"{path}/steps", json=body)).json()
        assert (booked["state"], booked["due_at"]) == ("booked", "2027-02-01T09:00:00+00:00")
        steps = (await program.get(path)).json()["steps"]
        assert [(each["event"], each["by"]) for each in steps] == [(None, "trabecula"), ("book", "dr-7")]
        for wrong in ({"event": "dxa-result"}, {"event": "x"}, {}, {"event": "book", "due_at": "2027-02-01"}):
            assert (await program.post(f"{path}/steps", json=wrong)).status_code == 400
        for query in ({"state": "x"}, {"count": "0"}, {"count": "9999"}, {"after": "x"}):
            assert (await program.get("/api/v1/worklist", params=query)).status_code in (400, 404)


async def test_an_incoming_dxa_closes_the_recall_and_is_set_beside_the_ct(site: Site) -> None:
    screening_id = await site.add_result()
    async with client(site) as program:
        answer = await program.post("/fhir/Observation", json=dxa())
        assert answer.status_code == 200, answer.text
        assert "Recalls closed: 1. Set beside a CT: yes." in answer.text
        assert "known already" in (await program.post("/fhir/Observation", json=dxa())).text
        figures = (await program.get("/api/v1/agreement")).json()
        assert figures["pairs"] == 1
        assert figures["found"] == {"of": 1, "out_of": 1, "interval_95": pytest.approx([0.2065, 1.0], abs=1e-3)}
        (task,) = (await program.get("/api/v1/worklist", params={"state": "done"})).json()["tasks"]
        assert task["due_at"] is None
    async with site.pages.database.transaction() as connection:
        stored = {each.type: each.content for each in await of_screening(connection, screening_id)}
    assert stored["Task"]["status"] == "completed"
    assert stored["Task"]["output"][0]["valueReference"]["display"] == "DXA of 2026-10-20"


async def test_a_dxa_after_a_rejected_result_is_no_pair(site: Site) -> None:
    screening_id = await site.add_result()
    async with client(site) as program:
        body = {"decision": "reject", "seen_version": 0, "reviewer_name": "Dr. Seven", "comment": "wrong patient"}
        await program.post(f"/api/v1/results/{screening_id}/reviews", json=body)
        assert "Set beside a CT: no" in (await program.post("/fhir/Observation", json=dxa())).text


async def test_other_resources_are_not_taken(site: Site) -> None:
    async with client(site) as program:
        for body in ({"resourceType": "Patient"}, dxa(status="preliminary"), dxa(subject={"reference": "Patient/1"})):
            assert (await program.post("/fhir/Observation", json=body)).status_code == 400
    async with client(site, "system/DiagnosticReport.c") as program:
        assert (await program.post("/fhir/Observation", json=dxa())).status_code == 403


async def test_every_access_is_noted_with_its_patient(site: Site) -> None:
    screening_id = await site.add_result()
    async with client(site) as program:
        await program.get(f"/api/v1/results/{screening_id}/reviews")
        await program.get("/api/v1/worklist")
        await program.post("/fhir/Observation", json=dxa())
    patient = f"{MRN}|{samples.identity().patient_id}"
    assert [(each.action, each.patients) for each in site.accesses] == [
        ("R", (patient,)), ("E", (patient,)), ("C", (patient,)),
    ]  # fmt: skip
