"""SMART tokens on real HTTP: who gets in, how far, and what everybody else is told."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import report_samples as samples
from joserfc import jws
from joserfc.jwk import OctKey
from live_http import ISSUER, Issuer, LiveHttp, live_http
from record_samples import SYSTEM, publish_sample

from trabecula.config import Settings
from trabecula.errors import ConfigurationError
from trabecula.keys import SigningAlgorithm, generate_key, retire_key
from trabecula.service.auth.tokens import TokenRules
from trabecula.service.auth.wiring import issuer_keys
from trabecula.service.http.options import HttpOptions, http_options
from trabecula.work.database import Database

Json = dict[str, Any]
OTHER = "22222222-2222-4222-8222-222222222222"


@pytest_asyncio.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[LiveHttp]:
    """Two patients' results, tokens asked for."""
    await publish_sample(database)
    other = replace(
        samples.reported(),
        screening_id="7f0e2c52-3c5b-5b1f-9a53-0d9c8f1c6a11",
        study=replace(samples.identity(), study_instance_uid="1.2.3.4", patient_id="SAMPLE-0002"),
    )
    await publish_sample(database, other, OTHER)
    async with live_http(database, tmp_path, auth=True, rules=TokenRules(patient_identifier_system=SYSTEM)) as live:
        yield live


async def status(site: LiveHttp, path: str, token: str | None) -> httpx.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await site.get(path, headers=headers)


async def test_without_a_token_only_what_holds_no_patient_is_open(site: LiveHttp) -> None:
    for path in ("metadata", ".well-known/smart-configuration", "PlanDefinition/low-muscle", "CodeSystem"):
        assert (await site.get(path)).status_code == 200, path
    for path in ("Observation", "Observation/x", "Device", "AuditEvent", "Observation/x/_history",
                 "PlanDefinition/low-muscle/$apply?subject=Patient/1", "_screening/1"):  # fmt: skip
        response = await site.get(path)
        assert response.status_code in (401, 404), path
        if response.status_code == 401:
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert "error" not in response.headers["www-authenticate"]
            assert response.json()["issue"][0]["code"] == "login"
    assert (await site.client.post(f"{site.fhir}/ImagingStudy/$screen-bone", json={})).status_code == 401


def tampered(token: str, place: int, **changes: Any) -> str:
    parts = token.split(".")
    opened = json.loads(base64.urlsafe_b64decode(parts[place] + "=="))
    parts[place] = base64.urlsafe_b64encode(json.dumps({**opened, **changes}).encode()).decode().rstrip("=")
    return ".".join(parts)


async def test_tokens_that_are_not_good_enough(site: LiveHttp) -> None:
    issuer, base, now = site.issuer, site.fhir, int(time.time())
    good = issuer.token(base, "system/*.rs")
    stranger = Issuer.make()
    public = json.dumps(issuer.jwks["keys"][0]).encode()
    confused = jws.serialize_compact(
        {"alg": "HS256", "kid": "one"},
        json.dumps({"iss": ISSUER, "aud": base, "exp": now + 60, "client_id": "x", "scope": "system/*.rs"}),
        OctKey.import_key(public),
        algorithms=["HS256"],
    )
    bad = {
        "expired": issuer.token(base, "system/*.rs", exp=now - 60),
        "no end": issuer.token(base, "system/*.rs", exp=None),
        "end is text": issuer.token(base, "system/*.rs", exp="never"),
        "not yet": issuer.token(base, "system/*.rs", nbf=now + 120),
        "of the future": issuer.token(base, "system/*.rs", iat=now + 120),
        "for somebody else": issuer.token("https://other.test/fhir", "system/*.rs"),
        "for nobody": issuer.token(None, "system/*.rs"),
        "prefix of us": issuer.token(base + "x", "system/*.rs"),
        "unknown issuer": issuer.token(base, "system/*.rs", iss="https://evil.test"),
        "no client": issuer.token(base, "system/*.rs", client_id=None),
        "other key": stranger.token(base, "system/*.rs"),
        "unknown kid": replace(issuer, kid="two").token(base, "system/*.rs"),
        "none": tampered(good, 0, alg="none"),
        "none, unsigned": tampered(good, 0, alg="none").rsplit(".", 1)[0] + ".",
        "HS256 with the public key": confused,
        "changed claims": tampered(good, 1, scope="system/*.cruds"),
        "critical header": issuer.token(base, "system/*.rs", header={"crit": ["kid"]}),
        "id token": issuer.token(base, "system/*.rs", header={"typ": "dpop+jwt"}),
        "jku": replace(stranger, kid="x").token(base, "system/*.rs", header={"jku": "https://evil.test/jwks"}),
        "nonsense": "a.b.c",
        "odd": "....",
        "long": good + "a" * 20_000,
        "not ascii": "é.é.é",
        "numbers": ".".join(base64.urlsafe_b64encode(b"1").decode() for _ in range(3)),
        "nested": ".".join([base64.urlsafe_b64encode(b"[" * 3000).decode()] * 3),
    }
    for name, token in bad.items():
        response = await site.client.get(f"{base}/Observation", headers={b"authorization": b"Bearer " + token.encode()})
        assert response.status_code == 401, name
        assert "invalid_token" in response.headers["www-authenticate"], name
        assert response.json()["resourceType"] == "OperationOutcome", name
    assert (await status(site, "Observation", good)).status_code == 200
    basic = await site.get("Observation", headers={"authorization": "Basic dXNlcjpwYXNz"})
    assert basic.status_code == 401


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "ES256", "ES384"])
async def test_each_algorithm_that_is_offered(database: Database, tmp_path: Path, algorithm: str) -> None:
    async with live_http(database, tmp_path, auth=True) as site:
        issuer = Issuer.make(algorithm, kid=algorithm)
        (tmp_path / "issuer.json").write_text(json.dumps(issuer.jwks), encoding="utf-8")
        assert (await status(site, "Observation", issuer.token(site.fhir, "system/*.rs"))).status_code == 200


@pytest.mark.parametrize(
    ("scope", "path", "expected"),
    [
        ("system/*.rs", "Observation", 200),
        ("system/*.rs", "Device", 200),
        ("system/*.rs", "AuditEvent", 403),
        ("system/AuditEvent.rs", "AuditEvent", 200),
        ("system/Observation.rs", "Observation", 200),
        ("system/Observation.r", "Observation", 403),
        ("system/Observation.s", "Observation", 200),
        ("system/Observation.s", "Observation/x", 403),
        ("system/Observation.r", "Observation/x", 404),
        ("system/Observation.cruds", "Observation", 200),
        ("system/Device.rs", "Observation", 403),
        ("user/Observation.rs", "Observation", 200),
        ("system/Observation.sr", "Observation", 403),
        ("system/Observation.rs?category=laboratory", "Observation", 403),
        ("system/*.read", "Observation", 403),
        ("patient/*.rs", "Observation", 403),
        ("openid fhirUser launch/patient", "Observation", 403),
        ("", "Observation", 403),
    ],
)
async def test_scopes_open_what_they_name(site: LiveHttp, scope: str, path: str, expected: int) -> None:
    response = await status(site, path, site.issuer.token(site.fhir, scope))
    assert response.status_code == expected
    if expected == 403:
        assert "insufficient_scope" in response.headers["www-authenticate"]
        assert response.json()["issue"][0]["code"] == "forbidden"


async def test_v1_scopes_count_where_the_site_says_so(database: Database, tmp_path: Path) -> None:
    async with live_http(database, tmp_path, auth=True, rules=TokenRules(v1_scopes=True)) as site:
        assert (await status(site, "Observation", site.issuer.token(site.fhir, "system/*.read"))).status_code == 200
        assert (await status(site, "Observation", site.issuer.token(site.fhir, "system/*.write"))).status_code == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"patient": "SAMPLE-0001"},
        {"patient": "p1", "patient_identifier": f"{SYSTEM}|SAMPLE-0001"},
        {"patient": "p1", "patient_identifier": {"system": SYSTEM, "value": "SAMPLE-0001"}},
    ],
)
async def test_a_patient_s_token_sees_that_patient_alone(site: LiveHttp, claims: Json) -> None:
    whole = {"authorization": f"Bearer {site.issuer.token(site.fhir, 'system/*.rs')}"}
    all_ids = {}
    for kind in ("Observation", "DiagnosticReport", "Provenance", "ImagingStudy"):
        found = (await site.get(f"{kind}?_count=200", headers=whole)).json()["entry"]
        all_ids[kind] = {each["resource"]["id"] for each in found}
    own = {"authorization": f"Bearer {site.issuer.token(site.fhir, 'patient/*.rs', **claims)}"}
    for kind, ids in all_ids.items():
        body = (await site.get(f"{kind}?_count=200", headers=own)).json()
        seen = {each["resource"]["id"] for each in body["entry"]}
        assert seen
        assert len(seen) == body["total"] == len(ids) // 2, kind
        assert "SAMPLE-0002" not in json.dumps(body)
        for identity in ids - seen:
            for path in (f"{kind}/{identity}", f"{kind}/{identity}/_history", f"{kind}/{identity}/_history/1"):
                assert (await site.get(path, headers=own)).status_code == 404, path
        for identity in seen:
            assert (await site.get(f"{kind}/{identity}/_history/1", headers=own)).status_code == 200
    trick = await site.get(f"Observation?patient.identifier={SYSTEM}|SAMPLE-0002", headers=own)
    assert trick.json()["total"] == 0
    included = (await site.get("Device?_revinclude=Observation:device&_count=200", headers=own)).json()
    assert "SAMPLE-0002" not in json.dumps(included)
    assert (await site.get("Device", headers=own)).json()["total"] == 1
    page = (await site.get("Observation?_count=2", headers=whole)).json()
    (following,) = [each["url"] for each in page["link"] if each["relation"] == "next"]
    assert "SAMPLE-0002" not in (await site.client.get(following, headers=own)).text
    other = await site.get(f"PlanDefinition/low-muscle/$apply?subject={SYSTEM}|SAMPLE-0002", headers=own)
    assert other.status_code == 404
    mine = await site.get(f"PlanDefinition/low-muscle/$apply?subject={SYSTEM}|SAMPLE-0001", headers=own)
    assert mine.status_code == 200
    start = await site.client.post(f"{site.fhir}/ImagingStudy/$screen-bone", json={}, headers=own)
    assert start.status_code == 403


async def test_the_system_of_a_launch_is_part_of_the_name(site: LiveHttp) -> None:
    token = site.issuer.token(site.fhir, "patient/*.rs", patient="x", patient_identifier="urn:other|SAMPLE-0001")
    assert (await status(site, "Observation", token)).json()["total"] == 0


async def test_refusals_are_noted_too(site: LiveHttp) -> None:
    await status(site, "Observation", site.issuer.token(site.fhir, "system/Device.rs", client_id="curious\x00"))
    events = (await site.get("AuditEvent?outcome=4", headers=site.bearer("system/AuditEvent.rs"))).json()
    (event,) = [each["resource"] for each in events["entry"]]
    assert event["agent"][0]["who"]["display"] == "curious"


async def test_our_keys_are_shown_and_retired_ones_are_not(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    now = datetime.now(UTC)
    first = generate_key(folder, SigningAlgorithm.ES384, now, now)
    second = generate_key(folder, SigningAlgorithm.RS384, now, now)
    async with live_http(database, tmp_path, options=HttpOptions(keys_dir=folder)) as site:
        response = await site.client.get(f"{site.base}/.well-known/jwks.json")
        assert "max-age" in response.headers["cache-control"]
        keys = response.json()["keys"]
        assert {each["kid"] for each in keys} == {first.kid, second.kid}
        assert not any({"d", "p", "q", "dp", "dq", "qi", "k"} & each.keys() for each in keys)
        retire_key(folder, first.kid)
        after = (await site.client.get(f"{site.base}/.well-known/jwks.json")).json()["keys"]
        assert [each["kid"] for each in after] == [second.kid]


async def test_the_smart_configuration_names_the_site_s_server(database: Database, tmp_path: Path) -> None:
    options = HttpOptions(token_url="https://auth.hospital.test/token")  # noqa: S106
    async with live_http(database, tmp_path, auth=True, options=options) as site:
        found = (await site.get(".well-known/smart-configuration")).json()
        assert found["token_endpoint"] == "https://auth.hospital.test/token"  # noqa: S105
        assert "permission-v2" in found["capabilities"]
        assert "system/*.rs" in found["scopes_supported"]
        service = (await site.get("metadata")).json()["rest"][0]["security"]["service"][0]["coding"][0]
        assert service["code"] == "SMART-on-FHIR"


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": "off", "http_listen": "0.0.0.0:8080"},
        {"auth": "off", "http_listen": "[::]:8080"},
        {"auth": "off", "http_listen": "ehr.hospital.test:8080"},
        {"cors_origins": "*"},
        {"public_base_url": "ftp://x"},
        {"public_base_url": "https://user@x.test"},
        {"http_tls_key_file": Path("key.pem")},
    ],
)
def test_settings_that_would_open_the_door_by_mistake(changes: Json) -> None:
    with pytest.raises(ConfigurationError):
        http_options(replace(Settings(), **changes))


def test_settings_that_are_meant() -> None:
    assert http_options(replace(Settings(), auth="off", http_listen="127.0.0.1:8080")).auth_off
    assert http_options(replace(Settings(), auth="off-beyond-loopback", http_listen="0.0.0.0:8080")).auth_off
    assert not http_options(replace(Settings(), http_listen="0.0.0.0:8080")).auth_off
    settings = replace(Settings(), auth_issuers="https://a.test, https://b.test", auth_jwks="https://a.test/k,b.json")
    assert issuer_keys(settings) == {"https://a.test": "https://a.test/k", "https://b.test": "b.json"}
    for wrong in ({"auth_jwks": "https://a.test/k"}, {"auth_jwks": "http://a.test/k,b"}):
        with pytest.raises(ConfigurationError):
            issuer_keys(replace(settings, **wrong))
