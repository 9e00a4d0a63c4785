"""Signing keys: rotation, publication, and that private halves stay private."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import KeySet
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.delivery.answers import Answer, Setback, Verdict
from trabecula.delivery.smart import assertion, token_in
from trabecula.errors import LastSigningKey, SigningKeyMissing, SigningKeyUnusable, UnknownSigningKey
from trabecula.keys import SigningAlgorithm, generate_key, public_jwks, read_keys, retire_key, signing_key

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ES384, RS384 = SigningAlgorithm.ES384, SigningAlgorithm.RS384


def later(**by: float) -> datetime:
    return NOW + timedelta(**by)


def test_the_newest_key_in_force_signs_and_all_are_published(tmp_path: Path) -> None:
    old = generate_key(tmp_path, ES384, NOW, NOW)
    new = generate_key(tmp_path, RS384, later(days=1), later(days=2))
    keys = read_keys(tmp_path)
    assert [each.kid for each in keys] == [new.kid, old.kid]
    assert signing_key(keys, later(days=1)).kid == old.kid
    assert signing_key(keys, later(days=2)).kid == new.kid
    assert signing_key(keys, later(days=2), ["ES384"]).kid == old.kid
    with pytest.raises(SigningKeyMissing):
        signing_key(keys, later(days=-1))
    with pytest.raises(SigningKeyMissing):
        signing_key(keys, later(days=9), ["PS512"])
    published = public_jwks(tmp_path)["keys"]
    assert {each["kid"] for each in published} == {new.kid, old.kid}
    assert not {"d", "p", "q", "dp", "dq", "qi"} & {name for each in published for name in each}
    assert {(each["alg"], each["use"]) for each in published} == {("ES384", "sig"), ("RS384", "sig")}


def test_a_retired_key_is_neither_used_nor_published(tmp_path: Path) -> None:
    one, two = (generate_key(tmp_path, ES384, later(hours=n), later(hours=n)) for n in (0, 1))
    retire_key(tmp_path, two.kid)
    assert [each["kid"] for each in public_jwks(tmp_path)["keys"]] == [one.kid]
    assert (tmp_path / "retired" / f"{two.kid}.json").exists()
    with pytest.raises(UnknownSigningKey):
        retire_key(tmp_path, two.kid)
    with pytest.raises(LastSigningKey):
        retire_key(tmp_path, one.kid)


def test_private_keys_are_readable_by_their_owner_alone_and_never_shown(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "keys", ES384, NOW, NOW)
    (file,) = (tmp_path / "keys").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    assert json.loads(file.read_text())["d"] not in repr(key)


def test_keys_of_other_tools_are_taken_as_pem_named_by_their_file(tmp_path: Path) -> None:
    for name, made in (("ec", ec.generate_private_key(ec.SECP384R1())), ("rsa", rsa.generate_private_key(65537, 2048))):
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"site-{name}.pem").write_bytes(pem)
    keys = read_keys(tmp_path)
    assert {(each.kid, each.algorithm) for each in keys} == {("site-ec", ES384), ("site-rsa", RS384)}


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}', '{"kty": "EC", "crv": "P-384"}', "[]", '{"kty": 3}'],
)
def test_a_broken_key_names_its_file_and_nothing_of_its_content(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(SigningKeyUnusable) as caught:
        read_keys(tmp_path)
    assert "broken.json" in caught.value.client_message
    assert "c2VjcmV0" not in caught.value.client_message + caught.value.detail


def test_public_and_weak_keys_sign_nothing(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "k", ES384, NOW, NOW)
    for name, document in (("public", key.public), ("curve", {**key.public, "alg": "RS384"})):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.json").write_text(json.dumps(document))
        with pytest.raises(SigningKeyUnusable):
            read_keys(folder)


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_an_assertion_says_who_we_are_for_a_few_minutes(tmp_path: Path, algorithm: SigningAlgorithm) -> None:
    key = generate_key(tmp_path, algorithm, NOW, NOW)
    keys = KeySet.import_key_set(public_jwks(tmp_path))  # type: ignore[arg-type]
    tokens = [jwt.decode(assertion(key, "me", "https://a/token", NOW), keys, algorithms=[algorithm]) for _ in range(2)]
    claims = tokens[0].claims
    assert tokens[0].header == {"alg": algorithm.value, "kid": key.kid, "typ": "JWT"}
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("me", "me", "https://a/token")
    assert 0 < claims["exp"] - NOW.timestamp() <= 300
    assert tokens[0].claims["jti"] != tokens[1].claims["jti"]


@pytest.mark.parametrize(
    ("life", "used_s"), [(300, 240), (3600, 3540), (60, 30), (100, 50), (None, 240), ("x", 240), (-5, 240), (True, 240)]
)
def test_a_token_is_used_until_a_minute_before_its_end(life: object, used_s: float) -> None:
    token = token_in(Answer(200, {"access_token": "abc", "token_type": "Bearer", "expires_in": life}), NOW)
    assert (token.use_until - NOW).total_seconds() == used_s
    assert "abc" not in repr(token)


@pytest.mark.parametrize(
    ("status", "body", "verdict", "reason"),
    [
        (400, {"error": "invalid_client"}, Verdict.PARK, "invalid-client"),
        (401, {"error": "invalid_client"}, Verdict.PARK, "invalid-client"),
        (400, {"error": "invalid_scope"}, Verdict.PARK, "invalid-scope"),
        (400, {"error": "something_new"}, Verdict.PARK, "token-request-refused"),
        (400, {"error": "temporarily_unavailable"}, Verdict.RETRY, "token-endpoint-failed"),
        (503, None, Verdict.RETRY, "token-endpoint-failed"),
        (200, None, Verdict.RETRY, "token-endpoint-failed"),
        (200, {"access_token": "a\r\nb"}, Verdict.RETRY, "token-endpoint-failed"),
        (200, {"access_token": "a", "token_type": "mac"}, Verdict.PARK, "token-type-unknown"),
    ],
)
def test_what_a_token_endpoint_may_answer(
    status: int, body: dict[str, object] | None, verdict: Verdict, reason: str
) -> None:
    with pytest.raises(Setback) as caught:
        token_in(Answer(status, body), NOW)
    assert (caught.value.verdict, caught.value.reason) == (verdict, reason)


def test_the_commands(tmp_path: Path) -> None:
    runner, folder = CliRunner(), ["--folder", str(tmp_path / "keys")]
    first = json.loads(runner.invoke(app, ["keys", "generate", *folder, "--json"]).stdout)[0]
    assert first["signs"]
    second = json.loads(runner.invoke(app, ["keys", "generate", *folder, "--algorithm", "RS384", "--json"]).stdout)[0]
    listed = json.loads(runner.invoke(app, ["keys", "list", *folder, "--json"]).stdout)
    assert {(each["kid"], each["signs"]) for each in listed} == {(first["kid"], True), (second["kid"], False)}
    left = json.loads(runner.invoke(app, ["keys", "retire", second["kid"], *folder, "--json"]).stdout)
    assert [each["kid"] for each in left] == [first["kid"]]
    assert runner.invoke(app, ["keys", "retire", first["kid"], *folder]).exit_code == 4
    assert first["kid"] in runner.invoke(app, ["keys", "list", *folder]).stdout
