"""One table says whose each page is; every route is in it, and every role is tried at every route."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from pages_site import PASSWORD, Site, pages_site
from starlette.routing import Mount, Route

from trabecula.service.auth.local_users import Role
from trabecula.service.http.pages.routes import OPEN, PAGES, routes
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

PEOPLE = {"ada": Role.RADIOLOGIST, "ben": Role.PROGRAMME, "cleo": Role.VIEWER, "dan": Role.AUDITOR}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
# Kept apart from the table in the program on purpose.
EXPECTED = {
    ("GET", "/results"): "ada ben cleo",
    ("GET", "/results/{screening_id}"): "ada ben cleo",
    ("GET", "/results/{screening_id}/report"): "ada ben cleo",
    ("POST", "/results/{screening_id}/review"): "ada",
    ("GET", "/worklist"): "ben",
    ("GET", "/worklist.csv"): "ben",
    ("GET", "/worklist/{task_id}"): "ben",
    ("POST", "/worklist/{task_id}/step"): "ben",
    ("GET", "/quality"): "ada ben cleo",
    ("POST", "/logout"): "ada ben cleo dan",
}
WITHOUT_A_PERSON = {
    ("GET", "/"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/login/openid"),
    ("GET", "/login/callback"),
}


@pytest.fixture
async def site(database: Database, content: FolderContent) -> AsyncIterator[Site]:
    async with pages_site(database, content) as running:
        yield running


async def test_every_route_is_in_the_table(site: Site) -> None:
    served = set()
    for route in routes(site.pages):
        if isinstance(route, Mount):
            assert route.path == "/static"
            continue
        assert isinstance(route, Route)
        served |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    assert served == set(EXPECTED) | WITHOUT_A_PERSON
    assert {(rule.method, rule.path) for rule in PAGES} == set(EXPECTED)
    assert {(method, path) for path, method, _ in OPEN} == WITHOUT_A_PERSON - {("GET", "/")}


async def test_each_role_gets_its_pages_and_no_other(site: Site) -> None:
    wrong = []
    for name in PEOPLE:
        async with httpx.AsyncClient(base_url=site.url, follow_redirects=False) as client:
            signed_in = await client.post("/login", data={"user": name, "password": PASSWORD})
            assert signed_in.status_code == 303
            for (method, path), who in EXPECTED.items():
                address = path.replace("{screening_id}", UNKNOWN).replace("{task_id}", UNKNOWN)
                answer = await client.request(method, address, content=b"" if method == "POST" else None)
                # The step beyond the role: no such thing, or a form without its token.
                refused = answer.status_code == 403 and "Your role" in answer.text
                if refused is (name in who.split()):
                    wrong.append((name, method, path, answer.status_code))
    assert wrong == []


async def test_whoever_is_not_signed_in_gets_none(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url, follow_redirects=False) as client:
        for method, path in EXPECTED:
            address = path.replace("{screening_id}", UNKNOWN).replace("{task_id}", UNKNOWN)
            answer = await client.request(method, address)
            expected = 303 if method == "GET" else 403
            assert answer.status_code == expected, path
            if expected == 303:
                assert answer.headers["location"].startswith("/login?next=")


async def test_an_ended_session_is_over_for_whoever_copied_its_cookie(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        await client.post("/login", data={"user": "ada", "password": PASSWORD})
        copied = dict(client.cookies)
        page = (await client.get("/results")).text
        token = page.split('name="form_token" value="')[1].split('"')[0]
        await client.post("/logout", data={"form_token": token})
    async with httpx.AsyncClient(base_url=site.url, cookies=copied) as thief:
        assert (await thief.get("/results")).status_code == 303


async def test_a_form_sent_by_another_site_is_refused(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        form = {"user": "ada", "password": PASSWORD}
        for origin in ("cross-site", "same-site"):
            answer = await client.post("/login", data=form, headers={"sec-fetch-site": origin})
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


async def test_guessing_stays_slow_from_many_addresses(site: Site) -> None:
    throttle = site.pages.throttle
    for attempt in range(3):
        throttle.failed("user:ada", f"address:10.0.0.{attempt}", known=True)
    for attempt in range(20_000):  # other names and addresses do not wash it away, nor fill the memory
        throttle.failed(f"user:nobody{attempt}", f"address:10.1.{attempt % 250}.{attempt // 250}")
    assert len(throttle._failed) <= 10_000
    async with httpx.AsyncClient(base_url=site.url) as client:
        answer = await client.post("/login", data={"user": "ada", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
