"""People sign in at an OpenID provider: a real one through its own form, and one that lies."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from live_http import Issuer
from openid_providers import CLIENT, SECRET, LyingProvider, fill_in, real_provider
from pages_site import Site, pages_site

from trabecula.outbound import guarded_client, parse_policy
from trabecula.service.auth.local_users import Role
from trabecula.service.auth.oidc import OidcOptions, OpenIdProvider
from trabecula.service.http.serving import bound
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

ROLES = {"radiologists": Role.RADIOLOGIST, "recall": Role.PROGRAMME}
LOCAL = parse_policy("127.0.0.1", "127.0.0.0/8", plain_http=True)


def options(issuer: str) -> OidcOptions:
    return OidcOptions(issuer, CLIENT, SECRET, None, "openid profile", "groups", ROLES)


@asynccontextmanager
async def site_with(
    issuer_at: Callable[[str, AsyncExitStack], str],
    database: Database,
    content: FolderContent,
    clock_s: Callable[[], float] = time.time,
) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        listening = bound("127.0.0.1:0")
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        outbound = await stack.enter_async_context(guarded_client(LOCAL))
        provider = OpenIdProvider(options(issuer_at(url, stack)), outbound)
        making = pages_site(database, content, provider=provider, clock_s=clock_s, listening=listening)
        yield await stack.enter_async_context(making)


@pytest.fixture
async def site(database: Database, content: FolderContent) -> AsyncIterator[Site]:
    def issuer(url: str, stack: AsyncExitStack) -> str:
        return stack.enter_context(real_provider(url))

    async with site_with(issuer, database, content) as running:
        yield running


def browser(site: Site) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=site.url, follow_redirects=False)


def cookies_of(client: httpx.AsyncClient) -> dict[str, str]:
    """Those of the site; provider and site share an address, and differ in the port alone."""
    return {each.name: str(each.value) for each in client.cookies.jar if each.name.startswith("trabecula")}


async def to_the_callback(site: Site, client: httpx.AsyncClient, login: str, wanted: str = "/results") -> str:
    """Address of the callback with the code, not yet called."""
    began = await client.get("/login/openid", params={"next": wanted})
    assert began.status_code == 303, began.text
    asked = parse_qs(urlsplit(began.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    there = await client.get(began.headers["location"])
    back = await fill_in(client, there, login)
    assert back.headers["location"].startswith(f"{site.url}/login/callback?")
    return str(back.headers["location"])


async def sign_in(site: Site, client: httpx.AsyncClient, login: str, wanted: str = "/results") -> httpx.Response:
    return await client.get(await to_the_callback(site, client, login, wanted))


class TestRealProvider:
    async def test_a_person_signs_in_and_has_the_roles_of_their_groups(self, site: Site) -> None:
        async with browser(site) as client:
            first = await client.get("/results")
            assert first.headers["location"] == "/login?next=/results"
            form = await client.get("/login")
            assert "Sign in at 127.0.0.1" in form.text
            answer = await sign_in(site, client, "ada", "/quality")
            assert answer.status_code == 200
            assert 'content="0; url=/quality"' in answer.text
            cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("trabecula_se"))
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            page = await client.get("/results")
            assert page.status_code == 200
            assert "Dr. Ada Example" in page.text
            # A radiologist does not see the recall list.
            assert (await client.get("/worklist")).status_code == 403
        async with browser(site) as client:
            await sign_in(site, client, "ben")
            assert (await client.get("/worklist")).status_code == 200

    async def test_who_has_no_role_here_does_not_get_in(self, site: Site) -> None:
        async with browser(site) as client:
            answer = await sign_in(site, client, "eve")
            assert answer.status_code == 403
            assert "trabecula_session" not in client.cookies
            assert (await client.get("/results")).status_code == 303

    async def test_a_code_is_good_once_and_only_in_the_browser_that_asked(self, site: Site) -> None:
        async with browser(site) as client, browser(site) as thief:
            callback = await to_the_callback(site, client, "ada")
            stolen = cookies_of(client)
            assert (await thief.get(callback)).status_code == 401
            # Somebody else's sign-in under way does not fit the code either: state, nonce and PKCE are its own.
            await thief.get("/login/openid")
            assert (await thief.get(callback)).status_code == 401
            forged = re.sub(r"state=[^&]+", "state=forged", callback)
            assert (await client.get(forged)).status_code == 401
            assert (await client.get(callback)).status_code == 200
            assert (await client.get(callback)).status_code == 401  # the sign-in's cookie is gone
            async with browser(site) as replay:
                replay.cookies.update({name: value for name, value in stolen.items() if "sign_in" in name})
                assert (await replay.get(callback)).status_code == 401  # the provider knows the code is used
            assert (await client.get(f"{callback}&code=two")).status_code == 401

    async def test_signing_out_ends_the_session_here_and_at_the_provider(self, site: Site) -> None:
        async with browser(site) as client:
            await sign_in(site, client, "ada")
            cookies = cookies_of(client)
            found = re.search(r'name="form_token" value="([^"]+)"', (await client.get("/results")).text)
            assert found
            out = await client.post("/logout", data={"form_token": found[1]})
            there = re.search(r'content="0; url=([^"]+)"', out.text)
            assert there
            assert "/session/end?" in there[1]
            assert "post_logout_redirect_uri" in there[1]
            end = await client.get(there[1].replace("&amp;", "&"))
            assert end.status_code == 200
            assert "sign-out" in end.text.lower() or "logout" in end.text.lower()
            async with browser(site) as thief:
                thief.cookies.update(cookies)
                assert (await thief.get("/results")).status_code == 303

    async def test_it_comes_back_to_pages_of_this_site_only(self, site: Site) -> None:
        for wanted in ("https://evil.test/", "//evil.test/", "/\\evil.test", "javascript:alert(1)", "/results\nX: y"):
            async with browser(site) as client:
                answer = await sign_in(site, client, "ada", wanted)
                assert 'content="0; url=/results"' in answer.text, wanted

    async def test_groups_may_be_told_at_the_userinfo_endpoint(
        self, database: Database, content: FolderContent
    ) -> None:
        def issuer(url: str, stack: AsyncExitStack) -> str:
            return stack.enter_context(real_provider(url, userinfo_only=True))

        async with site_with(issuer, database, content) as running, browser(running) as client:
            assert (await sign_in(running, client, "ada")).status_code == 200

    async def test_a_session_has_an_end(self, database: Database, content: FolderContent) -> None:
        late = [0.0]

        def issuer(url: str, stack: AsyncExitStack) -> str:
            return stack.enter_context(real_provider(url))

        clock = lambda: time.time() + late[0]  # noqa: E731
        async with site_with(issuer, database, content, clock) as running, browser(running) as client:
            callback = await to_the_callback(running, client, "ada")
            late[0] = 601.0
            assert (await client.get(callback)).status_code == 401  # signing in took too long
            late[0] = 0.0
            assert (await client.get(callback)).status_code == 200
            assert (await client.get("/results")).status_code == 200
            late[0] = 3601.0
            assert (await client.get("/results")).status_code == 303


@pytest.fixture
async def lied_to(database: Database, content: FolderContent) -> AsyncIterator[tuple[Site, LyingProvider]]:
    lies = LyingProvider()

    def issuer(_: str, stack: AsyncExitStack) -> str:
        return stack.enter_context(lies.serving()).url

    async with site_with(issuer, database, content) as running:
        yield running, lies


async def answer_with(
    site: Site, lies: LyingProvider, make: Callable[[dict[str, Any]], str], **changes: Any
) -> httpx.Response:
    async with browser(site) as client:
        began = await client.get("/login/openid")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(began.headers["location"]).query).items()}
        lies.id_token = make(lies.claims(asked["nonce"], **changes))
        return await client.get("/login/callback", params={"code": "any", "state": asked["state"]})


def signed(lies: LyingProvider) -> Callable[[dict[str, Any]], str]:
    def make(claims: dict[str, Any]) -> str:
        audience = claims.pop("aud")
        return lies.issuer_keys.token(audience, "", **claims)

    return make


FALSE_CLAIMS: list[dict[str, Any]] = [
    {"iss": "https://evil.test"},
    {"iss": None},
    {"aud": "somebody else"},
    {"aud": None},
    {"aud": [CLIENT, "somebody else"]},
    {"azp": "somebody else"},
    {"nonce": "of another sign-in"},
    {"nonce": None},
    {"exp": 1_000_000_000},
    {"exp": None},
    {"iat": 4_000_000_000},
    {"iat": None},
    {"nbf": 4_000_000_000},
    {"sub": None},
    {"sub": ""},
    {"sub": 7},
]


class TestLyingProvider:
    async def test_an_id_token_that_holds_gets_in(self, lied_to: tuple[Site, LyingProvider]) -> None:
        site, lies = lied_to
        assert (await answer_with(site, lies, signed(lies))).status_code == 200
        assert lies.redeemed[-1]["code_verifier"]
        assert (await answer_with(site, lies, signed(lies), aud=[CLIENT, "x"], azp=CLIENT)).status_code == 200

    @pytest.mark.parametrize("false", FALSE_CLAIMS, ids=str)
    async def test_a_false_claim_keeps_out(self, lied_to: tuple[Site, LyingProvider], false: dict[str, Any]) -> None:
        site, lies = lied_to
        answer = await answer_with(site, lies, signed(lies), **false)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers

    async def test_a_false_signature_keeps_out(self, lied_to: tuple[Site, LyingProvider]) -> None:
        site, lies = lied_to

        def present(claims: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in claims.items() if value is not None}

        def unsigned(claims: dict[str, Any]) -> str:
            return jwt.encode({"alg": "none"}, present(claims), OctKey.generate_key(256), algorithms=["none"])

        def by_secret(claims: dict[str, Any]) -> str:
            return jwt.encode({"alg": "HS256"}, present(claims), OctKey.import_key(SECRET), algorithms=["HS256"])

        def by_another(claims: dict[str, Any]) -> str:
            audience = claims.pop("aud")
            return Issuer.make("ES256").token(audience, "", **claims)

        for make in (unsigned, by_secret, by_another, lambda _: "", lambda _: "a.b.c", lambda _: "x" * 100_000):
            assert (await answer_with(site, lies, make)).status_code == 401

    async def test_an_answer_of_another_issuer_keeps_out(self, lied_to: tuple[Site, LyingProvider]) -> None:
        site, lies = lied_to
        for issuer, status in (("https://evil.test", 401), (lies.url, 200)):
            async with browser(site) as client:
                began = await client.get("/login/openid")
                asked = {k: v[0] for k, v in parse_qs(urlsplit(began.headers["location"]).query).items()}
                lies.id_token = signed(lies)(lies.claims(asked["nonce"]))
                query = {"code": "any", "state": asked["state"], "iss": issuer}
                assert (await client.get("/login/callback", params=query)).status_code == status

    @pytest.mark.parametrize(
        "changes",
        [
            {"issuer": "https://evil.test"},
            {"token_endpoint": "http://169.254.169.254/latest/meta-data"},
            {"jwks_uri": "http://10.0.0.1/keys"},
            {"authorization_endpoint": "javascript:alert(1)"},
            {"token_endpoint": "file:///etc/passwd"},
        ],
        ids=str,
    )
    async def test_a_false_description_leads_nowhere(
        self, lied_to: tuple[Site, LyingProvider], changes: dict[str, Any]
    ) -> None:
        site, lies = lied_to
        lies.changes = changes
        async with browser(site) as client:
            began = await client.get("/login/openid")
            if began.status_code == 303:
                asked = {k: v[0] for k, v in parse_qs(urlsplit(began.headers["location"]).query).items()}
                assert began.headers["location"].startswith(lies.url)
                lies.id_token = signed(lies)(lies.claims(asked["nonce"]))
                began = await client.get("/login/callback", params={"code": "any", "state": asked["state"]})
            assert began.status_code in (401, 503)
            assert "trabecula_session" not in client.cookies
