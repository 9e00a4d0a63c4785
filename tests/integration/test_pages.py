"""The pages as a browser meets them: sign-in, sign-off, recall list."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import report_samples as samples
from pages_site import MRN, PASSWORD, Site, pages_site

from trabecula.programme.sign_off import list_reviews
from trabecula.programme.states import ReviewStatus, TaskState
from trabecula.programme.tasks import TaskFilter, list_tasks
from trabecula.record import of_screening
from trabecula.service.http.pages.worklist import to_csv
from trabecula.work.content import FolderContent
from trabecula.work.database import Database


@pytest.fixture
async def site(database: Database, content: FolderContent) -> AsyncIterator[Site]:
    async with pages_site(database, content) as running:
        yield running


@asynccontextmanager
async def browser(site: Site, name: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, follow_redirects=True) as client:
        if name is not None:
            answer = await client.post("/login", data={"user": name, "password": PASSWORD, "next": ""})
            assert answer.url.path != "/login", answer.text
        yield client


def token_in(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found
    return found.group(1)


async def send(client: httpx.AsyncClient, page: str, action: str, **fields: str) -> httpx.Response:
    text = (await client.get(page)).text
    seen = re.search(r'name="seen_version" value="(\d+)"', text)
    version = {"seen_version": seen.group(1)} if seen else {}
    return await client.post(action, data={"form_token": token_in(text), **version, **fields})


class TestSignIn:
    async def test_whoever_is_not_signed_in_sees_the_form_and_comes_back_to_the_page(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site) as client:
            asked = await client.get(f"/results/{screening_id}")
            assert asked.url.path == "/login"
            fields = {"user": "ada", "password": PASSWORD, "next": asked.url.params["next"]}
            answer = await client.post("/login", data=fields)
            assert answer.url.path == f"/results/{screening_id}"

    @pytest.mark.parametrize(
        "target", ["https://evil.example/x", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"]
    )
    async def test_signing_in_leads_nowhere_else(self, site: Site, target: str) -> None:
        async with httpx.AsyncClient(base_url=site.url) as client:
            answer = await client.post("/login", data={"user": "ada", "password": PASSWORD, "next": target})
            assert (answer.status_code, answer.headers["location"]) == (303, "/results")

    @pytest.mark.parametrize(("user", "password"), [("ada", "wrong horse battery"), ("nobody", PASSWORD), ("", "")])
    async def test_a_wrong_name_or_password_is_refused_alike(self, site: Site, user: str, password: str) -> None:
        async with browser(site) as client:
            answer = await client.post("/login", data={"user": user, "password": password})
            assert answer.status_code == 401
            assert "do not fit together" in answer.text
            assert not client.cookies

    async def test_guessing_is_stopped_for_the_right_password_too(self, site: Site) -> None:
        async with browser(site) as client:
            for _ in range(3):
                await client.post("/login", data={"user": "ada", "password": "wrong"})
            answer = await client.post("/login", data={"user": "ada", "password": PASSWORD})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0

    async def test_the_cookie_is_kept_from_scripts_and_other_sites(self, site: Site) -> None:
        async with httpx.AsyncClient(base_url=site.url) as client:
            answer = await client.post("/login", data={"user": "ada", "password": PASSWORD})
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie

    async def test_a_forged_cookie_is_nobody(self, site: Site) -> None:
        async with httpx.AsyncClient(base_url=site.url) as client:
            signed = await client.post("/login", data={"user": "cleo", "password": PASSWORD})
            value = signed.cookies["trabecula_session"]
            changed = ("A" if value[0] != "A" else "B") + value[1:]
            answer = await client.get("/results", headers={"cookie": f"trabecula_session={changed}"})
            assert answer.headers["location"].startswith("/login")

    async def test_signing_out_forgets(self, site: Site) -> None:
        async with browser(site, "ada") as client:
            await send(client, "/results", "/logout")
            assert (await client.get("/results")).url.path == "/login"


class TestRoles:
    @pytest.mark.parametrize(
        ("name", "path", "status"),
        [
            ("cleo", "/results", 200),
            ("cleo", "/worklist", 403),
            ("cleo", "/worklist.csv", 403),
            ("ben", "/worklist", 200),
            ("ben", "/quality", 200),
            ("ada", "/worklist", 403),
            ("dan", "/results", 403),
        ],
    )
    async def test_each_role_sees_its_own_pages(self, site: Site, name: str, path: str, status: int) -> None:
        async with browser(site, name) as client:
            assert (await client.get(path)).status_code == status

    async def test_only_a_radiologist_signs(self, site: Site) -> None:
        screening_id = await site.add_result()
        for name in ("cleo", "ben"):
            async with browser(site, name) as client:
                page = f"/results/{screening_id}"
                answer = await send(client, page, f"{page}/review", decision="accept", seen_version="0")
                assert answer.status_code == 403
        async with site.pages.database.transaction() as connection:
            assert await list_reviews(connection, screening_id) == ()

    async def test_a_form_from_elsewhere_changes_nothing(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            fields = {"decision": "accept", "seen_version": "0", "form_token": "guessed"}
            answer = await client.post(f"/results/{screening_id}/review", data=fields)
            assert answer.status_code == 403
            assert "Load the page again" in answer.text


class TestSignOff:
    async def test_accepting_makes_the_result_final(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            answer = await send(client, page, f"{page}/review", decision="accept")
            assert answer.status_code == 200
            assert "accepted by Dr. Ada &lt;Example&gt;" in answer.text
            shown = (await client.get(f"{page}/report?version=1")).text
            assert "<strong>FINAL</strong> Made by a machine, reviewed and signed by Dr. Ada &lt;Example&gt;" in shown
            assert "PRELIMINARY" not in shown
            assert "data:image/" in shown
            again = await send(client, page, f"{page}/review", decision="accept")
            assert again.status_code == 409
        async with site.pages.database.transaction() as connection:
            (review,) = await list_reviews(connection, screening_id)
            resources = {(each.type, each.id): each.content for each in await of_screening(connection, screening_id)}
        assert review.status is ReviewStatus.FINAL
        (report,) = [each for (kind, _), each in resources.items() if kind == "DiagnosticReport"]
        assert report["status"] == "final"
        assert "not reviewed" not in report["conclusion"]
        assert report["resultsInterpreter"][0]["display"] == "Dr. Ada <Example>"
        assert {each["status"] for (kind, _), each in resources.items() if kind == "Observation"} == {"final"}

    async def test_correcting_computes_anew_and_shows_both_versions(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            fields = {"decision": "correct", "out_T12": "1", "why_T12": "metal <b>", "fracture_T11": "2-wedge"}
            answer = await send(client, page, f"{page}/review", **fields, conclusion="See 2019.")
            assert answer.status_code == 200
            assert "T12 left out: metal &lt;b&gt;" in answer.text
            assert "T11 read as fracture, grade 2" in answer.text
            assert "See 2019." in answer.text
            corrected = (await client.get(f"{page}/report?version=1")).text
            machine = (await client.get(f"{page}/report?version=0")).text
            assert "left out by the reviewer" in corrected
            assert "left out by the reviewer" not in machine
            assert (
                "<strong>FINAL</strong> Made by a machine, reviewed and signed by Dr. Ada &lt;Example&gt;" in corrected
            )
            assert "PRELIMINARY" not in corrected
            assert "not reviewed by a person" not in corrected
            assert "PRELIMINARY" in machine

    async def test_a_study_read_again_does_not_undo_a_signature(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            await send(client, page, f"{page}/review", decision="accept")
            await site.add_result()
            async with site.pages.database.transaction() as connection:
                kept = {each.type: each.content for each in await of_screening(connection, screening_id)}
            assert kept["DiagnosticReport"]["status"] == "final"
            assert len(re.findall(r'class="tag status-', (await client.get("/results")).text)) == 1

    async def test_rejecting_needs_a_reason_and_ends_it(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            assert (await send(client, page, f"{page}/review", decision="reject")).status_code == 400
            answer = await send(client, page, f"{page}/review", decision="reject", comment="wrong patient")
            assert "entered-in-error" in answer.text
            assert 'name="decision"' not in answer.text
        async with site.pages.database.transaction() as connection:
            made = {each.type: each.content for each in await of_screening(connection, screening_id)}
            (task,) = await list_tasks(connection, TaskFilter(), 10)
        assert made["DiagnosticReport"]["status"] == "entered-in-error"
        assert made["ServiceRequest"]["status"] == "entered-in-error"
        assert made["Task"]["status"] == "entered-in-error"
        assert task.state is TaskState.CLOSED

    async def test_a_page_left_open_cannot_overrule(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            token = token_in((await client.get(page)).text)
            fields = {"form_token": token, "seen_version": "0", "decision": "accept"}
            assert (await client.post(f"{page}/review", data=fields)).status_code == 200
            stale = await client.post(f"{page}/review", data={**fields, "decision": "reject", "comment": "x"})
            assert stale.status_code == 409

    @pytest.mark.parametrize(
        "fields",
        [
            {"decision": "sign"},
            {"decision": "correct"},
            {"decision": "correct", "level_shift": "9"},
            {"decision": "correct", "level_shift": "x"},
            {"decision": "correct", "fracture_T11": "2-banana"},
            {"decision": "correct", "out_T12": "1"},
        ],
    )
    async def test_a_form_that_does_not_fit_is_explained(self, site: Site, fields: dict[str, str]) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            answer = await send(client, page, f"{page}/review", **fields)
            assert answer.status_code == 400
            assert "Mend the field named here" in answer.text

    async def test_a_refused_study_can_be_signed_too(self, site: Site) -> None:
        screening_id = await site.add_result(samples.refused())
        async with browser(site, "ada") as client:
            page = f"/results/{screening_id}"
            assert "Not reported" in (await client.get(page)).text
            assert (await send(client, page, f"{page}/review", decision="accept")).status_code == 200

    @pytest.mark.parametrize("path", ["/results/none", "/results/0a0a0a0a-0000-4000-8000-000000000000"])
    async def test_what_is_not_there_is_not_found(self, site: Site, path: str) -> None:
        async with browser(site, "ada") as client:
            assert (await client.get(path)).status_code == 404


class TestPolicies:
    async def test_pages_run_no_script_and_are_not_stored(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            for path in ("/results", f"/results/{screening_id}", "/quality"):
                answer = await client.get(path)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "script-src" not in policy
                assert answer.headers["cache-control"] == "no-store"
                assert "<script" not in answer.text
                assert "style=" not in answer.text
            report = await client.get(f"/results/{screening_id}/report")
            assert report.headers["content-security-policy"].startswith("sandbox;")

    async def test_the_audit_trail_hears_of_every_look_and_change(self, site: Site) -> None:
        screening_id = await site.add_result()
        async with browser(site, "ada") as client:
            await client.get("/results")
            await client.get(f"/results/{screening_id}")
            await send(client, f"/results/{screening_id}", f"/results/{screening_id}/review", decision="accept")
        seen = [access for access in site.accesses if access.subject == "ada"]
        assert [access.action for access in seen] == ["E", "E", "R", "R", "U", "R"]
        patient = f"{MRN}|{samples.identity().patient_id}"
        assert {access.patients for access in seen} == {(patient,)}
        assert len({access.resource_id for access in seen if access.resource_id}) == 1

    async def test_a_form_that_is_too_large_is_refused(self, site: Site) -> None:
        async with browser(site) as client:
            answer = await client.post("/login", data={"user": "ada", "password": "x" * 70_000})
            assert answer.status_code == 413


class TestRecallList:
    async def test_a_person_is_called_booked_and_closed(self, site: Site) -> None:
        await site.add_result()
        async with site.pages.database.transaction() as connection:
            (task,) = await list_tasks(connection, TaskFilter(), 10)
        page = f"/worklist/{task.task_id}"
        async with browser(site, "ben") as client:
            assert task.patient.value in (await client.get("/worklist")).text
            await send(client, page, f"{page}/step", event="contact", note="by telephone")
            booked = await send(client, page, f"{page}/step", event="book", due_on="2027-01-10")
            assert "2027-01-10 23:59" in booked.text
            assert (await send(client, page, f"{page}/step", event="close")).status_code == 400
            closed = await send(client, page, f"{page}/step", event="close", note="moved away")
            assert "moved away" in closed.text
            assert (await send(client, page, f"{page}/step", event="book")).status_code == 409
            assert task.patient.value not in (await client.get("/worklist")).text
            assert task.patient.value in (await client.get("/worklist?state=closed")).text
        async with site.pages.database.transaction() as connection:
            stored = next(each for each in await of_screening(connection, task.screening_id) if each.type == "Task")
        assert (stored.version, stored.content["status"]) == (4, "cancelled")
        assert stored.content["statusReason"]["text"] == "moved away"

    @pytest.mark.parametrize("fields", [{"event": "dxa-result"}, {"event": "x"}, {"event": "book", "due_on": "soon"}])
    async def test_steps_that_no_person_takes_are_refused(self, site: Site, fields: dict[str, str]) -> None:
        await site.add_result()
        async with site.pages.database.transaction() as connection:
            (task,) = await list_tasks(connection, TaskFilter(), 10)
        page = f"/worklist/{task.task_id}"
        async with browser(site, "ben") as client:
            assert (await send(client, page, f"{page}/step", **fields)).status_code == 400

    async def test_the_list_as_a_file(self, site: Site) -> None:
        await site.add_result()
        person = replace(samples.identity(), patient_id="=cmd|' /C calc'!A0")
        await site.add_result(replace(samples.reported(), study=person, screening_id=samples.enhanced().screening_id))
        async with browser(site, "ben") as client:
            answer = await client.get("/worklist.csv?state=all")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == 2
        assert {row["patient_id"] for row in rows} == {"'=cmd|' /C calc'!A0", samples.identity().patient_id}
        assert "attachment" in answer.headers["content-disposition"]

    def test_an_empty_list_has_its_head(self) -> None:
        assert to_csv([]).startswith("task,state,due,")


async def test_two_radiologists_at_once_make_one_signature(site: Site) -> None:
    screening_id = await site.add_result()
    page = f"/results/{screening_id}"
    async with browser(site, "ada") as one, browser(site, "ada") as other:
        answers = await asyncio.gather(
            send(one, page, f"{page}/review", decision="accept"),
            send(other, page, f"{page}/review", decision="reject", comment="no"),
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
