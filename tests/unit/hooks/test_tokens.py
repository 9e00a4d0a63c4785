"""Who is let in: every claim, every way to forge a signature, every key that is not on the list."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest
from cds_ehr import BASE, ISS, JKU, Signer
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from trabecula.errors import Unauthenticated
from trabecula.hooks.clients import Client
from trabecula.hooks.tokens import TokenChecker
from trabecula.service.auth.jwks import KeySource

URL = f"{BASE}/cds-services/trabecula-patient-view"
CLIENT = Client("main-ehr", ISS, (JKU,))
ES, RS = Signer(), Signer("RS384", "key-2")
OTHER = Signer()


class Memory:
    """Remembers tokens as the database does."""

    def __init__(self) -> None:
        self.seen: dict[bytes, datetime] = {}

    async def __call__(self, digest: bytes, expires_at: datetime) -> bool:
        return self.seen.setdefault(digest, expires_at) is expires_at


class Keys:
    """A key address, and who asked it for what."""

    def __init__(self, *signers: Signer) -> None:
        self.keys = {"keys": [key for signer in signers for key in signer.jwks()["keys"]]}
        self.asked: list[str] = []
        self.fails = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return httpx.Response(503) if self.fails else httpx.Response(200, json=self.keys)


def checker(keys: Keys, *clients: Client, now: Any = time.time, once: Memory | None = None) -> TokenChecker:
    client = httpx.AsyncClient(transport=httpx.MockTransport(keys.answer))
    return TokenChecker(clients or (CLIENT,), lambda where: KeySource(where, client), once or Memory(), clock=now)


async def refused(checking: Awaitable[Any]) -> str:
    with pytest.raises(Unauthenticated) as error:
        await checking
    return str(error.value.fields["why"])


@pytest.mark.parametrize("signer", [ES, RS])
async def test_a_good_token_is_let_in(signer: Signer) -> None:
    keys = Keys(ES, RS)
    check = checker(keys)
    assert (await check(signer.token(URL), URL)).name == "main-ehr"
    assert (await check(signer.token([URL, "https://other.example/"]), URL)).name == "main-ehr"
    assert (await check(signer.token(URL, header={"jku": None}, nbf=int(time.time())), URL)).name == "main-ehr"
    assert keys.asked == [JKU]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example"}, "issuer not known"),
        ({"iss": None}, "iss missing"),
        ({"iss": 5}, "iss missing"),
        ({"aud": None}, "audience is another address"),
        ({"aud": f"{BASE}/cds-services"}, "audience is another address"),
        ({"aud": URL + "/"}, "audience is another address"),
        ({"aud": [f"{BASE}/cds-services"]}, "audience is another address"),
        ({"aud": {URL: 1}}, "audience is another address"),
        ({"exp": None}, "exp missing"),
        ({"exp": "2030"}, "exp missing"),
        ({"exp": True}, "exp missing"),
        ({"exp": 1e30}, "exp missing"),
        ({"exp": int(time.time()) - 31}, "expired"),
        ({"exp": int(time.time()) + 40_000}, "valid for too long"),
        ({"iat": None}, "iat missing"),
        ({"iat": int(time.time()) + 10_000}, "not yet valid"),
        ({"nbf": int(time.time()) + 10_000}, "not yet valid"),
        ({"nbf": "x"}, "nbf missing"),
        ({"jti": None}, "jti missing"),
        ({"jti": ""}, "jti missing or too long"),
        ({"jti": "j" * 513}, "jti missing or too long"),
    ],
)
async def test_every_claim_is_checked(claims: dict[str, Any], why: str) -> None:
    audience = claims.pop("aud", URL)
    token = ES.token(audience, **claims)
    assert await refused(checker(Keys(ES))(token, URL)) == why


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"kid": None}, "kid missing"),
        ({"kid": "unknown"}, "unknown key"),
        ({"jku": "https://evil.example/jwks.json"}, "key address not listed"),
        ({"jku": JKU + "/../x"}, "key address not listed"),
        ({"jku": 5}, "key address not listed"),
        ({"b64": False, "crit": ["b64"]}, "malformed"),
    ],
)
async def test_the_header_is_checked(header: dict[str, Any], why: str) -> None:
    keys = Keys(ES)
    token = _assembled({"alg": "ES384", "kid": ES.kid, "typ": "JWT", "jku": JKU, **header})
    assert await refused(checker(keys)(token, URL)) == why
    assert all(asked == JKU for asked in keys.asked)


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _assembled(header: dict[str, Any], signature: bytes = b"x" * 96) -> str:
    claims = {"iss": ISS, "aud": URL, "exp": int(time.time()) + 300, "iat": int(time.time()), "jti": "1"}
    given = {name: value for name, value in header.items() if value is not None}
    return ".".join((_part(json.dumps(given).encode()), _part(json.dumps(claims).encode()), _part(signature)))


async def test_forged_signatures_are_refused() -> None:
    check = checker(Keys(ES, RS))
    head = {"typ": "JWT", "jku": JKU}
    assert (
        await refused(check(_assembled({"alg": "none", "kid": ES.kid, **head}, b""), URL)) == "algorithm not accepted"
    )
    for algorithm in ("HS256", "HS384", "ES256", "RS256", "RS512", "EdDSA", "nOnE", "ES384 "):
        token = _assembled({"alg": algorithm, "kid": ES.kid, **head})
        assert await refused(check(token, URL)) == "algorithm not accepted"
    unsigned = _assembled({"alg": "HS384", "kid": RS.kid, **head}, b"").rpartition(".")[0]
    public = RS.key.as_pem(private=False)
    forged = hmac.new(public, unsigned.encode(), hashlib.sha384).digest()
    assert await refused(check(f"{unsigned}.{_part(forged)}", URL)) == "algorithm not accepted"
    assert await refused(check(OTHER.token(URL), URL)) == "signature"
    good = ES.token(URL)
    parts = good.split(".")
    assert await refused(check(".".join((parts[0], parts[1], _part(b"\0" * 96))), URL)) == "signature"
    assert await refused(check(_assembled({"alg": "RS384", "kid": ES.kid, **head}), URL)) == "unknown key"
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    stretched = _part(json.dumps({**claims, "exp": claims["exp"] + 60}).encode())
    assert await refused(check(".".join((parts[0], stretched, parts[2])), URL)) == "signature"
    assert await check(good, URL)


@pytest.mark.parametrize("more", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": True}, {}])
async def test_a_signed_token_with_an_extension_that_must_be_understood_is_refused(more: dict[str, Any]) -> None:
    unsigned = _assembled({"alg": "ES384", "kid": ES.kid, "jku": JKU, **more}, b"").rpartition(".")[0]
    r, s = decode_dss_signature(ES.key.private_key.sign(unsigned.encode(), ec.ECDSA(hashes.SHA384())))
    token = f"{unsigned}.{_part(r.to_bytes(48, 'big') + s.to_bytes(48, 'big'))}"
    check = checker(Keys(ES))
    if more:
        assert await refused(check(token, URL)) == "malformed"
    else:
        assert await check(token, URL)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "..", "ü.b.c", "e30.e30.", "x" * 9000, "W10.W10.W10"])
async def test_what_is_no_token_is_refused(token: str) -> None:
    await refused(checker(Keys(ES))(token, URL))


async def test_a_token_counts_once_until_it_expires() -> None:
    once = Memory()
    check = checker(Keys(ES), once=once)
    token = ES.token(URL, jti="same")
    await check(token, URL)
    assert await refused(check(token, URL)) == "token used before"
    assert await refused(check(ES.token(URL, jti="same"), URL)) == "token used before"
    ((digest, expires_at),) = once.seen.items()
    assert len(digest) == 32
    assert expires_at.timestamp() > time.time() + 300
    await refused(check(OTHER.token(URL, jti="never"), URL))
    assert len(once.seen) == 1  # what is not trusted is not remembered


async def test_the_same_jti_of_another_issuer_is_another_token() -> None:
    second = replace(CLIENT, name="second", iss="https://second.example")
    check = checker(Keys(ES), CLIENT, second)
    await check(ES.token(URL, jti="same"), URL)
    assert (await check(ES.token(URL, jti="same", iss=second.iss), URL)).name == "second"


async def test_one_ehr_cannot_speak_for_another() -> None:
    second = Client("second", "https://second.example", ("https://second.example/jwks.json",))
    keys = {JKU: Keys(ES), second.jku[0]: Keys(OTHER)}

    def answer(request: httpx.Request) -> httpx.Response:
        return keys[str(request.url)].answer(request)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    check = TokenChecker((CLIENT, second), lambda where: KeySource(where, client), Memory())
    assert await refused(check(ES.token(URL, iss=second.iss), URL)) == "key address not listed"
    assert await refused(check(ES.token(URL, iss=second.iss, header={"jku": second.jku[0]}), URL)) == "signature"
    assert (await check(OTHER.token(URL, iss=second.iss, header={"jku": second.jku[0]}), URL)).name == "second"


async def test_a_client_may_be_held_to_fewer_algorithms_and_shorter_tokens() -> None:
    strict = replace(CLIENT, algorithms=("ES384",), max_token_lifetime_s=60.0)
    check = checker(Keys(ES, RS), strict)
    assert await refused(check(RS.token(URL), URL)) == "algorithm not accepted"
    assert await refused(check(ES.token(URL), URL)) == "valid for too long"
    assert await check(ES.token(URL, exp=int(time.time()) + 60), URL)


async def test_a_rotated_key_is_found() -> None:
    keys = Keys(ES)
    moment = [0.0]
    client = httpx.AsyncClient(transport=httpx.MockTransport(keys.answer))
    check = TokenChecker((CLIENT,), lambda where: KeySource(where, client, lambda: moment[0]), Memory())
    await check(ES.token(URL), URL)
    new = Signer(kid="key-3")
    keys.keys = new.jwks()
    assert await refused(check(new.token(URL), URL)) == "unknown key"  # asked a moment ago
    moment[0] += 31.0
    assert await check(new.token(URL), URL)
    assert len(keys.asked) == 2


async def test_keys_handed_over_by_file_need_no_call(tmp_path: Any) -> None:
    path = tmp_path / "ehr.jwks.json"
    path.write_text(json.dumps(ES.jwks()))
    keys = Keys(OTHER)
    check = checker(keys, replace(CLIENT, jwks_file=path))
    assert await check(ES.token(URL), URL)
    assert await check(ES.token(URL, header={"jku": None}), URL)
    assert await refused(check(ES.token(URL, header={"jku": "https://evil.example/"}), URL)) == "key address not listed"
    assert keys.asked == []


async def test_with_two_key_addresses_the_token_must_name_one() -> None:
    both = replace(CLIENT, jku=(JKU, JKU + "2"))
    check = checker(Keys(ES), both)
    assert await refused(check(ES.token(URL, header={"jku": None}), URL)) == "key address not named"
    assert await check(ES.token(URL), URL)


async def test_an_ehr_whose_keys_are_not_to_be_had_is_not_let_in() -> None:
    keys = Keys(ES)
    keys.fails = True
    await refused(checker(keys)(ES.token(URL), URL))


async def test_nothing_of_a_token_is_in_the_error() -> None:
    with pytest.raises(Unauthenticated) as error:
        await checker(Keys(ES))(ES.token(URL, iss="https://evil.example", sub="Mrs Li"), URL)
    assert "evil" not in error.value.client_message
    assert "Li" not in str(error.value)
