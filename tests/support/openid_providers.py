"""OpenID providers for tests: a real one (npm ``oidc-provider``) and one that lies."""

from __future__ import annotations

import html
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
from fhir_guide import VALIDATORS
from live_http import Issuer

CLIENT = "trabecula"
SECRET = "not a secret: for tests"  # noqa: S105
PEOPLE = {
    "ada": {"name": "Dr. Ada Example", "groups": ["radiologists"]},
    "ben": {"name": "Ben Example", "groups": ["recall", "staff"]},
    "eve": {"name": "Eve Elsewhere", "groups": ["staff"]},
}


@contextmanager
def real_provider(site_url: str, *, userinfo_only: bool = False) -> Iterator[str]:
    """Its issuer, for the time of the block."""
    given = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uri": f"{site_url}/login/callback",
        "logout_uri": f"{site_url}/login",
        "people": PEOPLE,
        "userinfo_only": userinfo_only,
    }
    command = ["node", str(VALIDATORS / "openid.mjs")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        while line and not line.startswith("{"):
            line = process.stdout.readline()
        assert line, f"the OpenID provider did not start, exit status {process.wait()}"
        yield f"http://127.0.0.1:{json.loads(line)['port']}"
    finally:
        process.terminate()
        process.wait(timeout=10)


async def fill_in(browser: httpx.AsyncClient, answer: httpx.Response, login: str) -> httpx.Response:
    """Go through the provider's own pages (sign-in, then consent) until it sends the browser elsewhere.

    The last answer is the redirect to the site, not yet followed.
    """
    host = answer.url.netloc
    for _ in range(12):
        if answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["location"])
            if httpx.URL(target).netloc != host:
                return answer
            answer = await browser.get(target, follow_redirects=False)
            continue
        form = re.search(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', answer.text, re.DOTALL)
        assert form, answer.text[:500]
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form[2]))
        hidden |= dict(re.findall(r'name="(xsrf)" value="([^"]*)"', form[2]))
        if 'name="login"' in form[2]:
            hidden |= {"login": login, "password": "any"}
        action = urljoin(str(answer.url), html.unescape(form[1]))
        answer = await browser.post(action, data=hidden, follow_redirects=False)
    raise AssertionError("the provider does not come to an end")


@dataclass
class LyingProvider:
    """Answers every code with the ID token that a test has made."""

    issuer_keys: Issuer = field(default_factory=lambda: Issuer.make("ES256"))
    id_token: str = ""
    redeemed: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    """Of its own description."""

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            **self.changes,
        }

    def claims(self, sent: str, /, **changes: Any) -> dict[str, Any]:
        """Claims that would hold; None leaves one out."""
        now = int(time.time())
        return {
            "iss": self.url, "aud": CLIENT, "sub": "ada", "nonce": sent, "iat": now, "exp": now + 60,
            "groups": ["radiologists"], "client_id": None, "jti": None, **changes,
        }  # fmt: skip

    @contextmanager
    def serving(self) -> Iterator[LyingProvider]:
        lies = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                known = {"/.well-known/openid-configuration": lies.description, "/jwks": lambda: lies.issuer_keys.jwks}
                found = known.get(urlsplit(self.path).path)
                self._answer(404 if found is None else 200, {} if found is None else found())

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                lies.redeemed.append({name: values[0] for name, values in form.items()})
                self._answer(200, {"id_token": lies.id_token, "access_token": "x", "token_type": "Bearer"})

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                written = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(written)))
                self.end_headers()
                self.wfile.write(written)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
